//! How an empty data directory becomes that of a cluster's node, before the node runs for the first time, and how a
//! lost or damaged one does again.
//!
//! Nodes that found a cluster whenever they find no data would be as many clusters as there are nodes, so with
//! `[cluster]` somebody has to say which node founds it and where the others join.

use std::path::Path;
use std::time::Duration;

use causeway_cluster::Joined;
use causeway_cluster::group::join::{self, Beginning};
use causeway_core::command::CURRENT_VERSION;
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::node::NodeSpec;

use crate::admin::auth::token_hash;
use crate::app::Error;
use crate::app::begin::security;
use crate::config::{ClusterSection, NodeConfig};
use crate::secrets::SecretStore;

/// How long a member may take to let the node in.
const PATIENCE: Duration = Duration::from_secs(15);

/// The largest backup that is read, in bytes: a little more than the largest that is made.
const MAXIMUM_BACKUP_BYTES: u64 = 260 * 1024 * 1024;

/// What a data directory was made, or is already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolled {
    /// The node's number.
    pub node: NodeId,
    /// Its cluster; none before the first start of the node that founds it.
    pub cluster: Option<ClusterId>,
    /// Nothing had to be done.
    pub already: bool,
}

/// Makes the data directory that of a node which founds a cluster when it is run. Once more changes nothing.
///
/// # Errors
/// [`Error`]; nothing was changed.
pub fn found(config: &NodeConfig) -> Result<Enrolled, Error> {
    if config.cluster.is_none() {
        return Err(Error::Alone);
    }
    let directory = &config.node.data_directory;
    match join::look(directory)? {
        Beginning::Empty => {
            join::found(directory, config.node.id)?;
            Ok(Enrolled { node: config.node.id, cluster: None, already: false })
        }
        Beginning::Node { identity, .. } => match identity.cluster {
            None => Ok(Enrolled { node: identity.node, cluster: None, already: true }),
            Some(cluster) => Err(Error::InUse {
                directory: directory.clone(),
                what: format!("it is node {} of cluster {cluster}", identity.node),
            }),
        },
    }
}

/// Shows a join token to a member at `address` and makes the data directory that of the node which was let in. Once
/// more without a token changes nothing; with one, a directory that is a node's already is refused: it may be of a
/// cluster that began anew since.
///
/// # Errors
/// [`Error`]; nothing was changed here. A token that was taken lets the same node in again, until its first start.
pub async fn join(config: &NodeConfig, address: &str, token: &str) -> Result<Enrolled, Error> {
    let Some(section) = &config.cluster else { return Err(Error::Alone) };
    let directory = &config.node.data_directory;
    if let Beginning::Node { identity, .. } = join::look(directory)? {
        let Some(cluster) = identity.cluster else {
            let what = format!("it is node {}, which founds a cluster when it is run", identity.node);
            return Err(Error::InUse { directory: directory.clone(), what });
        };
        if !token.is_empty() {
            let what = format!("it is node {} of cluster {cluster}; a token is for an empty one", identity.node);
            return Err(Error::InUse { directory: directory.clone(), what });
        }
        return Ok(Enrolled { node: identity.node, cluster: Some(cluster), already: true });
    }
    let spec = node_spec(config, section);
    let told = join::ask(address, token_hash(token), spec, security(section, config)?, PATIENCE).await?;
    settle(directory, &told)?;
    Ok(Enrolled { node: told.node, cluster: Some(told.cluster), already: false })
}

/// Gives a node whose data are lost or damaged a new number in its cluster, in place of the one of its name. What is
/// left of its data is kept in a folder below the data directory.
///
/// # Errors
/// [`Error`]; nothing was changed here before the cluster agreed.
pub async fn rejoin(config: &NodeConfig, address: &str) -> Result<Enrolled, Error> {
    let Some(section) = &config.cluster else { return Err(Error::Alone) };
    let directory = &config.node.data_directory;
    // Before anything is agreed on: the cluster takes the place of the old one away at once.
    causeway_cluster::is_free(directory).map_err(storage)?;
    let spec = node_spec(config, section);
    let told = join::replace(address, spec, security(section, config)?, PATIENCE).await?;
    causeway_cluster::set_aside(directory).map_err(storage)?;
    settle(directory, &told)?;
    Ok(Enrolled { node: told.node, cluster: Some(told.cluster), already: false })
}

/// Makes an empty data directory that of the only node of a cluster which begins anew from a backup.
///
/// # Errors
/// [`Error`]; nothing was changed.
pub fn restore(config: &NodeConfig, backup: &Path) -> Result<Enrolled, Error> {
    let directory = &config.node.data_directory;
    if let Beginning::Node { identity, .. } = join::look(directory)? {
        return Err(Error::InUse { directory: directory.clone(), what: format!("it is node {}", identity.node) });
    }
    let bytes = read_backup(backup).map_err(|reason| Error::Backup { path: backup.to_owned(), reason })?;
    let restored = causeway_cluster::restore::restore(directory, &causeway_cluster::restore::read(&bytes, backup)?)?;
    Ok(Enrolled { node: restored.node, cluster: Some(restored.cluster), already: false })
}

/// Makes the data directory of a stopped node that of the only node of a cluster which begins anew from what it holds.
/// The data as they were are kept in a folder below it.
///
/// # Errors
/// [`Error`]; what the directory held is in it or in the folder.
pub fn recover(config: &NodeConfig) -> Result<Enrolled, Error> {
    let directory = &config.node.data_directory;
    let Beginning::Node { identity, .. } = join::look(directory)? else {
        return Err(Error::NoData { directory: directory.clone() });
    };
    let held = causeway_cluster::restore::salvage(directory, identity.node)?;
    causeway_cluster::restore::verify(&held)?;
    causeway_cluster::set_aside(directory).map_err(storage)?;
    let restored = causeway_cluster::restore::restore(directory, &held)?;
    Ok(Enrolled { node: restored.node, cluster: Some(restored.cluster), already: false })
}

fn node_spec(config: &NodeConfig, section: &ClusterSection) -> NodeSpec {
    let (name, region) = (config.node.name.clone(), config.node.region.clone());
    NodeSpec { name, region, address: Some(section.address()), supports: CURRENT_VERSION }
}

fn settle(directory: &Path, told: &Joined) -> Result<(), Error> {
    std::fs::create_dir_all(directory)
        .map_err(|error| Error::InUse { directory: directory.to_owned(), what: error.to_string() })?;
    // The node's data come last: a directory that has them is complete.
    SecretStore::adopt(directory, &told.welcome.0)?;
    join::prepare(directory, told)?;
    Ok(())
}

fn read_backup(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAXIMUM_BACKUP_BYTES).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

fn storage(error: causeway_cluster::StorageError) -> Error {
    causeway_cluster::Error::from(causeway_cluster::Fatal::Storage(error)).into()
}
