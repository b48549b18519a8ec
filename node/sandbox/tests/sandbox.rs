//! The sandbox as a script runs it: a few seconds of traffic, and every copy verified.

use std::process::Command;

#[test]
fn a_few_seconds_of_traffic_arrive_once_in_order_and_unaltered() {
    let output = Command::new(env!("CARGO_BIN_EXE_causeway-sandbox"))
        .args(["--duration", "5s", "--rate", "500", "--json"])
        .output()
        .expect("the sandbox starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}\n{errors}");
    let report: serde_json::Value = serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert_eq!(report["ok"], true, "{report}");
    assert!(report["sent"].as_u64() > Some(0), "{report}");
    assert_eq!(report["sent"], report["verified"], "{report}");
}
