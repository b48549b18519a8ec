//! The benchmark: what copying costs, beside the least that it could cost and beside the plain bridge.
//!
//! Parts: [`raw`] (framing for the programs that must not use the product's code), [`bodies`] (what messages hold),
//! [`contest`] (runs the contenders one after the other against one broker), [`latency`], [`memory`], [`report`] (what
//! one node's run leaves behind); [`wan`] and [`wan_report`] (two regions), [`scale`] (many partitions); [`page`]
//! (where all of it is written).

pub mod bodies;
pub mod contest;
pub mod latency;
pub mod memory;
pub mod page;
pub mod raw;
pub mod report;
pub mod scale;
pub mod wan;
pub mod wan_report;
