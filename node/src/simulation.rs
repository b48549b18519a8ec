//! Real partitions on a simulated group between simulated brokers, in one thread. Everything follows from one seed, so
//! whatever is found is found again.
//!
//! Real are the replica, the state machine, the planner, what a leader knows of leases (all in the cluster's own
//! simulation, [`causeway_cluster::sim`]), the supervisor with its reconciler, the lease, the keeper of progress and
//! the pipeline. Simulated are disks, network and clocks of the group, [`broker`]s, and the [`link`]s to them. A
//! [`resident`] is one process; [`driver`] lets everything happen; [`judge`] looks at what came of it:
//!
//! | id | invariant |
//! |---|---|
//! | S1 to S7, S9 | the group's own, see [`causeway_cluster::sim`] |
//! | P1 | no message is lost, and the first copies stand in the order of the source |
//! | P2 | nothing is copied twice but by brokers that had stood still, and by stopped senders if not `strict` |
//! | P3 | whatever stands there twice then was reported |
//! | P4 | no batch is handed over when a later ownership is agreed on, but by a sender stopped right before it wrote |
//! | P5 | agreed progress never claims more than what stood at the target |
//! | P6 | when nothing is hurt any more, everything is copied, and that is agreed on |
//! | P7 | nothing that happens to brokers, nodes or links is taken for a fault of the source |
//!
//! Not simulated: settling and watching by clocks that run apart (only leases count by those), and relays.
//!
//! `docs/invariants.md` says how to run many seeds.

mod broker;
mod driver;
mod judge;
mod link;
mod resident;
mod tests;
