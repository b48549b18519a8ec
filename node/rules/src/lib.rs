//! Filters and transforms: pure functions of a record, compiled once and applied to every message.
//!
//! [`tag`] is the tag expression of a stream. [`event`] is a message as an EventBridge pattern sees it, [`json`] the
//! values in it. There is no I/O here, no clock, and nothing of RocketMQ's wire: a rule
//! sees names and values as bytes. Whatever a rule cannot understand is an error when it is compiled, never later.

pub mod event;
pub mod json;
pub mod tag;
