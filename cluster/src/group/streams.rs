//! Byte streams between members: who serves them here, and how one is opened.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use causeway_core::ids::NodeId;

use super::Group;
use crate::transport::streams::{NotServed, Opening, Stream, StreamSender};
use crate::transport::{self, Peer};

/// Serves byte streams that other nodes of the cluster open.
pub trait StreamServer: Send + Sync + 'static {
    /// As [`transport::Handler::serve_stream`].
    fn serve(
        &self,
        from: Arc<Peer>,
        opening: Bytes,
        sender: StreamSender,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotServed>> + Send + '_>>;
}

impl Group {
    /// From now on byte streams that other nodes of the cluster open are served by `server`; before, they are told that
    /// this node serves none. Once: a second server is not taken, and then this answers false.
    pub fn serve_streams(&self, server: Arc<dyn StreamServer>) -> bool {
        self.shared.streams.set(server).is_ok()
    }

    /// Opens a byte stream that another node serves: see [`transport::Transport::open_stream`].
    ///
    /// # Errors
    /// Those of [`transport::Transport::open_stream`]; a node that is alone knows nobody.
    pub fn open_stream(&self, to: NodeId, opening: Opening) -> Result<Stream, transport::Error> {
        match self.shared.wire.get() {
            Some(wire) => wire.transport.open_stream(to, opening),
            None => Err(transport::Error::UnknownPeer { node: to }),
        }
    }
}
