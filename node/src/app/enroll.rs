//! How an empty data directory becomes that of a cluster's node, before the node runs for the first time, and how a
//! lost or damaged one does again.
//!
//! Nodes that found a cluster whenever they find no data would be as many clusters as there are nodes, so with
//! `[cluster]` somebody has to say which node founds it and where the others join.

use std::path::Path;
use std::time::Duration;

use causeway_cluster::Joined;
use causeway_cluster::aside::{self, Interrupted, Purpose};
use causeway_cluster::group::join::{self, Beginning, JoinError};
use causeway_cluster::liveness::LeaseTerms;
use causeway_cluster::restore::Salvaged;
use causeway_cluster::transport::Security;
use causeway_core::command::CURRENT_VERSION;
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::name::Name;
use causeway_core::node::NodeSpec;
use causeway_core::outcome::Refusal;
use tokio::time::{Instant, sleep};

use crate::admin::auth::token_hash;
use crate::app::begin::security;
use crate::app::{Error, unfinished};
use crate::config::{ClusterSection, NodeConfig};
use crate::secrets::SecretStore;

/// How long a member may take to let the node in.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two questions for the place of a node that may still run.
const PAUSE: Duration = Duration::from_millis(500);

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
        Beginning::Interrupted(found) => Err(unfinished(directory, found)),
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
    match join::look(directory)? {
        Beginning::Empty => {}
        Beginning::Interrupted(found) => return Err(unfinished(directory, found)),
        Beginning::Node { identity, .. } => {
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
    }
    if token.is_empty() {
        return Err(Error::NoJoinToken);
    }
    let spec = node_spec(config, section);
    let told = join::ask(address, token_hash(token), spec, security(section, config)?, PATIENCE).await?;
    settle(directory, &told)?;
    Ok(Enrolled { node: told.node, cluster: Some(told.cluster), already: false })
}

/// Gives a node whose data are lost or damaged a new number in its cluster, in place of the one of its name. What is
/// left of its data is kept in a folder below the data directory. The certificate proves the name; without one, the
/// join token is shown. Where the name was removed, the token lets the node in as a new one; not where the directory
/// holds the data of a node that the cluster may still have under another name.
///
/// # Errors
/// [`Error`]; nothing was changed here before the cluster agreed.
pub async fn rejoin(config: &NodeConfig, address: &str, token: &str) -> Result<Enrolled, Error> {
    let Some(section) = &config.cluster else { return Err(Error::Alone) };
    let directory = &config.node.data_directory;
    // Before anything is agreed on: the cluster takes the place of the old one away at once.
    causeway_cluster::is_free(directory).map_err(storage)?;
    let told = replaced(config, section, address, token).await?;
    causeway_cluster::set_aside(directory, Purpose::Rejoin).map_err(storage)?;
    settle(directory, &told)?;
    aside::finish(directory).map_err(storage)?;
    Ok(Enrolled { node: told.node, cluster: Some(told.cluster), already: false })
}

/// A node that died a moment ago is not known to be gone before its lease is over, so that is waited for.
async fn replaced(config: &NodeConfig, section: &ClusterSection, at: &str, token: &str) -> Result<Joined, Error> {
    let security = security(section, config)?;
    let plain = matches!(security, Security::Plain);
    if plain && token.is_empty() {
        return Err(Error::NoJoinToken);
    }
    let given = (!token.is_empty()).then(|| token_hash(token));
    let shown = given.filter(|_| plain);
    let deadline = Instant::now() + LeaseTerms::default().down_after().saturating_mul(2);
    loop {
        let spec = node_spec(config, section);
        match (join::replace(at, shown, spec.clone(), security.clone(), PATIENCE).await, given) {
            (Err(JoinError::Refused(Refusal::NodeAlive(_))), _) if Instant::now() < deadline => sleep(PAUSE).await,
            (Err(JoinError::Refused(Refusal::NoNodeOfName(name))), Some(token)) => {
                let directory = &config.node.data_directory;
                if let Some((node, known)) = other_name(directory, &name) {
                    return Err(Error::OtherName { directory: directory.clone(), node, known, name });
                }
                return Ok(join::ask(at, token, spec, security, PATIENCE).await?);
            }
            (answered, _) => return Ok(answered?),
        }
    }
}

/// Whose data a directory holds, if not those of a node of this name. None where that cannot be read any more.
fn other_name(directory: &Path, name: &Name) -> Option<(NodeId, Name)> {
    let Beginning::Node { identity, .. } = join::look(directory).ok()? else { return None };
    let salvaged = causeway_cluster::restore::salvage(directory, identity.node).ok()?;
    let (state, _) = causeway_cluster::restore::verify(&salvaged.held).ok()?;
    let known = &state.nodes.get(&identity.node)?.name;
    (known != name).then(|| (identity.node, known.clone()))
}

