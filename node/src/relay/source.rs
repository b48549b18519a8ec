//! A source that is read through a relay, or directly where no relay works: to the partition's loop it is a source like
//! any other.
//!
//! Who answered is told by a number, as for a direct source: it changes with the relay's process, with its connection
//! to a broker, and between relayed and direct. So the loop looks at the last copied record after each change, and no
//! two lives of a queue are mixed whatever way its records came. A relay that is interrupted and answers again over the
//! same connection to its broker changes nothing, and is asked anew at the next offset.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use causeway_cluster::transport::streams::{Opening, Stream, StreamEnd};
use causeway_core::codec;
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::NodeId;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::RelayedSource;
use super::following::{Following, Setback, parse};
use super::way::{Failure, Way};
use super::wire::{Answer, Answered, Ask, Follow, Piece, Wanted};
use crate::replicate::budget::Hold;
use crate::replicate::ports::{Bounds, Queue, Read, Source};
use crate::replicate::trouble::Trouble;
use crate::status::ReadPath;

/// What a source is asked.
#[derive(Debug, Clone, Copy)]
enum Question {
    Read { offset: i64, maximum_messages: u32, wait: Duration },
    Bounds,
    OffsetAt(i64),
}

/// What a relay answered.
enum Got {
    Read(Read),
    Bounds(Bounds),
    Offset(i64),
}

/// Who answered last are remembered, so that each keeps its number.
const REMEMBERED: usize = 8;

/// A source of one partition. Clones are the same source.
pub(crate) struct RelaySource<D> {
    shared: Arc<Shared<D>>,
}

struct Shared<D> {
    direct: D,
    relayed: RelayedSource,
    state: Mutex<State>,
    numbers: SyncMutex<Numbers>,
    /// A slave is not to be read for a while; the relay was not told yet.
    leave_slave: AtomicBool,
}

struct State {
    way: Way,
    following: Option<Following>,
    /// A relay has given on something since the last failure.
    has_relayed: bool,
    /// What a relay gave on ended with a failure, and no relay has gone on with it yet.
    is_interrupted: bool,
}

/// Gives each way to a broker a number.
#[derive(Debug, Default)]
struct Numbers {
    last: u64,
    known: Vec<(Via, u64)>,
}

/// Over which connection a read came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Via {
    Direct(u64),
    Relay { process: u128, connection: u64 },
}

impl Numbers {
    fn of(&mut self, via: Via) -> u64 {
        if let Some((_, number)) = self.known.iter().find(|(known, _)| *known == via) {
            return *number;
        }
        self.last = self.last.saturating_add(1);
        if self.known.len() >= REMEMBERED {
            self.known.remove(0);
        }
        self.known.push((via, self.last));
        self.last
    }
}

impl<D> Clone for RelaySource<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<D: Source> RelaySource<D> {
    /// A source that is read through `relayed`'s relays, and as `direct` without them.
    pub(crate) fn new(direct: D, relayed: RelayedSource) -> Self {
        let state = Mutex::new(State {
            way: Way::new(&relayed.relaying.settings),
            following: None,
            has_relayed: false,
            is_interrupted: false,
        });
        let numbers = SyncMutex::default();
        Self { shared: Arc::new(Shared { direct, relayed, state, numbers, leave_slave: AtomicBool::new(false) }) }
    }
}

impl<D: Source> Shared<D> {
    /// Asks relays until one answers; none when the source is to be read directly.
    ///
    /// # Errors
    /// What the source itself said through a relay.
    async fn relayed(&self, question: Question) -> Result<Option<Got>, Trouble> {
        let RelayedSource { relaying, place, partition, .. } = &self.relayed;
        let settings = &relaying.settings;
        let state = &mut *self.state.lock().await;
        loop {
            let now = Instant::now();
            let Some(node) = state.way.relay(now, || relaying.relays.relays_for(place, partition)) else {
                state.following = None;
                return Ok(None);
            };
            let setback = match self.ask(state, node, question).await {
                Ok(answer) => {
                    self.relayed.gauge.set_read_path(ReadPath::Relay(node));
                    return Ok(Some(answer));
                }
                Err(setback) => setback,
            };
            // What it had still to give is asked for anew.
            state.following = None;
            state.is_interrupted |= std::mem::take(&mut state.has_relayed);
            if let Setback::Source(trouble) = &setback
                && trouble.code == ErrorCode::Malformed
            {
                // A record that cannot be read is no failure of whoever tried.
                return Err(trouble.clone());
            }
            if setback == Setback::Ended(StreamEnd::NotServed) {
                state.way.serves_nobody(Instant::now(), settings);
                tracing::debug!(%node, "a node relays for nobody");
                continue;
            }
            let is_direct = state.way.failed(Instant::now(), weight(&setback), settings);
            relaying.figures.failed(is_direct);
            tracing::debug!(%node, %setback, is_direct, "a relay failed");
            if let Setback::Source(trouble) = setback {
                return Err(trouble);
            }
            if is_direct {
                tracing::info!(%node, "no relay works; the source is read directly for a while");
            } else {
                sleep(state.way.wait(settings)).await;
            }
        }
    }

