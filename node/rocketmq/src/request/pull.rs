//! Reading messages of one queue (PULL_MESSAGE).
//!
//! Parts: [`PullRequest`], [`Pull`], [`PullReason`]; [`Client::pull`], which decides between master and slave; `answer`, the bytes.
//! The subscription travels in the request, so nothing is registered at the broker. Never judges gaps: whether the records follow
//! on what was asked for, and whether their CRCs are right, is the caller's to check. Never skips an undecodable record.

mod answer;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::client::Client;
use crate::error::{Class, Error, cap};
use crate::route::{BrokerRoute, MASTER_ID, Queue};
use crate::settings::SlaveReads;
use crate::wire::code::response::PULL_RETRY_IMMEDIATELY;
use crate::wire::record::Record;

/// What a broker may take beyond the long poll itself: it scans held requests every 5 s.
const LONG_POLL_MARGIN: Duration = Duration::from_secs(10);

/// A slave whose master lives does not hold a pull at the end of the queue; this client waits instead, at most this long.
const SLAVE_POLL: Duration = Duration::from_secs(1);

/// Which messages to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullRequest {
    /// Queue offset of the first one.
    pub offset: i64,
    /// At most this many; brokers usually return at most 32 (8 from disk), whatever is asked.
    pub maximum_messages: u32,
    /// How long the broker may wait for a message at the end of the queue. Zero answers at once.
    pub wait: Duration,
}

/// What a pull brought. Offsets are queue offsets; `minimum_offset` and `maximum_offset` are the broker's first offset and the one
/// behind its last, as of this answer. `from_slave` data may lag or have diverged: check the boundary. A slave answers with `Found` or `AtTail` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pull {
    /// Messages.
    Found {
        /// In the broker's order. May have holes: brokers skip what they cannot read without a word.
        records: Vec<Record>,
        /// Bytes of the records on the wire.
        bytes: usize,
        /// Where the broker would go on.
        next_offset: i64,
        /// First offset of the queue.
        minimum_offset: i64,
        /// One behind the last offset of the queue.
        maximum_offset: i64,
        /// Whether a slave answered.
        from_slave: bool,
    },
    /// Nothing there yet.
    AtTail {
        /// The broker's words.
        reason: PullReason,
        /// Where the broker would go on.
        next_offset: i64,
        /// First offset of the queue.
        minimum_offset: i64,
        /// One behind the last offset of the queue.
        maximum_offset: i64,
        /// Whether a slave answered.
        from_slave: bool,
    },
    /// The offset asked for is outside the queue: retention passed it, or the queue lost its end or was made anew. An incident, not
    /// something to follow.
    OffsetMoved {
        /// The broker's words.
        reason: PullReason,
        /// Where the broker would go on.
        next_offset: i64,
        /// First offset of the queue.
        minimum_offset: i64,
        /// One behind the last offset of the queue.
        maximum_offset: i64,
        /// Whether a slave answered.
        from_slave: bool,
    },
    /// The broker asks to come again, from `next_offset`. With [`PullReason::MessageWasRemoving`] messages may be gone.
    RetryNow {
        /// The broker's words.
        reason: PullReason,
        /// Where the broker would go on.
        next_offset: i64,
        /// First offset of the queue.
        minimum_offset: i64,
        /// One behind the last offset of the queue.
        maximum_offset: i64,
        /// Whether a slave answered.
        from_slave: bool,
    },
}

/// Why a broker gave no messages: its `GetMessageStatus`, which it writes into the remark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PullReason {
    /// Messages are there, but none that matches. Does not happen with the subscription to everything.
    NoMatchedMessage,
    /// The store is being cleaned: messages from the asked offset on may be gone.
    MessageWasRemoving,
    /// The queue's index has no readable entry there.
    OffsetFoundNull,
    /// The offset is far beyond the end: the queue lost its end or was made anew.
    OffsetOverflowBadly,
    /// The offset is the end: nothing new yet.
    OffsetOverflowOne,
    /// Retention passed the offset.
    OffsetTooSmall,
    /// The broker has no such queue in its store.
    NoMatchedLogicQueue,
    /// The queue is empty.
    NoMessageInQueue,
    /// Somebody reset the group's offset at the broker.
    OffsetReset,
    /// Not said, or in words that are not known.
    Other,
}

