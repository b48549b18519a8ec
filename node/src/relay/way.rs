//! Through which relay a source is read, or past all of them.
//!
//! ```text
//!   relay --fails--> the next relay --fails too often--> direct --after a while--> one attempt through a relay
//!     ^----------------works---------------'                ^-----fails: twice as long-----'      |works
//!     '-------------------------------------------------------------------------------------------'
//! ```
//!
//! Pure: whoever holds it says what the time is and what became of each attempt.

use std::time::Duration;

use causeway_core::ids::NodeId;
use tokio::time::Instant;

use super::settings::RelaySettings;

/// So many failures in a row turn a source direct.
const TRIES: u32 = 3;

/// How long a source is read directly when no node can relay it, before it is asked for one again.
const NOBODY: Duration = Duration::from_secs(1);

/// Which way one source is read.
#[derive(Debug)]
pub(crate) struct Way {
    /// The relay that is used as long as it works.
    current: Option<NodeId>,
    /// Relays that were there when it was chosen.
    relays: usize,
    failures: u32,
    /// Which of the relays is asked next.
    turn: usize,
    direct_until: Option<Instant>,
    /// How long the next direct time is.
    rest: Duration,
}

/// How bad a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// May be over at once.
    Passing,
    /// The same node will fail again.
    Lasting,
}

impl Way {
    pub(crate) fn new(settings: &RelaySettings) -> Self {
        Self { current: None, relays: 0, failures: 0, turn: 0, direct_until: None, rest: settings.direct_first }
    }

    /// The relay to ask now; none to read directly.
    pub(crate) fn relay(&mut self, now: Instant, relays: impl FnOnce() -> Vec<NodeId>) -> Option<NodeId> {
        if self.direct_until.is_some_and(|until| now < until) {
            return None;
        }
        if self.current.is_none() {
            let relays = relays();
            self.relays = relays.len();
            self.current = self.turn.checked_rem(relays.len()).and_then(|turn| relays.get(turn)).copied();
        }
        self.direct_until = self.current.is_none().then(|| now + NOBODY);
        self.current
    }

    /// The relay answered.
    pub(crate) fn worked(&mut self, settings: &RelaySettings) {
        self.failures = 0;
        self.rest = settings.direct_first;
    }

    /// The relay failed. Answers whether the source is read directly from now on.
    pub(crate) fn failed(&mut self, now: Instant, failure: Failure, settings: &RelaySettings) -> bool {
        let alone = u32::try_from(self.relays.max(1)).unwrap_or(u32::MAX);
        let weight = match failure {
            Failure::Passing => 1,
            // When each of them failed so, they were tried enough.
            Failure::Lasting => TRIES.div_ceil(alone),
        };
        self.failures = self.failures.saturating_add(weight);
        self.turn = self.turn.wrapping_add(1);
        self.current = None;
        let turns = self.failures >= TRIES;
        if turns {
            self.direct_until = Some(now + self.rest);
            self.rest = self.rest.saturating_mul(2).min(settings.direct_longest);
            // Behind it, one attempt decides.
            self.failures = TRIES.saturating_sub(1);
        }
        turns
    }

    /// Reading directly failed, so relays are asked again at once: the source may be in reach of nobody else.
    pub(crate) fn direct_failed(&mut self, settings: &RelaySettings) {
        // Where no node can relay, asking again soon costs more than it brings.
        if self.relays > 0 {
            self.direct_until = None;
            self.rest = settings.direct_first;
        }
    }

