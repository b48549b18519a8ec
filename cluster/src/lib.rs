//! The Raft group: what every node agrees on, durable before anybody relies on it.
//!
//! A cluster of one voter runs through exactly the path of a cluster of three: propose, append, disk barrier, commit,
//! apply, answer. What differs is only who else has to say yes.
//!
//! Reading order: [`handle`] (what the rest of a node calls), `actor` (the thread that owns the replica),
//! `raft/ready.rs` (how a proposal becomes durable, nine steps on one screen), `raft/replica.rs`, `raft/apply.rs`,
//! `raft/snapshot.rs`, `raft/log_store.rs`; [`liveness`] (who may write, as a leader knows it).
//!
//! This is the only crate that names raft. Messages between members leave through the `Outbox` trait of
//! `raft/outbox.rs`. [`transport`] carries bytes between nodes and knows nothing of Raft; nothing else opens a socket.

mod actor;
pub mod error;
pub mod handle;
pub mod liveness;
mod raft;
pub mod status;
pub mod transport;

pub use causeway_storage::inspect;
pub use error::{Error, Fatal};
pub use handle::{Handle, start};
pub use raft::settings::{Settings, SettingsFault};
pub use status::{BarrierStats, RaftStatus, Role};
