//! A copy between releases keeps every field. The short form of `causeway-soak fidelity`.

use causeway_tests::fidelity::{run, short};

#[test]
fn copies_between_4_9_7_and_5_5_0_and_to_5_3_3_keep_every_field() {
    let report = run(&short(), &mut |step| println!("{step}"));
    let failures = report.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(report.outcomes.len(), 3);
}