/// Makes an empty data directory that of the only node of a cluster which begins anew from a backup.
///
/// # Errors
/// [`Error`]; nothing was changed.
pub fn restore(config: &NodeConfig, backup: &Path) -> Result<Enrolled, Error> {
    let directory = &config.node.data_directory;
    match join::look(directory)? {
        Beginning::Empty => {}
        Beginning::Interrupted(found) => return Err(unfinished(directory, found)),
        Beginning::Node { identity, .. } => {
            return Err(Error::InUse { directory: directory.clone(), what: format!("it is node {}", identity.node) });
        }
    }
    let bytes = read_backup(backup).map_err(|reason| Error::Backup { path: backup.to_owned(), reason })?;
    let restored = causeway_cluster::restore::restore(directory, &causeway_cluster::restore::read(&bytes, backup)?)?;
    Ok(Enrolled { node: restored.node, cluster: Some(restored.cluster), already: false })
}

/// Makes the data directory of a stopped node that of the only node of a cluster which begins anew from what it holds.
/// The data as they were are kept in a folder below it. The same again finishes what was interrupted. The only voter of
/// a cluster goes on as it is: with one more beginning, whoever joined it since would be shut out.
///
/// # Errors
/// [`Error`]; what the directory held is in it or in the folder.
pub fn recover(config: &NodeConfig) -> Result<Enrolled, Error> {
    let directory = &config.node.data_directory;
    let held = match join::look(directory)? {
        Beginning::Empty => return Err(Error::NoData { directory: directory.clone() }),
        Beginning::Node { identity, .. } => {
            // Before anything is moved: what cannot be read is left as it is.
            let Salvaged { held, only_voter } = salvage(directory, identity.node)?;
            if only_voter {
                let (name, kept) = (config.node.name.clone(), kept(directory));
                return Err(Error::OnlyVoter { directory: directory.clone(), name, node: identity.node, kept });
            }
            causeway_cluster::set_aside(directory, Purpose::Recover).map_err(storage)?;
            held
        }
        Beginning::Interrupted(Interrupted { kept, .. }) => {
            causeway_cluster::set_aside(directory, Purpose::Recover).map_err(storage)?;
            let Beginning::Node { identity, .. } = join::look(&kept)? else {
                return Err(Error::NoData { directory: kept });
            };
            salvage(&kept, identity.node)?.held
        }
    };
    let restored = causeway_cluster::restore::restore(directory, &held)?;
    aside::finish(directory).map_err(storage)?;
    Ok(Enrolled { node: restored.node, cluster: Some(restored.cluster), already: false })
}

fn salvage(directory: &Path, node: NodeId) -> Result<Salvaged, Error> {
    let salvaged = causeway_cluster::restore::salvage(directory, node)?;
    causeway_cluster::restore::verify(&salvaged.held)?;
    Ok(salvaged)
}

/// Folders that hold what a directory held before it changed hands, for people to look into.
fn kept(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut kept: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("lost-"))
        .collect();
    kept.sort_unstable();
    kept
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

#[cfg(test)]
mod tests {
    use causeway_cluster::{Group, MemberChange, Settings, Start};
    use causeway_core::command::Command;
    use causeway_core::ids::Timestamp;
    use causeway_core::node::{JoinToken, MemberRole, ProcessId};

    use super::*;
    use crate::app::Node;
    use crate::app::begin::begin;
    use crate::config::NodeSection;

    /// The configuration of a node of a cluster, over loopback.
    fn member(directory: &Path, name: &str) -> NodeConfig {
        let mut config = NodeConfig::with_data_directory(directory).unwrap();
        config.node.name = Name::new(name).unwrap();
        config.http.listen = "127.0.0.1:0".parse().unwrap();
        let listen = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        config.cluster = Some(ClusterSection { listen, advertise: None, tls: None });
        config
    }

