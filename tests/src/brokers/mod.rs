//! Real Apache name servers and brokers: fetched once, started on loopback, killed, promoted, and ended with the test.
//!
//! Reading order: [`settings`] (what a test asks for), [`cluster`] (start to end), [`broker`] (one broker process and
//! what can be done to it), [`admin`] (topics, users, offsets), then the machinery: `fetch`, `server_files`,
//! `remoting`, [`tls`]. Facts about properties and files are from running the releases themselves.

pub mod admin;
pub mod broker;
pub mod cluster;
pub mod end_reader;
mod fetch;
mod name_server;
mod remoting;
mod server_files;
pub mod settings;
pub mod tls;
mod version;

pub use cluster::Cluster;
pub(crate) use fetch::once;
pub use fetch::{broker_jars, cache, client_jars};
pub use settings::{Access, Acl, ClusterSettings, Credentials, IpVersion, Slaves};
pub use version::{AclGeneration, Version};
