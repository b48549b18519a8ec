//! What the leader's part asks of the cluster: what this node knows as the leader of a term, and what only it may do.
//!
//! A seam beside [`Proposer`]: tests put a cluster of one behind it.

use std::future::Future;

use causeway_cluster::liveness::Signs;
use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::outcome::Outcome;
use causeway_core::plan::{Conditions, MemberChange, Members};

use crate::supervisor::proposer::Proposer;

/// A node that leads, or does not.
pub trait Authority: Proposer {
    /// What may be assumed of every node, with the term that it was learned in; none while this node does not lead.
    fn signs(&self) -> Option<(u64, Signs)>;

    /// The same with the loads of all partitions, which are copied.
    fn conditions(&self) -> Option<(u64, Conditions)>;

    /// From now on it is being agreed that these nodes lose partitions: until [`Self::end_taking`] they get no lease.
    fn begin_taking(&self, term: u64, nodes: Vec<NodeId>);

    /// Everything that was proposed in the term is applied, or never will be.
    fn end_taking(&self, term: u64);

    /// Agrees on a command, but in the log of no other term.
    fn propose_in(&self, term: u64, command: Command) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;

    /// Who takes part; none while this node does not lead.
    fn members(&self) -> Option<Members>;

    /// Changes one member.
    fn change_member(&self, change: MemberChange) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Lets another voter lead, one that stays a voter.
    fn hand_over(&self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
