//! The connections to one peer that carry byte streams to this node, each made when it is first needed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use causeway_core::ids::NodeId;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::error::Error;
use super::super::handshake::Endpoint;
use super::super::peer_link::PeerAddress;
use super::stripe::{Stripe, StripeTask};
use super::{MAXIMUM_OPENING_BYTES, Opening, Stream};

/// All stripes of a peer.
pub(crate) struct Stripes {
    node: NodeId,
    endpoint: Arc<Endpoint>,
    /// None ends them.
    at: watch::Sender<Option<PeerAddress>>,
    started: Mutex<Started>,
    runtime: runtime::Handle,
}

#[derive(Default)]
struct Started {
    /// Each at its index.
    stripes: Vec<Option<Arc<Stripe>>>,
    tasks: JoinSet<()>,
}

impl Stripes {
    /// None yet. Their tasks will run in `runtime`.
    pub(crate) fn new(node: NodeId, at: PeerAddress, endpoint: Arc<Endpoint>, runtime: runtime::Handle) -> Self {
        let mut started = Started::default();
        started.stripes.resize(endpoint.settings.stripes, None);
        Self { node, endpoint, at: watch::channel(Some(at)).0, started: Mutex::new(started), runtime }
    }

    /// Changes where the peer is looked for. Connections to another address or name end.
    pub(crate) fn set_address(&self, address: PeerAddress) {
        self.at.send_if_modified(|at| {
            let changed = at.as_ref() != Some(&address);
            *at = Some(address);
            changed
        });
    }

    /// Ends all streams, and gives the tasks that end with them.
    pub(crate) fn end(&self) -> JoinSet<()> {
        self.at.send_replace(None);
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.stripes.clear();
        std::mem::take(&mut started.tasks)
    }

    /// Opens a stream on the stripe of its key.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::BufferFull`], [`Error::Stopped`]: nothing was sent.
    pub(crate) fn open(&self, opening: Opening) -> Result<Stream, Error> {
        if opening.body.len() > MAXIMUM_OPENING_BYTES {
            return Err(Error::TooLarge { bytes: opening.body.len(), maximum: MAXIMUM_OPENING_BYTES });
        }
        let opening = Opening { window: opening.window.max(1), ..opening };
        let settings = &self.endpoint.settings;
        let stripes = u64::try_from(settings.stripes).unwrap_or(u64::MAX).max(1);
        let index = usize::try_from(opening.stripe_key.checked_rem(stripes).unwrap_or(0)).unwrap_or(0);
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let Started { stripes, tasks } = &mut *started;
        // Without a place they have ended.
        let slot = stripes.get_mut(index).ok_or(Error::Stopped)?;
        let stripe = match slot {
            Some(stripe) => stripe,
            none => {
                let stripe = none.insert(Stripe::new(settings.streams));
                let endpoint = Arc::clone(&self.endpoint);
                let task = StripeTask { node: self.node, endpoint, stripe: Arc::clone(stripe) };
                tasks.spawn_on(task.run(self.at.subscribe()), &self.runtime);
                stripe
            }
        };
        stripe.open(opening)
    }
}

impl fmt::Debug for Stripes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Stripes").field("node", &self.node).finish_non_exhaustive()
    }
}
