//! The benchmark: what copying costs, beside the least that it could cost and beside the plain bridge.
//!
//! Parts: [`raw`] (framing for the programs that must not use the product's code), [`contest`] (runs the contenders one
//! after the other against one broker), [`latency`], [`memory`], [`report`] (the page).

pub mod contest;
pub mod latency;
pub mod memory;
pub mod raw;
pub mod report;
