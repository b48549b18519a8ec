//! Rates and the last hour, per stream, kept in memory.
//!
//! [`RateHistory::sample`] is called about once a second. It turns the counters of running partitions, which begin at
//! zero whenever a partition gets another owner, into totals of a stream that never go back while the process lives: in
//! an overview, what present owners had counted before it began, and whatever any owner has counted since. So nodes
//! that began at different times have different totals. It keeps one point for every ten seconds of the last hour.
//! Bounded: 360 points a stream, and only for streams that exist.
//! What is not known is `None`, never zero.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_core::ids::{StreamId, Timestamp};
use causeway_core::partition::PartitionId;
use causeway_core::state::State;

use crate::admin::survey::{rpo_seconds, seconds_between, survey};
use crate::status::{PartitionFigures, StatusBoard};
use crate::telemetry::incidents::Incidents;
use crate::telemetry::totals::Totals;

/// How much time one point of the history covers, in milliseconds.
pub const POINT_MILLISECONDS: i64 = 10_000;

/// How many points are kept: one hour.
pub const MAXIMUM_POINTS: usize = 360;

/// A rate is the mean of this many samples before now.
const RATE_SAMPLES: usize = 5;

/// Means of the last seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rates {
    /// Messages read from the source, a second.
    pub read_messages: f64,
    /// Messages written to the target, a second.
    pub written_messages: f64,
    /// Bytes of stored records read from the source, a second.
    pub read_bytes: f64,
    /// Bytes of encoded messages written to the target, a second.
    pub written_bytes: f64,
    /// Messages done with, a second: written, filtered or looped. What a backlog shrinks by.
    pub handled_messages: f64,
}

/// Ten seconds of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RatePoint {
    /// When they ended.
    pub at: Timestamp,
    /// Mean rates; none where the node did not sample the whole time.
    pub rates: Option<Rates>,
    /// Messages that the target was behind at the end.
    pub lag_messages: Option<u64>,
    /// Seconds that the target was behind at the end, of the partition that was furthest.
    pub lag_seconds: Option<f64>,
}

/// Totals, rates and the last hour of every stream of this node.
#[derive(Debug, Default)]
pub struct RateHistory {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    streams: BTreeMap<StreamId, StreamHistory>,
    partitions: BTreeMap<PartitionId, PartitionHistory>,
    incidents: Incidents,
}

#[derive(Debug, Default)]
struct StreamHistory {
    totals: Totals,
    /// Whether something was known of every partition.
    is_whole: bool,
    recent: VecDeque<(Timestamp, Totals)>,
    /// Where the point in progress began.
    point_start: Option<(Timestamp, Totals)>,
    points: VecDeque<RatePoint>,
}

#[derive(Debug, Default)]
struct PartitionHistory {
    /// The gauge's counters as last seen, and when they began.
    seen: Totals,
    counts_since: Timestamp,
    recent: VecDeque<(Timestamp, Totals)>,
}

impl RateHistory {
    /// A history that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at every partition once. A sample that is not later than the one before is ignored, so that a clock that
    /// was set back costs one gap and no false rate.
    pub fn sample(&self, view: &State, board: &StatusBoard, now: Timestamp) {
        let running = board.partitions();
        let mut guard = self.lock();
        let Inner { streams, partitions, incidents } = &mut *guard;
        board.look_at_owners(view, now);
        incidents.look(&survey(view, board), board);
        streams.retain(|id, _| view.stream_by_id(*id).is_some());
        // What is not heard of for a while has not begun anew.
        partitions.retain(|id, _| running.contains_key(id) || view.partitions.contains_key(id));
        for stream in view.streams.values() {
            streams.entry(stream.id).or_default();
        }
        for (id, figures) in &running {
            let partition = partitions.entry(id.clone()).or_default();
            let current = Totals::of(figures);
            if partition.counts_since != figures.counts_since {
                *partition = PartitionHistory { counts_since: figures.counts_since, ..PartitionHistory::default() };
            }
            if let Some(stream) = streams.get_mut(&id.stream) {
                stream.totals.add(&current.since(&partition.seen));
            }
            partition.seen = current;
            remember(&mut partition.recent, now, current);
        }
        for (id, stream) in streams.iter_mut() {
            let figures: Vec<&PartitionFigures> =
                running.iter().filter(|(partition, _)| partition.stream == *id).map(|(_, figures)| figures).collect();
            let is_whole = figures.len() >= view.partitions_of(*id).count();
            if std::mem::replace(&mut stream.is_whole, is_whole) != is_whole {
                // What an owner copied while nobody heard it is no rate of the moment in which it is heard again.
                stream.recent.clear();
                stream.point_start = None;
            }
            remember(&mut stream.recent, now, stream.totals);
            stream.finish_point(&figures, now);
        }
    }

    /// What was counted of a stream as far as this process saw it: see the module. It never goes back while the stream
    /// exists.
    #[must_use]
    pub fn totals(&self, stream: StreamId) -> Option<Totals> {
        self.lock().streams.get(&stream).map(|history| history.totals)
    }

    /// Mean rates of a stream over the last seconds; none before two samples, and while nothing is known of one of its
    /// partitions.
    #[must_use]
    pub fn rates(&self, stream: StreamId) -> Option<Rates> {
        let inner = self.lock();
        let history = inner.streams.get(&stream).filter(|history| history.is_whole)?;
        mean(&history.recent)
    }

