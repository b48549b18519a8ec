//! The test harness of Causeway: real Apache brokers, Java programs that fill and read topics, an independent checker,
//! a fault proxy and the product as a process.
//!
//! Reading order: [`brokers`] (clusters), [`java`] (producing and dumping), [`checker`] (the judgement), [`proxy`]
//! (faults), [`long_line`] (distance), [`product`] (the binary under test); [`process`] and [`ports`] carry them.
//! [`scenario`] puts them together; [`fidelity`], [`crash`], [`failover`], [`chaos`], [`promotion`] and [`slave_reads`]
//! are tests that have a short form for every change and a long one for a release; [`members`] are several nodes as one
//! cluster; [`bench`] measures. Everything talks over loopback only and ends with the value that owns it. Nothing here
//! may use Causeway's own codec or client: a judge shares no code with the judged.
//!
//! A missing tool is a panic that names it, never a skipped test.

pub mod bench;
pub mod brokers;
pub mod certificates;
pub mod chaos;
pub mod checker;
pub mod crash;
pub mod failover;
pub mod fidelity;
pub mod java;
pub mod long_line;
pub mod members;
pub mod ports;
pub mod process;
pub mod product;
pub mod promotion;
pub mod proxy;
pub mod random;
pub mod scenario;
pub mod selector;
pub mod slave_reads;
