//! What the data path relies on of a broker, asked of any pair of ends: of Apache's brokers, and of those in memory
//! that stand for them in simulations.
//!
//! Every answer is compared with what [`ports`](super::ports) promises, in the order in which a run meets it: ends of a
//! queue, sends and their order, refusals that store nothing, waiting reads, sends that are given up, a restart.

use std::time::Duration;

use bytes::Bytes;
use causeway_rocketmq::wire::batch::Batch;
use causeway_rocketmq::wire::record::Record;
use causeway_rocketmq::{Client, ClientSettings, Content, OutgoingBatch, Refusal, SendOutcome, SlaveReads};
use tokio::time::{Instant, sleep, timeout};

use super::ports::{Bounds, Sink, Source};
use super::rocketmq::{SourceQueue, TargetQueue};

/// How long anything may take that is to come by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a read waits at the end of a queue.
const WAIT: Duration = Duration::from_secs(10);

/// Born timestamp and flag of what is sent.
const BORN: i64 = 1_700_000_000_123;
const FLAG: i32 = 7;

/// Asks a broker, over a client of its own. `queue` has to be empty, and the only one that is written to meanwhile.
/// `restart` kills the broker and starts it again.
///
/// # Errors
/// The first promise that it does not keep.
pub fn of_broker(
    name_servers: Vec<String>,
    topic: &str,
    broker: &str,
    queue: u32,
    mut restart: impl FnMut(),
) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let settings = ClientSettings { slave_reads: SlaveReads::Never, ..ClientSettings::new(name_servers) };
        let client = Client::new(settings).map_err(|error| error.to_string())?;
        let queue = causeway_rocketmq::Queue { topic: topic.into(), broker: broker.into(), id: queue };
        let source = SourceQueue { client: client.clone(), queue: queue.clone() };
        let number = queue.id;
        Questions { source, sink: TargetQueue { client, queue }, queue: number }.ask(&mut restart).await
    })
}

/// Two ends of one queue.
pub(crate) struct Questions<S, K> {
    /// Reads it.
    pub(crate) source: S,
    /// Writes to it.
    pub(crate) sink: K,
    /// Its number.
    pub(crate) queue: u32,
}

/// `Err` with a sentence where something is not so.
fn must(holds: bool, what: &str, found: impl std::fmt::Debug) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{what}: {found:?}")) }
}

fn body(number: i64) -> Bytes {
    Bytes::from(format!("message {number}"))
}

/// Messages with these numbers, as one send.
fn batch(numbers: std::ops::Range<i64>) -> OutgoingBatch {
    let mut batch = Batch::new(1024 * 1024);
    for number in numbers {
        // So few of them fit.
        let _length = batch.push(FLAG, &body(number), format!("KEYS\u{1}{number}\u{2}").as_bytes());
    }
    OutgoingBatch { reconsume_times: 2, ..OutgoingBatch::new(Content::Batch(batch.take()), BORN) }
}

fn is_sound(record: &Record, number: i64) -> bool {
    record.queue_offset == number
        && record.body == body(number)
        && record.verify_crc()
        && (record.flag, record.born_timestamp, record.reconsume_times) == (FLAG, BORN, 2)
        && record.property("KEYS") == Some(number.to_string().as_bytes())
}

impl<S: Source, K: Sink> Questions<S, K> {
    /// Asks everything.
    pub(crate) async fn ask(&self, restart: &mut impl FnMut()) -> Result<(), String> {
        self.an_empty_queue_has_two_equal_ends().await?;
        self.a_send_is_stored_in_one_piece_behind_the_last().await?;
        self.what_is_refused_is_not_stored().await?;
        self.a_read_waits_for_what_comes().await?;
        self.a_message_may_go_alone().await?;
        self.what_is_stored_is_shown().await?;
        self.a_send_that_is_given_up_is_stored_whole_or_not_at_all().await?;
        self.what_was_answered_outlives_a_restart(restart).await
    }

