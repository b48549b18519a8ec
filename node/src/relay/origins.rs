//! The registered instances as sources that are relayed.

use std::sync::Arc;

use causeway_cluster::StreamServer;
use causeway_core::state::State;
use causeway_rocketmq::Queue;
use tokio::sync::watch;

use super::figures::Figures;
use super::serve::{Origins, Server};
use super::settings::RelaySettings;
use super::wire::{Place, Refusal};
use crate::connect::{Instances, Purpose};
use crate::replicate::rocketmq::SourceQueue;

/// Sources by what the cluster agreed on.
struct Registered {
    instances: Arc<Instances>,
    view: watch::Receiver<Arc<State>>,
}

/// What relays the registered instances to other nodes: give it to [`causeway_cluster::Group::serve_streams`].
/// `process` has to differ from process to process.
#[must_use]
pub fn server(
    instances: Arc<Instances>,
    view: watch::Receiver<Arc<State>>,
    process: u128,
    settings: &RelaySettings,
    figures: Arc<Figures>,
) -> Arc<dyn StreamServer> {
    Arc::new(Server::new(Registered { instances, view }, process, settings, figures))
}

impl Registered {
    fn version(&self, place: &Place) -> Option<u64> {
        self.view.borrow().instances.get(&place.instance).map(|instance| instance.version)
    }
}

impl Origins for Registered {
    type Source = SourceQueue;

    async fn open(&self, place: &Place) -> Result<SourceQueue, Refusal> {
        let is_wanted = || self.version(place) == Some(place.version);
        if !is_wanted() {
            return Err(Refusal::OtherVersion);
        }
        let connected = self.instances.connect(&place.instance, Purpose::Relay(place.slave_reads)).await;
        let client = connected.map_err(|error| Refusal::NoClient(error.to_string()))?;
        // Versions never go back: with the same one before and after, the client is of it.
        if !is_wanted() {
            return Err(Refusal::OtherVersion);
        }
        let (topic, broker) = (Arc::from(place.topic.as_str()), Arc::from(place.queue.broker.as_str()));
        Ok(SourceQueue { client, queue: Queue { topic, broker, id: place.queue.queue } })
    }
}
