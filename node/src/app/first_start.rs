//! What a starting node proposes: the cluster's identifier, its own start and the instances of its configuration before
//! anything runs, and the first token when everything does.
//!
//! Each step looks at what was agreed first and is harmless when it is repeated, so a crash in between costs nothing
//! but the token: it is kept nowhere, so one that was agreed on and never shown is replaced only by an operator.

use std::time::Duration;

use causeway_cluster::Group;
use causeway_core::command::{CURRENT_VERSION, Command};
use causeway_core::ids::{ClusterId, InstanceIdentity};
use causeway_core::name::Name;
use causeway_core::node::{NodeSpec, ProcessId};
use causeway_core::outcome::{Outcome, Refusal};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::admin::auth::{draw_token, token_hash};
use crate::app::{Error, random};
use crate::config::{ClusterSection, InstanceConfig, NodeConfig, NodeSection};

/// The name of the token that a new cluster gets.
const FIRST_TOKEN: &str = "admin";

/// How long a proposal is repeated while there is no leader.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Gives a cluster that this node founds its identifier.
pub(super) async fn found(cluster: &Group) -> Result<(), Error> {
    if cluster.view().cluster.is_some() {
        return Ok(());
    }
    let command = Command::Initialise { cluster: ClusterId(random()?) };
    match agree(cluster, "initialise the cluster", command, Some(PATIENCE)).await {
        Ok(_) => tracing::info!("a new cluster begins"),
        Err(Proposal::Refused(_, Refusal::AlreadyInitialised)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Makes the cluster know that this process of the node has started, and the instances of its configuration. Without a
/// patience it is tried until it is agreed on.
pub(super) async fn introduce(
    cluster: &Group,
    process: ProcessId,
    config: &NodeConfig,
    patience: Option<Duration>,
) -> Result<(), Error> {
    let NodeSection { id: node, name, region, .. } = config.node.clone();
    let address = config.cluster.as_ref().map(ClusterSection::address);
    let spec = NodeSpec { name, region, address, supports: CURRENT_VERSION };
    agree(cluster, "start the node", Command::StartNode { node, spec, process }, patience).await?;
    for instance in &config.instances {
        register(cluster, instance, patience).await?;
    }
    Ok(())
}

/// The first token, if it was created now. The last step of a start: it is lost with whatever fails behind it.
pub(super) async fn first_token(cluster: &Group) -> Result<Option<Zeroizing<String>>, Error> {
    if !cluster.view().tokens.is_empty() {
        return Ok(None);
    }
    put_token(cluster).await.map(Some)
}

/// Draws a token for the administrator and makes it the only one of that name.
pub(super) async fn put_token(cluster: &Group) -> Result<Zeroizing<String>, Error> {
    let system = |reason: String| Error::System { what: "random bytes", reason };
    let token = draw_token().map_err(|error| system(error.to_string()))?;
    let name = Name::new(FIRST_TOKEN).map_err(|error| system(error.to_string()))?;
    let command = Command::PutToken { name, hash: token_hash(&token) };
    agree(cluster, "create the administrator's token", command, Some(PATIENCE)).await?;
    Ok(token)
}

async fn register(cluster: &Group, instance: &InstanceConfig, patience: Option<Duration>) -> Result<(), Error> {
    let name = &instance.spec.name;
    if cluster.view().instances.contains_key(name) {
        return Ok(());
    }
    let identity = instance.identity.map_or_else(|| random().map(InstanceIdentity), Ok)?;
    let command = Command::PutInstance { spec: instance.spec.clone(), identity, expected: None };
    match agree(cluster, "register an instance", command, patience).await {
        Ok(_) => tracing::info!(instance = %name, "instance registered from the configuration"),
        Err(Proposal::Refused(_, Refusal::InstanceExists(_))) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Why a proposal came to nothing.
enum Proposal {
    Refused(&'static str, Refusal),
    Failed(causeway_cluster::Error),
}

impl From<Proposal> for Error {
    fn from(proposal: Proposal) -> Self {
        match proposal {
            Proposal::Refused(action, refusal) => Self::Refused { action, reason: refusal.to_string() },
            Proposal::Failed(error) => Self::Cluster(error),
        }
    }
}

/// Proposes until there is an answer.
async fn agree(
    cluster: &Group,
    action: &'static str,
    command: Command,
    patience: Option<Duration>,
) -> Result<Outcome, Proposal> {
    let deadline = patience.map(|patience| Instant::now() + patience);
    loop {
        match cluster.propose(command.clone()).await {
            Ok(Outcome::Refused(refusal)) => return Err(Proposal::Refused(action, refusal)),
            Ok(outcome) => return Ok(outcome),
            Err(error) => {
                let too_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if !error.is_temporary() || too_late {
                    return Err(Proposal::Failed(error));
                }
                tracing::debug!(%error, action, "not agreed on yet");
                sleep(PAUSE).await;
            }
        }
    }
}
