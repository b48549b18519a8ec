//! What a leader knows of leases: who may write, and who certainly does not any more.
//!
//! A node asks for a lease again and again. It counts from when it asked, by its own clock; the leader counts from when
//! it granted, by its own, which is later. So the leader never takes a lease for ended that its holder takes for valid,
//! as long as the clocks of two machines differ by less than the margin over the length of a lease.
//!
//! | what is known of a node | it is | its partitions |
//! |---|---|---|
//! | a lease was granted within [`LeaseTerms::silent_after`] | up | stay |
//! | an earlier one may still be held, or was granted by an earlier leader | silent | stay |
//! | none can be held | down | are given away |
//!
//! Why an earlier leader's grants are covered: it granted only after a majority had confirmed that it leads, and one
//! of that majority voted for the present leader later. So every lease of an earlier leader was asked for before this
//! one was elected, and is over when a whole lease has passed since then.
//!
//! Why a node that comes back does not write under an ownership that was taken from it: while the loss of its
//! partitions is being agreed on it gets no lease ([`Liveness::begin_taking`]); behind that it gets one together with
//! the log index that it has to have applied before it begins anything, which includes what was taken.
//!
//! Without a clock and without I/O; time is a count of nanoseconds of the leader's boot clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use causeway_core::ids::NodeId;
use causeway_core::node::ProcessId;
use causeway_core::plan;

/// How long leases are, and what is waited for behind their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTerms {
    /// How long a node may write after it asked.
    pub length: Duration,
    /// How often a node asks.
    pub renew_every: Duration,
    /// How far the clocks of two machines may run apart during one lease.
    pub margin: Duration,
}

impl Default for LeaseTerms {
    fn default() -> Self {
        Self {
            length: Duration::from_millis(2_000),
            renew_every: Duration::from_millis(400),
            margin: Duration::from_millis(400),
        }
    }
}

impl LeaseTerms {
    /// A node that was not heard for so long is shown as silent: it has missed asking twice.
    #[must_use]
    pub fn silent_after(&self) -> Duration {
        self.renew_every.saturating_mul(3).min(self.length)
    }

    /// Behind the last grant: no lease can be held. What was sent under it may still be on its way; a new owner waits
    /// for that before it reads the target's tail.
    #[must_use]
    pub fn down_after(&self) -> Duration {
        self.length.saturating_add(self.margin)
    }

    /// What is wrong with these terms; nothing where they are sound.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        if self.renew_every.is_zero() {
            Some("the renewal interval must not be 0")
        } else if self.renew_every.saturating_mul(3) > self.length {
            Some("a lease has to be at least three renewal intervals long")
        } else if self.margin < self.length / 20 {
            Some("the margin for clocks has to be at least a twentieth of a lease")
        } else {
            None
        }
    }
}

/// The answer to a node that asked for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It may write for the length of a lease since it asked, once it has applied what is named.
    Granted {
        /// A lease that follows a break begins only on a state that includes this log index.
        applied_at_least: u64,
    },
    /// Its partitions are being given away: it asks again.
    NotNow,
    /// Another process of the same node holds a lease.
    TwoProcesses {
        /// The one that holds it.
        holder: ProcessId,
    },
}

#[derive(Debug, Clone, Copy)]
struct Grant {
    at: u64,
    process: ProcessId,
}

/// What a leader assumes of nodes, and a number that changes with their loads: two that are equal, of one term, say
/// that there is nothing new to plan for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signs {
    /// What may be assumed of every node, and of whoever else owns something.
    pub nodes: BTreeMap<NodeId, plan::Liveness>,
    /// Rises when a node tells loads other than before.
    pub loads: u64,
}

/// One leader's knowledge during one term.
#[derive(Debug, Clone)]
pub struct Liveness {
    terms: LeaseTerms,
    /// When this leader was elected.
    since: u64,
    grants: BTreeMap<NodeId, Grant>,
    taking: BTreeSet<NodeId>,
}

impl Liveness {
    /// Nothing is known yet: everybody may hold a lease of an earlier leader.
    #[must_use]
    pub fn new(terms: LeaseTerms, elected_at: u64) -> Self {
        Self { terms, since: elected_at, grants: BTreeMap::new(), taking: BTreeSet::new() }
    }

