//! From a data directory to a running member of a cluster.
//!
//! | data directory | `[cluster]` not set | `[cluster]` set |
//! |---|---|---|
//! | empty | the node founds a cluster of its own | refused: it has to found one or join one first |
//! | of a node that is alone | it goes on | others can join it |
//! | of a node with others | refused: it would look for them in vain | it goes on |
//! | changes hands, interrupted | refused | refused |

use std::sync::Arc;
use std::time::Duration;

use causeway_cluster::group::join::{self, Beginning};
use causeway_cluster::transport::{self, Identity, Security, Tls};
use causeway_cluster::{Figures, Group, Network, Settings, Welcome};
use causeway_core::command::CURRENT_VERSION;
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::name::Name;
use causeway_core::node::ProcessId;
use tokio::sync::watch;

use crate::app::{Error, random, unfinished};
use crate::config::{ClusterSection, NodeConfig};
use crate::secrets::SecretStore;
use crate::supervisor::lifeline::Lifeline;

/// Between two looks at the certificate files.
const RELOAD: Duration = Duration::from_secs(30);

/// A member that has opened its data directory and talks to nobody yet.
pub(super) struct Begun {
    pub(super) group: Group,
    pub(super) process: ProcessId,
    /// The cluster that the data directory names.
    cluster: Option<ClusterId>,
    /// The other nodes that it names.
    others: Vec<(NodeId, Name, String)>,
}

/// Opens the data directory. The configuration's number of the node becomes that of the directory, where it has one
/// from joining.
pub(super) async fn begin(config: &mut NodeConfig) -> Result<Begun, Error> {
    let directory = config.node.data_directory.clone();
    let mut settings = Settings::new(&directory, config.node.id);
    let (mut cluster, mut others, mut starts) = (None, Vec::new(), join::FIRST_START);
    match join::look(&directory)? {
        Beginning::Empty if config.cluster.is_some() => return Err(Error::NoCluster { directory }),
        Beginning::Empty => {}
        Beginning::Interrupted(found) => return Err(unfinished(&directory, found)),
        Beginning::Node { identity, start } => {
            if config.cluster.is_some() {
                config.node.id = identity.node;
                others = join::told(&directory, identity.node)?;
            }
            settings = Settings { start, ..Settings::new(&directory, config.node.id) };
            cluster = identity.cluster;
            starts = join::count_start(&directory)?;
        }
    }
    let process = ProcessId::new(starts, random()?);
    let group = Group::start(settings, process).await?;
    if config.cluster.is_none() && has_others(&group, config.node.id) {
        let _ = group.stop().await;
        return Err(Error::Deserted);
    }
    Ok(Begun { group, process, cluster, others })
}

/// Whether other nodes belong to the cluster, as far as this one knows.
fn has_others(group: &Group, me: NodeId) -> bool {
    let status = group.status();
    !status.member || status.members.iter().any(|member| member.node != me)
}

/// Whether this node decides alone: then whatever it proposes is agreed on at once.
pub(super) fn decides_alone(group: &Group) -> bool {
    let status = group.status();
    status.members.iter().filter(|member| member.is_voter()).map(|member| member.node).eq([group.me()])
}

impl Begun {
    /// How connections to other nodes are protected; none for a node that is alone.
    pub(super) fn security(&self, config: &NodeConfig) -> Result<Option<Security>, Error> {
        config.cluster.as_ref().map(|section| security(section, config)).transpose()
    }

    /// Listens to other nodes and talks to them, where the configuration says how. The cluster has its identifier by
    /// now, or the data directory names it.
    pub(super) async fn connect(
        &self,
        config: &NodeConfig,
        security: Option<Security>,
        secrets: &SecretStore,
        figures: Figures,
        ending: &watch::Sender<Option<&'static str>>,
    ) -> Result<(), Error> {
        let Some((section, security)) = config.cluster.as_ref().zip(security) else { return Ok(()) };
        let (identity, others) = (self.identity(config), self.others.clone());
        let settings = transport::Settings { stripes: config.relay.stream_connections, ..Default::default() };
        let welcome = Welcome(secrets.shared_key().to_vec());
        let listen = section.listen;
        let network = Network { listen, security: security.clone(), identity, others, welcome, figures, settings };
        let address = self.group.connect(network).await?;
        tracing::info!(%address, "other nodes are listened to");
        if let Security::Tls(tls) = security {
            tokio::spawn(keep_certificates(tls, Lifeline::new("reading of certificates", ending)));
        }
        Ok(())
    }

    fn identity(&self, config: &NodeConfig) -> Identity {
        Identity {
            cluster: self.group.view().cluster.or(self.cluster),
            node: self.group.me(),
            name: config.node.name.clone(),
            region: config.node.region.clone(),
            command_version: CURRENT_VERSION,
        }
    }
}

/// How connections to other nodes are protected.
pub(super) fn security(section: &ClusterSection, config: &NodeConfig) -> Result<Security, Error> {
    let Some(files) = &section.tls else { return Ok(Security::Plain) };
    Ok(Security::Tls(Arc::new(Tls::load(files.files(), config.node.name.clone())?)))
}

/// Reads the certificates again and again, so that they can be replaced while the node runs.
async fn keep_certificates(tls: Arc<Tls>, _lifeline: Lifeline) {
    let mut failed = false;
    loop {
        tokio::time::sleep(RELOAD).await;
        let again = Arc::clone(&tls);
        match tokio::task::spawn_blocking(move || again.reload()).await {
            Ok(Ok(())) => failed = false,
            Ok(Err(error)) if !failed => {
                failed = true;
                tracing::error!(%error, "new certificates cannot be used; the ones that were loaded stay in use");
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}
