//! The watch for copies that land late: from the tail read that follows another ownership, or a send of unknown
//! outcome, until no broker can be expected to bring one any more.
//!
//! ```text
//! tail is read --open--> every stretch between two own batches, and the end of an idle queue, is looked through
//!                                                          '-- what cannot be read is kept --> close: read again
//! ```
//!
//! A watch ends with a look that began when its time was over, and not by the clock: what landed last is seen too.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How often an idle target is looked at meanwhile.
const LOOK: Duration = Duration::from_secs(10);

/// So many stretches that could not be read are kept.
const MAXIMUM_UNREAD: usize = 64;

/// Offsets of the target queue, the second one not included.
pub(super) type Stretch = (i64, i64);

/// Whether copies may land late, and what has not been looked through for them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The first look that begins then is the last one.
    closes_at: Option<Instant>,
    unread: VecDeque<Stretch>,
}

impl Watch {
    /// Copies may land for so long, and be shown a while after that.
    pub(super) fn open(&mut self, lands: Duration, shown_after: Duration) {
        if !lands.is_zero() {
            let closes_at = Instant::now() + lands + shown_after;
            self.closes_at = self.closes_at.max(Some(closes_at));
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.closes_at.is_some()
    }

    /// When an idle target is looked at next; none while nobody watches.
    pub(super) fn next_look(&self, now: Instant) -> Option<Instant> {
        self.closes_at.map(|closes_at| (now + LOOK).min(closes_at.max(now)))
    }

    /// A stretch could not be read. Returns the one that is given up for it.
    pub(super) fn keep(&mut self, stretch: Stretch) -> Option<Stretch> {
        self.unread.push_back(stretch);
        if self.unread.len() > MAXIMUM_UNREAD { self.unread.pop_front() } else { None }
    }

    /// A look began then and has seen everything that was stored by then, but for what could not be read. If it was the
    /// last one, that is to be read again now, and to be given up if it still cannot.
    pub(super) fn looked(&mut self, began: Instant) -> VecDeque<Stretch> {
        if self.closes_at.is_none_or(|closes_at| began < closes_at) {
            return VecDeque::new();
        }
        self.give_up()
    }

    /// Ends. Returns what was not read.
    pub(super) fn give_up(&mut self) -> VecDeque<Stretch> {
        self.closes_at = None;
        std::mem::take(&mut self.unread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn ends_with_the_first_look_after_its_time_and_gives_back_what_was_not_read() {
        let mut watch = Watch::default();
        assert!(!watch.is_open() && watch.next_look(Instant::now()).is_none());
        watch.open(Duration::ZERO, SECOND);
        assert!(!watch.is_open(), "nobody wants one");
        let began = Instant::now();
        watch.open(SECOND * 15, SECOND);
        assert_eq!(watch.next_look(began), Some(began + SECOND * 10));
        assert_eq!(watch.next_look(began + SECOND * 10), Some(began + SECOND * 16), "the last one");
        let late = began + SECOND * 99;
        assert_eq!(watch.next_look(late), Some(late), "at once");
        assert_eq!(watch.keep((3, 9)), None);
        assert!(watch.looked(began + SECOND * 15).is_empty() && watch.is_open());
        assert_eq!(watch.looked(began + SECOND * 16), [(3, 9)]);
        assert!(!watch.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn is_prolonged_and_never_shortened_and_keeps_so_much() {
        let mut watch = Watch::default();
        watch.open(SECOND * 100, SECOND);
        watch.open(SECOND, SECOND);
        assert!(watch.looked(Instant::now() + SECOND * 50).is_empty() && watch.is_open());
        let stretches = (0..100).map(|number| (number, number + 1));
        let given_up: Vec<_> = stretches.filter_map(|stretch| watch.keep(stretch)).collect();
        assert_eq!(given_up, (0..36).map(|number| (number, number + 1)).collect::<Vec<_>>());
    }
}