    fn open(&self, node: NodeId, wanted: Wanted, window: usize) -> Result<Stream, Setback> {
        let RelayedSource { relaying, place, partition, .. } = &self.relayed;
        let leave_slave = self.leave_slave.swap(false, Ordering::Relaxed);
        let ask = Ask { place: place.clone(), leave_slave, wanted };
        // One that has no form is refused by the relay.
        let body = Bytes::from(codec::encode(&ask).unwrap_or_default());
        let opening = Opening { body, stripe_key: u64::from(partition.source.queue), window };
        let opened = relaying.relays.open(node, opening);
        if leave_slave && opened.is_err() {
            self.leave_slave.store(true, Ordering::Relaxed);
        }
        Ok(opened?)
    }

    async fn ask(&self, state: &mut State, node: NodeId, question: Question) -> Result<Got, Setback> {
        match question {
            Question::Read { offset, maximum_messages, wait } if wait.is_zero() => {
                self.look(node, offset, maximum_messages).await.map(Got::Read)
            }
            Question::Read { offset, maximum_messages, wait } => {
                if self.leave_slave.load(Ordering::Relaxed) {
                    // It may have been read ahead from a slave.
                    state.following = None;
                }
                self.follow(state, node, offset, maximum_messages, wait).await.map(Got::Read)
            }
            Question::Bounds => match self.question(node, Wanted::Bounds).await? {
                Answer::Bounds(bounds) => Ok(Got::Bounds(bounds)),
                _ => Err(Setback::Unexpected),
            },
            Question::OffsetAt(timestamp) => match self.question(node, Wanted::OffsetAt(timestamp)).await? {
                Answer::Offset(offset) => Ok(Got::Offset(offset)),
                _ => Err(Setback::Unexpected),
            },
        }
    }

    /// What a direct question brought. Where the source cannot be reached directly either, relays are asked again.
    async fn directly<T>(&self, asked: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        let answered = asked.await;
        if answered.is_ok() {
            self.relayed.gauge.set_read_path(ReadPath::Direct);
        }
        if answered.as_ref().is_err_and(|trouble| trouble.code != ErrorCode::Malformed) {
            let mut state = self.state.lock().await;
            state.way.direct_failed(Instant::now(), &self.relayed.relaying.settings);
        }
        answered
    }

    /// Asks a question that has one answer.
    async fn question(&self, node: NodeId, wanted: Wanted) -> Result<Answer, Setback> {
        let limit = self.relayed.relaying.settings.answer_limit;
        let mut stream = self.open(node, wanted, 1)?;
        let message = timeout(limit, stream.receive()).await.map_err(|_| Setback::Silent(limit))??;
        self.relayed.relaying.figures.received(message.len());
        parse(message)
    }

    async fn look(&self, node: NodeId, offset: i64, maximum_messages: u32) -> Result<Read, Setback> {
        let Answer::Batch(batch) = self.question(node, Wanted::Look { offset, maximum_messages }).await? else {
            return Err(Setback::Unexpected);
        };
        let mut records = Vec::new();
        for piece in batch.pieces {
            let Piece::Records(mut more) = piece else { return Err(Setback::Unexpected) };
            records.append(&mut more);
        }
        let connection = self.number(batch.answered);
        Ok(Read { records, left_out: None, bounds: batch.bounds, from_slave: batch.answered.from_slave, connection })
    }

