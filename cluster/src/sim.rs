//! Replicas of a group in one thread, over a network, disks and clocks that do their worst. Everything follows from one
//! seed, so whatever is found is found again.
//!
//! Real are the replica, the state machine, the planner of partitions and of members, and what a leader knows of
//! leases. Simulated is what stands around them: [`disk`], [`network`] and the clock of each node ([`node`]); what
//! nodes do by themselves ([`duties`], [`leases`]); who uses them ([`clients`]) and what befalls them ([`faults`]).
//! [`world`] lets one event after the other happen, and [`judge`] looks at what came of it:
//!
//! | id | invariant | judge |
//! |---|---|---|
//! | S1 | at most one leader in a term | [`history`] |
//! | S2 | all nodes apply the same entries, and hold the same state and membership after each | [`history`] |
//! | S3 | a leader holds whatever was applied in an earlier term; what was answered is durable on a majority | [`history`], [`judge`] |
//! | S4 | an outcome is that of the caller's own command, applied once; what was refused is never applied | [`history`] |
//! | S5 | at most one change of members is in progress, and each moves at most one vote | [`history`] |
//! | S6 | a read never misses what was answered before it was asked | [`history`] |
//! | S7 | what a message promises is durable when it leaves | [`network`] |
//! | S8 | at most one node may write a partition, and never under an earlier ownership than somebody before | [`leases`] |
//! | S9 | no replica ends but by a failing disk, and no member's message is refused | [`judge`] |
//! | S10 | when nothing is broken any more, everything goes on, and nothing is missing that was answered | [`judge`] |
//!
//! Who lives on the nodes, real partitions in another crate's tests, gets a group by [`residents`].
//!
//! `docs/invariants.md` says how to run many seeds.

// What is broken here ends a test, whichever crate's it is.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
// Defects and other means of this crate's own tests.
#![cfg_attr(not(test), allow(dead_code))]

mod clients;
mod disk;
mod duties;
mod faults;
mod history;
mod judge;
mod leases;
mod network;
mod node;
mod random;
mod residents;
mod seeds;
#[cfg(test)]
mod tests;
mod world;

use std::fmt;

pub use random::Random;
pub use residents::{Counts, Flaw, News, Settings, Simulation};
pub use seeds::{number, run_seeds};

/// What is wrong on purpose, in the simulated parts, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    /// A disk that makes nothing durable.
    SkippedBarrier,
    /// A disk that says so one step too early.
    LateBarrier,
    /// A disk that loses whom the node voted for.
    ForgottenVote,
    /// A disk that keeps the state of an earlier snapshot: to start from it leaves out entries.
    StaleSnapshot,
    /// A network that changes commands on their way.
    AlteredAppend,
    /// A network that names too low an index to whoever reads.
    StaleRead,
    /// A caller that takes the view for current without asking.
    UnconfirmedRead,
    /// A lease that counts from when it arrived.
    LeaseFromArrival,
    /// A leader that takes a lease for over at once when its length has passed by its own clock.
    LeaseWithoutMargin,
    /// A leader that gives leases without a majority's word that it leads.
    UnconfirmedLease,
    /// A leader that gives leases to nodes that it is taking partitions from.
    LeaseWhileTaking,
    /// A node that begins under a lease before it has applied what was taken from it.
    LeaseWithoutCatchingUp,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    invariant: &'static str,
    detail: String,
}

impl Violation {
    fn new(invariant: &'static str, detail: impl Into<String>) -> Self {
        Self { invariant, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.invariant, self.detail)
    }
}
