//! What the node has seen since it started: changes of state, and where each catch-up began.
//!
//! Looked at once a second by the server, never by a request, so that what a client sees does not depend on how often
//! clients ask. Bounded: 100 events, one note for each stream that exists.

use std::collections::{BTreeMap, VecDeque};

use causeway_core::ids::{StreamId, Timestamp};
use causeway_core::name::Name;

use super::model::status::{CatchUp, EventView};
use super::survey::{StreamSurvey, seconds_between};
use crate::status::{Condition, RunState};
use crate::telemetry::rates::approximate;

/// Changes of state that are kept.
pub const MAXIMUM_EVENTS: usize = 100;

/// How many looks the pace of a catch-up is measured over.
const PACE_LOOKS: usize = 10;

#[derive(Debug)]
struct Note {
    name: Name,
    condition: Condition,
    /// The backlog when the present catch-up was first seen.
    began: Option<Backlog>,
    /// How much was left at the latest looks of the present catch-up.
    left: VecDeque<(Timestamp, u64)>,
}

/// Where a stream stands in its source queues, summed over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// The sum of the first offsets that are not durable.
    pub durable: i64,
    /// Messages that the source holds and the target does not.
    pub left: u64,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct History {
    notes: BTreeMap<StreamId, Note>,
    events: VecDeque<EventView>,
}

