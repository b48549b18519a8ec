//! An instance: one RocketMQ cluster and how to reach it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{InstanceIdentity, Timestamp};
use crate::name::Name;

/// Where a secret is found. The secret itself is never part of the state in clear.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretReference {
    /// The name of an environment variable, read by each node when it connects.
    Environment(String),
    /// The path of a file, read by each node when it connects; a trailing line end is ignored.
    File(String),
    /// The secret sealed with the node's authenticated cipher.
    Sealed(Vec<u8>),
}

impl fmt::Debug for SecretReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Shows where the secret is, never what it is: `env:QD_SECRET`, `file:/run/secrets/qd`, `sealed`.
impl fmt::Display for SecretReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(formatter, "env:{name}"),
            Self::File(path) => write!(formatter, "file:{path}"),
            Self::Sealed(_) => formatter.write_str("sealed"),
        }
    }
}

/// Credentials of an instance, each part by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialReferences {
    /// The access key (ACL 1.0) or user name (ACL 2.0).
    pub access_key: SecretReference,
    /// The secret key that signs requests.
    pub secret: SecretReference,
    /// The security token of temporary (STS) credentials.
    pub security_token: Option<SecretReference>,
}

/// TLS towards name servers and brokers. When present, plain connections are refused by us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSpec {
    /// PEM file of the certificate authorities that may sign the brokers' certificates.
    pub certificate_authority_file: String,
    /// PEM file of our certificate chain, where brokers ask for one.
    pub certificate_file: Option<String>,
    /// PEM file of the key of `certificate_file`.
    pub key_file: Option<String>,
    /// The name to expect in the brokers' certificates instead of the address that is dialled.
    pub server_name: Option<String>,
}

/// What an operator says of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Its name in Causeway.
    pub name: Name,
    /// The label of the region that it stands in.
    pub region: Name,
    /// Name servers as `host:port`; at least one.
    pub name_servers: Vec<String>,
    /// How requests are signed; none where the brokers ask for none.
    pub credentials: Option<CredentialReferences>,
    /// How connections are protected; none for plain TCP.
    pub tls: Option<TlsSpec>,
}

/// A registered instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// What the operator said.
    pub spec: InstanceSpec,
    /// How provenance names it.
    pub identity: InstanceIdentity,
    /// Raised at each change of `spec`; `If-Match` compares it.
    pub version: u64,
    /// When it was registered.
    pub created_at: Timestamp,
}
