//! The source side of a run: reads ahead of the sends, within bytes, and stages what it read in the batcher.
//!
//! There is no task and no channel: [`Reader::read_ahead`] is driven beside the send in flight, so reading and writing
//! overlap though the loop is serial. The fetch under way is kept when that is given up, so nothing is read twice.
//! Never stages a record behind a hole: what ends the reading is told only when everything before it was taken.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway_core::ids::Timestamp;
use causeway_rocketmq::wire::record::Record;
use tokio::time::timeout;

use super::batching::{Batcher, Ready};
use super::boundary::Boundary;
use super::budget::Charge;
use super::exit::PartitionExit;
use super::fetch::{Fetched, Place, Reading, fetch};
use super::ports::{Bounds, LeftOut, Source};
use crate::clock;
use crate::status::PartitionGauge;

/// With a backlog, a send is handed out only when this many bytes are staged: larger sends cost less, and nobody
/// waits for a message that is behind others anyway.
const WORTH_SENDING: usize = 256 * 1024;

/// A target that answers a send within this is near. While a batch is on its way to one, no more is read ahead than one
/// further batch that is worth sending: it is sent while its bytes are still in the processor's caches. For a target
/// that is far away everything is read ahead that there is room for: larger batches make up for the distance.
const NEAR: Duration = Duration::from_millis(10);

/// A target that took longer so many times in a row is far away; a near one may take its time now and then.
const FAR: u32 = 4;

/// Records that are staged wait no longer than this for more: the source may not answer for a while.
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
    /// Why reading ended; told when nothing is staged.
    ended: Option<PartitionExit>,
    bounds: Option<Bounds>,
    /// Sends in a row that were not answered as a near target does.
    slow_sends: u32,
    /// Whether the checkpoint waits for durability, so that "everything was copied" is not the whole truth.
    pub(super) held_back: bool,
}

impl<S: Source> Reader<S> {
    pub(super) fn new(reading: Arc<Reading<S>>, gauge: Arc<PartitionGauge>, charge: Charge) -> Self {
        let place = Place::new(0, None, None);
        Self {
            reading,
            gauge,
            charge,
            place,
            fetching: None,
            ended: None,
            bounds: None,
            slow_sends: 0,
            held_back: false,
        }
    }

    /// Goes on at an offset; the records before it have to be those of the boundaries, the nearer one and an older one.
    pub(super) fn seek(&mut self, next: i64, boundary: Option<Boundary>, older: Option<Boundary>) {
        self.place = Place { answered: self.place.answered, ..Place::new(next, boundary, older) };
        self.fetching = None;
        self.gauge.source_left();
        self.ended = None;
        self.charge.give_back(self.charge.held());
    }

    /// The offset of the record that is handed out next.
    pub(super) fn position(&self, staged: &Batcher) -> i64 {
        staged.position().unwrap_or(self.place.next)
    }

    /// Waits for a send. Its records stay charged until [`Self::release`].
    pub(super) async fn next(&mut self, staged: &mut Batcher) -> Result<Ready, PartitionExit> {
        loop {
            while staged.is_empty() {
                match self.ended.take() {
                    Some(exit) => return Err(exit),
                    None => self.step(staged).await,
                }
            }
            let gathering = async {
                while !self.is_worth_sending(staged) {
                    self.step(staged).await;
                }
            };
            // Whether it got worth sending or was waited for long enough: what there is, is sent.
            let _gathered = timeout(LONGEST_GATHERING, gathering).await;
            if let Some(ready) = staged.take() {
                return Ok(ready);
            }
        }
    }

    /// Reads ahead as long as there is room. Never ends; whoever drives it gives it up when the send was answered.
    pub(super) async fn read_ahead(&mut self, staged: &mut Batcher) -> Infallible {
        loop {
            let enough = if self.slow_sends < FAR { WORTH_SENDING } else { usize::MAX };
            let rests = staged.staged_bytes() >= enough || !self.has_room();
            if self.ended.is_some() || (self.fetching.is_none() && rests) {
                return pending().await;
            }
            self.step(staged).await;
        }
    }

