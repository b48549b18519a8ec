//! The source side of a run: reads ahead of the sends, within bytes, and hands out records in order.
//!
//! There is no task and no channel: [`Reader::read_ahead`] is driven beside the send in flight, so reading and writing
//! overlap though the loop is serial. The fetch under way is kept when that is given up, so nothing is read twice.
//! Never hands out a record behind a hole: what ends the reading is told only when everything before it was taken.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway_core::ids::Timestamp;
use causeway_rocketmq::wire::record::Record;
use tokio::time::timeout;

use super::boundary::Boundary;
use super::budget::Charge;
use super::exit::PartitionExit;
use super::fetch::{Fetched, Place, Reading, fetch};
use super::ports::{Bounds, Source};
use crate::clock;
use crate::status::PartitionGauge;

/// With a backlog, records are handed out only when this many bytes are there: larger sends cost less, and nobody
/// waits for a message that is behind others anyway.
const WORTH_SENDING: usize = 256 * 1024;

/// Records that are there wait no longer than this for more: the source may not answer for a while.
const LONGEST_GATHERING: Duration = Duration::from_millis(20);

/// Fewer messages than this at the source are no backlog.
const BACKLOG: i64 = 64;

type Fetching = Pin<Box<dyn Future<Output = Result<Fetched, PartitionExit>> + Send>>;

/// Reads one source queue from a place on.
pub(super) struct Reader<S> {
    reading: Arc<Reading<S>>,
    gauge: Arc<PartitionGauge>,
    charge: Charge,
    /// Where the next fetch begins.
    place: Place,
    fetching: Option<Fetching>,
    buffer: VecDeque<Record>,
    buffered_bytes: usize,
    /// Why reading ended; told when the buffer is empty.
    ended: Option<PartitionExit>,
    bounds: Option<Bounds>,
    /// Whether the checkpoint waits for durability, so that "everything was copied" is not the whole truth.
    pub(super) held_back: bool,
}

impl<S: Source> Reader<S> {
    pub(super) fn new(reading: Arc<Reading<S>>, gauge: Arc<PartitionGauge>, charge: Charge) -> Self {
        let place = Place { next: 0, boundary: None, older: None, trusted: false, answered: None };
        Self {
            reading,
            gauge,
            charge,
            place,
            fetching: None,
            buffer: VecDeque::new(),
            buffered_bytes: 0,
            ended: None,
            bounds: None,
            held_back: false,
        }
    }

    /// Goes on at an offset; the records before it have to be those of the boundaries, the nearer one and an older one.
    pub(super) fn seek(&mut self, next: i64, boundary: Option<Boundary>, older: Option<Boundary>) {
        self.place = Place { next, boundary, older, trusted: false, answered: self.place.answered };
        self.fetching = None;
        self.ended = None;
        self.buffer = VecDeque::new();
        self.buffered_bytes = 0;
        self.charge.give_back(self.charge.held());
    }

    /// The offset of the record that is handed out next.
    pub(super) fn position(&self) -> i64 {
        self.buffer.front().map_or(self.place.next, |record| record.queue_offset)
    }

    /// Waits for records. At least one is there, and all are contiguous; whoever takes some has to say so by
    /// [`Self::taken`].
    pub(super) async fn next(&mut self) -> Result<&mut VecDeque<Record>, PartitionExit> {
        while !self.is_worth_sending() {
            if !self.buffer.is_empty() {
                if timeout(LONGEST_GATHERING, self.step()).await.is_err() {
                    break;
                }
            } else if let Some(exit) = self.ended.take() {
                return Err(exit);
            } else {
                self.step().await;
            }
        }
        Ok(&mut self.buffer)
    }

    /// Reads ahead as long as there is room. Never ends; whoever drives it gives it up when the send was answered.
    pub(super) async fn read_ahead(&mut self) -> Infallible {
        loop {
            if self.ended.is_some() || (self.fetching.is_none() && !self.has_room()) {
                return pending().await;
            }
            self.step().await;
        }
    }

    /// Records of so many bytes were taken out of the buffer. They stay charged until [`Self::release`].
    pub(super) fn taken(&mut self, bytes: usize) {
        self.buffered_bytes = self.buffered_bytes.saturating_sub(bytes);
    }

    /// Records of so many bytes are done with.
    pub(super) fn release(&mut self, bytes: usize) {
        self.charge.give_back(bytes);
    }

    /// Messages that the source holds behind `next`, as last seen.
    pub(super) fn backlog(&self, next: i64) -> i64 {
        self.bounds.map_or(0, |bounds| bounds.maximum.saturating_sub(next).max(0))
    }

    /// Whether everything that was read is handed out and the source held no more when it was last asked.
    pub(super) fn is_at_end(&self) -> bool {
        self.buffer.is_empty() && self.backlog(self.place.next) == 0
    }

    /// Whether a slave answered last: its end does not prove that its master held no more.
    pub(super) fn reads_slave(&self) -> bool {
        self.place.answered.is_some_and(|(from_slave, _)| from_slave)
    }

    fn is_worth_sending(&self) -> bool {
        !self.buffer.is_empty()
            && (self.buffered_bytes >= WORTH_SENDING
                || self.ended.is_some()
                || self.backlog(self.place.next) < BACKLOG
                || !self.has_room())
    }

