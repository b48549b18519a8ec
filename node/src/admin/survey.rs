//! What each partition and each stream does, from what was agreed and what is measured. Pure.
//!
//! State of a partition, the first line that holds:
//!
//! | agreed or measured | shows as |
//! |---|---|
//! | a fault was raised | `faulted` |
//! | the stream is paused, and a run has not ended here | `pausing` |
//! | the stream is paused | `paused` |
//! | no owner | `ready` |
//! | this node has a gauge of it | what the gauge says |
//! | otherwise | `starting` |
//!
//! State of a stream, the first line that holds:
//!
//! | | shows as |
//! |---|---|
//! | the stream is paused, and a partition is `pausing` | `pausing` |
//! | the stream is paused | `paused`; the reason names partitions that are faulted |
//! | something keeps the whole stream from running, and no partition is in a worse state | that |
//! | no partition | `ready` |
//! | otherwise | the worst state of its partitions, by [`severity`] |
//!
//! What is said of the whole stream as `running` is a note: it keeps nothing from running, and is added to the reason.
//!
//! A stream is in a state since the first of its partitions is, except `running`: it runs since the last one does.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_core::ids::{StreamId, Timestamp};
use causeway_core::partition::{Partition, PartitionId};
use causeway_core::state::State;
use causeway_core::stream::{DesiredState, Stream};

use crate::status::{Condition, PartitionFigures, RunState, StatusBoard};

/// How much a state matters: the highest is the worst.
#[must_use]
pub fn severity(state: RunState) -> u8 {
    match state {
        RunState::Running => 0,
        RunState::CatchingUp => 1,
        RunState::Paused => 2,
        RunState::Pausing => 3,
        RunState::Ready => 4,
        RunState::Starting => 5,
        RunState::Blocked => 6,
        RunState::Faulted => 7,
        RunState::Deleting => 8,
    }
}

/// One partition as it is now.
#[derive(Debug, Clone)]
pub struct PartitionSurvey<'a> {
    /// Which.
    pub id: &'a PartitionId,
    /// What was agreed.
    pub agreed: &'a Partition,
    /// What it does.
    pub condition: Condition,
    /// What is measured; none where this node does not run it.
    pub figures: Option<PartitionFigures>,
}

/// One stream as it is now.
#[derive(Debug, Clone)]
pub struct StreamSurvey<'a> {
    /// What was agreed.
    pub agreed: &'a Stream,
    /// What it does.
    pub condition: Condition,
    /// Its partitions, in the order of their source queues.
    pub partitions: Vec<PartitionSurvey<'a>>,
}

/// Looks at every stream, in the order of their names.
#[must_use]
pub fn survey<'a>(view: &'a State, board: &StatusBoard) -> Vec<StreamSurvey<'a>> {
    let mut measured = board.partitions();
    let mut partitions: BTreeMap<StreamId, Vec<(&PartitionId, &Partition)>> = BTreeMap::new();
    for (id, partition) in &view.partitions {
        partitions.entry(id.stream).or_default().push((id, partition));
    }
    let mut look = |stream: &'a Stream| {
        let own = partitions.remove(&stream.id).unwrap_or_default();
        look_at(stream, own, &mut measured, board.stream(stream.id).as_ref())
    };
    view.streams.values().map(&mut look).collect()
}

/// Looks at one stream.
#[must_use]
pub fn survey_one<'a>(view: &'a State, board: &StatusBoard, stream: &'a Stream) -> StreamSurvey<'a> {
    look_at(stream, view.partitions_of(stream.id).collect(), &mut board.partitions(), board.stream(stream.id).as_ref())
}

fn look_at<'a>(
    stream: &'a Stream,
    partitions: Vec<(&'a PartitionId, &'a Partition)>,
    measured: &mut BTreeMap<PartitionId, PartitionFigures>,
    whole: Option<&Condition>,
) -> StreamSurvey<'a> {
    let look = |(id, agreed): (&'a PartitionId, &'a Partition)| {
        let figures = measured.remove(id);
        let condition =
            partition_condition(stream, agreed, figures.as_ref().map(|figures| (&figures.condition, figures.runs)));
        PartitionSurvey { id, agreed, condition, figures }
    };
    let partitions: Vec<_> = partitions.into_iter().map(look).collect();
    let conditions: Vec<_> = partitions.iter().map(|partition| &partition.condition).collect();
    StreamSurvey { agreed: stream, condition: stream_condition(stream, whole, &conditions), partitions }
}

/// Streams that were deleted and whose runs have not ended here, with the number of these.
#[must_use]
pub fn deleting(view: &State, board: &StatusBoard) -> BTreeMap<StreamId, usize> {
    let mut deleting = BTreeMap::new();
    for (id, figures) in board.partitions() {
        if figures.runs && view.stream_by_id(id.stream).is_none() {
            let count: &mut usize = deleting.entry(id.stream).or_default();
            *count = count.saturating_add(1);
        }
    }
    deleting
}

