//! The very first place of a partition: where copying begins when there is no checkpoint yet.
//!
//! What is found here becomes the first checkpoint, and that has to be durable before the first message is copied, so
//! that a crash cannot move "latest". If the target holds copies of this partition all the same, because progress was
//! lost, copying goes on behind them.

use causeway_core::checkpoint::LastCopy;
use causeway_core::stream::StartPosition;

use super::exit::PartitionExit;
use super::ports::{Sink, Source};
use super::settings::ReplicateSettings;
use super::tail::OwnCopies;

/// The very first place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FirstPlace {
    /// The first source offset to copy.
    pub(super) source_next: i64,
    /// The end of the target queue.
    pub(super) target_next: i64,
    /// The newest copy that was there already.
    pub(super) last_copy: Option<LastCopy>,
}

/// Finds the first place. A position behind the queue becomes its end, and so does a time before it. An offset that
/// retention has passed stays what it is: the first read tells what is missing.
pub(super) async fn first_place<S: Source, K: Sink>(
    source: &S,
    sink: &K,
    own: &OwnCopies,
    start: StartPosition,
    settings: &ReplicateSettings,
) -> Result<FirstPlace, PartitionExit> {
    let bounds = source.bounds().await.map_err(PartitionExit::source_lost)?;
    let inside = |offset: i64| offset.min(bounds.maximum).max(bounds.minimum);
    let wanted = match start {
        StartPosition::Earliest => bounds.minimum,
        StartPosition::Latest => inside(bounds.maximum),
        StartPosition::Timestamp(timestamp) => {
            inside(source.offset_at(timestamp).await.map_err(PartitionExit::source_lost)?)
        }
        StartPosition::Offset(offset) => offset.min(bounds.maximum.max(bounds.minimum)),
    };
    let target = sink.bounds().await.map_err(PartitionExit::sink_lost)?;
    let low = target.maximum.saturating_sub(i64::from(settings.first_search_messages)).max(target.minimum);
    let newest = own.newest(sink, low, target.maximum, settings.batch_messages, |_| true);
    let newest = newest.await.map_err(PartitionExit::sink_lost)?;
    let source_next = match newest {
        // An operator who names an offset may mean to leave something out.
        Some(copy) if matches!(start, StartPosition::Offset(_)) => {
            wanted.max(copy.place.source_offset.saturating_add(1))
        }
        Some(copy) => copy.place.source_offset.saturating_add(1),
        None => wanted,
    };
    let last_copy = newest.map(|copy| copy.place);
    let behind = last_copy.map_or(target.maximum, |copy| copy.target_offset.saturating_add(1));
    Ok(FirstPlace { source_next, target_next: behind, last_copy })
}