    /// Answers a node that asked. Call it only after a majority has confirmed, behind the arrival of the question, that
    /// this node leads; `applied` is what this leader has applied then.
    pub fn ask(&mut self, node: NodeId, process: ProcessId, applied: u64, now: u64) -> Answer {
        if self.taking.contains(&node) {
            return Answer::NotNow;
        }
        if let Some(held) = self.grants.get(&node)
            && held.process != process
            && now.saturating_sub(held.at) < nanos(self.terms.down_after())
        {
            return Answer::TwoProcesses { holder: held.process };
        }
        self.grants.insert(node, Grant { at: now, process });
        Answer::Granted { applied_at_least: applied }
    }

    /// A process says that it writes nothing any more: its node may start again at once, or lose its partitions.
    pub fn give_back(&mut self, node: NodeId, process: ProcessId, now: u64) {
        if let Some(held) = self.grants.get_mut(&node)
            && held.process == process
        {
            // As if it had been granted just so long ago that it is over.
            held.at = now.saturating_sub(nanos(self.terms.down_after()));
        }
    }

    /// What may be assumed of a node.
    #[must_use]
    pub fn of(&self, node: NodeId, now: u64) -> plan::Liveness {
        let heard = self.grants.get(&node).map(|grant| grant.at);
        let since = now.saturating_sub(heard.unwrap_or(self.since).max(self.since));
        if heard.is_some() && since < nanos(self.terms.silent_after()) {
            plan::Liveness::Up
        } else if since < nanos(self.terms.down_after()) {
            plan::Liveness::Silent
        } else {
            plan::Liveness::Down
        }
    }

    /// The same for people. A leader that was elected less than a lease ago and has not heard a node yet knows nothing
    /// of it: nodes need a moment to find whom to ask.
    #[must_use]
    pub fn shown(&self, node: NodeId, now: u64) -> Option<plan::Liveness> {
        let is_new = now.saturating_sub(self.since) < nanos(self.terms.length);
        (self.grants.contains_key(&node) || !is_new).then(|| self.of(node, now))
    }

    /// How long ago a node was last heard; none when this leader never heard it.
    #[must_use]
    pub fn heard(&self, node: NodeId, now: u64) -> Option<Duration> {
        self.grants.get(&node).map(|grant| Duration::from_nanos(now.saturating_sub(grant.at)))
    }

    /// From now on it is being agreed that these nodes lose partitions: they get no lease until that is known.
    pub fn begin_taking(&mut self, nodes: impl IntoIterator<Item = NodeId>) {
        self.taking.extend(nodes);
    }

