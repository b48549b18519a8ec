//! One running node: everything that `causeway run` starts, as a value that a program can start and stop.
//!
//! ```text
//! start: data directory and Raft -> HTTP address -> secrets -> instances -> HTTP -> supervision -> first token
//! stop:  HTTP -> partitions go to other nodes -> runs end, sends in flight answered -> last checkpoints
//!        -> connections -> Raft and data directory
//! ```
//!
//! Parts: [`Node`]; `assembly` (the order above), `begin` (from a data directory to a member of a cluster), [`enroll`]
//! (how a new data directory becomes that of a cluster with several nodes), `first_start` (what a new cluster and a
//! started node propose), `tenancy` (the node's lease), `report` (what it says of itself), `loads` (what the leader is
//! told), `neighbours` (what the others do), `leaving` (before it ends), `seams` (the cluster as supervision and the
//! HTTP interface see it), `sampler` (rates, once a second). A node brings a thread with an actor system of its own, so
//! it can be started from any runtime, several times in one process. Never ends the process, and touches nothing
//! global.

mod assembly;
mod begin;
pub mod enroll;
mod first_start;
mod leaving;
mod loads;
mod neighbours;
mod report;
mod sampler;
mod seams;
mod tenancy;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use causeway_cluster::Group;
use causeway_cluster::aside::{Interrupted, Purpose};
use causeway_cluster::group::join::{self, Beginning};
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::NodeId;
use causeway_core::name::Name;
use causeway_core::outcome::Refusal;
use tokio::sync::{oneshot, watch};
use zeroize::Zeroizing;

use crate::config::NodeConfig;
use crate::connect::Instances;
use crate::secrets::SecretStore;
use crate::status::StatusBoard;
use crate::telemetry::RateHistory;
use crate::{admin, secrets};

use assembly::Assembly;

