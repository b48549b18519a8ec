//! Nothing is lost, doubled or reordered while the node is killed and the target restarts. The short form of
//! `causeway-soak crash`.

use causeway_tests::crash::{CrashPlan, run};

#[test]
fn kills_and_a_target_restart_leave_each_message_once_and_in_order() {
    let report = run(&CrashPlan::short(), &mut |step| println!("{step}"));
    let failures = report.failures();
    assert!(failures.is_empty(), "{}\n{}", failures.join("\n"), report.kills_table().text());
}
