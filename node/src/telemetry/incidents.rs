//! Counts how often streams and partitions began to be blocked or faulted, by code.
//!
//! Looked at about once a second: what begins and heals in between is not counted.

use std::collections::BTreeMap;

use causeway_core::error_code::ErrorCode;
use causeway_core::ids::{StreamId, Timestamp};
use causeway_core::partition::PartitionId;

use crate::admin::survey::StreamSurvey;
use crate::status::{Condition, RunState, StatusBoard};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Stream(StreamId),
    Partition(PartitionId),
}

/// What was counted since the process started.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    /// What is wrong now, and since when.
    present: BTreeMap<Place, (ErrorCode, Timestamp)>,
    errors: BTreeMap<ErrorCode, u64>,
    source_gaps: BTreeMap<StreamId, u64>,
}

impl Incidents {
    /// Looks at everything once.
    pub(super) fn look(&mut self, streams: &[StreamSurvey<'_>], board: &StatusBoard) {
        let mut present = BTreeMap::new();
        for stream in streams {
            let whole = board.stream(stream.agreed.id);
            note(&mut present, || Place::Stream(stream.agreed.id), whole.as_ref());
            for partition in &stream.partitions {
                note(&mut present, || Place::Partition(partition.id.clone()), Some(&partition.condition));
            }
        }
        for (place, wrong) in &present {
            if self.present.get(place) != Some(wrong) {
                self.count(place, wrong.0);
            }
        }
        self.present = present;
        self.source_gaps.retain(|id, _| streams.iter().any(|stream| stream.agreed.id == *id));
    }

    fn count(&mut self, place: &Place, code: ErrorCode) {
        let errors = self.errors.entry(code).or_default();
        *errors = errors.saturating_add(1);
        let gap = matches!(
            code,
            ErrorCode::SourceGap | ErrorCode::RetentionWon | ErrorCode::SourceRolledBack | ErrorCode::SourceDiverged
        );
        if let (true, Place::Partition(id)) = (gap, place) {
            let gaps = self.source_gaps.entry(id.stream).or_default();
            *gaps = gaps.saturating_add(1);
        }
    }

    pub(super) fn errors(&self) -> BTreeMap<ErrorCode, u64> {
        self.errors.clone()
    }

    pub(super) fn source_gaps(&self, stream: StreamId) -> u64 {
        self.source_gaps.get(&stream).copied().unwrap_or(0)
    }
}

fn note(
    present: &mut BTreeMap<Place, (ErrorCode, Timestamp)>,
    place: impl FnOnce() -> Place,
    condition: Option<&Condition>,
) {
    let wrong = condition.filter(|condition| matches!(condition.state, RunState::Blocked | RunState::Faulted));
    if let Some((code, since)) = wrong.and_then(|condition| Some((condition.code?, condition.since))) {
        present.insert(place(), (code, since));
    }
}
