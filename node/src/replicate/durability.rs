//! How far the copies of a partition are durable, and so how far its checkpoint may be.
//!
//! | acknowledgement | policy `Confirmed` | policy `Stored` |
//! |---|---|---|
//! | full SUCCESS | the checkpoint advances to it, and past everything before it | advances |
//! | stored, but not flushed or not on a slave | the checkpoint waits for the next full one | advances |
//! | nothing sent, all left out | advances unless it waits | advances |
//! | none: the tail shows it after a restart or an unknown outcome | advances unless it waits | advances |
//!
//! A later full SUCCESS covers the earlier bytes, because a broker's log is flushed and copied in order; a new
//! connection, perhaps to another master, reads the tail first. A checkpoint is never ahead of what the target showed
//! or acknowledged. How a copy was acknowledged is known to the run that sent it alone: what the next run finds counts,
//! and where a weaker master loses it later, the last copy of the checkpoint is missed and it is copied again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use causeway_core::checkpoint::{Checkpoint, LastCopy};
use causeway_core::stream::Durability;

use super::batching::Ready;
use super::progress::ProgressCell;
use super::resume::{Cause, Resumed};
use super::sink::Ack;
use crate::clock;
use crate::status::PartitionGauge;

/// Turns acknowledgements into checkpoints.
pub(super) struct Recorder {
    policy: Durability,
    progress: Arc<ProgressCell>,
    gauge: Arc<PartitionGauge>,
    /// What is copied, durable or not.
    reached: Checkpoint,
    /// What is durable; the newest that was stored, or that the run began with.
    durable: Checkpoint,
    waits: bool,
}

impl Recorder {
    /// Begins behind a checkpoint that is agreed on or about to be.
    pub(super) fn new(
        policy: Durability,
        progress: Arc<ProgressCell>,
        gauge: Arc<PartitionGauge>,
        durable: Checkpoint,
    ) -> Self {
        gauge.set_durable(durable.source_next, None);
        Self { policy, progress, gauge, reached: durable.clone(), durable, waits: false }
    }

    /// The checkpoint to go on from after an interruption.
    pub(super) fn durable(&self) -> &Checkpoint {
        &self.durable
    }

    /// What is copied, durable or not.
    pub(super) fn reached(&self) -> &Checkpoint {
        &self.reached
    }

    /// The first source offset that is not copied yet.
    pub(super) fn reached_next(&self) -> i64 {
        self.reached.source_next
    }

    /// Whether copies wait for durability.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// The target's tail was read: copying goes on there. A batch that was the cause has an acknowledgement of its own,
    /// which nobody recorded.
    pub(super) fn resumed(&mut self, resumed: &Resumed, cause: Cause) {
        if let Cause::Stray { full: false, .. } = cause {
            self.waits = self.policy == Durability::Confirmed;
        }
        if resumed.source_next == self.durable.source_next {
            self.reached.fingerprint = self.durable.fingerprint;
        } else if resumed.source_next != self.reached.source_next {
            // The record before it is another one.
            self.reached.fingerprint = None;
        }
        self.reached.source_next = resumed.source_next;
        self.reached.target_next = resumed.target_next.max(self.durable.target_next);
        self.reached.last_copy = resumed.last_copy;
        resumed.late.report(&self.gauge);
        if !self.waits {
            self.store(None);
        }
    }

    /// Records were copied, or all left out.
    pub(super) fn record(&mut self, ready: &Ready, ack: Option<Ack>) {
        let Some(last) = ready.last else { return };
        self.reached.source_next = last.offset.saturating_add(1);
        self.reached.fingerprint = Some(last.fingerprint);
        if let (Some(ack), Some(source_offset)) = (ack, ready.last_copied) {
            self.reached.target_next = ack.offset.saturating_add(ready.messages);
            self.reached.last_copy =
                Some(LastCopy { source_offset, target_offset: self.reached.target_next.saturating_sub(1) });
            self.waits = self.policy == Durability::Confirmed && !ack.full;
            let messages = u64::try_from(ready.messages).unwrap_or(0);
            self.gauge.written_messages.fetch_add(messages, Ordering::Relaxed);
            self.gauge.written_bytes.fetch_add(u64::try_from(ready.bytes).unwrap_or(0), Ordering::Relaxed);
        }
        self.gauge.filtered_messages.fetch_add(ready.filtered, Ordering::Relaxed);
        self.gauge.looped_messages.fetch_add(ready.looped, Ordering::Relaxed);
        if !self.waits {
            self.store(Some(last.store_timestamp));
        }
    }

    /// At the end of the source queue: everything it holds is durable, unless something waits.
    pub(super) fn at_end(&self) {
        if !self.waits {
            self.gauge.set_caught_up(clock::now());
        }
    }

    fn store(&mut self, newest_store_timestamp: Option<i64>) {
        if self.durable != self.reached {
            self.durable = self.reached.clone();
            self.progress.store(self.durable.clone());
        }
        self.gauge.set_durable(self.durable.source_next, newest_store_timestamp);
    }
}
