//! The Causeway node: one process that copies RocketMQ topics, is driven through an HTTP API and a CLI, and shows
//! what it does.
//!
//! Reading order: [`app`] (how it all hangs together), [`supervisor`] (which partitions run), [`replicate`] (how a
//! message moves), [`relay`] (how it crosses regions), [`lease`] (when it may), [`status`] (what is true right now),
//! then [`config`], [`secrets`], [`connect`], [`admin`], [`cli`] and [`telemetry`].

pub mod admin;
pub mod app;
pub mod certs;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connect;
mod lasting;
pub mod lease;
pub mod relay;
pub mod replicate;
pub mod secrets;
pub mod shutdown;
#[cfg(test)]
mod simulation;
pub mod status;
pub mod supervisor;
pub mod telemetry;
