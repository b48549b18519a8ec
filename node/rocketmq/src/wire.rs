//! The RocketMQ remoting wire format: bytes in, values out. No I/O, no clock, no task.
//!
//! Own code rather than that of a client library, because a replicator must copy what such clients change or drop: born
//! timestamps, sysFlag, compressed bodies, records that do not decode. Every decoder caps lengths before it allocates
//! and returns a typed error; the fuzz targets in `fuzz/` and the property tests run the same bodies (`wire::harness`).
//! Must never panic on received bytes.

pub mod batch;
pub mod code;
mod fields;
pub mod frame;
#[doc(hidden)]
pub mod harness;
mod header;
pub mod json;
#[cfg(test)]
mod oracle;
pub mod properties;
mod reader;
pub mod record;
pub mod sign;
#[cfg(test)]
mod strategies;
pub mod sys_flag;
pub mod tag;
