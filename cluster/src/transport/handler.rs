//! What a node does with what other nodes send.

use std::future::{Future, ready};
use std::sync::Arc;

use bytes::Bytes;
use causeway_core::ids::NodeId;

use super::hello::Peer;
use super::refusal::Refusal;
use super::streams::{NotServed, StreamSender};

/// Takes what other nodes send. Called from many tasks at once.
pub trait Handler: Send + Sync + 'static {
    /// Takes a Raft message of a node of the same cluster. Must not block: what else that node sends waits for it.
    fn raft(&self, from: NodeId, message: Vec<u8>);

    /// Answers a request. Has to end by itself in time: that whoever asked gave up is not heard. Dropped at an await
    /// when the connection ends or the transport is shut down. An answer above [`super::Settings::maximum_body_bytes`],
    /// or a panic, becomes [`super::Error::PeerFailed`] at whoever asked.
    fn request(&self, from: Arc<Peer>, body: Vec<u8>) -> impl Future<Output = Vec<u8>> + Send;

    /// Serves a byte stream that a node of the same cluster opened: sends messages until there are no more. Dropped at
    /// an await when the reader closes the stream, when the connection ends, or when the transport is shut down. Must
    /// not block: other streams of that node wait for it.
    ///
    /// # Errors
    /// [`NotServed`] when this node serves no such streams; the reader is told so.
    fn serve_stream(
        &self,
        from: Arc<Peer>,
        opening: Bytes,
        sender: StreamSender,
    ) -> impl Future<Output = Result<(), NotServed>> + Send {
        drop((from, opening, sender));
        ready(Err(NotServed::Anybody))
    }

    /// Hears that a peer is out of reach: a connection to it ended or could not be made. Must not block.
    fn unreachable(&self, to: NodeId);

    /// Judges a node that wants to connect, for instance whether it was removed. Its protocol, its cluster and its
    /// certificate are judged before, another living process with its id after. Must not block.
    ///
    /// # Errors
    /// The refusal that the node is to be told, for instance with [`super::RefusalCode::Removed`].
    fn admit(&self, peer: &Peer) -> Result<(), Refusal> {
        let _ = peer;
        Ok(())
    }
}
