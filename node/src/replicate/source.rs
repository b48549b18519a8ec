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

use causeway_core::ids::Timestamp;
use causeway_rocketmq::wire::record::Record;

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
        let place = Place { next: 0, boundary: None, older: None, trusted: false, from_slave: None };
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
        self.place = Place { next, boundary, older, trusted: false, from_slave: self.place.from_slave };
        self.fetching = None;
        self.ended = None;
        self.buffer = VecDeque::new();
        self.buffered_bytes = 0;
        self.charge.give_back(self.charge.held());
    }

    /// Waits for records. At least one is there, and all are contiguous; whoever takes some has to say so by
    /// [`Self::taken`].
    pub(super) async fn next(&mut self) -> Result<&mut VecDeque<Record>, PartitionExit> {
        while !self.is_worth_sending() {
            if self.buffer.is_empty()
                && let Some(exit) = self.ended.take()
            {
                return Err(exit);
            }
            self.step().await;
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
        self.gauge.set_source(fetched.place.next, fetched.bounds.maximum);
        match fetched.records.first() {
            None if idle => {
                self.gauge.set_caught_up(clock::now());
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
        self.charge.add(bytes);
        self.buffered_bytes = self.buffered_bytes.saturating_add(bytes);
        self.buffer.extend(fetched.records);
    }
}