/// The state of a partition; see the module's first table. `measured` is what its gauge says, and whether it runs.
#[must_use]
pub fn partition_condition(stream: &Stream, agreed: &Partition, measured: Option<(&Condition, bool)>) -> Condition {
    if let Some(raised) = &agreed.fault {
        let (why, code) = (Some(raised.fault.to_string()), Some(raised.fault.code()));
        return Condition { state: RunState::Faulted, since: raised.since, why, code };
    }
    if stream.desired == DesiredState::Paused {
        let runs = measured.is_some_and(|(_, runs)| runs);
        let state = if runs { RunState::Pausing } else { RunState::Paused };
        return plain(state, stream.changed_at, None);
    }
    match (agreed.owner, measured) {
        (None, _) => plain(RunState::Ready, stream.changed_at, Some("no node runs it yet")),
        (Some(_), Some((condition, _))) => condition.clone(),
        (Some(_), None) => plain(RunState::Starting, stream.changed_at, Some("its owner has not reported it yet")),
    }
}

/// The state of a stream; see the module's second table.
#[must_use]
pub fn stream_condition(stream: &Stream, whole: Option<&Condition>, partitions: &[&Condition]) -> Condition {
    if stream.desired == DesiredState::Paused {
        let pausing = partitions.iter().filter(|condition| condition.state == RunState::Pausing).count();
        if pausing > 0 {
            let why = format!("sends of {} are under way", counted(pausing));
            return plain(RunState::Pausing, stream.changed_at, Some(&why));
        }
        let faulted = partitions.iter().filter(|condition| condition.state == RunState::Faulted).count();
        let why = (faulted > 0).then(|| format!("{} will need a decision after it is resumed", counted(faulted)));
        return Condition { state: RunState::Paused, since: stream.changed_at, why, code: None };
    }
    let worst = partitions.iter().max_by_key(|condition| severity(condition.state));
    match (whole, worst) {
        (Some(note), Some(worst)) if note.state == RunState::Running => {
            let shown = combined(worst.state, partitions);
            let whys: Vec<&str> = [&shown.why, &note.why].into_iter().filter_map(Option::as_deref).collect();
            Condition { why: (!whys.is_empty()).then(|| whys.join("; ")), ..shown }
        }
        (Some(whole), None) => whole.clone(),
        (Some(whole), Some(worst)) if severity(whole.state) >= severity(worst.state) => whole.clone(),
        (None, None) => {
            plain(RunState::Ready, stream.created_at, Some("the queues of its source topic are not known yet"))
        }
        (_, Some(worst)) => combined(worst.state, partitions),
    }
}

/// What the partitions in the worst state say together.
fn combined(state: RunState, partitions: &[&Condition]) -> Condition {
    let members: Vec<_> = partitions.iter().filter(|condition| condition.state == state).collect();
    let times = members.iter().map(|condition| condition.since);
    let since = if state == RunState::Running { times.max() } else { times.min() }.unwrap_or_default();
    let told = members.iter().filter(|condition| condition.why.is_some()).min_by_key(|condition| condition.since);
    let why = told.and_then(|condition| condition.why.as_deref()).map(|why| {
        let part = partitions.len() > 1 && members.len() < partitions.len();
        if part { format!("{} of {}: {why}", counted(members.len()), partitions.len()) } else { why.to_owned() }
    });
    Condition { state, since, why, code: told.and_then(|condition| condition.code) }
}

fn counted(partitions: usize) -> String {
    if partitions == 1 { "1 partition".to_owned() } else { format!("{partitions} partitions") }
}

fn plain(state: RunState, since: Timestamp, why: Option<&str>) -> Condition {
    Condition { state, since, why: why.map(str::to_owned), code: None }
}

/// Upper bound of the age of what would be lost if the source were gone at `now`.
///
/// With messages left to copy it is the lag. Without any it is the age of that knowledge: what arrived since the source
/// was last seen to hold nothing else could be lost. None where nothing is known.
#[must_use]
pub fn rpo_seconds(figures: &PartitionFigures, now: Timestamp) -> Option<f64> {
    if figures.lag_messages()? > 0 {
        return figures.lag_seconds(now);
    }
    figures.caught_up_at.map(|at| seconds_between(at, now))
}

/// Seconds from one time to a later one; zero where the clock went back.
#[must_use]
pub fn seconds_between(earlier: Timestamp, later: Timestamp) -> f64 {
    let milliseconds = later.0.saturating_sub(earlier.0);
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)).as_secs_f64()
}

#[cfg(test)]
#[path = "survey_tests.rs"]
mod tests;
