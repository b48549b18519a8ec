//! What follows from the end of a run.
//!
//! | end | proposed | shown | next start |
//! |---|---|---|---|
//! | stopped as asked | - | - | when it is wanted again |
//! | stopped unasked | - | starting | after a rest |
//! | lease lost | - | blocked, with the reason | when the node has a lease again, without a rest, if it is still ours |
//! | source or target lost | - | blocked, with the reason | after a rest, for ever |
//! | target lost copies | rewind | starting | after a rest, at the new epoch |
//! | bad record or panic, 1st to 4th time at one offset | - | blocked, with the reason | after a rest |
//! | bad record, 5th time at one offset | fault "repeated" | faulted | when resolved |
//! | panic, 5th time with nothing copied in between | fault "panicked", which offers no skip | faulted | when resolved |
//! | any other fault | that fault | faulted | when resolved |
//!
//! Pure. An outage is never turned into a fault, because it heals by itself and spends no message.

use causeway_core::command::Command;
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_core::ids::Epoch;
use causeway_core::partition::PartitionId;

use crate::replicate::PartitionExit;
use crate::status::RunState;

/// How many failures at one offset stop a partition until an operator decides.
pub const STRIKES: u32 = 5;

/// Shown of a partition that could run and may not write.
pub const WAITS_FOR_LEASE: &str = "it waits for the node's lease: the cluster has to say that nobody else writes";

/// Which run ended, and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The partition.
    pub partition: PartitionId,
    /// The ownership that ended.
    pub epoch: Epoch,
    /// The first source offset that was not durable at the target, as far as it is known.
    pub offset: i64,
    /// Whether it was asked to end.
    pub asked: bool,
}

/// How often a partition failed at the offset where it failed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Strikes {
    offset: Option<i64>,
    times: u32,
}

/// What to show of a partition that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The state.
    pub state: RunState,
    /// The stable code of the reason.
    pub code: Option<ErrorCode>,
    /// The reason, one sentence.
    pub why: String,
}

/// What follows from the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// What to propose to the cluster.
    pub propose: Option<Command>,
    /// What to show until the next start.
    pub shown: Option<Shown>,
    /// Whether the next start has to wait for a rest.
    pub rest: bool,
}

impl Strikes {
    /// Counts a failure at an offset; failures at another one are forgotten.
    fn count(&mut self, offset: i64) -> u32 {
        if self.offset != Some(offset) {
            *self = Self { offset: Some(offset), times: 0 };
        }
        self.times = self.times.saturating_add(1);
        self.times
    }
}

/// Decides what follows from the end of a run.
#[must_use]
pub fn judge(exit: PartitionExit, place: &Place, strikes: &mut Strikes) -> Verdict {
    match exit {
        PartitionExit::Stopped if place.asked => Verdict::default(),
        PartitionExit::Stopped => {
            let why = "it ended without being asked to; it starts again".to_owned();
            rest(Shown { state: RunState::Starting, code: None, why })
        }
        PartitionExit::LeaseLost => {
            let (state, code) = (RunState::Blocked, Some(ErrorCode::Unavailable));
            let shown = Shown { state, code, why: WAITS_FOR_LEASE.to_owned() };
            Verdict { shown: Some(shown), ..Verdict::default() }
        }
        PartitionExit::SourceLost { code, why } | PartitionExit::SinkLost { code, why } => {
            rest(Shown { state: RunState::Blocked, code: Some(code), why })
        }
        PartitionExit::TargetRewound { checkpoint, lost } => {
            let gone = if lost == 0 { "messages of others" } else { "acknowledged copies" };
            let next = checkpoint.source_next;
            let why = format!("the target lost {gone}; copying goes on at source offset {next}");
            let propose = Command::Rewind { partition: place.partition.clone(), epoch: place.epoch, checkpoint };
            Verdict { propose: Some(propose), ..rest(Shown { state: RunState::Starting, code: None, why }) }
        }
        PartitionExit::Fault(Fault::BadRecord { offset, reason }) => {
            let repeated = |times, reason| Fault::Repeated { offset, times, reason };
            strike(place, strikes, offset, (ErrorCode::BadRecord, reason), repeated)
        }
        PartitionExit::Panicked => {
            let reason = "the code that copies it panicked; the log has the place".to_owned();
            let panicked = |times, _| Fault::Panicked { next: place.offset, times };
            strike(place, strikes, place.offset, (ErrorCode::Internal, reason), panicked)
        }
        PartitionExit::Fault(fault) => raise(place, fault),
    }
}

fn rest(shown: Shown) -> Verdict {
    Verdict { propose: None, shown: Some(shown), rest: true }
}

fn strike(
    place: &Place,
    strikes: &mut Strikes,
    offset: i64,
    (code, reason): (ErrorCode, String),
    fault: impl FnOnce(u32, String) -> Fault,
) -> Verdict {
    let times = strikes.count(offset);
    if times >= STRIKES {
        *strikes = Strikes::default();
        return raise(place, fault(times, reason));
    }
    let why = format!("copying failed at source offset {offset}, {times} of {STRIKES} times before it stops: {reason}");
    rest(Shown { state: RunState::Blocked, code: Some(code), why })
}

/// The rest covers the time until the fault is agreed: a partition whose fault could not be proposed starts again and
/// finds it again.
fn raise(place: &Place, fault: Fault) -> Verdict {
    let shown = Shown { state: RunState::Faulted, code: Some(fault.code()), why: fault.to_string() };
    let propose = Command::RaiseFault { partition: place.partition.clone(), epoch: place.epoch, fault };
    Verdict { propose: Some(propose), ..rest(shown) }
}

