//! Nodes that talk over loopback, and what happens when one of them, or the network between them, is not as it should.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod certificates;
mod hostile;
mod identity;
mod large;
mod links;
mod node;
mod proxy;
mod raw;
mod reload;
mod stream_faults;
mod streams;
mod tls;
