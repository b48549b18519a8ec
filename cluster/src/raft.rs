//! One replica of the Raft group; see [`ready`] for how a proposal becomes durable.

mod apply;
mod convert;
pub(crate) mod disk;
pub(crate) mod entry;
mod log_store;
mod logger;
pub(crate) mod membership;
pub(crate) mod message;
#[cfg(any(test, feature = "simulation"))]
pub(crate) mod observe;
pub(crate) mod outbox;
pub(crate) mod proposals;
pub(crate) mod reads;
mod ready;
pub(crate) mod replica;
mod request_id;
pub(crate) mod settings;
pub(crate) mod snapshot;
pub(crate) mod transfer;

pub(crate) use entry::encode as encode_command;
pub(crate) use request_id::request_id;

#[cfg(test)]
pub(crate) mod sample;
