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
    /// Make a learner a voter
    Promote(NodeChange),
    /// Make a voter a learner: it keeps its data and its partitions
    Demote(NodeChange),
    /// Move a node's partitions to other nodes, before maintenance
    Drain {
        /// The node and how
        #[command(flatten)]
        node: NodeChange,
        /// Wait until it runs none
        #[arg(long)]
        wait: bool,
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
