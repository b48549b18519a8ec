//! The seam of the data path: what a source queue and a target queue can do. There is no other way out of it.
//!
//! [`Queue`] is what both have in common, [`Source`] and [`Sink`] add what each end needs. The RocketMQ pair is in
//! [`super::rocketmq`], the pair that tests and simulations use in `memory`. An implementation only carries requests:
//! it never retries, never skips, and never judges what it read.

use std::future::Future;
use std::time::Duration;

use causeway_rocketmq::wire::record::Record;
use causeway_rocketmq::{Dispatched, OutgoingBatch, SendOutcome};

use super::batching::Last;
use super::trouble::Trouble;

/// The first offset that a queue holds, and the one behind its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The first offset that is still there.
    pub minimum: i64,
    /// One behind the last offset that can be read.
    pub maximum: i64,
}

/// A stretch of a queue that whoever read it left out, because the stream's filter does: every record of it was sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// The offset of its first record.
    pub first: i64,
    /// Its last record.
    pub last: Last,
    /// How many the tag expression leaves out.
    pub filtered: u64,
    /// How many had passed the target.
    pub looped: u64,
    /// The bytes of all of them.
    pub bytes: u64,
}

/// What a read brought.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// In the broker's order; may have holes, and may be empty although the queue holds more.
    pub records: Vec<Record>,
    /// What was left out from the wanted offset on; then there are no records. None where the broker itself was read.
    pub left_out: Option<LeftOut>,
    /// The ends of the queue as of this answer.
    pub bounds: Bounds,
    /// Whether a slave answered, which may lag or have diverged.
    pub from_slave: bool,
    /// The connection that it came over. Behind another one there may be another master, or one that restarted without
    /// its last messages.
    pub connection: u64,
}

impl Read {
    /// Who answered: whether it is a slave, and over which connection.
    pub(crate) fn answered(&self) -> (bool, u64) {
        (self.from_slave, self.connection)
    }
}

/// A queue that can be read. Cheap to clone; clones are the same queue.
pub(crate) trait Queue: Clone + Send + Sync + 'static {
    /// Reads messages from an offset on. At the end of the queue it waits for one as long as `wait` says; otherwise it
    /// answers at once. Without a wait it says what the queue holds now; with one it may give what was read ahead.
    /// Dropping it has no effect on the queue.
    fn read(
        &self,
        offset: i64,
        maximum_messages: u32,
        wait: Duration,
    ) -> impl Future<Output = Result<Read, Trouble>> + Send;

    /// The ends of the queue, from its master.
    fn bounds(&self) -> impl Future<Output = Result<Bounds, Trouble>> + Send;
}

/// The queue that messages come from.
pub(crate) trait Source: Queue {
    /// The first offset stored at or after a time (ms since 1970, by the broker's clock), or the end of the queue.
    fn offset_at(&self, timestamp: i64) -> impl Future<Output = Result<i64, Trouble>> + Send;

    /// For a while no slave is read in place of a living master, whatever the master suggests. Nothing to do for a
    /// queue without slaves.
    fn leave_slave(&self) {}
}

/// The queue that copies go to. Reads of it are answered by its master only.
pub(crate) trait Sink: Queue {
    /// Makes sure that there is a connection for sends and returns its number. A new connection or another master has
    /// another number, and then the end of the queue has to be looked at before the next send.
    fn connect(&self) -> impl Future<Output = Result<u64, Trouble>> + Send;

    /// Sends once. Dropping it while the request could still be executed closes the connection.
    fn send(&self, message: OutgoingBatch) -> impl Future<Output = SendOutcome> + Send;

    /// How far the broker's log is stored and shown; `None` where it does not tell.
    fn dispatched(&self) -> impl Future<Output = Result<Option<Dispatched>, Trouble>> + Send;

    /// The largest body, and the largest sum of encoded messages in one send; `None` where the broker does not tell.
    fn message_limit(&self) -> impl Future<Output = Result<Option<usize>, Trouble>> + Send;
}
