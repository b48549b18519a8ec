//! Which partitions run on this node, and what becomes of their progress and their ends.
//!
//! Two reconcilers, both level-triggered: the [`controller`] gives every partition an owner, the
//! [`partition_supervisor`] makes what runs here be what is owned. A first start, a change and a recovery are one path.
//!
//! Reading order: [`reconcile`], [`letting_go`] and [`exits`] (the decisions, pure), [`partition_supervisor`] and
//! [`partition_actor`] (carrying them out), [`launch`] (what a run is given), [`back_off`], [`target_locks`];
//! [`progress_board`] and [`checkpoint_keeper`] (progress into the agreed state); [`discovery`] with [`schedule`],
//! [`topic`] and [`queue_mapping`] (which partitions there are); [`calm`] (when loads mean something); [`proposer`] and
//! [`view_changes`] (the seam to the cluster); [`lifeline`] (a part that ended is noticed).
//!
//! An actor owns a life, a function owns a step. Messages that are copied never travel in a mailbox.

pub mod authority;
pub mod back_off;
pub mod calm;
pub mod checkpoint_keeper;
pub mod controller;
pub mod discovery;
pub mod exits;
pub mod launch;
pub mod letting_go;
pub mod lifeline;
pub mod partition_actor;
pub mod partition_supervisor;
pub mod progress_board;
pub mod proposer;
pub mod queue_mapping;
pub mod reconcile;
pub mod reluctance;
pub mod schedule;
pub mod target_locks;
pub mod topic;
pub mod view_changes;

#[cfg(test)]
mod checkpoint_keeper_tests;
#[cfg(test)]
pub(crate) mod fake_cluster;
#[cfg(test)]
mod hand_over_tests;
#[cfg(test)]
mod partition_supervisor_tests;
#[cfg(test)]
mod reconcile_tests;
#[cfg(test)]
pub(crate) mod testing;