    /// A send took so long to be answered.
    pub(super) fn sent_within(&mut self, time: Duration) {
        self.slow_sends = if time <= NEAR { 0 } else { self.slow_sends.saturating_add(1) };
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
    pub(super) fn is_at_end(&self, staged: &Batcher) -> bool {
        staged.is_empty() && self.backlog(self.place.next) == 0
    }

    /// Whether a slave answered last: its end does not prove that its master held no more.
    pub(super) fn reads_slave(&self) -> bool {
        self.place.answered.is_some_and(|(from_slave, _)| from_slave)
    }

    fn is_worth_sending(&self, staged: &Batcher) -> bool {
        !staged.is_empty()
            && (staged.holds(WORTH_SENDING)
                || self.ended.is_some()
                || self.backlog(self.place.next) < BACKLOG
                || !self.has_room())
    }

    fn has_room(&self) -> bool {
        self.charge.has_room(self.reading.settings.read_ahead_bytes)
    }

    /// One fetch. Giving it up at its await loses nothing.
    async fn step(&mut self, staged: &mut Batcher) {
        // Also where a question goes on that nobody has listened to for a while.
        self.gauge.source_asked(self.reading.settings.poll_wait);
        let ask = || -> Fetching { Box::pin(fetch(Arc::clone(&self.reading), self.place)) };
        let fetched = self.fetching.get_or_insert_with(ask).await;
        self.fetching = None;
        if !matches!(fetched, Err(PartitionExit::SourceLost { .. })) {
            self.gauge.source_answered();
        }
        match fetched {
            Ok(fetched) => self.absorb(fetched, staged),
            Err(exit) => self.ended = Some(exit),
        }
    }

    fn absorb(&mut self, fetched: Fetched, staged: &mut Batcher) {
        let idle = self.charge.held() == 0 && !self.held_back;
        let was_at_end = idle && self.bounds.is_some() && self.is_at_end(staged);
        self.place = fetched.place;
        self.bounds = Some(fetched.bounds);
        let from_slave = self.reads_slave();
        self.reading.condition.answered(from_slave);
        if from_slave {
            self.gauge.set_source_of_slave(fetched.place.next, fetched.bounds.maximum);
        } else {
            self.gauge.set_source(fetched.place.next, fetched.bounds.maximum);
        }
        if let Some(left_out) = &fetched.left_out {
            self.pass_over(left_out, staged);
            return;
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
        self.count(count, u64::try_from(bytes).unwrap_or(u64::MAX));
        self.charge.add(bytes);
        if let Err(fault) = staged.stage(&fetched.records) {
            self.ended = Some(PartitionExit::Fault(fault));
        }
    }

    /// What whoever read it left out is recorded like what is left out here, and takes no room.
    fn pass_over(&mut self, left_out: &LeftOut, staged: &mut Batcher) {
        self.count(left_out.filtered.saturating_add(left_out.looped), left_out.bytes);
        staged.pass_over(left_out);
    }

    fn count(&self, messages: u64, bytes: u64) {
        self.gauge.read_messages.fetch_add(messages, Ordering::Relaxed);
        self.gauge.read_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.reads_slave() {
            self.gauge.slave_read_messages.fetch_add(messages, Ordering::Relaxed);
        }
    }
}

impl<S> Drop for Reader<S> {
    fn drop(&mut self) {
        self.gauge.source_left();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use causeway_core::ids::{ClusterId, Epoch, Generation, Incarnation, InstanceIdentity, StreamId};
    use causeway_core::provenance::{Stamp, StreamKey};
    use causeway_core::stream::BornTimestamp;
    use tokio::time::Instant;

    use super::*;
    use crate::replicate::batching::Limits;
    use crate::replicate::budget::ReadAheadBudget;
    use crate::replicate::condition::Condition;
    use crate::replicate::filter::Filter;
    use crate::replicate::memory::{MemoryQueue, Message, message};
    use crate::replicate::settings::ReplicateSettings;
    use crate::replicate::transform::Transform;

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

    fn batcher() -> Batcher {
        let key = StreamKey { cluster: ClusterId(1), stream: StreamId(2), generation: Generation(0) };
        let stamp = |topic: &str| Stamp::new(key, Epoch(3), InstanceIdentity(0xa), "b", topic, 0, Incarnation(0));
        let limits = Limits {
            batch_bytes: 1024 * 1024,
            batch_messages: 2048,
            message_bytes: 1024 * 1024,
            born_timestamp: BornTimestamp::Carried,
        };
        let filter = Filter::new("*".parse().unwrap(), InstanceIdentity(0xb));
        Batcher::new(filter, Transform::new("orders", stamp), limits, Arc::default())
    }

    fn queue(messages: u64) -> MemoryQueue {
        let queue = MemoryQueue::default();
        queue.append_all((0..messages).map(message));
        queue
    }

    #[tokio::test(start_paused = true)]
    async fn a_backlog_is_gathered_and_the_end_of_the_queue_is_not_waited_for() {
        let queue = queue(500);
        let (mut reader, mut staged) = (reader(&queue, 1024 * 1024), batcher());
        let began = Instant::now();
        assert!(reader.next(&mut staged).await.unwrap().messages > 400, "fewer than a backlog is left");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_one_pull_is_handed_out_and_nothing_is_read_ahead() {
        let queue = queue(500);
        let (mut reader, mut staged) = (reader(&queue, 0), batcher());
        let ready = reader.next(&mut staged).await.unwrap();
        assert_eq!(ready.messages, 32);
        assert!(timeout(Duration::from_secs(60), reader.read_ahead(&mut staged)).await.is_err());
        assert!(staged.is_empty());
        reader.release(ready.source_bytes);
        assert_eq!(reader.next(&mut staged).await.unwrap().first, Some(32));
    }

    #[tokio::test(start_paused = true)]
    async fn for_a_near_target_one_batch_is_read_ahead_and_for_a_far_one_all_that_there_is_room_for() {
        let queue = MemoryQueue::default();
        queue.append_all((0..400).map(|_| Message { body: Bytes::from(vec![7; 4_000]), ..Message::default() }));
        let mut ahead = Vec::new();
        for (slow_sends, last) in [(FAR, NEAR), (FAR - 1, NEAR * 2), (FAR, NEAR * 2)] {
            let (mut reader, mut staged) = (reader(&queue, 16 * 1024 * 1024), batcher());
            (1..slow_sends).for_each(|_| reader.sent_within(NEAR * 2));
            reader.sent_within(last);
            assert!(timeout(Duration::from_secs(1), reader.read_ahead(&mut staged)).await.is_err());
            ahead.push(staged.staged_bytes());
        }
        for near in &ahead[..2] {
            assert!((WORTH_SENDING..2 * WORTH_SENDING).contains(near), "{ahead:?}");
        }
        assert!(ahead[2] > 1_600_000, "{ahead:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_does_not_wait_for_a_source_that_stopped_answering() {
        let queue = queue(500);
        queue.fail_reads_after(2);
        let (mut reader, mut staged) = (reader(&queue, 1024 * 1024), batcher());
        let began = Instant::now();
        assert_eq!(reader.next(&mut staged).await.unwrap().messages, 64);
        assert!(began.elapsed() <= 2 * LONGEST_GATHERING);
        assert!(matches!(reader.next(&mut staged).await, Err(PartitionExit::SourceLost { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_is_lost_stays_overdue_until_it_answers_another_reader() {
        let queue = queue(10);
        let (mut first, mut staged) = (reader(&queue, 1024 * 1024), batcher());
        first.next(&mut staged).await.unwrap();
        let gauge = Arc::clone(&first.gauge);
        gauge.set_durable(10, None);
        assert_eq!(gauge.figures().lag_messages(), Some(0));
        queue.fail_reads_after(0);
        let lost = first.next(&mut staged).await;
        assert!(matches!(lost, Err(PartitionExit::SourceLost { .. })), "{lost:?}");
        drop(first);
        assert_eq!(gauge.figures().lag_messages(), None, "nobody knows what it holds by now");
    }

    #[tokio::test(start_paused = true)]
    async fn reading_ahead_that_is_given_up_loses_nothing() {
        let queue = queue(500);
        let (mut reader, mut staged) = (reader(&queue, 1024 * 1024), batcher());
        for _ in 0..20 {
            tokio::select! {
                biased;
                never = reader.read_ahead(&mut staged) => match never {},
                () = tokio::task::yield_now() => {}
            }
        }
        let ready = reader.next(&mut staged).await.unwrap();
        assert_eq!((ready.first, ready.last.map(|last| last.offset)), (Some(0), Some(ready.messages - 1)));
        assert!(queue.reads() <= 20);
    }
}
