//! Instances: registered, shown, tested.

use std::fmt;
use std::str::FromStr;

use causeway_core::ids::{InstanceIdentity, Timestamp};
use causeway_core::instance::{Instance, TlsSpec};
use causeway_core::name::Name;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::ErrorBody;

/// A secret as a client sends it. Its memory is overwritten when it is dropped and `Debug` shows `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself: only for sealing it and for sending it to the API.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

impl Serialize for SecretText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// A secret in a request: `{"env":"QD_SECRET"}`, `{"file":"/run/secrets/qd"}`, `{"value":"..."}` or `{"kept":{}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretInput {
    /// The name of an environment variable of the node's process.
    Env(String),
    /// The path of a file on the node; a trailing line end is ignored.
    File(String),
    /// The secret itself; the node seals it before it goes anywhere else.
    Value(SecretText),
    /// The one that is registered; only in changes of an instance that has one.
    Kept {},
}

/// A text was neither `env:NAME` nor `file:PATH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret is given as env:NAME or file:PATH")]
pub struct InvalidSecretInput;

/// Reads `env:NAME` and `file:PATH`. A secret itself is not accepted here, because texts like this come from command
/// lines, which other processes can see.
impl FromStr for SecretInput {
    type Err = InvalidSecretInput;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            _ => Err(InvalidSecretInput),
        }
    }
}

/// The body of `POST /v1/instances` and `PUT /v1/instances/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateInstance {
    /// Its name in Causeway.
    pub name: String,
    /// The label of the region that it stands in.
    pub region: String,
    /// 16 hexadecimal digits by which copies name this RocketMQ cluster; drawn at random when left out. Give the same
    /// one when the same RocketMQ cluster is registered in another Causeway cluster, so that loops are recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// How to reach it.
    pub rocketmq: RocketmqSettings,
}

/// How to reach a RocketMQ cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RocketmqSettings {
    /// Name servers as `host:port`; at least one.
    pub name_servers: Vec<String>,
    /// Access key (ACL 1.0) or user name (ACL 2.0); together with `secret`, or neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key: Option<SecretInput>,
    /// The secret key that signs requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretInput>,
    /// The security token of temporary (STS) credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_token: Option<SecretInput>,
    /// TLS to name servers and brokers; plain TCP when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSettings>,
}

/// TLS towards name servers and brokers. The files are on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file of the certificate authorities that may sign the brokers' certificates.
    pub certificate_authority_file: String,
    /// PEM file of the node's certificate chain, where brokers ask for one; together with `key_file`, or neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<String>,
    /// PEM file of the key of `certificate_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// The name to expect in the brokers' certificates instead of the address that is dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

impl From<TlsSettings> for TlsSpec {
    fn from(settings: TlsSettings) -> Self {
        let TlsSettings { certificate_authority_file, certificate_file, key_file, server_name } = settings;
        Self { certificate_authority_file, certificate_file, key_file, server_name }
    }
}

impl From<TlsSpec> for TlsSettings {
    fn from(spec: TlsSpec) -> Self {
        let TlsSpec { certificate_authority_file, certificate_file, key_file, server_name } = spec;
        Self { certificate_authority_file, certificate_file, key_file, server_name }
    }
}

/// A registered instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its name in Causeway.
    pub name: Name,
    /// The label of the region that it stands in.
    pub region: Name,
    /// How copies name it, 16 hexadecimal digits.
    pub identity: InstanceIdentity,
    /// How it is reached.
    pub rocketmq: RocketmqView,
    /// The names of the streams that read from it or write to it.
    pub streams: Vec<Name>,
    /// Raised at each change; also the `ETag`.
    pub version: u64,
    /// When it was registered.
    pub created_at: Timestamp,
}

/// How an instance is reached; secrets only by where they are found: `env:NAME`, `file:PATH` or `sealed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RocketmqView {
    /// Name servers.
    pub name_servers: Vec<String>,
    /// Where the access key is found.
    pub access_key: Option<String>,
    /// Where the secret is found.
    pub secret: Option<String>,
    /// Where the security token is found.
    pub security_token: Option<String>,
    /// TLS.
    pub tls: Option<TlsSettings>,
}

impl InstanceView {
    /// What may be shown of an instance.
    #[must_use]
    pub fn new(instance: &Instance, streams: Vec<Name>) -> Self {
        let spec = &instance.spec;
        let credentials = spec.credentials.as_ref();
        Self {
            name: spec.name.clone(),
            region: spec.region.clone(),
            identity: instance.identity,
            rocketmq: RocketmqView {
                name_servers: spec.name_servers.clone(),
                access_key: credentials.map(|part| part.access_key.to_string()),
                secret: credentials.map(|part| part.secret.to_string()),
                security_token: credentials.and_then(|part| part.security_token.as_ref()).map(ToString::to_string),
                tls: spec.tls.clone().map(TlsSettings::from),
            },
            streams,
            version: instance.version,
            created_at: instance.created_at,
        }
    }
}

/// Query of `POST /v1/instances/NAME:test`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TestQuery {
    /// The topic whose permissions are looked at; any ordinary topic when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

/// The answer of `POST /v1/instances/NAME:test`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceTest {
    /// The instance.
    pub instance: Name,
    /// True when no finding is `failed`. A permission that could not be probed does not make it false.
    pub passed: bool,
    /// How long the test took.
    pub took_seconds: f64,
    /// What each master that answered tells about itself.
    #[serde(default)]
    pub brokers: Vec<BrokerFacts>,
    /// One row for each thing that was looked at.
    pub findings: Vec<Finding>,
}

/// What a broker's master tells about itself; `null` where it does not tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrokerFacts {
    /// The broker.
    pub name: String,
    /// Its version, as `5.3.3`.
    pub version: Option<String>,
    /// How far its clock is ahead of the node's; negative where it is behind.
    pub clock_ahead_seconds: Option<TimeSpan>,
}

/// The bounds of what is known of a time, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimeSpan {
    /// Not less than this.
    pub at_least: f64,
    /// Not more than this.
    pub at_most: f64,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Whether an address answers, and what answers there.
    Reachable,
    /// Whether a permission is there.
    Permitted,
    /// A limit of the instance that will bite.
    Limits,
    /// A topic that a stream would read or write.
    Topic,
    /// The difference between a broker's clock and the node's.
    Clock,
    /// Which RocketMQ a broker is.
    Version,
}

/// How a finding turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Works, but look at it.
    Warning,
    /// Could not be found out without changing something, or the instance does not tell.
    Unknown,
    /// Does not work.
    Failed,
}

/// One row of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// What was looked at: `name server 10.0.0.5:9876`, `broker-a`, `create topic`.
    pub subject: String,
    /// How it turned out.
    pub verdict: Verdict,
    /// What was found, in one sentence.
    pub message: String,
    /// Code and documentation of what went wrong; none where nothing did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}
