//! How a node becomes one of a cluster: it shows a token to any member, and keeps what it is told in its data
//! directory.
//!
//! Asked again with the same token, name and region before its first start, a node gets the same id again, so a crash
//! between the two steps costs nothing.

use std::path::Path;
use std::time::Duration;

use causeway_core::command::CURRENT_VERSION;
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::NodeId;
use causeway_core::name::Name;
use causeway_core::node::NodeSpec;
use causeway_core::outcome::Refusal;
use causeway_storage::aside::{self, Interrupted, build_aside};
use causeway_storage::db::{self, DEFAULT_CACHE_BYTES, Db, Identity};
use causeway_storage::starts;

use super::rpc::{Answer, Joined, Request};
use crate::error::{Error, Fatal, code_of};
use crate::raft::settings::Start;
use crate::transport::{self, Caller, Security};

/// Why a node did not join. Nothing was changed on its disk.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The member was not reached, or did not answer.
    #[error("no answer from {address}: {error}")]
    NoAnswer {
        /// Who was asked.
        address: String,
        /// Why there is no answer.
        error: transport::Error,
    },
    /// The cluster refused the node.
    #[error(transparent)]
    Refused(Refusal),
    /// The cluster could not decide now.
    #[error(transparent)]
    Cluster(#[from] Error),
}

impl JoinError {
    /// The stable code that operators see.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoAnswer { error, .. } => code_of(error),
            Self::Refused(refusal) => refusal.code(),
            Self::Cluster(error) => error.code(),
        }
    }
}

/// Shows a token to a member at `address` (`host:port`).
///
/// # Errors
/// [`JoinError`].
pub async fn ask(
    address: &str,
    token: [u8; 32],
    spec: NodeSpec,
    security: Security,
    limit: Duration,
) -> Result<Joined, JoinError> {
    let names = (spec.name.clone(), spec.region.clone());
    request(address, names, &Request::Join { token, spec }, security, limit).await
}

async fn request(
    address: &str,
    (name, region): (Name, Name),
    request: &Request,
    security: Security,
    limit: Duration,
) -> Result<Joined, JoinError> {
    let identity =
        transport::Identity { cluster: None, node: NodeId(0), name, region, command_version: CURRENT_VERSION };
    let no_answer = |error| JoinError::NoAnswer { address: address.to_owned(), error };
    let caller = Caller::new(transport::Settings::default(), security, identity).map_err(no_answer)?;
    let answer = caller.request_at(address, None, request.encode()?, limit).await.map_err(no_answer)?;
    match Answer::decode(&answer.body)? {
        Answer::Joined(joined) => Ok(joined),
        Answer::NotJoined(refusal) => Err(JoinError::Refused(refusal)),
        Answer::Failed(failure) => Err(Error::from(failure).into()),
        other => Err(super::unexpected(other).into()),
    }
}

/// Asks a member at `address` for a new id in place of the node of the same name, whose data are lost. Where
/// connections are protected, this node's certificate is the proof that it is the same one; where not, a join token is
/// needed.
///
/// # Errors
/// [`JoinError`].
pub async fn replace(
    address: &str,
    token: Option<[u8; 32]>,
    spec: NodeSpec,
    security: Security,
    limit: Duration,
) -> Result<Joined, JoinError> {
    let name = spec.name.clone();
    let region = spec.region.clone();
    request(address, (name, region), &Request::Replace { token, spec }, security, limit).await
}

/// Makes an empty directory that of a node which joined. The same again changes nothing.
///
/// # Errors
/// [`Error::Fatal`] with the reason of the disk, or when the directory is another node's.
pub fn prepare(directory: &Path, joined: &Joined) -> Result<(), Error> {
    let settings = db::Settings { directory: directory.into(), node: joined.node, cache_bytes: DEFAULT_CACHE_BYTES };
    let prepared = build_aside(&settings, |db| {
        db.set_others(&joined.others)?;
        db.bind_cluster(joined.cluster)
    });
    prepared.map_err(|error| Fatal::Storage(error).into())
}

/// Makes an empty directory that of a node which founds a cluster at its first start.
///
/// # Errors
/// [`Error::Fatal`] with the reason of the disk, or when the directory is another node's.
pub fn found(directory: &Path, node: NodeId) -> Result<(), Error> {
    let settings = db::Settings { directory: directory.into(), node, cache_bytes: DEFAULT_CACHE_BYTES };
    Db::open(&settings).map(drop).map_err(|error| Fatal::Storage(error).into())
}

/// The other nodes that a node was told of when it joined. Opens the data directory for a moment.
///
/// # Errors
/// [`Error::Fatal`] with the reason of the disk.
pub fn told(directory: &Path, node: NodeId) -> Result<Vec<(NodeId, Name, String)>, Error> {
    let settings = db::Settings { directory: directory.into(), node, cache_bytes: DEFAULT_CACHE_BYTES };
    Db::open(&settings).and_then(|db| db.others()).map_err(|error| Fatal::Storage(error).into())
}

/// The number of a node's first start, when it founds a cluster on an empty directory.
pub const FIRST_START: u64 = starts::FIRST;

/// Counts a start of the node that a data directory belongs to: higher than all before it.
///
/// # Errors
/// [`Error::Fatal`] with the reason of the disk.
pub fn count_start(directory: &Path) -> Result<u64, Error> {
    starts::count(directory).map_err(|error| Fatal::Storage(error).into())
}

/// What a data directory is, and so how a node begins on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beginning {
    /// It was never used: its node founds a cluster, or joins one first.
    Empty,
    /// It changes hands, which was interrupted: whoever began that has to finish it.
    Interrupted(Interrupted),
    /// It is this node's.
    Node {
        /// Whose it is.
        identity: Identity,
        /// How the replica begins.
        start: Start,
    },
}

/// Looks at a data directory without opening it.
///
/// # Errors
/// [`Error::Fatal`] with the reason of the disk.
pub fn look(directory: &Path) -> Result<Beginning, Error> {
    let interrupted = aside::interrupted(directory).map_err(|error| Error::from(Fatal::Storage(error)))?;
    if let Some(interrupted) = interrupted {
        return Ok(Beginning::Interrupted(interrupted));
    }
    let identity = db::identity_of(directory).map_err(|error| Error::from(Fatal::Storage(error)))?;
    Ok(identity.map_or(Beginning::Empty, |identity| {
        // A founder's directory names its cluster only when its replica has made promises; then this is ignored.
        let start = match identity.cluster {
            Some(_) => Start::Join,
            None => Start::Found { voters: vec![identity.node] },
        };
        Beginning::Node { identity, start }
    }))
}