    async fn follow(
        &self,
        state: &mut State,
        node: NodeId,
        offset: i64,
        maximum_messages: u32,
        wait: Duration,
    ) -> Result<Read, Setback> {
        let settings = &self.relayed.relaying.settings;
        loop {
            let is_there = |following: &mut Following| following.node == node && following.position() == offset;
            let following = match state.following.take_if(|following| is_there(following)) {
                Some(following) => state.following.insert(following),
                None => state.following.insert(self.begin(node, offset, maximum_messages, wait)?),
            };
            let at_most = usize::try_from(maximum_messages).ok().and_then(NonZeroUsize::new);
            let limit = wait.saturating_add(settings.answer_limit);
            let next = following.next(at_most.map_or(1, NonZeroUsize::get), limit).await;
            let (read, answered) = match next {
                // It gave what it had to give on as it was.
                Err(Setback::Ended(StreamEnd::Complete)) if following.has_answered() => {
                    state.following = None;
                    continue;
                }
                next => next?,
            };
            // At the end of the queue nothing is on its way, so a wide window can be given back.
            let is_idle = read.records.is_empty() && read.left_out.is_none();
            let is_wide = following.window() > settings.first_window_bytes;
            if is_idle && is_wide && self.relayed.relaying.windows.is_scarce() {
                state.following = None;
            }
            state.way.worked(settings);
            state.has_relayed = true;
            if std::mem::take(&mut state.is_interrupted) {
                self.relayed.relaying.figures.resumed();
            }
            return Ok(Read { connection: self.number(answered), ..read });
        }
    }

    fn begin(&self, node: NodeId, from: i64, maximum_messages: u32, wait: Duration) -> Result<Following, Setback> {
        let RelayedSource { relaying, tag_expression, target, pull_messages, .. } = &self.relayed;
        let settings = &relaying.settings;
        let follow = Follow {
            from,
            maximum_messages,
            pull_messages: *pull_messages,
            wait,
            tag_expression: tag_expression.clone(),
            target: *target,
            batch_bytes: u32::try_from(settings.batch_bytes).unwrap_or(u32::MAX),
            compression: settings.compression,
        };
        let hold = Hold::new(Arc::clone(&relaying.windows), settings.first_window_bytes);
        let stream = self.open(node, Wanted::Follow(follow), settings.first_window_bytes)?;
        let figures = Arc::clone(&relaying.figures);
        Ok(Following::new(node, stream, hold, settings.window_bytes, from, figures))
    }

    fn number(&self, answered: Answered) -> u64 {
        let Answered { process, connection, .. } = answered;
        self.number_of(Via::Relay { process, connection })
    }

    fn number_of(&self, via: Via) -> u64 {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).of(via)
    }
}

/// How bad a setback is.
fn weight(setback: &Setback) -> Failure {
    match setback {
        Setback::Ended(StreamEnd::Interrupted(_) | StreamEnd::Failed | StreamEnd::Complete) | Setback::Source(_) => {
            Failure::Passing
        }
        _ => Failure::Lasting,
    }
}

impl<D: Source> Queue for RelaySource<D> {
    async fn read(&self, offset: i64, maximum_messages: u32, wait: Duration) -> Result<Read, Trouble> {
        let shared = &*self.shared;
        if let Some(Got::Read(read)) = shared.relayed(Question::Read { offset, maximum_messages, wait }).await? {
            return Ok(read);
        }
        let read = shared.directly(shared.direct.read(offset, maximum_messages, wait)).await?;
        Ok(Read { connection: shared.number_of(Via::Direct(read.connection)), ..read })
    }

    async fn bounds(&self) -> Result<Bounds, Trouble> {
        let shared = &*self.shared;
        match shared.relayed(Question::Bounds).await? {
            Some(Got::Bounds(bounds)) => Ok(bounds),
            _ => shared.directly(shared.direct.bounds()).await,
        }
    }
}

impl<D: Source> Source for RelaySource<D> {
    async fn offset_at(&self, timestamp: i64) -> Result<i64, Trouble> {
        let shared = &*self.shared;
        match shared.relayed(Question::OffsetAt(timestamp)).await? {
            Some(Got::Offset(offset)) => Ok(offset),
            _ => shared.directly(shared.direct.offset_at(timestamp)).await,
        }
    }

    fn leave_slave(&self) {
        self.shared.direct.leave_slave();
        self.shared.leave_slave.store(true, Ordering::Relaxed);
    }
}