impl Client {
    /// Reads messages of one queue from its master, or from a slave where the settings allow it.
    ///
    /// Answers within `wait` and 10 s (or the request timeout, if that is longer). A master that cannot be reached is left alone
    /// for 5 s while a slave serves. A slave must have `slaveReadEnable`; otherwise it refuses as busy. A slave that does not hold the
    /// offset is [`Error::SlaveCannotServe`], never [`Pull::OffsetMoved`].
    pub async fn pull(&self, queue: &Queue, request: &PullRequest) -> Result<Pull, Error> {
        let route = self.route(&queue.topic).await?;
        let entry = self.broker_of(&route, queue)?;
        let pulled = self.pull_by_policy(queue, request, entry).await;
        if let Err(error) = &pulled
            && (error.is_connection() || matches!(error.class(), Some(Class::TopicMissing | Class::Unavailable)))
        {
            self.inner.directory.doubt(&queue.topic);
        }
        pulled
    }

    async fn pull_by_policy(&self, queue: &Queue, request: &PullRequest, entry: &BrokerRoute) -> Result<Pull, Error> {
        let policy = self.inner.settings.slave_reads;
        let slaves = match policy {
            SlaveReads::Never => None,
            SlaveReads::WhenMasterIsGone | SlaveReads::ColdCatchUp => Some(&entry.broker.slaves),
        };
        let slaves = slaves.filter(|slaves| !slaves.is_empty());
        let Some(master) = &entry.broker.master else {
            let missing = Error::BrokerMissing { broker: queue.broker.to_string(), role: "master" };
            let Some(slaves) = slaves else { return Err(missing) };
            return self.pull_from_slaves(queue, request, slaves.values()).await.unwrap_or(Err(missing));
        };
        let Some(slaves) = slaves else { return self.pull_from(queue, request, master, false).await };
        if let Some(suggested) = self.suggestion(queue).and_then(|id| slaves.get(&id))
            && let Ok(pulled) = self.pull_from(queue, request, suggested, true).await
        {
            return Ok(pulled);
        }
        let mut unreachable = None;
        if !self.inner.directory.master_is_avoided(&queue.broker) {
            match self.pull_from(queue, request, master, false).await {
                Err(error @ (Error::Unreachable { .. } | Error::Tls { .. })) => unreachable = Some(error),
                answered => return answered,
            }
            tracing::warn!(broker = %queue.broker, %master, "master unreachable, reading a slave");
            self.inner.directory.avoid_master(&queue.broker);
        }
        match (self.pull_from_slaves(queue, request, slaves.values()).await, unreachable) {
            (Some(Err(slave)), Some(Error::Unreachable { address, reason })) => {
                Err(Error::Unreachable { address, reason: cap(&format!("{reason}; {slave}")) })
            }
            (Some(Err(_)) | None, None) => self.pull_from(queue, request, master, false).await,
            (None, Some(master)) => Err(master),
            (Some(answered), _) => answered,
        }
    }

    /// Tries slaves in turn; `None` if there is none.
    async fn pull_from_slaves(
        &self,
        queue: &Queue,
        request: &PullRequest,
        slaves: impl Iterator<Item = &Arc<str>>,
    ) -> Option<Result<Pull, Error>> {
        let mut last = None;
        for slave in slaves {
            let pulled = self.pull_from(queue, request, slave, true).await;
            let next_may_help = pulled.as_ref().is_err_and(|error| {
                let behind = matches!(error, Error::SlaveCannotServe { .. });
                behind || error.is_connection() || error.class() == Some(Class::Busy)
            });
            last = Some(pulled);
            if !next_may_help {
                break;
            }
        }
        last
    }

    async fn pull_from(
        &self,
        queue: &Queue,
        request: &PullRequest,
        address: &Arc<str>,
        from_slave: bool,
    ) -> Result<Pull, Error> {
        let patience = request.wait.saturating_add(LONG_POLL_MARGIN.max(self.inner.settings.request_timeout));
        let frame = answer::encode(queue, request, &self.inner.settings.consumer_group);
        let answered = self.ask(address, frame, patience).await?;
        let (pulled, suggested) = answer::interpret(address, &answered, from_slave)?;
        if self.inner.settings.slave_reads == SlaveReads::ColdCatchUp {
            self.follow(queue, suggested);
        }
        if answered.code == PULL_RETRY_IMMEDIATELY && matches!(pulled, Pull::AtTail { .. }) {
            tokio::time::sleep(request.wait.min(SLAVE_POLL)).await;
        }
        Ok(pulled)
    }

    fn suggestion(&self, queue: &Queue) -> Option<u64> {
        if self.inner.settings.slave_reads != SlaveReads::ColdCatchUp {
            return None;
        }
        self.inner.suggested.lock().unwrap_or_else(PoisonError::into_inner).get(queue).copied()
    }

    fn follow(&self, queue: &Queue, suggested: u64) {
        let mut known = self.inner.suggested.lock().unwrap_or_else(PoisonError::into_inner);
        if suggested == MASTER_ID {
            known.remove(queue);
        } else {
            known.insert(queue.clone(), suggested);
        }
    }
}
