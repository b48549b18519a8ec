//! `causeway cluster ...`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Change;

/// The nodes of a cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Make this node's empty data directory that of a new cluster; on one node only, before its first run
    Init {
        /// Configuration file of the node
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Let this node into a cluster, before its first run; the token comes from CAUSEWAY_JOIN_TOKEN or a file
    Join {
        /// Where any node of the cluster listens to other nodes
        #[arg(long, value_name = "HOST:PORT")]
        at: String,
        /// File that holds the join token
        #[arg(long, value_name = "FILE")]
        join_token_file: Option<PathBuf>,
        /// Configuration file of the node
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Give this node, which lost its data, a new number in its cluster; what is left of its data is kept aside
    Rejoin {
        /// Where any node of the cluster listens to other nodes
        #[arg(long, value_name = "HOST:PORT")]
        at: String,
        /// File that holds a join token; only for nodes without certificates
        #[arg(long, value_name = "FILE")]
        join_token_file: Option<PathBuf>,
        /// Configuration file of the node
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Write everything that is agreed on into a file
    Backup {
        /// The file; it must not exist
        file: PathBuf,
        /// Take what the node has applied, which may be old, also when there is no majority
        #[arg(long)]
        stale: bool,
    },
    /// Begin the cluster anew from a backup, with this node only, when no node has its data any more
    Restore {
        /// The file that backup wrote
        file: PathBuf,
        /// Configuration file of the node
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// DANGEROUS: begin the cluster anew from what this stopped node holds, when most voters are lost for good
    Recover {
        /// Say so only when no other node of the cluster runs or will ever run again: two would write the same copies
        #[arg(long)]
        others_are_gone: bool,
        /// Configuration file of the node
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Draw a token that lets one more node in, once
    Token {
        /// What the node will be
        #[arg(long, value_enum, default_value_t = RoleArgument::Voter, value_name = "ROLE")]
        role: RoleArgument,
        /// For how many hours it is good
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=168), default_value_t = 1, value_name = "N")]
        valid_hours: u64,
    },
    /// Every node, what it is and what it runs
    Nodes,
    /// Partitions that are on their way from one living node to another
    Moves,
    /// Make a learner a voter
    Promote(NodeChange),
    /// Make a voter a learner: it keeps its data and its partitions
    Demote(NodeChange),
    /// Move a node's partitions to other nodes, before maintenance
    Drain {
        /// The node and how
        #[command(flatten)]
        node: NodeChange,
        /// Wait until it runs none, or none has left for a minute
        #[arg(long)]
        wait: bool,
        /// Give up waiting after so many seconds instead (exit code 7); it is drained all the same
        #[arg(long, value_name = "SECONDS", requires = "wait")]
        timeout_seconds: Option<u64>,
    },
    /// Give a node partitions again
    Undrain(NodeChange),
    /// Take a node out for good; drain it first
    Remove(NodeChange),
    /// Let another voter lead
    TransferLeader {
        /// The node; the one that lacks least without it
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
    },
}

/// One node.
#[derive(Debug, Args)]
pub struct NodeChange {
    /// The node's name
    #[arg(value_name = "NODE")]
    pub name: String,
    /// Whether only to say what would be done
    #[command(flatten)]
    pub change: Change,
}

/// What a node can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArgument {
    /// Its word counts for decisions
    Voter,
    /// Holds the whole state and runs partitions, decides nothing
    Learner,
}
