//! The Raft group: what every node agrees on, durable before anybody relies on it.
//!
//! A cluster of one voter runs through exactly the path of a cluster of three: propose, append, disk barrier, commit,
//! apply, answer. What differs is only who else has to say yes.
//!
//! Reading order: [`group`] (what the rest of a node calls), [`handle`] (the replica in it), `actor` (the thread that
//! owns the replica), `raft/ready.rs` (how a proposal becomes durable, nine steps on one screen), `raft/replica.rs`,
//! `raft/apply.rs`, `raft/snapshot.rs`, `raft/log_store.rs`, `raft/membership.rs`, `raft/reads.rs`; [`liveness`] (who
//! may write, as a leader knows it); [`transport`] (how nodes talk); [`restore`] (backups and new beginnings).
//!
//! This is the only crate that names raft. Messages between members leave through an [`Outbox`] and arrive with
//! [`Handle::receive`], encoded both ways: [`transport`], which carries them, knows nothing of what they say.

mod actor;
pub mod clock;
pub mod error;
pub mod group;
pub mod handle;
pub mod liveness;
mod raft;
pub mod restore;
#[cfg(any(test, feature = "simulation"))]
pub mod sim;
pub mod status;
pub mod transport;

pub use causeway_storage::Error as StorageError;
pub use causeway_storage::aside::{self, is_free, set_aside};
pub use causeway_storage::inspect;
pub use error::{Error, Fatal};
pub use group::{
    Backup, COMES_BACK, Figures, Granted, Group, Joined, Network, REMOVED, Reasons, StreamServer, Welcome,
};
pub use handle::{Handle, start, start_with};
pub use raft::membership::{ChangeRefusal, MAXIMUM_ENTRIES_BEHIND, MemberChange};
pub use raft::message::{MessageFault, MessageKind};
pub use raft::outbox::Outbox;
pub use raft::settings::{Settings, SettingsFault, Start};
pub use status::{BarrierStats, MemberProgress, MemberState, MemberStatus, RaftStatus, Role};
