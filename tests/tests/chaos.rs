//! Nothing is lost, doubled or reordered while nodes in two regions are killed, stand still and lose links. The short
//! form of `causeway-soak chaos`.

use causeway_tests::chaos::{ChaosPlan, run};

#[test]
fn nodes_in_two_regions_die_stand_still_and_lose_their_links() {
    let report = run(&ChaosPlan::short(), &mut |step| println!("{step}"));
    let failures = report.failures();
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), report.table().text());
}
