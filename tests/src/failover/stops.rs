//! How long copying stops, queue by queue: both ends of every queue are read again and again beside the test.
//!
//! [`Stops`] counts, [`Watch`] is the thread that looks. A queue stands still while the source holds messages that the
//! target lacks and the target's end does not move.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::{Duration, Instant};

use crate::brokers::end_reader::EndReader;
use crate::scenario::view::Queue;

/// Between two looks at the target.
const LOOK: Duration = Duration::from_millis(50);

/// What is known of one source queue and its target queue. Times are since the watch began.
#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    source_end: i64,
    target_end: i64,
    /// Since when the target lacks something and does not move.
    still_since: Option<Duration>,
    advanced_at: Duration,
    longest: Duration,
}

/// What many looks show.
#[derive(Debug, Clone, Default)]
pub struct Stops {
    lanes: BTreeMap<Queue, Lane>,
    /// When the last look was.
    at: Duration,
    /// When the present window began: what was before it is not counted.
    window: Duration,
    /// The longest time between two looks, which no stop can be told apart from.
    blind: Duration,
}

impl Stops {
    /// One look: for each source queue where it ends and where the queue of its copies ends.
    pub fn see(&mut self, at: Duration, ends: impl IntoIterator<Item = (Queue, i64, i64)>) {
        if !self.lanes.is_empty() {
            self.blind = self.blind.max(at.saturating_sub(self.at));
        }
        self.at = at;
        let window = self.window;
        for (queue, source_end, target_end) in ends {
            let is_first = !self.lanes.contains_key(&queue);
            let lane = self.lanes.entry(queue).or_default();
            if target_end > lane.target_end || is_first {
                lane.count(at, window);
                (lane.target_end, lane.advanced_at, lane.still_since) = (target_end, at, None);
            }
            lane.source_end = source_end;
            if source_end > target_end {
                // What the source holds now may have come at any time since the look before.
                lane.still_since.get_or_insert(at);
            }
        }
    }

    /// From now on stops are counted anew.
    pub fn begin_window(&mut self) {
        self.window = self.at;
        self.blind = Duration::ZERO;
        self.lanes.values_mut().for_each(|lane| lane.longest = Duration::ZERO);
    }

    /// The longest stop of each queue since the window began, one that lasts included.
    pub fn longest(&self) -> BTreeMap<Queue, Duration> {
        let longest = |lane: &Lane| {
            let mut lane = *lane;
            lane.count(self.at, self.window);
            lane.longest
        };
        self.lanes.iter().map(|(queue, lane)| (queue.clone(), longest(lane))).collect()
    }

    /// Where the target queue of each source queue ended at the last look.
    pub fn target_ends(&self) -> BTreeMap<Queue, i64> {
        self.lanes.iter().map(|(queue, lane)| (queue.clone(), lane.target_end)).collect()
    }

    /// When a copy was last seen to arrive, in whichever queue.
    pub fn advanced_at(&self) -> Duration {
        self.lanes.values().map(|lane| lane.advanced_at).max().unwrap_or_default()
    }

    /// Messages that the target lacks, in the queue that lacks most.
    pub fn behind(&self) -> i64 {
        self.lanes.values().map(|lane| lane.source_end - lane.target_end).max().unwrap_or_default()
    }

    /// The longest time between two looks since the window began.
    pub fn blind(&self) -> Duration {
        self.blind
    }

    /// When the last look was.
    pub fn at(&self) -> Duration {
        self.at
    }
}

impl Lane {
    /// Takes a stop that lasted until now into account.
    fn count(&mut self, now: Duration, window: Duration) {
        if let Some(since) = self.still_since {
            self.longest = self.longest.max(now.saturating_sub(since.max(window)));
        }
    }
}

/// The thread that looks. It ends with the value.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<Stops>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to look at both topics. `target_of` names the queue of the copies of each source queue.
    pub fn start(mut source: EndReader, mut target: EndReader, target_of: BTreeMap<Queue, Queue>) -> Self {
        let (seen, end) = (Arc::new(Mutex::new(Stops::default())), Arc::new(AtomicBool::new(false)));
        let (stops, ended) = (Arc::clone(&seen), Arc::clone(&end));
        let thread = spawn(move || {
            let began = Instant::now();
            while !ended.load(Ordering::Relaxed) {
                let looked = Instant::now();
                // The target first: a message that arrives in between counts as one that it lacks, not as a copy that
                // came before its original.
                let copies = target.read().unwrap_or_else(|error| panic!("the target does not answer: {error}"));
                let at = began.elapsed();
                let originals = source.read().unwrap_or_else(|error| panic!("the source does not answer: {error}"));
                let end_of = |ends: &BTreeMap<(String, u32), i64>, queue: &Queue| {
                    ends.get(&(queue.broker.clone(), queue.queue)).copied().unwrap_or_default()
                };
                let ends =
                    target_of.iter().map(|(from, to)| (from.clone(), end_of(&originals, from), end_of(&copies, to)));
                stops.lock().expect("nobody panics while looking").see(at, ends);
                sleep(LOOK.saturating_sub(looked.elapsed()));
            }
        });
        Self { seen, end, thread: Some(thread) }
    }

    /// What the looks have shown so far.
    ///
    /// # Panics
    /// When a cluster did not answer.
    pub fn seen(&self) -> MutexGuard<'_, Stops> {
        assert!(self.thread.as_ref().is_some_and(|thread| !thread.is_finished()), "the watch has ended");
        self.seen.lock().expect("nobody panics while looking")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(queue: u32) -> Queue {
        Queue { broker: "broker-a".to_owned(), queue }
    }

    fn at(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Looks at two queues.
    fn looks(stops: &mut Stops, looks: &[(u64, [(i64, i64); 2])]) {
        for (moment, ends) in looks {
            let ends = ends.iter().enumerate();
            let ends = ends.map(|(number, (source, target))| (queue(u32::try_from(number).unwrap()), *source, *target));
            stops.see(at(*moment), ends.collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_what_the_source_holds_and_the_target_lacks_makes_a_stop() {
        let mut stops = Stops::default();
        looks(
            &mut stops,
            &[
                (0, [(5, 5), (5, 5)]),
                (50, [(9, 5), (5, 5)]),
                (100, [(9, 5), (5, 5)]),
                (150, [(9, 7), (5, 5)]),
                (900, [(9, 7), (5, 5)]),
                (950, [(9, 9), (8, 5)]),
            ],
        );
        assert_eq!(stops.longest(), BTreeMap::from([(queue(0), at(800)), (queue(1), at(0))]));
        assert_eq!((stops.advanced_at(), stops.behind(), stops.blind()), (at(950), 3, at(750)));
    }

    #[test]
    fn a_stop_that_lasts_counts_and_a_window_counts_only_what_is_in_it() {
        let mut stops = Stops::default();
        looks(&mut stops, &[(0, [(5, 0), (5, 5)]), (400, [(5, 0), (5, 5)])]);
        assert_eq!(stops.longest()[&queue(0)], at(400));
        stops.begin_window();
        assert_eq!(stops.longest()[&queue(0)], at(0));
        looks(&mut stops, &[(600, [(5, 0), (5, 5)]), (700, [(5, 5), (5, 5)]), (5_000, [(5, 5), (5, 5)])]);
        assert_eq!(stops.longest()[&queue(0)], at(300));
    }
}