    /// Mean rates of a partition over the last seconds; none before two samples.
    #[must_use]
    pub fn partition_rates(&self, partition: &PartitionId) -> Option<Rates> {
        mean(&self.lock().partitions.get(partition)?.recent)
    }

    /// The last hour of a stream, oldest first.
    #[must_use]
    pub fn snapshot(&self, stream: StreamId) -> Vec<RatePoint> {
        self.lock().streams.get(&stream).map(|history| history.points.iter().copied().collect()).unwrap_or_default()
    }

    /// How often streams and partitions began to be blocked or faulted, by code; a code that is missing never occurred.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<ErrorCode, u64> {
        self.lock().incidents.errors()
    }

    /// How often messages were found missing, removed or replaced in a source queue of a stream.
    #[must_use]
    pub fn source_gaps(&self, stream: StreamId) -> u64 {
        self.lock().incidents.source_gaps(stream)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamHistory {
    fn finish_point(&mut self, figures: &[&PartitionFigures], now: Timestamp) {
        let Some((started, totals)) = self.point_start else {
            self.point_start = Some((now, self.totals));
            return;
        };
        let covered = now.0.saturating_sub(started.0);
        if (0..POINT_MILLISECONDS).contains(&covered) {
            return;
        }
        // Much longer means that the process was not running or the clock was set: no mean would be true.
        let believable = (0..POINT_MILLISECONDS.saturating_mul(2)).contains(&covered);
        let rates = if believable && self.is_whole { between((started, totals), (now, self.totals)) } else { None };
        if self.points.len() >= MAXIMUM_POINTS {
            self.points.pop_front();
        }
        self.points.push_back(RatePoint {
            at: now,
            rates,
            lag_messages: lag_messages(figures).filter(|_| self.is_whole),
            lag_seconds: lag_seconds(figures, now).filter(|_| self.is_whole),
        });
        self.point_start = Some((now, self.totals));
    }
}

/// The sum over partitions; none where there is no partition or one does not know.
#[must_use]
pub fn lag_messages(figures: &[&PartitionFigures]) -> Option<u64> {
    if figures.is_empty() {
        return None;
    }
    figures.iter().map(|figures| figures.lag_messages()).try_fold(0_u64, |sum, lag| Some(sum.saturating_add(lag?)))
}

/// The furthest partition's; none where there is no partition or one does not know.
#[must_use]
pub fn lag_seconds(figures: &[&PartitionFigures], now: Timestamp) -> Option<f64> {
    worst(figures, |figures| figures.lag_seconds(now))
}

/// The worst partition's; none where there is no partition or one does not know.
#[must_use]
pub fn worst_rpo_seconds(figures: &[&PartitionFigures], now: Timestamp) -> Option<f64> {
    worst(figures, |figures| rpo_seconds(figures, now))
}

/// The oldest checkpoint's; none where there is no partition or one does not know.
#[must_use]
pub fn checkpoint_age_seconds(figures: &[&PartitionFigures], now: Timestamp) -> Option<f64> {
    worst(figures, |figures| figures.checkpoint_at.map(|at| seconds_between(at, now)))
}

/// The largest; none where there is nothing to compare or one is unknown.
fn worst(figures: &[&PartitionFigures], value: impl Fn(&PartitionFigures) -> Option<f64>) -> Option<f64> {
    let (first, rest) = figures.split_first()?;
    rest.iter().try_fold(value(first)?, |worst, figures| Some(worst.max(value(figures)?)))
}

fn remember(recent: &mut VecDeque<(Timestamp, Totals)>, now: Timestamp, totals: Totals) {
    match recent.back() {
        Some((last, _)) if *last == now => return,
        Some((last, _)) if *last > now => recent.clear(),
        _ => {}
    }
    if recent.len() > RATE_SAMPLES {
        recent.pop_front();
    }
    recent.push_back((now, totals));
}

fn mean(recent: &VecDeque<(Timestamp, Totals)>) -> Option<Rates> {
    between(*recent.front()?, *recent.back()?)
}

fn between((start, before): (Timestamp, Totals), (end, after): (Timestamp, Totals)) -> Option<Rates> {
    let milliseconds = u64::try_from(end.0.checked_sub(start.0)?).ok().filter(|elapsed| *elapsed > 0)?;
    let seconds = Duration::from_millis(milliseconds).as_secs_f64();
    let grown = after.since(&before);
    let rate = |count: u64| approximate(count) / seconds;
    Some(Rates {
        read_messages: rate(grown.read_messages),
        written_messages: rate(grown.written_messages),
        read_bytes: rate(grown.read_bytes),
        written_bytes: rate(grown.written_bytes),
        handled_messages: rate(
            grown.written_messages.saturating_add(grown.filtered_messages).saturating_add(grown.looped_messages),
        ),
    })
}

/// A count as a number with a fraction; exact up to 2^53, which no counter of a process reaches.
#[must_use]
pub fn approximate(count: u64) -> f64 {
    let (high, low) = (count >> 32, count & 0xffff_ffff);
    let part = |bits: u64| f64::from(u32::try_from(bits).unwrap_or(u32::MAX));
    part(high).mul_add(4_294_967_296.0, part(low))
}

#[cfg(test)]
#[path = "rates_tests.rs"]
pub(crate) mod tests;