/// Why a node did not start, or how it ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory, the disk or the Raft group.
    #[error(transparent)]
    Cluster(#[from] causeway_cluster::Error),
    /// The key that seals secrets.
    #[error(transparent)]
    Secrets(#[from] secrets::Error),
    /// The HTTP interface.
    #[error(transparent)]
    Http(#[from] admin::Error),
    /// The state machine refused what every start proposes.
    #[error("the cluster refused to {action}: {refusal}")]
    Refused {
        /// What was proposed.
        action: &'static str,
        /// Why it was refused.
        refusal: Refusal,
    },
    /// A node that was removed does not come back under its number.
    #[error(
        "the cluster has no node {node} any more: it was removed, or has a new number. {}",
        causeway_cluster::COMES_BACK
    )]
    Removed {
        /// The number that the data directory has.
        node: NodeId,
    },
    /// The cluster knows the node by another name, and would take it for a new one.
    #[error(
        "nothing was changed: {} is that of {known}, node {node}, and no node is called {name}: set node.name back to \
         {known}; if {known} was removed, give {name} an empty directory and `causeway cluster join`",
        directory.display()
    )]
    OtherName {
        /// The data directory of the configuration.
        directory: PathBuf,
        /// The number that it has.
        node: NodeId,
        /// The name of that node.
        known: Name,
        /// The name that the configuration says.
        name: Name,
    },
    /// The cluster could not decide in time.
    #[error("{why}")]
    Undecided {
        /// The stable code.
        code: ErrorCode,
        /// Why not, and who is out of reach.
        why: String,
    },
    /// Give the token that `causeway cluster token` drew.
    #[error(
        "no join token was given: draw one with `causeway cluster token` on a node of the cluster, and put it into \
         CAUSEWAY_JOIN_TOKEN, or into a file for --join-token-file"
    )]
    NoJoinToken,
    /// Run the node: what it holds is the cluster's already.
    #[error(
        "nothing was changed: {} is that of {name}, node {node} and the only voter of its cluster, so nothing is to be \
         recovered: `causeway run` goes on with it{}",
        directory.display(), earlier(kept)
    )]
    OnlyVoter {
        /// The data directory of the configuration.
        directory: PathBuf,
        /// The node's name.
        name: Name,
        /// Its number.
        node: NodeId,
        /// Folders that hold what the directory held before it changed hands.
        kept: Vec<String>,
    },
    /// Name the configuration of the node that is meant.
    #[error("{} holds no node's data; name the configuration file that the node runs with", directory.display())]
    NoData {
        /// The data directory of the configuration.
        directory: PathBuf,
    },
    /// A node with others founds no cluster by itself: three that do would be three clusters.
    #[error(
        "{} is empty, so this node belongs to no cluster yet: found one with `causeway cluster init`, on one node only, \
         or join one with `causeway cluster join`; if it was a node of one and its data are lost, \
         `causeway cluster rejoin --at HOST:PORT --config FILE` brings it back under a new number",
        directory.display()
    )]
    NoCluster {
        /// The data directory of the configuration.
        directory: PathBuf,
    },
    /// It would look for the others in vain.
    #[error(
        "this node's cluster has other nodes, and its configuration does not say how to reach them: set cluster.listen"
    )]
    Deserted,
    /// A node without other nodes needs no more than to be run.
    #[error("cluster.listen is not set: a node that is alone founds its cluster when it is run")]
    Alone,
    /// The data directory is not a new one.
    #[error("{} is in use already: {what}", directory.display())]
    InUse {
        /// The data directory of the configuration.
        directory: PathBuf,
        /// By whom.
        what: String,
    },
    /// Repeat the command that was interrupted.
    #[error(
        "{} was being given to another node, which was interrupted: what it held is in {}; finish it with `{command}`",
        directory.display(), kept.display()
    )]
    Unfinished {
        /// The data directory of the configuration.
        directory: PathBuf,
        /// Where the node's data are.
        kept: PathBuf,
        /// What finishes it.
        command: &'static str,
    },
    /// Name the file that `causeway cluster backup` wrote.
    #[error("the backup {} cannot be read: {reason}", path.display())]
    Backup {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The cluster did not let the node in; nothing was changed on its disk.
    #[error(transparent)]
    NotJoined(#[from] causeway_cluster::group::join::JoinError),
    /// The certificates for connections to other nodes.
    #[error(transparent)]
    Certificates(#[from] causeway_cluster::transport::TlsFileError),
    /// A thread could not be started, or a part of the node panicked; the log has the place.
    #[error("the node's {part} ended by itself; the log says why")]
    PartEnded {
        /// The part.
        part: &'static str,
    },
    /// The operating system gave no thread or no random bytes.
    #[error("the operating system gave no {what}: {reason}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// What it said.
        reason: String,
    },
}

impl Error {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Cluster(error) => error.code(),
            Self::Secrets(error) => error.code(),
            Self::Http(error) => error.code(),
            Self::NoData { .. } | Self::NoCluster { .. } => ErrorCode::DataDirectory,
            Self::InUse { .. } | Self::Unfinished { .. } | Self::OnlyVoter { .. } => ErrorCode::DataDirectory,
            Self::Backup { .. } => ErrorCode::FileUnusable,
            Self::NoJoinToken => ErrorCode::Unauthenticated,
            Self::Removed { .. } => ErrorCode::NoSuchNode,
            Self::Undecided { code, .. } => *code,
            Self::Refused { refusal, .. } => refusal.code(),
            Self::NotJoined(error) => error.code(),
            Self::Deserted | Self::Alone | Self::OtherName { .. } => ErrorCode::InvalidConfiguration,
            Self::Certificates(_) => ErrorCode::CertificateUnusable,
            Self::PartEnded { .. } | Self::System { .. } => ErrorCode::Internal,
        }
    }
}

/// Where what a directory held before is found.
fn earlier(kept: &[String]) -> String {
    match kept {
        [] => String::new(),
        kept => format!("; what the directory held before it began anew is kept in {}", kept.join(", ")),
    }
}

/// What a directory that changes hands needs.
fn unfinished(directory: &Path, found: Interrupted) -> Error {
    let command = match found.purpose {
        Purpose::Recover => "causeway cluster recover --others-are-gone --config FILE",
        Purpose::Rejoin => "causeway cluster rejoin --at HOST:PORT --config FILE",
    };
    Error::Unfinished { directory: directory.to_owned(), kept: found.kept, command }
}

/// What a started node shows to the program that started it.
#[derive(Clone)]
struct Views {
    first_token: Option<Zeroizing<String>>,
    address: SocketAddr,
    cluster: Group,
    board: Arc<StatusBoard>,
    rates: Arc<RateHistory>,
    instances: Arc<Instances>,
}

/// A running node. Dropping it stops it as well, in the background.
pub struct Node {
    views: Views,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
    result: oneshot::Receiver<Result<(), Error>>,
}

