//! What a decision about a fault means, before it is taken, in words. Pure; what a skip means is said by [`Skip`].

use causeway_core::fault::Fault;
use causeway_core::ids::Timestamp;
use causeway_core::partition::{Partition, RaisedFault};
use causeway_core::skip::Skip;
use causeway_core::stream::StartPosition;

use super::answer::Error;
use super::model::partition::{ResolveAnswer, ResolveRequest};
use super::partitions::fault_view;
use super::validate::check_start;

/// Explains a decision as a dry run. `end` is the offset behind the source queue's last message, as last seen.
///
/// # Errors
/// What [`Skip::of`] refuses, a fault of the request where the start position
/// cannot be meant.
pub fn explain(
    partition: &Partition,
    raised: &RaisedFault,
    decision: ResolveRequest,
    end: Option<i64>,
    now: Timestamp,
) -> Result<ResolveAnswer, Error> {
    let position = partition.checkpoint.as_ref().map(|checkpoint| checkpoint.source_next);
    let (effect, continues_at, left_out_messages) = match decision {
        ResolveRequest::Retry {} => (retry(position), position, Some(0)),
        ResolveRequest::Skip {} => skip(&raised.fault, position)?,
        ResolveRequest::Restart { start } => {
            check_start(start, now).and_then(|()| inside(start, end)).map_err(|message| {
                Error::field(causeway_core::error_code::ErrorCode::InvalidRequest, "restart.start", message)
            })?;
            restart(start, position)
        }
    };
    Ok(ResolveAnswer {
        dry_run: true,
        fault: fault_view(raised, position),
        decision,
        effect,
        continues_at,
        left_out_messages,
        epoch: None,
    })
}

fn retry(position: Option<i64>) -> String {
    let place = position.map_or_else(|| "its start position".to_owned(), |offset| format!("offset {offset}"));
    format!(
        "copying is tried again at {place}; nothing is left out, and the fault comes back if its cause is still there"
    )
}

type Explained = (String, Option<i64>, Option<u64>);

fn skip(fault: &Fault, position: Option<i64>) -> Result<Explained, Error> {
    let (next, was_copied) = match Skip::of(fault, position).map_err(Error::Refused)? {
        Skip::TrustCheckpoint { target_next, .. } => {
            let effect = format!(
                "copying goes on at the checkpoint without looking at target offsets before {target_next}: copies that \
                 landed there after the checkpoint are made once more"
            );
            return Ok((effect, position, Some(0)));
        }
        Skip::GoOnAt { source_next, was_copied } => (source_next, was_copied),
    };
    let left_out = match fault {
        // The source does not hold these messages, so they are lost whatever is decided.
        Fault::SourceGap { from, to } | Fault::RetentionWon { from, to } => to.checked_sub(*from),
        // They are at the target, but not where they belong.
        Fault::StoredElsewhere { from, to, .. } => to.checked_sub(*from),
        _ => Some(i64::from(!was_copied)),
    };
    let left_out = left_out.and_then(|count| u64::try_from(count).ok());
    let what = match left_out {
        Some(1) => "1 message is".to_owned(),
        Some(count) => format!("{count} messages are"),
        None => "the messages before it are".to_owned(),
    };
    Ok((format!("{what} left out for good, and copying goes on at offset {next}"), Some(next), left_out))
}

/// An offset behind the end is a slip: whatever is between would be left out, and nobody named it.
fn inside(start: StartPosition, end: Option<i64>) -> Result<(), String> {
    match (start, end) {
        (StartPosition::Offset(offset), Some(end)) if offset > end => Err(format!(
            "the source queue ended at offset {end} when it was last seen, before {offset}; \"latest\" begins at its end"
        )),
        _ => Ok(()),
    }
}

