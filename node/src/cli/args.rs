//! The command line: `causeway NOUN VERB NAME`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub mod certs;
pub mod cluster;
pub mod rule;

pub use cluster::{ClusterCommand, NodeChange};

use crate::cli::parse;
use crate::cli::parse::{EndpointText, PartitionText, SecretArgument, StartArgument};

/// Everything that can be typed.
#[derive(Debug, Parser)]
#[command(
    name = "causeway",
    version,
    about = "Copies Apache RocketMQ topics between regions, exactly.",
    after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 refused, 5 conflict, 6 unavailable, 7 timed out.",
    disable_help_subcommand = true
)]
pub struct Arguments {
    /// How to reach the node and how to answer.
    #[command(flatten)]
    pub shared: Shared,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The heading of the options of [`Shared`].
const NODE: &str = "Node and answer";

/// Where a node listens unless it is told otherwise.
pub(super) const ADDRESS: &str = "http://127.0.0.1:7500";

/// Options of every command that asks a node.
#[derive(Debug, Clone, Args)]
pub struct Shared {
    /// Where the node's API is
    #[arg(long, global = true, help_heading = NODE, env = "CAUSEWAY_ADDRESS", default_value = ADDRESS, value_name = "URL")]
    pub address: String,
    /// File that holds the API token; CAUSEWAY_TOKEN is used without it
    #[arg(long, global = true, help_heading = NODE, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How to answer: table, wide (every column) or json (base units)
    #[arg(short, long, global = true, help_heading = NODE, value_enum, default_value_t = Format::Table, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Format,
}

/// How answers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, as wide as the terminal
    Table,
    /// For people, with every column
    Wide,
    /// For programs: base units, milliseconds since 1970
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node until it is told to stop
    Run {
        /// Configuration file; see: causeway config example
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Check a configuration file, this machine and the instances, without changing anything
    CheckConfig {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Only read the file; connect to nothing
        #[arg(long)]
        offline: bool,
    },
    /// Configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// RocketMQ clusters and how to reach them
    #[command(subcommand)]
    Instance(InstanceCommand),
    /// Streams: one source topic to one target topic
    #[command(subcommand)]
    Stream(StreamCommand),
    /// Partitions: one source queue of a stream each
    #[command(subcommand)]
    Partition(PartitionCommand),
    /// Rules: which messages a stream copies
    #[command(subcommand)]
    Rule(rule::RuleCommand),
    /// The nodes of a cluster: who founds it, who joins, who leads, who goes
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// What every stream does now
    Status {
        /// Draw anew each second until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Whether the node answers, for health checks: exit code 0, or 6 when it does not; needs no token
    Health,
    /// What an error code means and what to do
    Explain {
        /// The code, as CWY-0301 or 301; without it all codes are listed
        code: Option<String>,
    },
    /// The administrator's token
    #[command(subcommand)]
    Token(TokenCommand),
    /// Certificates for the connections between nodes, from an authority of your own
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Versions of this program and of the node
    Version,
    /// What is in a data directory whose node is stopped
    Inspect {
        /// The data directory
        directory: PathBuf,
    },
}

/// The administrator's token.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Draw a new one for a node that is stopped; the old one is worth nothing afterwards
    Reset {
        /// Configuration file of the node
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// Configuration files.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the whole file, every key with its meaning, unit and default
    Example,
}

/// What every change can be asked.
#[derive(Debug, Clone, Copy, Args)]
pub struct Change {
    /// Check everything and say what would be done, but do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Whether and how long to wait.
#[derive(Debug, Clone, Copy, Args)]
pub struct Wait {
    /// Wait until it has taken effect
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// Give up waiting after so many seconds (exit code 7); no limit without it
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    pub timeout_seconds: Option<u64>,
}

/// Instances.
#[derive(Debug, Subcommand)]
pub enum InstanceCommand {
    /// Register an instance
    Add(Box<AddInstance>),
    /// List instances
    List,
    /// Show an instance
    Show {
        /// Its name
        name: String,
    },
    /// Try an instance: who answers, what is permitted, versions, limits and clocks
    Test {
        /// Its name
        name: String,
        /// Try reading on this topic; on any without it
        #[arg(long)]
        topic: Option<String>,
    },
    /// Change an instance: only what is given changes, and its streams reconnect
    Change(Box<ChangeInstance>),
    /// Remove an instance that no stream uses
    Remove {
        /// Its name
        name: String,
        /// What every change can be asked.
        #[command(flatten)]
        change: Change,
    },
}

/// A new instance.
#[derive(Debug, Args)]
pub struct AddInstance {
    /// Its name in Causeway
    pub name: String,
    /// What it is: rocketmq (4.9 or 5)
    #[arg(long, value_enum, default_value_t = Kind::Rocketmq, hide_possible_values = true)]
    pub kind: Kind,
    /// The label of the region that it stands in
    #[arg(long)]
    pub region: String,
    /// Name server as HOST:PORT; give it again for each
    #[arg(long = "name-server", required = true, value_name = "HOST:PORT")]
    pub name_servers: Vec<String>,
    /// 16 hexadecimal digits by which copies name this cluster; drawn at random without it
    #[arg(long)]
    pub identity: Option<String>,
    /// Where the access key (or user name) is: env:NAME, file:/path (both on the node) or stdin
    #[arg(long, value_parser = parse::secret, requires = "secret", value_name = "WHERE")]
    pub access_key: Option<SecretArgument>,
    /// Where the secret key is: env:NAME, file:/path (both on the node) or stdin
    #[arg(long, value_parser = parse::secret, requires = "access_key", value_name = "WHERE")]
    pub secret: Option<SecretArgument>,
    /// Where the security token of temporary credentials is
    #[arg(long, value_parser = parse::secret, requires = "access_key", value_name = "WHERE")]
    pub security_token: Option<SecretArgument>,
    /// PEM file (on the node) of the authorities that sign the brokers' certificates; turns TLS on
    #[arg(long, value_name = "FILE")]
    pub tls_certificate_authority_file: Option<String>,
    /// PEM file (on the node) of the node's certificate chain
    #[arg(long, value_name = "FILE", requires_all = ["tls_key_file", "tls_certificate_authority_file"])]
    pub tls_certificate_file: Option<String>,
    /// PEM file (on the node) of the key of that certificate
    #[arg(long, value_name = "FILE", requires = "tls_certificate_file")]
    pub tls_key_file: Option<String>,
    /// The name to expect in the brokers' certificates
    #[arg(long, value_name = "NAME", requires = "tls_certificate_authority_file")]
    pub tls_server_name: Option<String>,
    /// What every change can be asked.
    #[command(flatten)]
    pub change: Change,
}

/// What changes of an instance.
#[derive(Debug, Args)]
pub struct ChangeInstance {
    /// Its name in Causeway
    pub name: String,
    /// The label of the region that it stands in
    #[arg(long)]
    pub region: Option<String>,
    /// Name server as HOST:PORT, in place of all that there are; give it again for each
    #[arg(long = "name-server", value_name = "HOST:PORT")]
    pub name_servers: Vec<String>,
    /// Where the access key (or user name) is: env:NAME, file:/path (both on the node) or stdin
    #[arg(long, value_parser = parse::secret, value_name = "WHERE")]
    pub access_key: Option<SecretArgument>,
    /// Where the secret key is: env:NAME, file:/path (both on the node) or stdin
    #[arg(long, value_parser = parse::secret, value_name = "WHERE")]
    pub secret: Option<SecretArgument>,
    /// Where the security token of temporary credentials is
    #[arg(long, value_parser = parse::secret, value_name = "WHERE")]
    pub security_token: Option<SecretArgument>,
    /// PEM file (on the node) of the authorities that sign the brokers' certificates; turns TLS on
    #[arg(long, value_name = "FILE")]
    pub tls_certificate_authority_file: Option<String>,
    /// PEM file (on the node) of the node's certificate chain
    #[arg(long, value_name = "FILE")]
    pub tls_certificate_file: Option<String>,
    /// PEM file (on the node) of the key of that certificate
    #[arg(long, value_name = "FILE")]
    pub tls_key_file: Option<String>,
    /// The name to expect in the brokers' certificates
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,
    /// What every change can be asked.
    #[command(flatten)]
    pub change: Change,
}

impl ChangeInstance {
    /// Whether anything was given.
    #[must_use]
    pub fn changes_something(&self) -> bool {
        let secrets = [&self.access_key, &self.secret, &self.security_token];
        let texts = [
            &self.region,
            &self.tls_certificate_authority_file,
            &self.tls_certificate_file,
            &self.tls_key_file,
            &self.tls_server_name,
        ];
        !self.name_servers.is_empty()
            || secrets.iter().any(|secret| secret.is_some())
            || texts.iter().any(|text| text.is_some())
    }
}

/// Kinds of instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Apache RocketMQ 4.9 or 5
    Rocketmq,
}

/// Streams.
#[derive(Debug, Subcommand)]
pub enum StreamCommand {
    /// Create a stream; it starts at once
    Create(Box<CreateStreamArguments>),
    /// List streams
    List,
    /// Show a stream
    Show {
        /// Its name
        name: String,
    },
    /// Stop copying and keep everything
    Pause {
        /// Its name
        name: String,
        /// What every change can be asked.
        #[command(flatten)]
        change: Change,
        /// Whether and how long to wait.
        #[command(flatten)]
        wait: Wait,
    },
    /// Go on copying where it stopped
    Resume {
        /// Its name
        name: String,
        /// What every change can be asked.
        #[command(flatten)]
        change: Change,
        /// Whether and how long to wait.
        #[command(flatten)]
        wait: Wait,
    },
    /// Remove a stream; nothing changes at either instance
    Delete {
        /// Its name
        name: String,
        /// What every change can be asked.
        #[command(flatten)]
        change: Change,
        /// Whether and how long to wait.
        #[command(flatten)]
        wait: Wait,
    },
    /// Decide about partitions that are stopped by a fault
    Resolve(ResolveArguments),
}

/// A new stream.
#[derive(Debug, Args)]
pub struct CreateStreamArguments {
    /// Its name
    pub name: String,
    /// Where messages come from
    #[arg(long, value_parser = parse::endpoint, value_name = "INSTANCE/TOPIC")]
    pub from: EndpointText,
    /// Where copies go; the topic is created where it does not exist
    #[arg(long, value_parser = parse::endpoint, value_name = "INSTANCE/TOPIC")]
    pub to: EndpointText,
    /// Which messages: *, or tags joined by ||
    #[arg(long, default_value = "*", value_name = "EXPRESSION")]
    pub tag: String,
    /// Where to begin: earliest, latest, a time as 2026-11-20T08:00:00Z, timestamp:MS or offset:N
    #[arg(long, value_parser = parse::start_argument, default_value = "latest", value_name = "POSITION")]
    pub start: StartArgument,
    /// What happens to born timestamps: carried (full batches) or exact (each copy its own; slower)
    #[arg(long, value_enum, default_value_t = BornTimestampArgument::Carried, value_name = "HOW", hide_possible_values = true)]
    pub born_timestamp: BornTimestampArgument,
    /// Which acknowledgement counts as durable: confirmed (a full SUCCESS) or stored (on the master)
    #[arg(long, value_enum, default_value_t = DurabilityArgument::Confirmed, value_name = "HOW", hide_possible_values = true)]
    pub durability: DurabilityArgument,
    /// When the source's slaves may be read: master-gone, cold-catch-up (also when the master suggests it) or never
    #[arg(long, value_enum, default_value_t = SlaveReadsArgument::MasterGone, value_name = "WHEN", hide_possible_values = true)]
    pub slave_reads: SlaveReadsArgument,
    /// What every change can be asked.
    #[command(flatten)]
    pub change: Change,
    /// Whether and how long to wait.
    #[command(flatten)]
    pub wait: Wait,
}

/// What happens to born timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BornTimestampArgument {
    /// A batch carries its first message's; each message's own is in its provenance
    Carried,
    /// A batch ends where it changes
    Exact,
}

/// Which acknowledgement counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArgument {
    /// Only a full SUCCESS
    Confirmed,
    /// Stored on the master
    Stored,
}

