//! The slave of a source is read where that loses nothing, and waited for where it would. The short form of
//! `causeway-soak slave-reads`.

use std::time::Instant;

use causeway_tests::brokers::Version;
use causeway_tests::slave_reads::{SlaveReadsPlan, cold, takeover};

fn plan(source: Version) -> SlaveReadsPlan {
    SlaveReadsPlan { source, target: Version::V5_5_0, messages: 600 }
}

/// Prints each step with its time since the start.
fn steps() -> impl FnMut(&str) {
    let started = Instant::now();
    move |step| println!("[{:>5.1} s] {step}", started.elapsed().as_secs_f64())
}

#[test]
fn a_slave_is_read_while_its_master_is_gone_and_waited_for_where_it_lacks_messages() {
    let report = takeover(plan(Version::V5_5_0), &mut steps());
    let failures = report.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_living_master_s_slave_is_read_only_with_leave() {
    let report = cold(plan(Version::V4_9_7), &mut steps());
    let failures = report.failures();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
