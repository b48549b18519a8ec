//! RocketMQ remoting for a replicator: the only crate that knows RocketMQ's wire.
//!
//! [`wire`] is pure (bytes in, values out). The rest does the I/O: [`Client`] finds brokers through name servers, reads
//! queues, writes to them and says exactly what became of each write. It does not decide: gaps, retries, back-off and
//! offsets are its callers'.
//! ```text
//!   Client -> directory (routes) -> sessions (one connection per address and purpose) -> socket
//!      \-> request/* (what is asked)          \-> outcome (what became of a send)
//! ```
//! [`stub`] is a broker and name server in memory, for tests and for measuring what a client costs at most.
//! Must never know anything of Causeway: no stream, no checkpoint, no provenance.

mod client;
mod directory;
pub mod error;
pub mod outcome;
mod pending;
mod request;
pub mod route;
mod session;
mod sessions;
pub mod settings;
mod shared_look;
mod socket;
pub mod stub;
pub mod tls;
pub mod wire;

pub use client::Client;
pub use error::{Class, Error};
pub use outcome::{Durability, Refusal, SendOutcome};
pub use request::broker::{BrokerLimits, BrokerRuntime};
pub use request::dispatch::Dispatched;
pub use request::pull::{Pull, PullReason, PullRequest};
pub use request::send::{Content, OutgoingBatch, Permit};
pub use request::topic::{BrokerTopic, TopicSettings};
pub use route::{BrokerInfo, BrokerRoute, Permission, Queue, Route};
pub use settings::{ClientSettings, SlaveReads};
pub use tls::{ClientCertificate, TlsSettings, Trust};
pub use wire::sign::Credentials;