    /// All that was proposed is applied, or never will be.
    pub fn end_taking(&mut self) {
        self.taking.clear();
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NODE: NodeId = NodeId(2);
    const FIRST: ProcessId = ProcessId(1);
    const SECOND: ProcessId = ProcessId(2);

    fn at(milliseconds: u64) -> u64 {
        milliseconds * 1_000_000
    }

    #[test]
    fn a_new_leader_waits_for_what_an_earlier_one_may_have_granted() {
        let terms = LeaseTerms::default();
        let liveness = Liveness::new(terms, at(1_000));
        assert_eq!(liveness.of(NODE, at(1_000)), plan::Liveness::Silent);
        assert_eq!(liveness.of(NODE, at(1_000) + nanos(terms.down_after()) - 1), plan::Liveness::Silent);
        assert_eq!(liveness.of(NODE, at(1_000) + nanos(terms.down_after())), plan::Liveness::Down);
    }

    #[test]
    fn a_new_leader_shows_nothing_of_a_node_that_had_no_time_to_ask_it() {
        use plan::Liveness::{Down, Silent, Up};
        let terms = LeaseTerms::default();
        let mut liveness = Liveness::new(terms, at(1_000));
        let asked = NodeId(3);
        liveness.ask(asked, FIRST, 0, at(1_100));
        let seen = |node, moments: [u64; 4]| moments.map(|moment| liveness.shown(node, at(moment)));
        assert_eq!(seen(NODE, [1_000, 2_999, 3_000, 3_400]), [None, None, Some(Silent), Some(Down)]);
        assert_eq!(seen(asked, [1_100, 2_299, 2_300, 3_500]), [Some(Up), Some(Up), Some(Silent), Some(Down)]);
        assert_eq!(liveness.of(NODE, at(1_000)), Silent, "what is decided by does not change");
    }

    #[test]
    fn a_node_is_up_then_silent_then_down_and_comes_back() {
        let mut liveness = Liveness::new(LeaseTerms::default(), 0);
        assert_eq!(liveness.ask(NODE, FIRST, 7, at(10_000)), Answer::Granted { applied_at_least: 7 });
        let seen = [10_000, 11_199, 11_200, 12_399, 12_400].map(|moment| liveness.of(NODE, at(moment)));
        use plan::Liveness::{Down, Silent, Up};
        assert_eq!(seen, [Up, Up, Silent, Silent, Down]);
        liveness.begin_taking([NODE]);
        assert_eq!(liveness.ask(NODE, FIRST, 8, at(13_600)), Answer::NotNow);
        assert_eq!(liveness.of(NODE, at(13_600)), Down, "what it was not granted does not make it up");
        liveness.end_taking();
        assert_eq!(liveness.ask(NODE, FIRST, 9, at(13_700)), Answer::Granted { applied_at_least: 9 });
        assert_eq!(liveness.of(NODE, at(13_700)), Up);
    }

    #[test]
    fn a_second_process_waits_until_the_first_ones_lease_is_over_or_given_back() {
        let mut liveness = Liveness::new(LeaseTerms::default(), 0);
        liveness.ask(NODE, FIRST, 0, at(10_000));
        assert_eq!(liveness.ask(NODE, SECOND, 0, at(12_399)), Answer::TwoProcesses { holder: FIRST });
        assert!(matches!(liveness.ask(NODE, SECOND, 0, at(12_400)), Answer::Granted { .. }));
        liveness.give_back(NODE, FIRST, at(12_500));
        assert_eq!(liveness.of(NODE, at(12_500)), plan::Liveness::Up, "a dead process gives nothing back");
        liveness.give_back(NODE, SECOND, at(12_500));
        assert_eq!(liveness.of(NODE, at(12_500)), plan::Liveness::Down);
    }

    #[test]
    fn unsound_terms_are_named() {
        assert_eq!(LeaseTerms::default().fault(), None);
        let short = LeaseTerms { length: Duration::from_secs(1), ..LeaseTerms::default() };
        assert!(short.fault().is_some());
        let tight = LeaseTerms { margin: Duration::from_millis(1), ..LeaseTerms::default() };
        assert!(tight.fault().is_some());
    }

    #[derive(Debug, Clone)]
    enum Event {
        /// The node asks, and the answer takes so long in both directions.
        Ask {
            there: u64,
            back: u64,
        },
        Pass(u64),
        /// Another leader takes over; it knows nothing.
        Elect,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => (0_u64..2_000, 0_u64..4_000).prop_map(|(there, back)| Event::Ask { there, back }),
            4 => (0_u64..3_000).prop_map(Event::Pass),
            1 => Just(Event::Elect),
        ]
    }

    proptest! {
        /// The node's clock runs differently, within what the margin allows.
        #[test]
        fn a_node_is_never_down_while_it_may_take_its_lease_for_valid(
            events in prop::collection::vec(event(), 1..60), per_mille in 850_u64..1_200,
        ) {
            let terms = LeaseTerms::default();
            let mut liveness = Liveness::new(terms, 0);
            let (mut now, mut valid_until) = (0_u64, 0_u64);
            for event in events {
                match event {
                    Event::Ask { there, back } => {
                        // The lease lasts, from when the node asked, for `length` of the node's own time.
                        let own_length = u64::try_from(terms.length.as_millis()).unwrap() * per_mille / 1_000;
                        let asked = now;
                        now += there;
                        if matches!(liveness.ask(NODE, FIRST, 0, at(now)), Answer::Granted { .. }) && back < own_length {
                            valid_until = valid_until.max(asked + own_length);
                        }
                    }
                    Event::Pass(milliseconds) => now += milliseconds,
                    Event::Elect => liveness = Liveness::new(terms, at(now)),
                }
                for moment in [now, valid_until.saturating_sub(1)].into_iter().filter(|moment| *moment >= now) {
                    let valid = moment < valid_until;
                    prop_assert!(!valid || liveness.of(NODE, at(moment)) != plan::Liveness::Down);
                }
            }
        }
    }
}