#[cfg(test)]
mod tests {
    use causeway_core::checkpoint::Checkpoint;
    use causeway_core::ids::{Incarnation, RuleVersion, StreamId};
    use proptest::prelude::*;

    use super::*;
    use crate::supervisor::testing::queue;

    fn place(offset: i64) -> Place {
        let partition = PartitionId { stream: StreamId(4), source: queue(0) };
        Place { partition, epoch: Epoch(3), offset, asked: false }
    }

    fn judged(exit: PartitionExit) -> Verdict {
        judge(exit, &place(7), &mut Strikes::default())
    }

    #[test]
    fn a_requested_stop_has_no_consequence() {
        let asked = Place { asked: true, ..place(7) };
        assert_eq!(judge(PartitionExit::Stopped, &asked, &mut Strikes::default()), Verdict::default());
        assert!(judged(PartitionExit::Stopped).rest, "an end that nobody asked for must not become a busy loop");
    }

    #[test]
    fn a_lost_lease_is_no_failure_of_the_partition() {
        let mut strikes = Strikes::default();
        for _ in 0..100 {
            let verdict = judge(PartitionExit::LeaseLost, &place(7), &mut strikes);
            assert_eq!((verdict.propose, verdict.rest), (None, false), "it starts when the lease is valid");
            let shown = verdict.shown.unwrap();
            assert_eq!((shown.state, shown.code), (RunState::Blocked, Some(ErrorCode::Unavailable)));
        }
        assert_eq!(strikes, Strikes::default());
    }

    #[test]
    fn an_outage_blocks_with_its_code_and_is_never_proposed_as_a_fault() {
        let mut strikes = Strikes::default();
        for times in 0..100 {
            let lost = if times % 2 == 0 {
                PartitionExit::SourceLost { code: ErrorCode::Unreachable, why: "no route".into() }
            } else {
                PartitionExit::SinkLost { code: ErrorCode::Unreachable, why: "no route".into() }
            };
            let verdict = judge(lost, &place(7), &mut strikes);
            let shown = Shown { state: RunState::Blocked, code: Some(ErrorCode::Unreachable), why: "no route".into() };
            assert_eq!(verdict, Verdict { propose: None, shown: Some(shown), rest: true });
        }
    }

    #[test]
    fn a_fault_is_proposed_at_the_epoch_that_found_it() {
        let fault = Fault::SourceGap { from: 3, to: 9 };
        let verdict = judged(PartitionExit::Fault(fault.clone()));
        let Place { partition, epoch, .. } = place(7);
        assert_eq!(verdict.propose, Some(Command::RaiseFault { partition, epoch, fault }));
        assert_eq!(
            verdict.shown.map(|shown| (shown.state, shown.code)),
            Some((RunState::Faulted, Some(ErrorCode::SourceGap)))
        );
    }

    #[test]
    fn lost_copies_are_proposed_as_a_rewind() {
        let checkpoint = Checkpoint {
            epoch: Epoch(3),
            rule_version: RuleVersion(0),
            source_next: 5,
            target_next: 5,
            source_incarnation: Incarnation(0),
            target_incarnation: Incarnation(0),
            fingerprint: None,
            last_copy: None,
        };
        let verdict = judged(PartitionExit::TargetRewound { checkpoint: checkpoint.clone(), lost: 2 });
        let Place { partition, epoch, .. } = place(7);
        assert_eq!(verdict.propose, Some(Command::Rewind { partition, epoch, checkpoint }));
        assert!(verdict.rest);
    }

    #[test]
    fn the_fifth_failure_at_one_offset_is_a_fault_and_another_offset_counts_anew() {
        let mut strikes = Strikes::default();
        let bad = |offset| PartitionExit::Fault(Fault::BadRecord { offset, reason: "too large".into() });
        for _ in 0..4 {
            assert_eq!(judge(bad(12), &place(10), &mut strikes).propose, None);
        }
        for times in 1..5 {
            let verdict = judge(PartitionExit::Panicked, &place(7), &mut strikes);
            assert_eq!((verdict.propose, verdict.rest), (None, true), "{times}");
        }
        let last = judge(PartitionExit::Panicked, &place(7), &mut strikes);
        let Some(Command::RaiseFault { fault: fault @ Fault::Panicked { next: 7, times: 5 }, .. }) = last.propose
        else {
            panic!("not stopped: {last:?}");
        };
        assert_eq!(fault.skip_to(), None, "nobody knows which record it was");
        assert_eq!(judge(PartitionExit::Panicked, &place(7), &mut strikes).propose, None, "resolved: it starts anew");
        let repeated = (0..5).filter_map(|_| judge(bad(12), &place(10), &mut strikes).propose).next();
        let Some(Command::RaiseFault { fault, .. }) = repeated else { panic!("not stopped") };
        assert_eq!(fault.skip_to(), Some(13), "a bad record is known");
    }

    proptest! {
        #[test]
        fn stops_exactly_when_five_failures_in_a_row_are_at_one_offset(offsets in proptest::collection::vec(0_i64..3, 0..40)) {
            let mut strikes = Strikes::default();
            let mut row = 0;
            let mut previous = None;
            for offset in offsets {
                row = if previous == Some(offset) { row + 1 } else { 1 };
                previous = Some(offset);
                let stopped = judge(PartitionExit::Panicked, &place(offset), &mut strikes).propose.is_some();
                prop_assert_eq!(stopped, row == 5);
                if stopped {
                    row = 0;
                }
            }
        }
    }
}
