//! Large Raft messages travel in pieces, so that heartbeats and requests pass between them.
//!
//! Parts: [`Splitter`], which cuts a message; [`Assembler`], which puts one together at a time for one connection;
//! [`Assemblies`], the bound that all connections of a node share.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use causeway_core::ids::NodeId;
use tokio::time::Instant;

use super::budget::{Budget, Share};
use super::frame::Frame;

/// Cuts one message.
#[derive(Debug)]
pub(crate) struct Splitter {
    message: u64,
    total_bytes: u64,
    index: u32,
    piece_bytes: usize,
    rest: Bytes,
}

impl Splitter {
    pub(crate) fn new(message: u64, bytes: Bytes, piece_bytes: usize) -> Self {
        let total_bytes = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { message, total_bytes, index: 0, piece_bytes, rest: bytes }
    }
}

impl Iterator for Splitter {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = self.rest.split_to(self.piece_bytes.min(self.rest.len()));
        let Self { message, total_bytes, index, .. } = *self;
        self.index = index.saturating_add(1);
        Some(Frame::Piece { message, index, total_bytes, bytes })
    }
}

/// What all messages that are being put together on one node may hold.
#[derive(Debug)]
pub(crate) struct Assemblies {
    budget: Arc<Budget>,
    peers: Mutex<HashSet<NodeId>>,
    maximum_bytes: usize,
    time_limit: Duration,
}

impl Assemblies {
    pub(crate) fn new(maximum_bytes: usize, time_limit: Duration) -> Arc<Self> {
        let budget = Budget::new(usize::MAX, maximum_bytes);
        Arc::new(Self { budget, peers: Mutex::default(), maximum_bytes, time_limit })
    }

    fn place(self: &Arc<Self>, peer: NodeId, total_bytes: u64) -> Result<Place, &'static str> {
        let total_bytes = usize::try_from(total_bytes).unwrap_or(usize::MAX);
        if total_bytes == 0 {
            return Err("the message is empty");
        }
        if total_bytes > self.maximum_bytes {
            return Err("the message is larger than allowed here");
        }
        let share = self.budget.take(total_bytes).ok_or("too many large messages arrive at once")?;
        if !self.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(peer) {
            return Err("another message of this node arrives on another connection");
        }
        Ok(Place { assemblies: Arc::clone(self), peer, total_bytes, _share: share })
    }
}

/// The place of one message, free again when it is dropped.
#[derive(Debug)]
struct Place {
    assemblies: Arc<Assemblies>,
    peer: NodeId,
    total_bytes: usize,
    _share: Share,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.assemblies.peers.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.peer);
    }
}

/// Puts the messages of one connection together, one at a time.
#[derive(Debug)]
pub(crate) struct Assembler {
    assemblies: Arc<Assemblies>,
    peer: NodeId,
    current: Option<Assembly>,
}

#[derive(Debug)]
struct Assembly {
    message: u64,
    next_index: u32,
    bytes: Vec<u8>,
    deadline: Instant,
    place: Place,
}

/// What came of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// More is to come, or the piece belongs to a message that was given up.
    More,
    /// The message is whole.
    Whole(Vec<u8>),
    /// The message is not taken; its other pieces will be passed over.
    GivenUp(&'static str),
}

impl Assembler {
    pub(crate) fn new(assemblies: Arc<Assemblies>, peer: NodeId) -> Self {
        Self { assemblies, peer, current: None }
    }

    /// Takes one piece. The first piece of a message replaces one that the sender left unfinished.
    pub(crate) fn take(&mut self, message: u64, index: u32, total_bytes: u64, bytes: &[u8]) -> Progress {
        let mut assembly = match self.current.take() {
            Some(current) if current.message == message => current,
            unfinished => {
                if index != 0 {
                    self.current = unfinished;
                    return Progress::More;
                }
                drop(unfinished);
                match self.begin(message, total_bytes) {
                    Ok(assembly) => assembly,
                    Err(reason) => return Progress::GivenUp(reason),
                }
            }
        };
        match assembly.add(index, bytes) {
            Ok(true) => Progress::Whole(assembly.bytes),
            Ok(false) => {
                self.current = Some(assembly);
                Progress::More
            }
            Err(reason) => Progress::GivenUp(reason),
        }
    }

    fn begin(&self, message: u64, total_bytes: u64) -> Result<Assembly, &'static str> {
        let place = self.assemblies.place(self.peer, total_bytes)?;
        let deadline = Instant::now() + self.assemblies.time_limit;
        // Nothing is allocated ahead: memory grows with what has arrived.
        Ok(Assembly { message, next_index: 0, bytes: Vec::new(), deadline, place })
    }

    /// When the message that is being put together has to be whole; none when there is none.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.current.as_ref().map(|assembly| assembly.deadline)
    }

    /// Gives up the message whose time is over, and tells which one it was.
    pub(crate) fn expire(&mut self) -> Option<(u64, &'static str)> {
        let late = self.current.take_if(|assembly| assembly.deadline <= Instant::now())?;
        Some((late.message, "the message took too long"))
    }
}

impl Assembly {
    /// Adds a piece; true when the message is whole.
    fn add(&mut self, index: u32, bytes: &[u8]) -> Result<bool, &'static str> {
        if index != self.next_index || bytes.is_empty() {
            return Err("a piece is missing, doubled or empty");
        }
        if bytes.len() > self.place.total_bytes.saturating_sub(self.bytes.len()) {
            return Err("the pieces are larger than the message");
        }
        self.next_index = index.saturating_add(1);
        self.bytes.extend_from_slice(bytes);
        Ok(self.bytes.len() == self.place.total_bytes)
    }
}

#[cfg(test)]
#[path = "pieces_tests.rs"]
mod tests;
