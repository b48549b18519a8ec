//! Nothing is lost, doubled or reordered while nodes of a cluster are killed and stand still, and others take over in
//! time. The short form of `causeway-soak failover`.

use causeway_tests::failover::{FailoverPlan, run};

#[test]
fn others_take_over_from_a_dead_owner_a_silent_one_and_a_dead_leader() {
    let report = run(&FailoverPlan::short(), &mut |step| println!("{step}"));
    let failures = report.failures();
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), report.events_table().text());
}
