//! What a node is told: one TOML file, overridden by `CAUSEWAY_*` variables, checked as a whole.
//!
//! The path of a setting: [`file`] (text to values, each with its line) -> [`env`] (overrides) -> [`resolve`] (types
//! and defaults, no option left that matters) -> [`validate`] (settings against each other). Every step adds to one
//! list of faults, so that a person sees all of them at once. [`keys`] is the one table of what can be set;
//! [`example`] prints it as a commented file.
//! Never holds a secret: credentials are references that [`crate::secrets`] resolves.

pub mod env;
pub mod example;
pub mod fault;
pub mod file;
pub mod instance;
pub mod keys;
mod relay;
mod replication;
pub mod resolve;
pub mod suggest;
pub mod validate;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway_cluster::transport::TlsFiles;
use causeway_core::ids::{InstanceIdentity, NodeId};
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;

pub use crate::config::fault::{Fault, Faults};
use crate::relay::RelaySettings;
use crate::replicate::settings::ReplicateSettings;

/// The only version of the file that this release reads.
pub const VERSION: i64 = 1;

/// The largest configuration file that is read, in bytes.
pub const MAXIMUM_FILE_BYTES: u64 = 1024 * 1024;

/// Everything a node is told, checked.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Who the node is and where it keeps its data.
    pub node: NodeSection,
    /// Other nodes; none where the node is alone.
    pub cluster: Option<ClusterSection>,
    /// The HTTP interface: API, page, metrics.
    pub http: HttpSection,
    /// Connections to name servers and brokers.
    pub connection: ConnectionSection,
    /// How messages are copied.
    pub replication: ReplicateSettings,
    /// How messages cross the distance to another region.
    pub relay: RelaySection,
    /// How often things are looked at and written down.
    pub schedule: ScheduleSection,
    /// What is logged and how.
    pub log: LogSection,
    /// Instances to register at start where no instance of that name exists.
    pub instances: Vec<InstanceConfig>,
}

/// Who the node is and where it keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSection {
    /// Its number in the cluster, never reused.
    pub id: NodeId,
    /// Its name.
    pub name: Name,
    /// The label of the region that it stands in.
    pub region: Name,
    /// Holds everything the node must not lose; relative paths are relative to the working directory.
    pub data_directory: PathBuf,
}

/// How other nodes of the cluster and this one reach each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSection {
    /// Where other nodes are listened to.
    pub listen: SocketAddr,
    /// How they reach it, `host:port`, where that is not [`Self::listen`].
    pub advertise: Option<String>,
    /// How connections are protected; none only on loopback.
    pub tls: Option<ClusterTls>,
}

impl ClusterSection {
    /// What other nodes are told to dial.
    #[must_use]
    pub fn address(&self) -> String {
        self.advertise.clone().unwrap_or_else(|| self.listen.to_string())
    }
}

/// PEM files for mutual TLS between nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterTls {
    /// The authorities that may sign the nodes' certificates.
    pub certificate_authority_file: PathBuf,
    /// This node's certificate chain.
    pub certificate_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

impl ClusterTls {
    /// As the transport takes them.
    #[must_use]
    pub fn files(&self) -> TlsFiles {
        TlsFiles {
            authorities: self.certificate_authority_file.clone(),
            chain: self.certificate_file.clone(),
            key: self.key_file.clone(),
        }
    }
}

/// The HTTP interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpSection {
    /// Where API, page and metrics are served. Port 0 picks a free one.
    pub listen: SocketAddr,
}

/// Connections to name servers and brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionSection {
    /// Longest time for a TCP connection and its TLS handshake.
    pub connect_timeout: Duration,
    /// Longest time for one answer, beyond what a long poll adds.
    pub request_timeout: Duration,
    /// How long the kernel keeps bytes that nobody took.
    pub unacknowledged: Duration,
    /// Sending connections per broker and thread that copies, over which the thread's target queues are spread.
    pub send_connections: usize,
}

/// How messages cross the distance to another region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySection {
    /// Whether far sources are read through other nodes, and read for other nodes.
    pub enabled: bool,
    /// Sizes and waits.
    pub settings: RelaySettings,
    /// Connections for streams that this node opens to each node that relays to it.
    pub stream_connections: usize,
}

/// How often things are looked at and written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleSection {
    /// Between two checkpoints of whatever made progress.
    pub checkpoint_interval: Duration,
    /// Between two looks for new source queues.
    pub discovery_interval: Duration,
    /// How long a stopping node waits for the sends in flight.
    pub shutdown_grace: Duration,
}

/// What is logged and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSection {
    /// A level, or directives such as `info,causeway=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// An instance of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceConfig {
    /// What is registered.
    pub spec: InstanceSpec,
    /// How provenance names it; drawn at random when it is not set.
    pub identity: Option<InstanceIdentity>,
}

/// A configuration and what is worth saying about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: NodeConfig,
    /// Sentences about things that are no faults but probably not meant.
    pub notes: Vec<String>,
}

