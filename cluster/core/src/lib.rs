//! Causeway's vocabulary and its rules: what exists, what can be proposed, and what each proposal changes.
//!
//! Everything here is deterministic. There is no clock, no random source, no I/O and no thread: time arrives
//! inside a [`command::Envelope`], identifiers come from the log index or from the proposer, and every map is
//! ordered. Two replicas that apply the same log hold the same [`state::State`], byte for byte.
//!
//! Reading order: [`ids`], [`instance`], [`stream`], [`partition`], [`checkpoint`], [`node`], [`provenance`],
//! [`command`], [`outcome`], [`state`], [`error_code`].

pub mod checkpoint;
pub mod codec;
pub mod command;
pub mod error_code;
pub mod fault;
pub mod ids;
pub mod instance;
pub mod name;
pub mod node;
pub mod outcome;
pub mod partition;
pub mod plan;
pub mod provenance;
pub mod skip;
pub mod state;
pub mod stream;
