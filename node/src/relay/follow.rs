//! The side that relays follows a queue: reads on and on near the broker, leaves out what the stream's filter leaves
//! out, and sends the rest in batches.
//!
//! Nothing is judged here: what is not plainly sound and contiguous is given on as it was read, with nothing left out,
//! and that is the end; a failure is told, and that is the end as well. The owner looks for itself and asks anew.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_cluster::transport::streams::StreamSender;
use tokio::time::{Instant, sleep};

use super::figures::Figures;
use super::packing::{Compression, Packer};
use super::wire::{Answer, Answered, BatchWriter, Follow, Unsendable};
use crate::replicate::filter::{Filter, Verdict};
use crate::replicate::ports::{Bounds, Read, Source};
use crate::replicate::vet::vet;

/// With a backlog, reads are gathered into one batch no longer than this.
const LONGEST_GATHERING: Duration = Duration::from_millis(20);

/// An answer "nothing yet" that comes sooner than this was not waited for by the broker, and the next one is asked for
/// after a pause.
const NO_WAIT: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_millis(100);

/// However long an owner asks to wait at the end of a queue.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Bytes that take longer to compress than a task may keep its thread.
const LONG_WORK: usize = 1024 * 1024;

/// Nothing more is to be sent.
pub(crate) struct Over;

/// One stream that is being served.
pub(crate) struct Following<S> {
    pub(crate) source: S,
    pub(crate) follow: Follow,
    pub(crate) filter: Box<Filter>,
    pub(crate) process: u128,
    pub(crate) sender: StreamSender,
    pub(crate) packer: Packer,
    pub(crate) figures: Arc<Figures>,
}

/// What is gathered.
struct Gathered {
    writer: BatchWriter,
    answered: Answered,
    bounds: Bounds,
}

impl Gathered {
    fn new(read: &Read, answered: Answered) -> Self {
        Self { writer: BatchWriter::new(), answered, bounds: read.bounds }
    }
}

impl<S: Source> Following<S> {
    /// Sends batches until something else than a batch was sent, or the reader is gone.
    pub(crate) async fn run(mut self) {
        let mut next = self.follow.from;
        let mut at_most = self.follow.maximum_messages.max(1);
        loop {
            // Whoever cannot be sent to any more hears no reason either.
            let Ok(goes_on) = self.batch(&mut next, &mut at_most).await else { return };
            if !goes_on {
                return;
            }
        }
    }

    /// Gathers and sends one batch; answers whether there is another one.
    async fn batch(&mut self, next: &mut i64, at_most: &mut u32) -> Result<bool, Over> {
        let began = Instant::now();
        let batch_bytes = usize::try_from(self.follow.batch_bytes).unwrap_or(usize::MAX);
        let mut gathered: Option<Gathered> = None;
        loop {
            let wait = if gathered.is_none() { self.follow.wait.min(LONGEST_WAIT) } else { Duration::ZERO };
            let asked = Instant::now();
            let read = match self.source.read(*next, *at_most, wait).await {
                Ok(read) => read,
                Err(trouble) => {
                    self.flush(gathered).await?;
                    self.send(Answer::Trouble(trouble).short()).await?;
                    return Ok(false);
                }
            };
            let answered = self.answered(&read);
            // A batch is what one broker said.
            if gathered.as_ref().is_some_and(|gathered| gathered.answered != answered) {
                self.flush(gathered.take()).await?;
            }
            let Bounds { minimum, maximum } = read.bounds;
            let is_at_end = read.records.is_empty() && *next >= minimum && *next == maximum.max(minimum);
            let is_sound = vet(&read.records, *next) == (read.records.len(), None);
            if !is_sound || (read.records.is_empty() && !is_at_end) {
                self.flush(gathered).await?;
                self.give_on(&read, answered).await?;
                return Ok(false);
            }
            if is_at_end && gathered.is_none() && asked.elapsed() < NO_WAIT.min(wait) {
                sleep(PAUSE).await;
            }
            for record in &read.records {
                if gathered.as_ref().is_some_and(|gathered| !gathered.writer.has_room(record)) {
                    self.flush(gathered.take()).await?;
                }
                let writer = &mut gathered.get_or_insert_with(|| Gathered::new(&read, answered)).writer;
                let verdict = self.filter.judge(record);
                if !matches!(verdict, Verdict::Keep(_)) {
                    writer.leave_out(record, matches!(verdict, Verdict::Looped));
                } else if writer.add(record).is_err() {
                    self.flush(gathered).await?;
                    self.send(Answer::Trouble(Unsendable.into()).short()).await?;
                    return Ok(false);
                }
            }
            let batch = gathered.get_or_insert_with(|| Gathered::new(&read, answered));
            batch.bounds = read.bounds;
            *at_most = at_most.saturating_mul(2).min(self.follow.pull_messages.max(1));
            if let Some(last) = read.records.last() {
                *next = last.queue_offset.saturating_add(1);
            }
            let is_full = batch.writer.bytes() >= batch_bytes;
            if is_full || *next >= maximum || began.elapsed() >= LONGEST_GATHERING {
                self.flush(gathered).await?;
                return Ok(true);
            }
        }
    }

    /// Sends a read as it is.
    async fn give_on(&mut self, read: &Read, answered: Answered) -> Result<(), Over> {
        let mut gathered = Gathered::new(read, answered);
        if read.records.iter().try_for_each(|record| gathered.writer.add(record)).is_err() {
            return self.send(Answer::Trouble(Unsendable.into()).short()).await;
        }
        self.flush(Some(gathered)).await
    }

    async fn flush(&mut self, gathered: Option<Gathered>) -> Result<(), Over> {
        let Some(Gathered { writer, answered, bounds }) = gathered else { return Ok(()) };
        let (raw, left_out) = (writer.bytes(), writer.left_out());
        let compression = self.packer.choose(raw);
        let (message, is_packed) = if compression != Compression::Off && raw > LONG_WORK {
            let packing = tokio::task::spawn_blocking(move || writer.finish(answered, bounds, compression));
            packing.await.map_err(|_| Over)?
        } else {
            writer.finish(answered, bounds, compression)
        };
        if compression != Compression::Off {
            self.packer.learn(is_packed);
        }
        self.figures.relayed(raw, message.len(), left_out);
        self.send(message).await
    }

    async fn send(&mut self, message: Bytes) -> Result<(), Over> {
        if !self.sender.has_credit() {
            self.figures.waited_for_credit();
        }
        self.sender.send(message).await.map_err(|_| Over)
    }

    fn answered(&self, read: &Read) -> Answered {
        Answered { process: self.process, connection: read.connection, from_slave: read.from_slave }
    }
}
