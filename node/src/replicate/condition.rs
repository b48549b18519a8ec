//! What people see of a run while it copies: catching up, running, or blocked and by what.
//!
//! Called after every batch, so it touches the gauge's lock only when something changes. An outage is over when
//! messages flow and not before, however many runs it takes: so its beginning is the gauge's, which outlives them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::trouble::Trouble;
use crate::clock;
use crate::status::{PartitionGauge, RunState};

/// A backlog of fewer messages than this counts as the end of the queue.
const AT_END: i64 = 256;

/// A run that had reached the end is catching up again only when its backlog is larger than this.
const BACKLOG: i64 = 8_192;

const HELD_BACK: &str = "the target stores copies without the durability it is configured for, so the checkpoint waits";

const FROM_SLAVE: &str = "a slave of the source is read; what only its master holds is neither copied nor counted yet";

/// Shows the condition of one partition.
#[derive(Debug)]
pub(super) struct Condition {
    gauge: Arc<PartitionGauge>,
    /// One of the constants below.
    shown: AtomicU8,
    /// Whether a slave of the source answered last.
    from_slave: AtomicBool,
}

const NOTHING: u8 = 0;
const BLOCKED: u8 = 1;
const CATCHING_UP: u8 = 2;
const RUNNING: u8 = 3;
/// Added to the two above while the checkpoint waits for durability.
const HELD: u8 = 4;
/// Added while a slave of the source is read.
const SLAVE: u8 = 8;

impl Condition {
    pub(super) fn new(gauge: Arc<PartitionGauge>) -> Self {
        let shown = if gauge.condition().state == RunState::Blocked { BLOCKED } else { NOTHING };
        Self { gauge, shown: AtomicU8::new(shown), from_slave: AtomicBool::new(false) }
    }

    /// The target's tail is about to be read, perhaps after a wait that is worth a word.
    pub(super) fn starting(&self, why: Option<&str>) {
        if self.shown.load(Ordering::Relaxed) != BLOCKED {
            self.shown.store(NOTHING, Ordering::Relaxed);
            self.gauge.set_condition(RunState::Starting, None, why.map(str::to_owned), clock::now());
        }
    }

    /// A request failed and is tried again.
    pub(super) fn blocked(&self, trouble: &Trouble) {
        self.shown.store(BLOCKED, Ordering::Relaxed);
        self.gauge.set_condition(RunState::Blocked, Some(trouble.code), Some(trouble.why.clone()), clock::now());
    }

    /// The source answered: its master or a slave.
    pub(super) fn answered(&self, from_slave: bool) {
        self.from_slave.store(from_slave, Ordering::Relaxed);
    }

    /// Messages flow, with `backlog` left at the source.
    pub(super) fn flowing(&self, backlog: i64, held_back: bool) {
        let shown = self.shown.load(Ordering::Relaxed);
        let was_running = shown & !(HELD | SLAVE) == RUNNING;
        let running = backlog <= if was_running { BACKLOG } else { AT_END };
        let from_slave = self.from_slave.load(Ordering::Relaxed);
        let state = if running { RUNNING } else { CATCHING_UP }
            | if held_back { HELD } else { 0 }
            | if from_slave { SLAVE } else { 0 };
        if state != shown {
            self.shown.store(state, Ordering::Relaxed);
            let state = if running { RunState::Running } else { RunState::CatchingUp };
            let why = if held_back { Some(HELD_BACK) } else { from_slave.then_some(FROM_SLAVE) };
            self.gauge.set_condition(state, None, why.map(str::to_owned), clock::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::error_code::ErrorCode;
    use causeway_core::ids::{Epoch, Timestamp};

    use super::*;

    #[test]
    fn an_outage_began_when_it_began_however_many_runs_it_takes() {
        let gauge = Arc::new(PartitionGauge::new(Epoch(1), Timestamp(0)));
        gauge.set_condition(RunState::Blocked, Some(ErrorCode::Unreachable), Some("gone".to_owned()), Timestamp(5));
        for code in [ErrorCode::Unreachable, ErrorCode::TimedOut] {
            let next_run = Condition::new(Arc::clone(&gauge));
            next_run.starting(None);
            next_run.starting(None);
            assert_eq!((gauge.condition().state, gauge.condition().since), (RunState::Blocked, Timestamp(5)));
            next_run.blocked(&Trouble::new(code, "still gone"));
            next_run.starting(None);
            assert_eq!((gauge.condition().code, gauge.condition().since), (Some(code), Timestamp(5)));
        }
        let last_run = Condition::new(Arc::clone(&gauge));
        last_run.flowing(0, false);
        assert_eq!(gauge.condition().state, RunState::Running);
        last_run.starting(None);
        assert_eq!(gauge.condition().state, RunState::Starting);
    }

    #[test]
    fn a_small_backlog_does_not_end_running_and_a_large_one_does() {
        let gauge = Arc::new(PartitionGauge::new(Epoch(1), Timestamp(0)));
        let condition = Condition::new(Arc::clone(&gauge));
        let state = || gauge.condition().state;
        condition.flowing(5_000, false);
        assert_eq!(state(), RunState::CatchingUp);
        condition.flowing(0, false);
        assert_eq!(state(), RunState::Running);
        condition.flowing(5_000, false);
        assert_eq!(state(), RunState::Running);
        condition.flowing(50_000, false);
        assert_eq!(state(), RunState::CatchingUp);
        condition.blocked(&Trouble::new(ErrorCode::Unreachable, "gone"));
        assert_eq!((state(), gauge.condition().code), (RunState::Blocked, Some(ErrorCode::Unreachable)));
        condition.starting(None);
        assert_eq!(state(), RunState::Blocked, "still blocked until messages flow");
        condition.flowing(0, true);
        assert_eq!((state(), gauge.condition().why.is_some()), (RunState::Running, true));
        condition.flowing(0, false);
        assert_eq!((state(), gauge.condition().why), (RunState::Running, None));
        condition.answered(true);
        condition.flowing(0, false);
        assert_eq!((state(), gauge.condition().why.as_deref()), (RunState::Running, Some(FROM_SLAVE)));
        condition.flowing(5_000, false);
        assert_eq!(state(), RunState::Running, "who answers does not change what a backlog is");
        condition.answered(false);
        condition.flowing(0, false);
        assert_eq!(gauge.condition().why, None);
    }
}
