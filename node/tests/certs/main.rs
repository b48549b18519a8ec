//! `causeway certs`: the program itself makes an authority and certificates, and nodes meet with what it made.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first surprise"
)]

mod commands;
mod transport;
mod workshop;