    /// Has join tokens agreed on, each good for one learner.
    async fn permit(node: &Node, tokens: impl IntoIterator<Item = &str>) {
        for token in tokens {
            let permits = JoinToken { role: MemberRole::Learner, expires_at: Timestamp(i64::MAX) };
            let command = Command::IssueJoinToken { hash: token_hash(token), token: permits };
            node.cluster().propose(command).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_without_its_data_is_told_of_rejoin_which_needs_a_token_where_its_name_was_removed() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = member(first.path(), "node-1");
        found(&one).unwrap();
        let node = Node::start(one.clone()).await.unwrap();
        let at = one.cluster.as_ref().unwrap().address();
        permit(&node, ["cwy_a", "cwy_b"]).await;
        let mut two = member(second.path(), "node-2");
        let Err(empty) = begin(&mut two).await else { panic!("it founds a cluster of its own") };
        assert_eq!(empty.code().to_string(), "CWY-0505");
        assert!(empty.to_string().contains("`causeway cluster rejoin --at HOST:PORT"), "{empty}");
        let twin = NodeConfig { node: NodeSection { name: one.node.name.clone(), ..two.node.clone() }, ..two.clone() };
        let taken = join(&twin, &at, "cwy_a").await.unwrap_err();
        assert_eq!(taken.code().to_string(), "CWY-0103");
        assert!(taken.to_string().contains("`causeway cluster rejoin --at HOST:PORT"), "{taken}");

        assert!(matches!(rejoin(&two, &at, "").await, Err(Error::NoJoinToken)));
        // No node is called so: the token of a new node lets it in.
        let enrolled = rejoin(&two, &at, "cwy_a").await.unwrap();
        assert_eq!((enrolled.node, node.cluster().view().nodes.len()), (NodeId(2), 2));
        node.cluster().propose(Command::RemoveNode { node: NodeId(2) }).await.unwrap();
        // As with the data of a node that was removed.
        let again = rejoin(&two, &at, "cwy_b").await.unwrap();
        assert_eq!(again.node, NodeId(3));
        assert!(second.path().join("lost-1").is_dir(), "what it held is kept");
        node.stop().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_whose_name_was_changed_does_not_come_back_as_a_second_one() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let one = member(first.path(), "node-1");
        found(&one).unwrap();
        let node = Node::start(one.clone()).await.unwrap();
        let at = one.cluster.as_ref().unwrap().address();
        permit(&node, ["cwy_a", "cwy_b"]).await;
        let mut two = member(second.path(), "node-2");
        let id = join(&two, &at, "cwy_a").await.unwrap().node;
        let running = Node::start(two.clone()).await.unwrap();
        let started = async {
            while running.cluster().view().nodes.get(&id).is_none_or(|node| node.starts == 0) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), started).await.expect("it takes part");
        running.stop().await.unwrap();

        two.node.name = Name::new("node-b").unwrap();
        let refused = rejoin(&two, &at, "cwy_b").await.unwrap_err();
        assert!(matches!(&refused, Error::OtherName { node, .. } if *node == id), "{refused}");
        assert!(refused.to_string().contains("set node.name back to node-2"), "{refused}");
        assert_eq!(node.cluster().view().nodes.len(), 2, "nothing was changed");
        assert!(!second.path().join("lost-1").exists(), "nothing was changed here either");
        two.node.name = Name::new("node-2").unwrap();
        Node::start(two).await.unwrap().stop().await.unwrap();
        node.stop().await.unwrap();
    }

    async fn founded(directory: &Path) {
        let node = NodeId(1);
        let settings = Settings { start: Start::Found { voters: vec![node] }, ..Settings::new(directory, node) };
        let group = Group::start(settings, ProcessId(1)).await.unwrap();
        group.propose(Command::Initialise { cluster: ClusterId(9) }).await.unwrap();
        group.stop().await.unwrap();
    }

    /// As a crash behind so many moves leaves it.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_recovery_that_was_interrupted_names_the_command_that_finishes_it() {
        for moved in 0..=3 {
            let directory = tempfile::tempdir().unwrap();
            let at = directory.path();
            founded(at).await;
            let kept = causeway_cluster::set_aside(at, Purpose::Recover).unwrap().unwrap();
            for part in ["database", "snapshots", "IDENTITY"].into_iter().skip(moved) {
                std::fs::rename(kept.join(part), at.join(part)).unwrap();
            }
            let mut config = NodeConfig::with_data_directory(at).unwrap();
            let Err(refused) = begin(&mut config).await else { panic!("it runs on what is left") };
            assert_eq!(refused.code().to_string(), "CWY-0505");
            assert!(refused.to_string().contains("causeway cluster recover --others-are-gone"), "{refused}");
            let restoring = restore(&config, Path::new("backup"));
            assert!(matches!(restoring, Err(Error::Unfinished { .. })), "{restoring:?}");
            let enrolled = recover(&config).unwrap();
            assert_eq!(enrolled.cluster, Some(ClusterId(9)));
            config.node.id = enrolled.node;
            let begun = begin(&mut config).await.unwrap();
            assert_eq!(begun.group.view().cluster, Some(ClusterId(9)));
            if moved > 0 {
                // A second recovery would shut it out.
                let joined = MemberChange::AddLearner(NodeId(enrolled.node.0 + 1));
                begun.group.change_member(joined).await.unwrap();
            }
            begun.group.stop().await.unwrap();
            let again = recover(&config).unwrap_err();
            assert!(matches!(&again, Error::OnlyVoter { node, .. } if *node == enrolled.node), "{again}");
            assert!(again.to_string().contains("lost-1") && again.to_string().contains("`causeway run`"), "{again}");
            let mut config = member(at, "node-1");
            assert!(begin(&mut config).await.unwrap().group.stop().await.is_ok(), "nothing was changed");
        }
    }
}