    async fn connection(&self) -> Result<u64, String> {
        self.sink.connect().await.map_err(|trouble| format!("{trouble:?}"))
    }

    async fn bounds(&self) -> Result<Bounds, String> {
        let (source, sink) = (self.source.bounds().await, self.sink.bounds().await);
        must(source.is_ok() && source == sink, "both ends tell the same", (&source, &sink))?;
        source.map_err(|trouble| format!("{trouble:?}"))
    }

    /// The end of the queue, when it stands still there.
    async fn end(&self) -> Result<i64, String> {
        Ok(self.bounds().await?.maximum)
    }

    /// Waits until the queue shows so many messages, and reads all of them from an offset on.
    async fn read_all(&self, from: i64, to: i64) -> Result<Vec<Record>, String> {
        let began = Instant::now();
        let (mut records, mut next) = (Vec::new(), from);
        while next < to {
            must(began.elapsed() < PATIENCE, "it is shown in time", next)?;
            let read = self.source.read(next, 32, Duration::ZERO).await.map_err(|trouble| format!("{trouble:?}"))?;
            if read.records.is_empty() {
                sleep(Duration::from_millis(50)).await;
            }
            records.extend(read.records);
            next = records.last().map_or(next, |record: &Record| record.queue_offset + 1);
        }
        Ok(records)
    }

    /// That exactly the messages below a number stand there, in order and unchanged.
    async fn holds(&self, numbers: i64) -> Result<(), String> {
        let records = self.read_all(0, numbers).await?;
        let sound = records.iter().zip(0..).all(|(record, number)| is_sound(record, number));
        must(sound && i64::try_from(records.len()) == Ok(numbers), "what was sent stands there, in order", &records)
    }

    async fn send(&self, message: OutgoingBatch) -> Result<SendOutcome, String> {
        let connection = self.connection().await?;
        Ok(self.sink.send(OutgoingBatch { expected_generation: Some(connection), ..message }).await)
    }

    async fn store(&self, message: OutgoingBatch, at: i64) -> Result<(), String> {
        let outcome = self.send(message).await?;
        let place = match outcome {
            SendOutcome::Stored { queue_id, offset, .. } => Some((queue_id, offset)),
            _ => None,
        };
        must(place == Some((self.queue, at)), "a send is stored behind the last one", (at, &outcome))
    }

    async fn an_empty_queue_has_two_equal_ends(&self) -> Result<(), String> {
        let bounds = self.bounds().await?;
        must(bounds == Bounds { minimum: 0, maximum: 0 }, "an empty queue begins and ends at 0", bounds)?;
        let read = self.source.read(0, 32, Duration::ZERO).await;
        let is_empty = read.as_ref().is_ok_and(|read| read.records.is_empty() && read.bounds == bounds);
        must(is_empty, "an empty queue is read as empty", read)
    }

    async fn a_send_is_stored_in_one_piece_behind_the_last(&self) -> Result<(), String> {
        self.store(batch(0..5), 0).await?;
        self.store(batch(5..40), 5).await?;
        self.holds(40).await?;
        let bounds = self.bounds().await?;
        must(bounds == Bounds { minimum: 0, maximum: 40 }, "the ends follow", bounds)?;
        let read = self.source.read(45, 32, Duration::ZERO).await;
        let told = read.as_ref().is_ok_and(|read| read.records.is_empty() && read.bounds == bounds);
        must(told, "behind the end there is nothing, and the end is told", read)?;
        let first = self.source.offset_at(0).await;
        must(first.as_ref().is_ok_and(|offset| *offset == 0), "the first message is after the beginning of time", first)
    }