fn restart(start: StartPosition, position: Option<i64>) -> Explained {
    let again = "messages that were copied before are copied again where the position is before them";
    let begin = |place: &str| format!("the source queue counts as a new one and copying begins at {place}; {again}");
    match start {
        StartPosition::Earliest => (begin("the oldest message that the source retains"), None, None),
        StartPosition::Latest => (begin("the end of the source queue: everything before it is left out"), None, None),
        StartPosition::Timestamp(time) => {
            (begin(&format!("the first message stored at or after {time} ms")), None, None)
        }
        StartPosition::Offset(offset) => {
            let skipped = position.map(|from| (from, u64::try_from(offset.saturating_sub(from)).unwrap_or(0)));
            let mut effect = begin(&format!("offset {offset}"));
            if let Some((from, count @ 1..)) = skipped {
                effect.push_str(&format!("; {count} messages from offset {from} on are left out for good"));
            }
            (effect, Some(offset), skipped.map(|(_, count)| count))
        }
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::fault::Fault;
    use causeway_core::ids::Timestamp;
    use causeway_core::partition::{Partition, RaisedFault};
    use causeway_core::stream::StartPosition;

    use super::explain;
    use crate::admin::answer::Error;
    use crate::admin::model::partition::{ResolveAnswer, ResolveRequest};
    use crate::admin::tests::{NOW, partition_at};

    fn explained(partition: &Partition, fault: Fault, decision: ResolveRequest) -> Result<ResolveAnswer, Error> {
        explain(partition, &RaisedFault { fault, since: Timestamp(1) }, decision, Some(12), NOW)
    }

    #[test]
    fn every_fault_either_says_where_a_skip_goes_on_or_refuses_it() {
        let partition = partition_at(5);
        let reason = || "x".to_owned();
        let rows = [
            (Fault::SourceGap { from: 5, to: 9 }, Some((9, 4))),
            (Fault::RetentionWon { from: 5, to: 105 }, Some((105, 100))),
            (Fault::DamagedRecord { offset: 5, reason: reason() }, Some((6, 1))),
            (Fault::DamagedRecord { offset: 4, reason: reason() }, Some((5, 0))),
            (Fault::BadRecord { offset: 5, reason: reason() }, Some((6, 1))),
            (Fault::Repeated { offset: 5, times: 5, reason: reason() }, Some((6, 1))),
            (Fault::StoredElsewhere { from: 5, to: 9, asked: 0, found: 1 }, Some((9, 4))),
            (Fault::TargetTailGone { from: 5, to: 9 }, Some((5, 0))),
            (Fault::SourceRolledBack { copied: 9, maximum: 5 }, None),
            (Fault::SourceDiverged { offset: 5 }, None),
            (Fault::Panicked { next: 5, times: 5 }, None),
            (Fault::TargetLost { queue: "b/0".to_owned(), below: 5 }, None),
        ];
        for (fault, expected) in rows {
            let answer = explained(&partition, fault.clone(), ResolveRequest::Skip {});
            match (answer, expected) {
                (Ok(answer), Some((next, left_out))) => {
                    assert_eq!(
                        (answer.continues_at, answer.left_out_messages),
                        (Some(next), Some(left_out)),
                        "{fault}"
                    );
                    assert_eq!(answer.fault.skip_to, Some(next), "{fault}: a view offers what a skip does");
                    assert!(answer.dry_run && answer.epoch.is_none());
                }
                (Err(error), None) => {
                    assert_eq!(error.answer().error.code, "CWY-0111");
                    let raised = RaisedFault { fault: fault.clone(), since: Timestamp(1) };
                    assert_eq!(super::fault_view(&raised, Some(5)).skip_to, None, "{fault}");
                }
                (answer, _) => panic!("{fault}: {answer:?}"),
            }
        }
    }

    #[test]
    fn a_retry_leaves_nothing_out() {
        let answer =
            explained(&partition_at(7), Fault::SourceDiverged { offset: 6 }, ResolveRequest::Retry {}).unwrap();
        assert_eq!((answer.continues_at, answer.left_out_messages), (Some(7), Some(0)));
        assert!(answer.effect.contains("offset 7"));
    }

    #[test]
    fn a_restart_names_its_position_and_what_it_leaves_out() {
        let restart =
            |start| explained(&partition_at(7), Fault::SourceDiverged { offset: 6 }, ResolveRequest::Restart { start });
        let at = |offset| restart(StartPosition::Offset(offset)).unwrap();
        assert_eq!((at(10).continues_at, at(10).left_out_messages), (Some(10), Some(3)));
        assert!(at(10).effect.contains("3 messages from offset 7 on are left out"), "{}", at(10).effect);
        assert_eq!((at(3).continues_at, at(3).left_out_messages), (Some(3), Some(0)));
        assert!(!at(7).effect.contains("left out"));
        assert_eq!(at(12).left_out_messages, Some(5), "the end itself can be meant");
        assert!(restart(StartPosition::Offset(13)).is_err(), "behind the end");
        assert_eq!(restart(StartPosition::Earliest).unwrap().continues_at, None);
        assert!(restart(StartPosition::Latest).unwrap().effect.contains("left out"));
        assert!(restart(StartPosition::Offset(-1)).is_err());
    }
}
