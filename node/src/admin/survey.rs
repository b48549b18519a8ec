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
//! | figures of the present ownership are known | what they say |
//! | otherwise, as where its owner has not been heard for some seconds | `starting` |
//!
//! What an owner told is forgotten when it is not heard for three seconds (`app/neighbours.rs`): whether it copies is
//! not known then, until it is heard or the partition has another owner, which begins in `starting` as well. `blocked`
//! is left to what an owner says itself; it does where the node that reads the source for it is not heard.
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
//! A stream is in a state since the first of its partitions is, except `running`: it runs since the last one does. A
//! partition that nobody reports is `ready` or `starting` since its present ownership was seen to begin, and where its
//! owner fell silent, since that was heard last.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_core::ids::{Epoch, StreamId, Timestamp};
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
    /// What is measured of its present ownership; none where this node does not know it.
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

/// What is measured of a partition.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'a> {
    /// Under which ownership.
    pub epoch: Epoch,
    /// What its gauge says.
    pub condition: &'a Condition,
    /// Whether a run of it has not ended.
    pub runs: bool,
}

/// What this node knows of an ownership beside what was agreed and is measured.
#[derive(Debug, Clone, Default)]
pub struct Ownership {
    /// When it began, or was seen first.
    pub since: Timestamp,
    /// The owner's name and when it was heard last, where it is not heard any more.
    pub silent: Option<(String, Timestamp)>,
}

impl Ownership {
    fn of(id: &PartitionId, agreed: &Partition, view: &State, board: &StatusBoard) -> Self {
        let silence = agreed.owner.and_then(|owner| Some((owner, board.silence(owner)?.since)));
        let named = |(owner, since)| {
            let name = view.nodes.get(&owner).map_or_else(|| owner.to_string(), |node| node.name.to_string());
            (name, since)
        };
        Self { since: board.owned_since(id, agreed), silent: silence.map(named) }
    }
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
        look_at(stream, own, &mut measured, (view, board))
    };
    view.streams.values().map(&mut look).collect()
}

/// Looks at one stream.
#[must_use]
pub fn survey_one<'a>(view: &'a State, board: &StatusBoard, stream: &'a Stream) -> StreamSurvey<'a> {
    look_at(stream, view.partitions_of(stream.id).collect(), &mut board.partitions(), (view, board))
}

fn look_at<'a>(
    stream: &'a Stream,
    partitions: Vec<(&'a PartitionId, &'a Partition)>,
    measured: &mut BTreeMap<PartitionId, PartitionFigures>,
    (view, board): (&State, &StatusBoard),
) -> StreamSurvey<'a> {
    let look = |(id, agreed): (&'a PartitionId, &'a Partition)| {
        let figures = measured.remove(id);
        let measured = figures.as_ref().map(|figures| Measured {
            epoch: figures.epoch,
            condition: &figures.condition,
            runs: figures.runs,
        });
        let condition = partition_condition(stream, agreed, measured, &Ownership::of(id, agreed, view, board));
        let figures = figures.filter(|figures| is_present(figures.epoch, agreed));
        PartitionSurvey { id, agreed, condition, figures: figures.map(|figures| with_agreed(figures, agreed)) }
    };
    let partitions: Vec<_> = partitions.into_iter().map(look).collect();
    let conditions: Vec<_> = partitions.iter().map(|partition| &partition.condition).collect();
    let condition = stream_condition(stream, board.stream(stream.id).as_ref(), &conditions);
    StreamSurvey { agreed: stream, condition, partitions }
}

/// Whether what was measured is of the ownership that was agreed on; a node may know of a later one first.
fn is_present(measured: Epoch, agreed: &Partition) -> bool {
    measured >= agreed.epoch
}

/// What was agreed to be durable is, whatever a new owner has found out by itself.
fn with_agreed(figures: PartitionFigures, agreed: &Partition) -> PartitionFigures {
    let checkpoint = agreed.checkpoint.as_ref().map(|checkpoint| checkpoint.source_next);
    PartitionFigures { durable_next: figures.durable_next.max(checkpoint), ..figures }
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

/// The state of a partition; see the module's first table.
#[must_use]
pub fn partition_condition(
    stream: &Stream,
    agreed: &Partition,
    measured: Option<Measured<'_>>,
    ownership: &Ownership,
) -> Condition {
    if let Some(raised) = &agreed.fault {
        let (why, code) = (Some(raised.fault.to_string()), Some(raised.fault.code()));
        return Condition { state: RunState::Faulted, since: raised.since, why, code };
    }
    if stream.desired == DesiredState::Paused {
        let runs = measured.is_some_and(|measured| measured.runs);
        let state = if runs { RunState::Pausing } else { RunState::Paused };
        return plain(state, stream.changed_at, None);
    }
    let since = ownership.since.max(stream.changed_at);
    let present = measured.filter(|measured| is_present(measured.epoch, agreed));
    match (agreed.owner, present, &ownership.silent) {
        (None, _, _) => plain(RunState::Ready, since, Some("no node runs it yet")),
        (Some(_), Some(measured), _) => measured.condition.clone(),
        (Some(_), None, Some((owner, heard))) => {
            let why = format!("its owner {owner} has not reported since then: whether it copies is not known");
            plain(RunState::Starting, since.max(*heard), Some(&why))
        }
        (Some(_), None, None) => plain(RunState::Starting, since, Some("its owner has not reported it yet")),
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
/// With messages left to copy it is the lag. Without any, or where the source does not answer, it is the age of what
/// was known last: what arrived since the source was last seen to hold nothing else, or since the newest message that
/// is durable, could be lost. None where nothing is known.
#[must_use]
pub fn rpo_seconds(figures: &PartitionFigures, now: Timestamp) -> Option<f64> {
    let caught_up = figures.caught_up_at;
    match figures.lag_messages() {
        Some(0) => caught_up.map(|at| seconds_between(at, now)),
        Some(_) => figures.lag_seconds(now),
        None => {
            let newest = figures.newest_store_timestamp.map(Timestamp);
            caught_up.map(|at| seconds_between(newest.map_or(at, |newest| newest.max(at)), now))
        }
    }
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
