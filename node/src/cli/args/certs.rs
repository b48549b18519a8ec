//! `causeway certs ...`: what can be typed. Values are read by the command itself, which tells all faults at once.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Change;

/// Where an authority is kept unless something else is typed.
pub const DIRECTORY: &str = "certs";

/// Certificates.
#[derive(Debug, Subcommand)]
pub enum CertsCommand {
    /// Make a certificate authority of your own
    Init(InitArguments),
    /// Make the certificate and the key of a node
    Issue(IssueArguments),
    /// Make certificates of nodes anew, with new keys and the names that they have
    Renew(RenewArguments),
    /// Show which certificates there are, when they end and what is wrong with them
    Show(Directory),
}

/// Where the authority is.
#[derive(Debug, Args)]
pub struct Directory {
    /// Directory of the authority (ca.pem, ca-key.pem) and of the nodes' files
    #[arg(long, default_value = DIRECTORY, value_name = "DIRECTORY")]
    pub directory: PathBuf,
}

/// A new authority.
#[derive(Debug, Args)]
pub struct InitArguments {
    /// Where it is kept.
    #[command(flatten)]
    pub place: Directory,
    /// Whose authority it is, as its certificate says
    #[arg(long, default_value = "Causeway", value_name = "NAME")]
    pub organisation: String,
    /// How long it is valid: a number with h, d or y
    #[arg(long, default_value = "10y", value_name = "TIME")]
    pub valid_for: String,
    /// What every change can be asked.
    #[command(flatten)]
    pub change: Change,
}

/// A new certificate of a node.
#[derive(Debug, Args)]
pub struct IssueArguments {
    /// The node's name, as node.name in its configuration
    #[arg(long, value_name = "NODE")]
    pub name: String,
    /// IP address or DNS name that the certificate shall carry too, without a port; give it again for each
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Where the authority is kept.
    #[command(flatten)]
    pub place: Directory,
    /// Directory for the node's two files; that of the authority without it
    #[arg(long, value_name = "DIRECTORY")]
    pub out: Option<PathBuf>,
    /// How long it is valid, at most until the authority ends: a number with h, d or y
    #[arg(long, default_value = "1y", value_name = "TIME")]
    pub valid_for: String,
    /// Replace the files that the node has
    #[arg(long)]
    pub replace: bool,
    /// What every change can be asked.
    #[command(flatten)]
    pub change: Change,
}

/// Certificates that are made anew.
#[derive(Debug, Args)]
pub struct RenewArguments {
    /// Which.
    #[command(flatten)]
    pub which: WhichCertificates,
    /// What is soon for --all: a number with h, d or y
    #[arg(long, default_value = "30d", value_name = "TIME", conflicts_with = "name")]
    pub within: String,
    /// Where the authority is kept.
    #[command(flatten)]
    pub place: Directory,
    /// Directory of the nodes' files; that of the authority without it
    #[arg(long, value_name = "DIRECTORY")]
    pub out: Option<PathBuf>,
    /// How long they are valid, at most until the authority ends: a number with h, d or y
    #[arg(long, default_value = "1y", value_name = "TIME")]
    pub valid_for: String,
    /// What every change can be asked.
    #[command(flatten)]
    pub change: Change,
}

/// Which certificates are made anew; one of them.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct WhichCertificates {
    /// Renew that of this node, whenever it ends
    #[arg(long, value_name = "NODE")]
    pub name: Option<String>,
    /// Renew those of all nodes that end soon or have ended
    #[arg(long)]
    pub all: bool,
}
