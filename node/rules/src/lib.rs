//! Filters and transforms: pure functions of a record, compiled once and applied to every message.
//!
//! [`tag`] is the tag expression of a stream, [`sql92`] its SQL92 expression. There is no I/O here, no clock, and
//! nothing of RocketMQ's wire: a rule sees names and values as bytes. Whatever a rule cannot understand is an error
//! when it is compiled, never later.

pub mod sql92;
pub mod tag;
