//! What a test asks of a cluster, and what a client needs to reach it.

use std::fmt;
use std::net::Ipv4Addr;

use super::tls::TlsFiles;
use super::version::Version;

/// An access key with its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key; ACL 2.0 calls it the user name.
    pub access_key: String,
    /// The secret; at least 7 characters, as ACL 1.0 wants.
    pub secret_key: String,
}

impl Credentials {
    /// Both parts as given.
    pub fn new(access_key: &str, secret_key: &str) -> Self {
        Self { access_key: access_key.to_owned(), secret_key: secret_key.to_owned() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Credentials({}, ***)", self.access_key)
    }
}

/// Access control: a super user and a normal user that may publish and subscribe everything and administer nothing.
#[derive(Debug, Clone)]
pub struct Acl {
    /// May do everything; brokers use it among themselves too.
    pub admin: Credentials,
    /// May publish to and subscribe every topic and group until a test changes that.
    pub user: Credentials,
}

impl Default for Acl {
    fn default() -> Self {
        Self {
            admin: Credentials::new("causeway-admin", "admin-secret-key"),
            user: Credentials::new("causeway-user", "user-secret-key"),
        }
    }
}

/// Whether and how each master has a slave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Slaves {
    /// No slaves.
    #[default]
    None,
    /// One slave per master, which the master does not wait for (ASYNC_MASTER).
    Asynchronous,
    /// One slave per master, whose receipt an acknowledgement waits for (SYNC_MASTER).
    Synchronous,
}

/// Which loopback address servers announce and clients connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IpVersion {
    /// 127.0.0.1.
    #[default]
    V4,
    /// ::1, which makes the brokers store 16-byte born hosts.
    V6,
}

/// TLS on every listener of the cluster; plain connections are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// Refuse clients without a certificate of the cluster's authority.
    pub require_client_certificate: bool,
}

/// A cluster to start.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// The release that runs.
    pub version: Version,
    /// The cluster's name.
    pub name: String,
    /// How many name servers, each knowing all brokers.
    pub name_servers: usize,
    /// How many masters, named `broker-a`, `broker-b` and so on.
    pub brokers: usize,
    /// Whether they have slaves.
    pub slaves: Slaves,
    /// Access control, if any.
    pub acl: Option<Acl>,
    /// TLS, if any.
    pub tls: Option<TlsSettings>,
    /// Lines for every `broker.conf`; they win over what the harness writes.
    pub broker_properties: Vec<(String, String)>,
    /// Options for every broker's JVM, after those of the harness.
    pub java_options: Vec<String>,
    /// The address family.
    pub ip: IpVersion,
    /// Announce the brokers at this loopback address (127.0.0.2, say) while they listen on 127.0.0.1 only, so that a
    /// fault proxy can stand at the announced address and the same port. Releases from 5.0 only.
    pub announced: Option<Ipv4Addr>,
}

impl ClusterSettings {
    /// One name server and one master of `version`, without access control.
    pub fn new(version: Version) -> Self {
        Self {
            version,
            name: "causeway-test".to_owned(),
            name_servers: 1,
            brokers: 1,
            slaves: Slaves::None,
            acl: None,
            tls: None,
            broker_properties: Vec::new(),
            java_options: Vec::new(),
            ip: IpVersion::V4,
            announced: None,
        }
    }

    /// Adds a line to every `broker.conf`.
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.broker_properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The address that servers bind for clients and announce, written as RocketMQ writes it.
    pub(super) fn host(&self) -> &'static str {
        match self.ip {
            IpVersion::V4 => "127.0.0.1",
            IpVersion::V6 => "::1",
        }
    }
}

/// How to reach a cluster as a client.
#[derive(Debug, Clone)]
pub struct Access {
    /// Name server addresses, `host:port`.
    pub name_servers: Vec<String>,
    /// What to sign with.
    pub credentials: Option<Credentials>,
    /// Where the authority and a client certificate are, when the cluster speaks TLS.
    pub tls: Option<TlsFiles>,
}

impl Access {
    /// All name servers in one text, as the Java client takes them.
    pub fn name_server_list(&self) -> String {
        self.name_servers.join(";")
    }
}
