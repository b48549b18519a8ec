//! Filters and transforms: pure functions of a record, compiled once and applied to every message.
//!
//! There is no I/O here, no clock, and nothing of RocketMQ's wire: a rule sees names and values as bytes. Whatever a
//! rule cannot understand is an error when it is compiled, never later.
//!
//! - [`tag`] is the tag expression of a stream, [`sql92`] its condition over properties.
//! - [`event`] is a message as EventBridge's rules see it, [`json`] the values in it.
//! - [`pattern`] tests an event.
//! - [`path`] names one value of an event.
//! - [`transform`] makes the outgoing message of an event.

pub mod event;
pub mod json;
pub mod path;
pub mod pattern;
pub mod sql92;
pub mod tag;
pub mod transform;