impl History {
    /// Looks at every stream once.
    pub fn look(&mut self, streams: &[StreamSurvey<'_>], now: Timestamp) {
        let exists = |id: &StreamId| streams.iter().any(|stream| stream.agreed.id == *id);
        let gone: Vec<StreamId> = self.notes.keys().filter(|id| !exists(id)).copied().collect();
        for id in gone {
            if let Some(note) = self.notes.remove(&id) {
                self.note_event(event(now, note.name, Some(note.condition.state), None, None));
            }
        }
        for stream in streams {
            self.look_at(stream, now);
        }
    }

    fn look_at(&mut self, stream: &StreamSurvey<'_>, now: Timestamp) {
        let (id, condition) = (stream.agreed.id, &stream.condition);
        let before = self.notes.get(&id).map(|note| (note.condition.state, note.condition.code));
        if before != Some((condition.state, condition.code)) {
            let from = before.map(|(state, _)| state);
            let name = stream.agreed.spec.name.clone();
            self.note_event(event(now, name, from, Some(condition.state), Some(condition)));
        }
        let fresh = || Note {
            name: stream.agreed.spec.name.clone(),
            condition: condition.clone(),
            began: None,
            left: VecDeque::new(),
        };
        let note = self.notes.entry(id).or_insert_with(fresh);
        note.condition = condition.clone();
        match backlog(stream).filter(|_| condition.state == RunState::CatchingUp) {
            Some(backlog) => {
                note.began = note.began.or(Some(backlog));
                if note.left.len() >= PACE_LOOKS {
                    note.left.pop_front();
                }
                note.left.push_back((now, backlog.left));
            }
            None => (note.began, note.left) = (None, VecDeque::new()),
        }
    }

    fn note_event(&mut self, event: EventView) {
        if self.events.len() >= MAXIMUM_EVENTS {
            self.events.pop_back();
        }
        self.events.push_front(event);
    }

    /// The latest changes of state, newest first.
    #[must_use]
    pub fn events(&self) -> Vec<EventView> {
        self.events.iter().cloned().collect()
    }

    /// How far the present catch-up of a stream is; none in any other state.
    #[must_use]
    pub fn catch_up(&self, stream: &StreamSurvey<'_>) -> Option<CatchUp> {
        if stream.condition.state != RunState::CatchingUp {
            return None;
        }
        let (note, current) = (self.notes.get(&stream.agreed.id), backlog(stream));
        let began = note.and_then(|note| note.began);
        let left = current.map(|current| current.left);
        let pace = note.and_then(|note| pace(&note.left)).filter(|pace| *pace > 0.0);
        Some(CatchUp {
            percent: current.zip(began).and_then(|(current, began)| percent(began, current)),
            remaining_messages: left,
            eta_seconds: left.zip(pace).map(|(left, pace)| approximate(left) / pace),
        })
    }
}

/// By how many messages a second a backlog shrinks, new messages included; negative where it grows.
fn pace(left: &VecDeque<(Timestamp, u64)>) -> Option<f64> {
    let ((start, before), (end, after)) = (left.front()?, left.back()?);
    let seconds = seconds_between(*start, *end);
    (seconds > 0.0).then(|| (approximate(*before) - approximate(*after)) / seconds)
}

/// The backlog of a stream; none where it has no partitions or one of them does not know.
#[must_use]
pub fn backlog(stream: &StreamSurvey<'_>) -> Option<Backlog> {
    let mut sum = Backlog { durable: 0, left: 0 };
    for partition in &stream.partitions {
        let figures = partition.figures.as_ref()?;
        sum.durable = sum.durable.saturating_add(figures.durable_next?);
        sum.left = sum.left.saturating_add(figures.lag_messages()?);
    }
    (!stream.partitions.is_empty()).then_some(sum)
}

/// Percent of what there was to copy since a catch-up began; none where offsets went back in between.
fn percent(began: Backlog, current: Backlog) -> Option<f64> {
    let done = u64::try_from(current.durable.checked_sub(began.durable)?).ok()?;
    let whole = done.checked_add(current.left).filter(|whole| *whole > 0)?;
    Some(approximate(done) * 100.0 / approximate(whole))
}

fn event(
    at: Timestamp,
    stream: Name,
    from: Option<RunState>,
    to: Option<RunState>,
    reason: Option<&Condition>,
) -> EventView {
    let why = reason.and_then(|condition| condition.why.clone());
    let code = reason.and_then(|condition| condition.code).map(|code| code.to_string());
    EventView { at, stream, from, to, why, code }
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::Timestamp;

    use super::{Backlog, History, MAXIMUM_EVENTS, percent};
    use crate::admin::survey::survey;
    use crate::admin::tests::two_streams;
    use crate::status::{RunState, StatusBoard};

    #[test]
    fn percent_counts_from_the_beginning_and_includes_new_messages() {
        let at = |durable, left| Backlog { durable, left };
        assert_eq!(percent(at(100, 400), at(100, 400)), Some(0.0));
        assert_eq!(percent(at(100, 400), at(200, 300)), Some(25.0));
        assert_eq!(percent(at(100, 400), at(300, 600)), Some(25.0));
        assert_eq!(percent(at(100, 400), at(500, 0)), Some(100.0));
        assert_eq!(percent(at(100, 400), at(50, 450)), None, "a restart went back");
        assert_eq!(percent(at(0, 0), at(0, 0)), None);
    }

    #[test]
    fn only_changes_are_events_and_a_deletion_is_one() {
        let (mut view, board, mut history) = (two_streams(), StatusBoard::default(), History::default());
        for second in 0..5 {
            history.look(&survey(&view, &board), Timestamp(second));
        }
        assert_eq!(history.events().len(), 2);
        assert!(history.events().iter().all(|event| event.from.is_none()));
        let name = view.streams.keys().next().unwrap().clone();
        view.streams.remove(&name);
        history.look(&survey(&view, &board), Timestamp(9));
        let newest = history.events().remove(0);
        assert_eq!((newest.at, newest.stream, newest.to), (Timestamp(9), name, None));
    }

    #[test]
    fn a_catch_up_is_measured_from_where_it_was_first_seen() {
        let (mut view, board, mut history) = (two_streams(), StatusBoard::default(), History::default());
        view.partitions.retain(|id, _| id.source.queue == 0);
        view.streams.retain(|name, _| name.as_str() == "orders");
        let (id, agreed) = view.partitions.first_key_value().unwrap();
        let gauge = board.partition(id, agreed.epoch, Timestamp(0));
        gauge.set_condition(RunState::CatchingUp, None, None, Timestamp(0));
        gauge.set_source(0, 1000);
        gauge.set_durable(200, Some(5));
        history.look(&survey(&view, &board), Timestamp(1_000));
        let seen = survey(&view, &board);
        assert_eq!(history.catch_up(&seen[0]).unwrap().eta_seconds, None, "one look shows no pace");
        gauge.set_durable(600, Some(9));
        history.look(&survey(&view, &board), Timestamp(3_000));
        let catch_up = history.catch_up(&survey(&view, &board)[0]).unwrap();
        assert_eq!((catch_up.percent, catch_up.remaining_messages), (Some(50.0), Some(400)));
        assert_eq!(catch_up.eta_seconds, Some(2.0), "400 messages in 2 s");
        gauge.set_source(600, 3000);
        history.look(&survey(&view, &board), Timestamp(4_000));
        assert_eq!(history.catch_up(&survey(&view, &board)[0]).unwrap().eta_seconds, None, "it grows");
        gauge.set_condition(RunState::Running, None, None, Timestamp(5_000));
        assert_eq!(history.catch_up(&survey(&view, &board)[0]), None);
    }

    #[test]
    fn events_are_bounded() {
        let (view, board, mut history) = (two_streams(), StatusBoard::default(), History::default());
        let (id, agreed) = view.partitions.first_key_value().unwrap();
        let gauge = board.partition(id, agreed.epoch, Timestamp(0));
        for second in 0..300 {
            let state = if second % 2 == 0 { RunState::Blocked } else { RunState::Faulted };
            gauge.set_condition(state, None, None, Timestamp(second));
            history.look(&survey(&view, &board), Timestamp(second));
        }
        assert_eq!(history.events().len(), MAXIMUM_EVENTS);
        assert_eq!(history.events()[0].at, Timestamp(299));
    }
}
