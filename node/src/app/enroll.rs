//! How an empty data directory becomes that of a cluster's node, before the node runs for the first time.
//!
//! Nodes that found a cluster whenever they find no data would be as many clusters as there are nodes, so with
//! `[cluster]` somebody has to say which node founds it and where the others join.

use std::time::Duration;

use causeway_cluster::group::join::{self, Beginning};
use causeway_core::command::CURRENT_VERSION;
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::node::NodeSpec;

use crate::admin::auth::token_hash;
use crate::app::Error;
use crate::app::begin::security;
use crate::config::NodeConfig;
use crate::secrets::SecretStore;

/// How long a member may take to let the node in.
const PATIENCE: Duration = Duration::from_secs(15);

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
/// more, also without a token, changes nothing.
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
        return Ok(Enrolled { node: identity.node, cluster: Some(cluster), already: true });
    }
    let node = &config.node;
    let (name, region) = (node.name.clone(), node.region.clone());
    let spec = NodeSpec { name, region, address: Some(section.address()), supports: CURRENT_VERSION };
    let told = join::ask(address, token_hash(token), spec, security(section, config)?, PATIENCE).await?;
    std::fs::create_dir_all(directory)
        .map_err(|error| Error::InUse { directory: directory.clone(), what: error.to_string() })?;
    // The node's data comes last: a directory that has them is complete.
    SecretStore::adopt(directory, &told.welcome.0)?;
    join::prepare(directory, &told)?;
    Ok(Enrolled { node: told.node, cluster: Some(told.cluster), already: false })
}