    fn has_room(&self) -> bool {
        self.charge.has_room(self.reading.settings.read_ahead_bytes)
    }

    /// One fetch. Giving it up at its await loses nothing.
    async fn step(&mut self) {
        let fetching = match &mut self.fetching {
            Some(fetching) => fetching,
            none => none.insert(Box::pin(fetch(Arc::clone(&self.reading), self.place))),
        };
        let fetched = fetching.await;
        self.fetching = None;
        match fetched {
            Ok(fetched) => self.absorb(fetched),
            Err(exit) => self.ended = Some(exit),
        }
    }

    fn absorb(&mut self, fetched: Fetched) {
        let idle = self.charge.held() == 0 && !self.held_back;
        let was_at_end = idle && self.bounds.is_some() && self.is_at_end();
        self.place = fetched.place;
        self.bounds = Some(fetched.bounds);
        let from_slave = self.reads_slave();
        self.reading.condition.answered(from_slave);
        if from_slave {
            self.gauge.set_source_of_slave(fetched.place.next, fetched.bounds.maximum);
        } else {
            self.gauge.set_source(fetched.place.next, fetched.bounds.maximum);
        }
        match fetched.records.first() {
            None if idle => {
                if !from_slave {
                    self.gauge.set_caught_up(clock::now());
                }
                self.reading.condition.flowing(0, false);
            }
            // Until this message was stored there was nothing to copy.
            Some(first) if was_at_end => self.gauge.set_caught_up(Timestamp(first.store_timestamp)),
            _ => {}
        }
        let bytes = fetched.records.iter().map(Record::encoded_len).fold(0, usize::saturating_add);
        let count = u64::try_from(fetched.records.len()).unwrap_or(u64::MAX);
        self.gauge.read_messages.fetch_add(count, Ordering::Relaxed);
        self.gauge.read_bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        if from_slave {
            self.gauge.slave_read_messages.fetch_add(count, Ordering::Relaxed);
        }
        self.charge.add(bytes);
        self.buffered_bytes = self.buffered_bytes.saturating_add(bytes);
        self.buffer.extend(fetched.records);
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::Epoch;
    use tokio::time::Instant;

    use super::*;
    use crate::replicate::budget::ReadAheadBudget;
    use crate::replicate::condition::Condition;
    use crate::replicate::memory::{MemoryQueue, message};
    use crate::replicate::settings::ReplicateSettings;

    fn reader(queue: &MemoryQueue, budget: usize) -> Reader<MemoryQueue> {
        let gauge = Arc::new(PartitionGauge::new(Epoch(1), Timestamp(0)));
        let charge = Charge::new(Arc::new(ReadAheadBudget::new(budget)), Arc::clone(&gauge));
        let reading = Reading {
            source: queue.clone(),
            settings: Arc::new(ReplicateSettings::default()),
            condition: Arc::new(Condition::new(Arc::clone(&gauge))),
            seed: 7,
        };
        let mut reader = Reader::new(Arc::new(reading), gauge, charge);
        reader.seek(0, None, None);
        reader
    }

    fn queue(messages: u64) -> MemoryQueue {
        let queue = MemoryQueue::default();
        queue.append_all((0..messages).map(message));
        queue
    }

    #[tokio::test(start_paused = true)]
    async fn a_backlog_is_gathered_and_the_end_of_the_queue_is_not_waited_for() {
        let queue = queue(500);
        let mut reader = reader(&queue, 1024 * 1024);
        let began = Instant::now();
        assert!(reader.next().await.unwrap().len() > 400, "fewer than a backlog is left");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_one_pull_is_handed_out_and_nothing_is_read_ahead() {
        let queue = queue(500);
        let mut reader = reader(&queue, 0);
        assert_eq!(reader.next().await.unwrap().len(), 32);
        assert!(timeout(Duration::from_secs(60), reader.read_ahead()).await.is_err());
        assert_eq!(reader.next().await.unwrap().len(), 32);
        let bytes = reader.buffered_bytes;
        reader.next().await.unwrap().clear();
        reader.taken(bytes);
        reader.release(bytes);
        assert_eq!(reader.next().await.unwrap().front().unwrap().queue_offset, 32);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_does_not_wait_for_a_source_that_stopped_answering() {
        let queue = queue(500);
        queue.fail_reads_after(2);
        let mut reader = reader(&queue, 1024 * 1024);
        let began = Instant::now();
        assert_eq!(reader.next().await.unwrap().len(), 64);
        assert!(began.elapsed() <= 2 * LONGEST_GATHERING);
        let bytes = reader.buffered_bytes;
        reader.next().await.unwrap().clear();
        reader.taken(bytes);
        assert!(matches!(reader.next().await, Err(PartitionExit::SourceLost { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn reading_ahead_that_is_given_up_loses_nothing() {
        let queue = queue(500);
        let mut reader = reader(&queue, 1024 * 1024);
        for _ in 0..20 {
            tokio::select! {
                biased;
                never = reader.read_ahead() => match never {},
                () = tokio::task::yield_now() => {}
            }
        }
        let offsets: Vec<_> = reader.next().await.unwrap().iter().map(|record| record.queue_offset).collect();
        assert_eq!(offsets, (0..i64::try_from(offsets.len()).unwrap()).collect::<Vec<_>>());
        assert!(queue.reads() <= 20);
    }
}
