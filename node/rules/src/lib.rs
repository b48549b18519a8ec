//! Filters and transforms: pure functions of a record, compiled once and applied to every message.
//!
//! [`tag`] is the tag expression of a stream. There is no I/O here, no clock, and nothing of RocketMQ's wire: a rule
//! sees names and values as bytes. Whatever a rule cannot understand is an error when it is compiled, never later.
//!
//! [`event`] is the CloudEvent that stands for a message, [`json`] the values in it, and [`pattern`] tests it.

pub mod event;
pub mod json;
pub mod pattern;
pub mod tag;