impl NodeConfig {
    /// The defaults, with the data in this directory. What the sandbox and tests begin with.
    ///
    /// # Errors
    /// [`Faults`] if a default of [`keys`] is not valid, which a test rules out.
    pub fn with_data_directory(directory: &Path) -> Result<Self, Faults> {
        let mut config = parse("version = 1", "defaults", std::iter::empty())?.config;
        directory.clone_into(&mut config.node.data_directory);
        Ok(config)
    }
}

/// Reads a file (or none, for the defaults) and this process's environment.
///
/// # Errors
/// [`Faults`] with everything that is wrong.
pub fn load(path: Option<&Path>) -> Result<Loaded, Faults> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        // A variable that is not text can be none of ours, or its value is refused as an empty one would be.
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    });
    match path {
        None => parse("version = 1", "defaults", variables),
        Some(path) => {
            let text = file::read(path)?;
            parse(&text, &path.display().to_string(), variables)
        }
    }
}

/// Turns the text of a file and environment variables into a configuration. `origin` names the file in messages.
///
/// # Errors
/// [`Faults`] with everything that is wrong.
pub fn parse(
    text: &str,
    origin: &str,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Faults> {
    let mut faults = Vec::new();
    let mut draft = file::parse(text, origin, &mut faults);
    let notes = env::apply(&mut draft, variables, &mut faults);
    let config = resolve::resolve(&draft, &mut faults);
    if let Some(config) = &config {
        validate::validate(config, &draft, &mut faults);
    }
    match config {
        Some(config) if faults.is_empty() => Ok(Loaded { config, notes }),
        _ => Err(Faults::new(faults)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_is_the_defaults() {
        let example = parse(&example::example(), "example", std::iter::empty()).expect("the example is valid");
        let defaults = parse("version = 1", "defaults", std::iter::empty()).expect("defaults are valid");
        assert_eq!(format!("{:#?}", example.config), format!("{:#?}", defaults.config));
        assert!(example.notes.is_empty());
    }

    #[test]
    fn golden_default_file() {
        let config = parse(include_str!("config/testdata/default.toml"), "default.toml", []).expect("valid").config;
        assert_eq!(format!("{config:#?}\n"), include_str!("config/testdata/default.golden"));
    }

    #[test]
    fn golden_file_with_every_key() {
        let text = include_str!("config/testdata/every_key.toml");
        let config = parse(text, "every_key.toml", []).expect("valid").config;
        assert_eq!(format!("{config:#?}\n"), include_str!("config/testdata/every_key.golden"));
        for key in keys::all().chain(keys::of_instance()) {
            let sets = |line: &str| line.split_once(" = ").is_some_and(|(name, _)| key.path.ends_with(name));
            assert!(text.lines().any(sets), "{} is not set in every_key.toml", key.path);
        }
    }

    #[test]
    fn golden_faults() {
        let text = include_str!("config/testdata/faults.toml");
        let variables = [("CAUSEWAY_NODE_ID".to_owned(), "seven".to_owned())];
        let faults = parse(text, "faults.toml", variables).expect_err("full of faults");
        assert_eq!(format!("{faults}\n"), include_str!("config/testdata/faults.golden"));
    }

    #[test]
    fn each_key_alone_changes_the_configuration() {
        let shown = |text: &str| format!("{:?}", parse(text, "f", []).expect(text).config);
        let whole = include_str!("config/testdata/every_key.toml");
        let (default, mut section, mut seen) = (shown("version = 1"), "", 0);
        for line in whole.lines().take_while(|line| !line.starts_with("[[")) {
            if line.starts_with('[') {
                section = line;
            } else if line.contains('=') && !section.is_empty() {
                if section == "[cluster]" {
                    // These are of no use alone.
                    let changed = whole.replacen(line, &line.replace('7', "8"), 1);
                    assert_ne!(shown(&changed), shown(whole), "{section} {line}");
                } else {
                    assert_ne!(shown(&format!("version = 1\n{section}\n{line}\n")), default, "{section} {line}");
                }
                seen += 1;
            }
        }
        assert_eq!(seen, keys::all().count());
    }

    proptest! {
        #[test]
        fn any_text_and_any_variable_is_read_or_refused(
            text in "\\PC{0,200}",
            lines in proptest::collection::vec("(version|\\[http\\]|\\[node\\]|\\[\\[instances\\]\\]|listen|id|tls|name|x\\.y) *=? *(1|-7|1e9|\"a:1\"|\\[1, \"b\"\\]|\\{a=1\\}|nan|true)?", 0..12),
            value in "\\PC{0,40}",
        ) {
            let variables = || keys::all().map(|key| (env::variable(key), value.clone()));
            let _ = parse(&text, "t", []);
            let _ = parse(&lines.join("\n"), "t", []);
            let _ = parse("version = 1", "t", variables());
        }
    }
}
