//! Reading messages of one queue (PULL_MESSAGE).
//!
//! Parts: [`PullRequest`], [`Pull`], [`PullReason`]; [`Client::pull`], which decides between master and slave;
//! `answer`, the bytes; `suggestions`, which slaves masters want to be read.
//! The subscription travels in the request, so nothing is registered at the broker. Never judges gaps: whether the
//! records follow on what was asked for, and whether their CRCs are right, is the caller's to check. Never skips an
//! undecodable record.

mod answer;
pub(crate) mod suggestions;

use std::sync::Arc;
use std::time::Duration;

use crate::client::Client;
use crate::error::{Class, Error, cap};
use crate::route::{BrokerRoute, MASTER_ID, Queue};
use crate::settings::SlaveReads;
use crate::wire::record::Record;

/// What a broker may take beyond the long poll itself: it scans held requests every 5 s.
const LONG_POLL_MARGIN: Duration = Duration::from_secs(10);

/// A slave is not asked to hold a pull at the end of the queue, and one that holds its master for alive would not. This
/// client waits instead, at most this long, and so learns soon that there is a master again.
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

/// What a pull brought. Offsets are queue offsets; `minimum_offset` and `maximum_offset` are the broker's first offset
/// and the one behind its last, as of this answer. `from_slave` data may lag or have diverged: check the boundary. A
/// slave that does not hold the offset is [`Error::SlaveCannotServe`] instead of [`Pull::OffsetMoved`].
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
    /// The offset asked for is outside the queue: retention passed it, or the queue lost its end or was made anew. An
    /// incident, not something to follow.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PullReason {
    /// Messages are there, but none that matches. Does not happen with the subscription to everything.
    #[error("no message matches")]
    NoMatchedMessage,
    /// The store is being cleaned: messages from the asked offset on may be gone.
    #[error("messages are being removed")]
    MessageWasRemoving,
    /// The queue's index has no readable entry there.
    #[error("the index has no entry")]
    OffsetFoundNull,
    /// The offset is far beyond the end: the queue lost its end or was made anew.
    #[error("far beyond the end")]
    OffsetOverflowBadly,
    /// The offset is the end: nothing new yet.
    #[error("the end of the queue")]
    OffsetOverflowOne,
    /// Retention passed the offset.
    #[error("retention passed it")]
    OffsetTooSmall,
    /// The broker has no such queue in its store.
    #[error("no such queue")]
    NoMatchedLogicQueue,
    /// The queue is empty.
    #[error("the queue is empty")]
    NoMessageInQueue,
    /// Somebody reset the group's offset at the broker.
    #[error("the offset was reset")]
    OffsetReset,
    /// Not said, or in words that are not known.
    #[error("no known reason")]
    Other,
}

/// What a broker answered.
struct Answer {
    pulled: Pull,
    /// The id of the broker that it wants to be asked next.
    suggested: u64,
    /// Over which connection.
    connection: u64,
}

impl Client {
    /// Reads messages of one queue from its master, or from a slave where the settings allow it.
    ///
    /// Answers within `wait` and 10 s (or the request timeout, if that is longer). A master that cannot be reached is
    /// left alone for 5 s while a slave serves. A slave must have `slaveReadEnable`; otherwise it is
    /// [`Error::SlaveRefuses`]. A slave that does not hold the offset is [`Error::SlaveCannotServe`], never
    /// [`Pull::OffsetMoved`]; one whose answer cannot be read is [`Error::SlaveUnreadable`], never
    /// [`Error::Malformed`]. With [`SlaveReads::ColdCatchUp`] a slave that a living master suggests is asked for
    /// messages only: what it does not have, its master is asked for in the same call.
    pub async fn pull(&self, queue: &Queue, request: &PullRequest) -> Result<Pull, Error> {
        Ok(self.pull_with_connection(queue, request).await?.0)
    }

