//! Through which relay a source is read, or past all of them.
//!
//! ```text
//!   relay --fails--> the next relay --fails too often--> direct --after a while--> one attempt through a relay
//!     ^----------------works---------------'                ^-----fails: twice as long-----'      |works
//!     '-------------------------------------------------------------------------------------------'
//! ```
//!
//! A node that says that it relays for nobody is no relay: it is left out, and asked again after a while. Where there
//! is no other, the source is read directly as where there is no node at all.
//!
//! Pure: whoever holds it says what the time is and what became of each attempt.

use std::collections::BTreeMap;
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
    /// Nodes that relay for nobody.
    absent: BTreeMap<NodeId, Absence>,
}

/// A node is left out for a while.
#[derive(Debug, Clone, Copy)]
struct Absence {
    until: Instant,
    /// How long the next such time is.
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
        let (rest, absent) = (settings.direct_first, BTreeMap::new());
        Self { current: None, relays: 0, failures: 0, turn: 0, direct_until: None, rest, absent }
    }

    /// The relay to ask now; none to read directly.
    pub(crate) fn relay(&mut self, now: Instant, relays: impl FnOnce() -> Vec<NodeId>) -> Option<NodeId> {
        if self.direct_until.is_some_and(|until| now < until) {
            return None;
        }
        if self.current.is_none() {
            let mut relays = relays();
            // One that was gone meanwhile may be another process that relays.
            self.absent.retain(|node, _| relays.contains(node));
            relays.retain(|node| self.absent.get(node).is_none_or(|absence| absence.until <= now));
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
        if let Some(node) = self.current {
            self.absent.remove(&node);
        }
    }

    /// The node that was asked relays for nobody: that is no failure.
    pub(crate) fn serves_nobody(&mut self, now: Instant, settings: &RelaySettings) {
        let Some(node) = self.current.take() else { return };
        let rest = self.absent.get(&node).map_or(settings.direct_first, |absence| absence.rest);
        let next = rest.saturating_mul(2).min(settings.direct_longest);
        self.absent.insert(node, Absence { until: now + rest, rest: next });
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
    pub(crate) fn direct_failed(&mut self, now: Instant, settings: &RelaySettings) {
        // Where no node can relay, asking again soon costs more than it brings.
        if self.relays > 0 {
            self.direct_until = None;
            self.rest = settings.direct_first;
        }
        for absence in self.absent.values_mut() {
            let soon = Absence { until: now + settings.direct_first, rest: settings.direct_first };
            *absence = Absence { until: absence.until.min(soon.until), ..soon };
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
        way.direct_failed(now, &settings);
        assert_eq!(way.relay(now, || nodes(1)), Some(NodeId(1)));
    }

    #[tokio::test]
    async fn a_node_that_relays_for_nobody_is_left_out_and_asked_again_ever_more_seldom() {
        let (settings, now) = (RelaySettings::default(), Instant::now());
        let mut way = Way::new(&settings);
        assert_eq!(way.relay(now, || nodes(2)), Some(NodeId(1)));
        way.serves_nobody(now, &settings);
        assert_eq!(way.relay(now, || nodes(2)), Some(NodeId(2)), "the other one is asked at once");
        assert!(way.failed(now, Failure::Lasting, &settings) || way.failed(now, Failure::Passing, &settings));
        let mut way = Way::new(&settings);
        let (mut at, mut rest) = (now, settings.direct_first);
        for _ in 0..8 {
            assert_eq!(way.relay(at, || nodes(1)), Some(NodeId(1)));
            way.serves_nobody(at, &settings);
            assert_eq!(way.relay(at, || nodes(1)), None);
            let last = at + rest - Duration::from_millis(1);
            assert_eq!(way.relay(last, || nodes(1)), None, "not before {rest:?}");
            at = last + NOBODY;
            rest = (2 * rest).min(settings.direct_longest);
        }
        assert_eq!(rest, settings.direct_longest);
        assert!(way.relay(at, || nodes(1)).is_some());
        way.serves_nobody(at, &settings);
        assert_eq!(way.relay(at, || nodes(1)), None);
        way.direct_failed(at, &settings);
        at += settings.direct_first;
        assert_eq!(way.relay(at, || nodes(1)), Some(NodeId(1)), "it may be the only way");
        way.worked(&settings);
        assert!(way.failed(at, Failure::Lasting, &settings), "it relays, so its failures count again");
        assert!(way.absent.is_empty());
        let mut way = Way::new(&settings);
        assert!(way.relay(now, || nodes(1)).is_some());
        way.serves_nobody(now, &settings);
        assert_eq!(way.relay(now, || nodes(0)), None, "it is gone");
        assert_eq!(way.relay(now + NOBODY, || nodes(1)), Some(NodeId(1)), "and may have been started anew");
    }

    proptest! {
        /// However attempts end, a read tries at most [`TRIES`] relays before it goes directly, and the direct time is
        /// never longer than the longest.
        #[test]
        fn tries_and_direct_times_are_bounded(outcomes in prop::collection::vec(0_u8..4, 1..200), relays in 1_u64..5) {
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
                    3 => way.serves_nobody(now, &settings),
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
