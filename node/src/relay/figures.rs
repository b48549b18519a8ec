//! What the relay does on this node: numbers that only grow, and streams that go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one node, of both sides.
#[derive(Debug, Default)]
pub struct Figures {
    batches: AtomicU64,
    raw_bytes: AtomicU64,
    wire_bytes: AtomicU64,
    left_out: AtomicU64,
    received_bytes: AtomicU64,
    failures: AtomicU64,
    turned_direct: AtomicU64,
    resumes: AtomicU64,
    credit_waits: AtomicU64,
    served_streams: AtomicU64,
    received_streams: AtomicU64,
}

/// One look at [`Figures`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Batches that this node relayed.
    pub batches: u64,
    /// Bytes of the records in them.
    pub raw_bytes: u64,
    /// Bytes that these batches took on their way.
    pub wire_bytes: u64,
    /// Messages that were left out because the stream's filter does.
    pub left_out: u64,
    /// Bytes that this node received from relays.
    pub received_bytes: u64,
    /// Times that a relay failed this node: interruptions, refusals, missing answers.
    pub failures: u64,
    /// Times that a source was read directly because its relays failed.
    pub turned_direct: u64,
    /// Times that a relay went on with a source after a failure, where the source had been relayed before.
    pub resumes: u64,
    /// Batches that had to wait because whoever reads them had not taken enough of the ones before.
    pub credit_waits: u64,
    /// Streams that this node serves now: partitions of other nodes that it reads for.
    pub served_streams: u64,
    /// Streams that this node receives now: its partitions that other nodes read for.
    pub received_streams: u64,
}

impl Figures {
    /// One look.
    #[must_use]
    pub fn sample(&self) -> Sample {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Sample {
            batches: read(&self.batches),
            raw_bytes: read(&self.raw_bytes),
            wire_bytes: read(&self.wire_bytes),
            left_out: read(&self.left_out),
            received_bytes: read(&self.received_bytes),
            failures: read(&self.failures),
            turned_direct: read(&self.turned_direct),
            resumes: read(&self.resumes),
            credit_waits: read(&self.credit_waits),
            served_streams: read(&self.served_streams),
            received_streams: read(&self.received_streams),
        }
    }

    pub(super) fn relayed(&self, raw: usize, wire: usize, left_out: u64) {
        add(&self.batches, 1);
        add(&self.raw_bytes, number(raw));
        add(&self.wire_bytes, number(wire));
        add(&self.left_out, left_out);
    }

    pub(super) fn received(&self, bytes: usize) {
        add(&self.received_bytes, number(bytes));
    }

    pub(super) fn failed(&self, turned_direct: bool) {
        add(&self.failures, 1);
        add(&self.turned_direct, u64::from(turned_direct));
    }

    pub(super) fn resumed(&self) {
        add(&self.resumes, 1);
    }

    pub(super) fn waited_for_credit(&self) {
        add(&self.credit_waits, 1);
    }

    /// A stream is served until what is returned is dropped.
    pub(super) fn serves(self: &Arc<Self>) -> Ongoing {
        Ongoing::new(Arc::clone(self), |figures| &figures.served_streams)
    }

    /// A stream is received until what is returned is dropped.
    pub(super) fn receives(self: &Arc<Self>) -> Ongoing {
        Ongoing::new(Arc::clone(self), |figures| &figures.received_streams)
    }
}

/// Counts one of something that goes on, until it is dropped.
#[derive(Debug)]
pub(super) struct Ongoing {
    figures: Arc<Figures>,
    of: fn(&Figures) -> &AtomicU64,
}

impl Ongoing {
    fn new(figures: Arc<Figures>, of: fn(&Figures) -> &AtomicU64) -> Self {
        add(of(&figures), 1);
        Self { figures, of }
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        (self.of)(&self.figures).fetch_sub(1, Ordering::Relaxed);
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn number(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