impl Node {
    /// Starts a node and returns when it serves.
    ///
    /// # Errors
    /// [`Error`]; whatever was started before is stopped again.
    pub async fn start(config: NodeConfig) -> Result<Self, Error> {
        let (stop, asked) = watch::channel(false);
        let (over, ended) = watch::channel(false);
        let (ready, started) = oneshot::channel();
        let (report, result) = oneshot::channel();
        let main = move || {
            let system = actix_rt::System::new();
            let outcome = system.block_on(run(config, ready, asked));
            // Ends the runtime and with it whatever was not waited for, before anybody is told.
            drop(system);
            let _ = report.send(outcome);
            over.send_replace(true);
        };
        let spawned = thread::Builder::new().name("causeway-node".to_owned()).spawn(main);
        // Nobody joins the thread: `result` arrives when its work is done.
        drop(spawned.map_err(|error| Error::System { what: "thread", reason: error.to_string() })?);
        match started.await {
            Ok(views) => Ok(Self { views, stop, ended, result }),
            Err(_) => match result.await {
                Ok(Err(error)) => Err(error),
                Ok(Ok(())) | Err(_) => Err(Error::PartEnded { part: "main thread" }),
            },
        }
    }

    /// The administrator's token if this start created it. It is kept nowhere: whoever started the node has to show it,
    /// once.
    #[must_use]
    pub fn first_token(&self) -> Option<String> {
        self.views.first_token.as_ref().map(|token| token.as_str().to_owned())
    }

    /// Where the HTTP interface listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.views.address
    }

    /// The Raft group as this node sees it.
    #[must_use]
    pub fn cluster(&self) -> &Group {
        &self.views.cluster
    }

    /// What its partitions do.
    #[must_use]
    pub fn board(&self) -> &Arc<StatusBoard> {
        &self.views.board
    }

    /// Rates and totals of its streams.
    #[must_use]
    pub fn rates(&self) -> &Arc<RateHistory> {
        &self.views.rates
    }

    /// Clients of the registered instances.
    #[must_use]
    pub fn instances(&self) -> &Arc<Instances> {
        &self.views.instances
    }

    /// Returns when the node has ended, asked to or by itself.
    pub async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error means that the thread is gone, which is an end as well.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Stops the node: no more API changes, sends in flight answered within the configured grace, progress written
    /// down, data directory closed. Safe to drop half-way: the node goes on stopping by itself.
    ///
    /// # Errors
    /// Why it had ended by itself, or what failed while stopping.
    pub async fn stop(self) -> Result<(), Error> {
        let Self { views, stop, ended: _, result } = self;
        drop(views);
        stop.send_replace(true);
        result.await.unwrap_or(Err(Error::PartEnded { part: "main thread" }))
    }
}

/// Draws a new administrator's token by a node that is stopped; the old one is worth nothing from then on. The node
/// takes part in its cluster meanwhile, copies nothing and changes nothing else. One that is to found a cluster does so
/// here, and its first start then draws no token.
///
/// # Errors
/// [`Error`], also when the directory is in use or holds no node's data.
pub async fn replace_token(config: &NodeConfig) -> Result<Zeroizing<String>, Error> {
    let directory = &config.node.data_directory;
    if join::look(directory)? == Beginning::Empty {
        return Err(Error::NoData { directory: directory.clone() });
    }
    let mut config = config.clone();
    let begun = begin::begin(&mut config).await?;
    let token = with_others(&begun, &config).await;
    let stopped = begun.group.stop().await;
    let token = token?;
    stopped?;
    Ok(token)
}

async fn with_others(begun: &begin::Begun, config: &NodeConfig) -> Result<Zeroizing<String>, Error> {
    let secrets = SecretStore::open(&config.node.data_directory)?;
    let (ending, _ended) = watch::channel(None);
    if begin::decides_alone(&begun.group) {
        first_start::found(&begun.group).await?;
    }
    begun.connect(config, begun.security(config)?, &secrets, Arc::new(Vec::new), &ending).await?;
    first_start::put_token(&begun.group).await
}

/// The life of a node, on its own thread.
async fn run(config: NodeConfig, ready: oneshot::Sender<Views>, mut asked: watch::Receiver<bool>) -> Result<(), Error> {
    let mut assembly = Assembly::start(config).await?;
    let wanted = ready.send(assembly.views()).is_ok();
    let end = if wanted {
        tokio::select! {
            // The sender is gone when the node was dropped, which asks for the end too.
            _ = asked.wait_for(|asked| *asked) => Ok(()),
            error = assembly.failed() => Err(error),
        }
    } else {
        Ok(())
    };
    if let Err(error) = &end {
        tracing::error!(%error, "the node ends");
    }
    let stopped = assembly.stop().await;
    end.and(stopped)
}

fn random() -> Result<u64, Error> {
    getrandom::u64().map_err(|error| Error::System { what: "random bytes", reason: error.to_string() })
}
