//! Is the source still the one that was copied? Looks at the record before the place where reading goes on.
//!
//! Offsets mean something only within one life of a queue. After a restart, a reconnection, or a change between master
//! and slave, the last record that was copied is read again: if it is another one now, the queue was truncated,
//! restored or re-created, and going on would mix two lives. Must be asked before any record of the new connection is
//! trusted.

use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_rocketmq::wire::record::Record;

use super::batching::Last;
use super::ports::{Queue, Read};
use super::trouble::Trouble;

/// What is known of the last record that was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Boundary {
    /// Its source offset.
    pub(super) offset: i64,
    /// How it is recognised.
    pub(super) witness: Witness,
}

/// How a record is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Witness {
    /// The record itself was read.
    Fingerprint(u64),
    /// Only its copy is known; bodies are copied byte for byte.
    Copy {
        /// The checksum of the body.
        body_crc: u32,
        /// The length of the body.
        body_length: usize,
    },
}

impl Boundary {
    /// The boundary behind what was left out.
    pub(super) fn behind(last: &Last) -> Self {
        Self { offset: last.offset, witness: Witness::Fingerprint(last.fingerprint) }
    }

    /// The boundary behind a record.
    pub(super) fn of(record: &Record) -> Self {
        Self { offset: record.queue_offset, witness: Witness::Fingerprint(record.fingerprint()) }
    }

    fn is(&self, record: &Record) -> bool {
        match self.witness {
            Witness::Fingerprint(fingerprint) => record.fingerprint() == fingerprint,
            Witness::Copy { body_crc, body_length } => record.body_crc == body_crc && record.body.len() == body_length,
        }
    }
}

/// Looks at the record of the boundary: no fault when it is the one that was copied, or when the master does not hold
/// it any more, so that nothing can be told. A slave has to show it: one that does not is an outage of the master, and
/// so is what speaks against it. Also says who answered, as [`Read::answered`]: of anybody else it says nothing.
pub(super) async fn check<Q: Queue>(queue: &Q, boundary: &Boundary) -> Result<(Option<Fault>, (bool, u64)), Trouble> {
    let read = queue.read(boundary.offset, 1, Duration::ZERO).await?;
    Ok((judge(&read, boundary)?, read.answered()))
}

/// A slave that lags says nothing about the queue.
pub(super) fn slave_ends_at(maximum: i64) -> Trouble {
    let why = format!("the slave that answers ends at offset {maximum}, before what was copied from its master");
    Trouble::new(ErrorCode::Unreachable, why)
}

fn judge(read: &Read, boundary: &Boundary) -> Result<Option<Fault>, Trouble> {
    let offset = boundary.offset;
    if let Some(record) = read.records.first().filter(|record| record.queue_offset == offset) {
        let has_diverged = !boundary.is(record);
        if has_diverged && read.from_slave {
            let why =
                format!("the slave that answers has another record at offset {offset} than the one that was copied");
            return Err(Trouble::new(ErrorCode::Unreachable, why));
        }
        return Ok(has_diverged.then_some(Fault::SourceDiverged { offset }));
    }
    let (minimum, maximum) = (read.bounds.minimum, read.bounds.maximum);
    let ends_before = minimum <= offset && maximum <= offset;
    match (read.from_slave, ends_before) {
        (true, true) => Err(slave_ends_at(maximum)),
        (true, false) => {
            let why = format!(
                "the slave that answers does not show the last copied record, offset {offset}, with a queue from \
                 {minimum} to {maximum}: nothing says that it is the queue that was copied"
            );
            Err(Trouble::new(ErrorCode::Unreachable, why))
        }
        (false, true) => Ok(Some(Fault::SourceRolledBack { copied: offset.saturating_add(1), maximum })),
        (false, false) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicate::memory::{MemoryQueue, message};

    #[tokio::test]
    async fn the_same_record_passes_and_another_one_does_not() {
        let queue = MemoryQueue::default();
        queue.append_all((0..5).map(message));
        let record = queue.record(3);
        let boundary = Boundary::of(&record);
        let check = async || check(&queue, &boundary).await.map(|(fault, _)| fault);
        assert_eq!(check().await, Ok(None));
        queue.truncate(3);
        assert_eq!(check().await, Ok(Some(Fault::SourceRolledBack { copied: 4, maximum: 3 })));
        queue.append_all((100..105).map(message));
        assert_eq!(check().await, Ok(Some(Fault::SourceDiverged { offset: 3 })));
        queue.retain_from(4);
        assert_eq!(check().await, Ok(None), "nothing can be told any more");
    }

    #[tokio::test]
    async fn a_copy_is_a_witness_too_and_a_slave_that_lags_or_diverged_is_an_outage() {
        let queue = MemoryQueue::default();
        queue.append_all((0..5).map(message));
        let record = queue.record(4);
        let witness = Witness::Copy { body_crc: record.body_crc, body_length: record.body.len() };
        assert_eq!(check(&queue, &Boundary { offset: 4, witness }).await, Ok((None, (false, 0))));
        let fault = check(&queue, &Boundary { offset: 3, witness }).await;
        assert_eq!(fault, Ok((Some(Fault::SourceDiverged { offset: 3 }), (false, 0))));
        queue.hide([4]);
        assert_eq!(check(&queue, &Boundary { offset: 4, witness }).await, Ok((None, (false, 0))));
        queue.serve_as_slave(true);
        assert!(check(&queue, &Boundary { offset: 4, witness }).await.is_err(), "it vouches for nothing");
        assert!(check(&queue, &Boundary { offset: 3, witness }).await.is_err());
        queue.truncate(4);
        assert!(check(&queue, &Boundary { offset: 4, witness }).await.is_err());
    }
}