/// When slaves are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SlaveReadsArgument {
    /// While the master is gone
    MasterGone,
    /// Also when the master suggests it
    ColdCatchUp,
    /// Never
    Never,
}

/// A decision.
#[derive(Debug, Args)]
pub struct ResolveArguments {
    /// The stream
    pub name: String,
    /// What is decided about.
    #[command(flatten)]
    pub which: Which,
    /// Only if it still is the fault that was raised then, in milliseconds since 1970; partition list shows it
    #[arg(long, value_name = "MS", requires = "partition")]
    pub fault_since: Option<i64>,
    /// What was decided.
    #[command(flatten)]
    pub decision: Decision,
    /// What every change can be asked.
    #[command(flatten)]
    pub change: Change,
}

/// What is decided about; one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The partition as BROKER/QUEUE of the source
    #[arg(long, value_parser = parse::partition, value_name = "BROKER/QUEUE")]
    pub partition: Option<PartitionText>,
    /// Every fault of the stream, seen or not
    #[arg(long)]
    pub all: bool,
}

/// What was decided; one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Decision {
    /// Try again where it stopped; right after the cause was repaired
    #[arg(long)]
    pub retry: bool,
    /// Leave the range or record out and go on behind it
    #[arg(long)]
    pub skip: bool,
    /// Copy again from a position, whatever was copied before: earliest, latest, a time, timestamp:MS or offset:N
    #[arg(long, value_parser = parse::start_argument, value_name = "POSITION")]
    pub restart: Option<StartArgument>,
}

/// Partitions.
#[derive(Debug, Subcommand)]
pub enum PartitionCommand {
    /// List the partitions of a stream
    List {
        /// The stream
        stream: String,
    },
}
