//! When each stream's topics are looked at next.
//!
//! A stream is due when it appears, when one of its instances changes, one interval after a look that succeeded, and
//! after one that failed sooner: 1 s doubling up to the interval. Pure: time comes from the caller.

use std::collections::BTreeMap;
use std::time::Duration;

use causeway_core::ids::StreamId;
use causeway_core::state::State;
use causeway_core::stream::DesiredState;
use tokio::time::Instant;

/// The pause after the first failure.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// Streams and when they are due.
#[derive(Debug)]
pub struct Schedule {
    interval: Duration,
    streams: BTreeMap<StreamId, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Versions of source and target instance that the last look was made with.
    versions: (u64, u64),
    due: Instant,
    looking: bool,
    failing: bool,
    retry: Duration,
}

impl Schedule {
    /// No streams yet.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self { interval, streams: BTreeMap::new() }
    }

    /// Follows the agreed state; answers the streams that need no look any more because they are paused or gone.
    pub fn follow(&mut self, view: &State, now: Instant) -> Vec<StreamId> {
        let version = |name| view.instances.get(name).map_or(0, |instance| instance.version);
        let running = view.streams.values().filter(|stream| stream.desired == DesiredState::Running);
        let mut wanted: BTreeMap<StreamId, (u64, u64)> = running
            .map(|stream| (stream.id, (version(&stream.spec.source.instance), version(&stream.spec.target.instance))))
            .collect();
        let mut gone = Vec::new();
        self.streams.retain(|id, entry| match wanted.remove(id) {
            None => {
                gone.push(*id);
                false
            }
            Some(versions) => {
                if entry.versions != versions {
                    (entry.versions, entry.due, entry.retry) = (versions, now, FIRST_RETRY);
                }
                true
            }
        });
        for (id, versions) in wanted {
            self.streams.insert(id, Entry { versions, due: now, looking: false, failing: false, retry: FIRST_RETRY });
        }
        gone
    }

    /// Begins looks at streams that are due, at most `room` of them, the longest due first.
    pub fn begin(&mut self, now: Instant, room: usize) -> Vec<StreamId> {
        let mut due: Vec<_> = self.streams.iter_mut().filter(|(_, entry)| !entry.looking && entry.due <= now).collect();
        due.sort_by_key(|(_, entry)| entry.due);
        let begun = due.into_iter().take(room).map(|(id, entry)| {
            entry.looking = true;
            // A change during the look makes it due again; otherwise the end of the look decides.
            entry.due = now + self.interval;
            *id
        });
        begun.collect()
    }

    /// A look ended. Answers whether it is the first failure after a success.
    pub fn finish(&mut self, stream: StreamId, success: bool, now: Instant) -> bool {
        let Some(entry) = self.streams.get_mut(&stream) else { return false };
        entry.looking = false;
        if success {
            (entry.failing, entry.retry) = (false, FIRST_RETRY);
            return false;
        }
        let retry = entry.retry.min(self.interval);
        entry.due = entry.due.min(now + retry);
        entry.retry = retry.saturating_mul(2);
        !std::mem::replace(&mut entry.failing, true)
    }

    /// When the next stream is due that is not being looked at.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.streams.values().filter(|entry| !entry.looking).map(|entry| entry.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::testing::Replica;

    const INTERVAL: Duration = Duration::from_secs(30);

    #[test]
    fn a_stream_is_due_when_it_appears_and_when_an_instance_changes() {
        let mut replica = Replica::with_partitions(0);
        let id = replica.stream();
        let start = Instant::now();
        let mut schedule = Schedule::new(INTERVAL);
        assert!(schedule.follow(&replica.state, start).is_empty());
        assert_eq!(schedule.begin(start, 8), [id]);
        assert!(schedule.begin(start, 8).is_empty(), "one look at a time");
        schedule.finish(id, true, start);
        assert_eq!(schedule.next_due(), Some(start + INTERVAL));

        replica.change_instance("hohhot");
        schedule.follow(&replica.state, start);
        assert_eq!(schedule.begin(start, 0), [], "no room");
        assert_eq!(schedule.begin(start, 1), [id]);
        replica.change_instance("hohhot");
        schedule.follow(&replica.state, start);
        schedule.finish(id, true, start);
        assert_eq!(schedule.begin(start, 1), [id], "a change during a look is looked at");
    }

    #[test]
    fn failures_are_tried_again_with_a_doubling_pause_up_to_the_interval() {
        let replica = Replica::with_partitions(0);
        let id = replica.stream();
        let mut now = Instant::now();
        let mut schedule = Schedule::new(INTERVAL);
        schedule.follow(&replica.state, now);
        let mut pauses = Vec::new();
        for round in 0..7 {
            assert_eq!(schedule.begin(now, 1), [id]);
            assert_eq!(schedule.finish(id, false, now), round == 0, "the first failure is told apart");
            let due = schedule.next_due().unwrap();
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn a_paused_stream_is_left_alone_and_looked_at_again_when_it_resumes() {
        let mut replica = Replica::with_partitions(0);
        let id = replica.stream();
        let now = Instant::now();
        let mut schedule = Schedule::new(INTERVAL);
        schedule.follow(&replica.state, now);
        assert_eq!(schedule.begin(now, 1), [id]);
        replica.pause();
        assert_eq!(schedule.follow(&replica.state, now), [id]);
        schedule.finish(id, false, now);
        assert_eq!(schedule.next_due(), None);
        replica.resume();
        schedule.follow(&replica.state, now);
        assert_eq!(schedule.begin(now, 1), [id]);
    }
}