    /// How long to wait before the next relay is asked.
    pub(crate) fn wait(&self, settings: &RelaySettings) -> Duration {
        settings.retry_first.saturating_mul(1 << self.failures.min(TRIES).saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn nodes(count: u64) -> Vec<NodeId> {
        (1..=count).map(NodeId).collect()
    }

    #[tokio::test]
    async fn a_relay_is_kept_while_it_works_and_each_is_tried_before_the_source_is_read_directly() {
        let (settings, now) = (RelaySettings::default(), Instant::now());
        let mut way = Way::new(&settings);
        assert_eq!(way.relay(now, || nodes(3)), Some(NodeId(1)));
        assert_eq!(way.relay(now, || panic!("it has one")), Some(NodeId(1)));
        assert!(!way.failed(now, Failure::Lasting, &settings));
        assert_eq!(way.relay(now, || nodes(3)), Some(NodeId(2)));
        way.worked(&settings);
        for next in [3, 1] {
            assert!(!way.failed(now, Failure::Passing, &settings));
            assert_eq!(way.relay(now, || nodes(3)), Some(NodeId(next)));
        }
        assert!(way.failed(now, Failure::Passing, &settings));
        assert_eq!(way.relay(now, || panic!("not asked")), None);
        let later = now + settings.direct_first;
        assert_eq!(way.relay(later, || nodes(3)), Some(NodeId(2)));
        assert!(way.failed(later, Failure::Passing, &settings), "one attempt decides");
        assert_eq!(way.relay(later + settings.direct_first, || panic!("twice as long")), None);
        let much_later = later + 2 * settings.direct_first;
        assert!(way.relay(much_later, || nodes(3)).is_some());
        way.worked(&settings);
        assert!(!way.failed(much_later, Failure::Passing, &settings));
    }

    #[tokio::test]
    async fn a_single_relay_that_refuses_turns_the_source_direct_at_once_and_nobody_is_asked_for_again_soon() {
        let (settings, now) = (RelaySettings::default(), Instant::now());
        let mut way = Way::new(&settings);
        assert_eq!(way.relay(now, || nodes(0)), None);
        assert_eq!(way.relay(now, || panic!("asked too often")), None);
        assert_eq!(way.relay(now + NOBODY, || nodes(1)), Some(NodeId(1)));
        assert!(way.failed(now, Failure::Lasting, &settings));
    }

    #[tokio::test]
    async fn a_source_that_cannot_be_read_directly_either_is_asked_for_through_relays_again() {
        let (settings, now) = (RelaySettings::default(), Instant::now());
        let mut way = Way::new(&settings);
        assert!(way.relay(now, || nodes(1)).is_some() && way.failed(now, Failure::Lasting, &settings));
        assert_eq!(way.relay(now, || nodes(1)), None);
        way.direct_failed(&settings);
        assert_eq!(way.relay(now, || nodes(1)), Some(NodeId(1)));
    }

    proptest! {
        /// However attempts end, a read tries at most [`TRIES`] relays before it goes directly, and the direct time is
        /// never longer than the longest.
        #[test]
        fn tries_and_direct_times_are_bounded(outcomes in prop::collection::vec(0_u8..3, 1..200), relays in 1_u64..5) {
            let settings = RelaySettings::default();
            let mut now = Instant::now();
            let mut way = Way::new(&settings);
            let mut in_a_row = 0;
            for outcome in outcomes {
                if way.relay(now, || nodes(relays)).is_none() {
                    now += settings.direct_longest;
                    assert!(way.relay(now, || nodes(relays)).is_some());
                    in_a_row = 0;
                }
                match outcome {
                    0 => {
                        way.worked(&settings);
                        in_a_row = 0;
                    }
                    bad => {
                        in_a_row += 1;
                        let failure = if bad == 1 { Failure::Passing } else { Failure::Lasting };
                        let direct = way.failed(now, failure, &settings);
                        assert!(direct || in_a_row < TRIES);
                        assert!(way.wait(&settings) <= settings.retry_first * 4);
                    }
                }
            }
        }

        #[test]
        fn a_relay_that_is_given_is_one_of_those_that_there_are(count in 0_u64..5, turns in any::<u8>()) {
            let (settings, now) = (RelaySettings::default(), Instant::now());
            let mut way = Way::new(&settings);
            for _ in 0..turns {
                way.turn += 1;
            }
            let given = way.relay(now, || nodes(count));
            assert_eq!(given.is_some(), count > 0);
            assert!(given.is_none_or(|node| nodes(count).contains(&node)));
        }
    }
}
