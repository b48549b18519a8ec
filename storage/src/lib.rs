//! Durable storage of one node: a sled database behind a true disk barrier, and snapshots in files of their own.
//!
//! Reading order: [`db`] (what a data directory is, and who may open it), [`codec`] (how a value is stored),
//! [`barrier`] (what "durable" means), [`raft_store`] with its trees [`raft_log`] and [`raft_meta`],
//! [`snapshot_file`], [`routing`], [`aside`] (directories that change hands), [`starts`], [`inspect`].
//!
//! This is the only crate that names sled. It knows nothing of Raft's rules: it stores what it is told to store,
//! returns exactly that or a typed error, and never repairs anything silently.

pub mod aside;
pub mod barrier;
pub mod codec;
pub mod db;
mod durable_file;
pub mod error;
mod identity;
pub mod inspect;
mod lock;
mod meta;
pub mod raft_log;
pub mod raft_meta;
pub mod raft_store;
pub mod routing;
pub mod snapshot_file;
pub mod starts;
mod table;

pub use db::{Db, Settings};
pub use error::Error;