    /// As [`Self::pull`], with the number of the connection that the answer came over: another one for every connection
    /// of this process, so also for another broker or client. Who must know that the queue is still the one that was
    /// read looks again when it changed.
    pub async fn pull_with_connection(&self, queue: &Queue, request: &PullRequest) -> Result<(Pull, u64), Error> {
        let route = self.route(&queue.topic).await?;
        let entry = self.broker_of(&route, queue)?;
        let pulled = self.pull_by_policy(queue, request, entry).await.map(|answer| (answer.pulled, answer.connection));
        if let Err(error) = &pulled
            && (error.is_connection() || matches!(error.class(), Some(Class::TopicMissing | Class::Unavailable)))
        {
            self.inner.directory.doubt(&queue.topic);
        }
        pulled
    }

    /// For a while the slaves of a queue are not read in place of its living master, whatever it suggests: what one of
    /// them showed cannot be relied on.
    pub fn leave_slave(&self, queue: &Queue) {
        if self.inner.settings.slave_reads == SlaveReads::ColdCatchUp {
            self.inner.suggestions.leave(queue);
        }
    }

    async fn pull_by_policy(&self, queue: &Queue, request: &PullRequest, entry: &BrokerRoute) -> Result<Answer, Error> {
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
        if policy == SlaveReads::ColdCatchUp
            && let Some(suggested) = self.inner.suggestions.slave(queue).and_then(|id| slaves.get(&id))
        {
            // Where the slave ends the queue need not end: its living master knows, so the slave's end is not waited
            // at.
            let request = PullRequest { wait: Duration::ZERO, ..*request };
            match self.pull_from(queue, &request, suggested, true).await {
                Ok(answer) if matches!(answer.pulled, Pull::Found { .. }) => {
                    if answer.suggested == MASTER_ID {
                        self.inner.suggestions.leave(queue);
                    }
                    return Ok(answer);
                }
                _ => self.inner.suggestions.leave(queue),
            }
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
        let slave_failure = match self.pull_from_slaves(queue, request, slaves.values()).await {
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(error)) => Some(error),
            None => None,
        };
        let answered = match unreachable {
            Some(error) => Err(error),
            None => self.pull_from(queue, request, master, false).await,
        };
        match (answered, slave_failure) {
            (Err(Error::Unreachable { address, reason }), Some(slave)) => {
                Err(Error::Unreachable { address, reason: cap(&format!("{reason}; {slave}")) })
            }
            (answered, _) => answered,
        }
    }

    /// Tries slaves in turn; `None` if there is none.
    async fn pull_from_slaves(
        &self,
        queue: &Queue,
        request: &PullRequest,
        slaves: impl Iterator<Item = &Arc<str>>,
    ) -> Option<Result<Answer, Error>> {
        let mut last = None;
        for slave in slaves {
            let pulled = self.pull_from(queue, request, slave, true).await;
            let next_may_help = pulled.as_ref().is_err_and(|error| {
                error.is_connection()
                    || matches!(
                        error,
                        Error::SlaveCannotServe { .. } | Error::SlaveRefuses { .. } | Error::SlaveUnreadable { .. }
                    )
            });
            last = Some(pulled);
            if !next_may_help {
                break;
            }
        }
        last
    }

    /// Asks one broker. What is wrong with a slave's answer says nothing about the queue.
    async fn pull_from(
        &self,
        queue: &Queue,
        request: &PullRequest,
        address: &Arc<str>,
        from_slave: bool,
    ) -> Result<Answer, Error> {
        let as_it_counts = |error| match error {
            Error::Malformed { address, reason } if from_slave => Error::SlaveUnreadable { address, reason },
            other => other,
        };
        let asked = PullRequest { wait: if from_slave { Duration::ZERO } else { request.wait }, ..*request };
        let patience = asked.wait.saturating_add(LONG_POLL_MARGIN.max(self.inner.settings.request_timeout));
        let frame = answer::encode(queue, &asked, &self.inner.settings.consumer_group);
        let (answered, connection) = self.ask_with_connection(address, frame, patience).await.map_err(as_it_counts)?;
        let (pulled, suggested) = answer::interpret(address, &asked, &answered, from_slave).map_err(as_it_counts)?;
        if !from_slave && self.inner.settings.slave_reads == SlaveReads::ColdCatchUp {
            self.inner.suggestions.heard(queue, suggested);
        }
        if from_slave && matches!(pulled, Pull::AtTail { .. }) {
            tokio::time::sleep(request.wait.min(SLAVE_POLL)).await;
        }
        Ok(Answer { pulled, suggested, connection })
    }
}
