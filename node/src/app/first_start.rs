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
use causeway_core::node::NodeSpec;
use causeway_core::outcome::{Outcome, Refusal};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use crate::admin::auth::{draw_token, token_hash};
use crate::app::{Error, random};
use crate::config::{ClusterSection, InstanceConfig, NodeConfig, NodeSection};
use crate::lasting::Lasting;

/// The name of the token that a new cluster gets.
const FIRST_TOKEN: &str = "admin";

/// How long a proposal is repeated while there is no leader.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What is not agreed on for so long is told.
const LONG: Duration = Duration::from_secs(10);

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
pub(super) async fn introduce(cluster: &Group, config: &NodeConfig, patience: Option<Duration>) -> Result<(), Error> {
    let NodeSection { name, region, .. } = config.node.clone();
    let address = config.cluster.as_ref().map(ClusterSection::address);
    let spec = NodeSpec { name, region, address, supports: CURRENT_VERSION };
    let explain = |error: &causeway_cluster::Error| cluster.reasons().explain(error);
    until_agreed("start the node", patience, explain, async || cluster.introduce(spec.clone()).await).await?;
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
#[derive(Debug)]
enum Proposal {
    Refused(&'static str, Refusal),
    Failed { error: causeway_cluster::Error, why: String },
}

impl From<Proposal> for Error {
    fn from(proposal: Proposal) -> Self {
        match proposal {
            Proposal::Refused(_, Refusal::NoSuchNode(node)) => Self::Removed { node },
            Proposal::Refused(action, refusal) => Self::Refused { action, refusal },
            // What passes by itself has reasons that stand outside of the error.
            Proposal::Failed { error, why } if error.is_temporary() => Self::Undecided { code: error.code(), why },
            Proposal::Failed { error, .. } => Self::Cluster(error),
        }
    }
}

async fn agree(
    cluster: &Group,
    action: &'static str,
    command: Command,
    patience: Option<Duration>,
) -> Result<Outcome, Proposal> {
    let explain = |error: &causeway_cluster::Error| cluster.reasons().explain(error);
    until_agreed(action, patience, explain, async || cluster.propose(command.clone()).await).await
}

/// Proposes until there is an answer. That it takes long is told once, with why.
async fn until_agreed(
    action: &'static str,
    patience: Option<Duration>,
    explain: impl Fn(&causeway_cluster::Error) -> String,
    propose: impl AsyncFn() -> Result<Outcome, causeway_cluster::Error>,
) -> Result<Outcome, Proposal> {
    let mut lasting = Lasting::from_now();
    let deadline = patience.map(|patience| Instant::now() + patience);
    loop {
        match propose().await {
            Ok(Outcome::Refused(refusal)) => return Err(Proposal::Refused(action, refusal)),
            Ok(outcome) => return Ok(outcome),
            Err(error) => {
                let too_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                if !error.is_temporary() || too_late {
                    let why = explain(&error);
                    return Err(Proposal::Failed { error, why });
                }
                if lasting.see(LONG) {
                    tracing::warn!(
                        code = %error.code(), why = explain(&error), action,
                        "the cluster has not agreed on what this node began with; it is tried again. A majority of the \
                         voters has to run, this node has to reach one of the others, and they have to reach this one at \
                         its cluster.advertise: `causeway cluster nodes` shows the connections"
                    );
                } else {
                    tracing::debug!(%error, action, "not agreed on yet");
                }
                sleep(PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use causeway_cluster::Error;
    use causeway_core::ids::NodeId;

    use super::*;
    use crate::telemetry::captured::Lines;

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_to_be_agreed_on_is_told_once_with_its_code() {
        let (lines, begun) = (Lines::default(), Instant::now());
        let _listening = lines.listen();
        let tries = Cell::new(0);
        let propose = async || {
            tries.set(tries.get() + 1);
            if begun.elapsed() < LONG * 3 { Err(Error::NotLeader { leader: None }) } else { Ok(Outcome::Done) }
        };
        let explain = |_: &Error| "1 of 2 voters is out of reach: node-2".to_owned();
        until_agreed("start the node", None, explain, propose).await.unwrap();
        assert!(tries.get() > 100, "it is tried again and again");
        let warned = lines.about("WARN");
        assert_eq!(warned.len(), 1, "{warned:?}");
        assert!(warned[0].contains("CWY-0502") && warned[0].contains("cluster.advertise"), "{warned:?}");
        assert!(warned[0].contains("out of reach: node-2"), "{warned:?}");
        let failing = async || Err(Error::NotLeader { leader: None });
        let failed = until_agreed("start the node", Some(PAUSE), explain, failing).await.unwrap_err();
        let failed = crate::app::Error::from(failed);
        assert!(failed.to_string().contains("node-2") && failed.code().to_string() == "CWY-0502", "{failed}");
        let removed = crate::app::Error::from(Proposal::Refused("start the node", Refusal::NoSuchNode(NodeId(3))));
        assert!(removed.to_string().contains("causeway cluster rejoin --at"), "{removed}");
        assert_eq!(removed.code().to_string(), "CWY-0115");
        until_agreed("start the node", None, explain, async || Ok(Outcome::Done)).await.unwrap();
        assert_eq!(lines.about("WARN").len(), 1, "what is agreed on at once is not told");
    }
}
