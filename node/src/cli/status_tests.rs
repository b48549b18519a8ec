//! The status table, compared with golden texts at 80 and 120 characters.

use causeway_core::ids::Timestamp;

use super::*;
use crate::admin::model::status::CatchUp;
use crate::cli::tests::{name, status_of, stream_in};
use crate::status::RunState;

fn sample() -> StatusAnswer {
    let mut running = stream_in(RunState::Running);
    running.figures.copied_messages_per_second = Some(2_001.2);
    running.figures.lag_messages = Some(12);
    running.figures.lag_seconds = Some(0.008);
    running.figures.rpo_seconds = Some(0.4);
    running.figures.copied_messages = 61_204;
    running.figures.copied_bytes = 70_000_000;
    running.figures.checkpoint_age_seconds = Some(0.09);
    let mut catching_up = stream_in(RunState::CatchingUp);
    catching_up.name = name("payments");
    catching_up.figures.copied_messages_per_second = Some(58_200.0);
    catching_up.figures.lag_messages = Some(470_000);
    catching_up.figures.lag_seconds = Some(7_400.0);
    catching_up.figures.copied_messages = 734_331;
    catching_up.catch_up =
        Some(CatchUp { percent: Some(61.0), remaining_messages: Some(470_000), eta_seconds: Some(8.1) });
    let mut blocked = stream_in(RunState::Blocked);
    blocked.name = name("refunds");
    blocked.figures.lag_messages = Some(0);
    blocked.figures.lag_seconds = Some(0.0);
    blocked.figures.rpo_seconds = Some(203.4);
    blocked.condition.since = Timestamp(3_400_000);
    blocked.condition.why = Some("10.1.0.5:9876 is unreachable: connection refused".to_owned());
    blocked.condition.code = Some("CWY-0301".to_owned());
    let mut faulted = stream_in(RunState::Faulted);
    faulted.name = name("audit-log-of-everything");
    faulted.condition.why = Some(
        "1 partition of 8: the source's retention removed offsets 1000 to 2500 before they were copied".to_owned(),
    );
    faulted.condition.code = Some("CWY-0402".to_owned());
    status_of(vec![faulted, running, catching_up, blocked])
}

fn drawn(wide: bool, width: usize) -> String {
    let status = sample();
    let lines = table(&status, wide).lines(width, false);
    [vec![title(&status)], lines].concat().iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn golden_at_80_characters() {
    assert_eq!(drawn(false, 80), include_str!("testdata/status_80.golden"));
}

#[test]
fn golden_at_120_characters() {
    assert_eq!(drawn(false, 120), include_str!("testdata/status_120.golden"));
}

#[test]
fn golden_wide() {
    assert_eq!(drawn(true, 240), include_str!("testdata/status_wide.golden"));
}

#[test]
fn a_node_without_streams_says_how_to_begin() {
    assert!(nothing(&status_of(Vec::new())).contains("causeway instance add"));
}