    async fn what_is_refused_is_not_stored(&self) -> Result<(), String> {
        let connection = self.connection().await?;
        let other = OutgoingBatch { expected_generation: Some(connection + 1), ..batch(90..95) };
        let outcome = self.sink.send(other).await;
        let expected = SendOutcome::NotStored(Refusal::ConnectionChanged(connection));
        must(outcome == expected, "a send for another connection is refused", outcome)?;
        let withdrawn = OutgoingBatch { permit: Some(std::sync::Arc::new(|| false)), ..batch(90..95) };
        let outcome = self.send(withdrawn).await?;
        let expected = SendOutcome::NotStored(Refusal::PermitWithdrawn);
        must(outcome == expected, "a send without a permit is not made", outcome)?;
        sleep(Duration::from_secs(1)).await;
        let end = self.end().await?;
        must(end == 40, "what was refused is not stored", end)
    }

    async fn a_read_waits_for_what_comes(&self) -> Result<(), String> {
        let began = Instant::now();
        let read = self.source.read(40, 32, Duration::ZERO).await;
        let at_once = began.elapsed() < WAIT / 2 && read.as_ref().is_ok_and(|read| read.records.is_empty());
        must(at_once, "a read that does not wait answers at once", read)?;
        let sends = async {
            sleep(Duration::from_millis(500)).await;
            self.store(batch(40..43), 40).await
        };
        let began = Instant::now();
        let (read, sent) = tokio::join!(self.source.read(40, 32, WAIT), sends);
        sent?;
        let came = read.as_ref().is_ok_and(|read| read.records.iter().zip(40..).all(|(one, at)| is_sound(one, at)));
        must(came && began.elapsed() < WAIT / 2, "a read that waits brings what comes", read)
    }

    async fn a_message_may_go_alone(&self) -> Result<(), String> {
        let properties = Bytes::from_static(b"KEYS\x0143\x02");
        let content = Content::Single { body: body(43), properties, flag: FLAG };
        self.store(OutgoingBatch { reconsume_times: 2, ..OutgoingBatch::new(content, BORN) }, 43).await?;
        self.holds(44).await
    }

    async fn what_is_stored_is_shown(&self) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let dispatched = self.sink.dispatched().await;
            let told = dispatched.as_ref().is_ok_and(Option::is_some);
            must(told, "a broker tells how far its log is shown", &dispatched)?;
            if dispatched.as_ref().is_ok_and(|told| told.is_some_and(|told| told.shown >= told.stored)) {
                let end = self.end().await?;
                return must(end == 44, "what is shown is all that was stored", end);
            }
            must(began.elapsed() < PATIENCE, "what is stored is shown in time", dispatched)?;
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn a_send_that_is_given_up_is_stored_whole_or_not_at_all(&self) -> Result<(), String> {
        let connection = self.connection().await?;
        let send = self.sink.send(OutgoingBatch { expected_generation: Some(connection), ..batch(44..64) });
        let answered = timeout(Duration::from_micros(1), send).await;
        sleep(Duration::from_secs(3)).await;
        let end = self.end().await?;
        must(end == 44 || end == 64, "a send that is given up is stored whole or not at all", (end, &answered))?;
        if end == 44 {
            self.store(batch(44..64), 44).await?;
        }
        self.holds(64).await
    }

    async fn what_was_answered_outlives_a_restart(&self, restart: &mut impl FnMut()) -> Result<(), String> {
        let before = self.connection().await?;
        restart();
        let began = Instant::now();
        let outcome = self.sink.send(OutgoingBatch { expected_generation: Some(before), ..batch(90..95) }).await;
        let refused = matches!(
            outcome,
            SendOutcome::NotStored(Refusal::NotConnected(_) | Refusal::ConnectionChanged(_)) | SendOutcome::Unknown(_)
        );
        must(refused, "nothing is sent over a connection that ended", outcome)?;
        loop {
            match self.sink.connect().await {
                Ok(after) if after != before && self.bounds().await.is_ok() => break,
                told => must(began.elapsed() < PATIENCE, "a restart is another connection", told)?,
            }
            sleep(Duration::from_millis(200)).await;
        }
        self.holds(64).await?;
        self.store(batch(64..70), 64).await?;
        self.holds(70).await
    }
}
