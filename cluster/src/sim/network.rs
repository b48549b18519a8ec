//! A network that loses, delays, repeats and reorders, and whose links can be cut one way.
//!
//! It also holds every node to its word (S7): what a message promises must be on the medium when the message leaves.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ::raft::eraftpb::{Message, MessageType};
use causeway_core::ids::NodeId;
use causeway_storage::raft_log::Position;
use protobuf::Message as _;

use super::Defect;
use super::disk::{Medium, SharedMedium, look};
use super::random::Random;
use crate::raft::message::MessageKind;
use crate::raft::outbox::Outbox;

/// A message on its way.
#[derive(Clone)]
pub(super) struct Letter {
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) kind: MessageKind,
    pub(super) bytes: Vec<u8>,
    /// Decoded, for the log and for defects.
    pub(super) message: Message,
}

impl Letter {
    /// Whether its sender must know later what it says now.
    pub(super) fn is_promise(&self) -> bool {
        matches!(self.message.get_msg_type(), MessageType::MsgRequestVoteResponse | MessageType::MsgRequestVote)
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { term, log_term, index, commit, reject, .. } = &self.message;
        let (kind, entries) = (self.message.get_msg_type(), self.message.get_entries().len());
        write!(
            out,
            "{} to {}: {kind:?} term {term}, {log_term}/{index} + {entries}, commit {commit}",
            self.from, self.to
        )?;
        if *reject { out.write_str(", rejected") } else { Ok(()) }
    }
}

impl fmt::Debug for Letter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// What a node has said and the network has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) letters: Vec<Letter>,
    /// The first promise that the node's medium did not cover.
    pub(super) broken: Option<String>,
}

/// The outbox of one node.
#[derive(Clone)]
pub(super) struct Mouth {
    node: NodeId,
    medium: SharedMedium,
    said: Arc<Mutex<Said>>,
}

impl Mouth {
    pub(super) fn new(node: NodeId, medium: SharedMedium) -> Self {
        Self { node, medium, said: Arc::default() }
    }

    pub(super) fn take(&self) -> Said {
        std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Outbox for Mouth {
    fn send(&mut self, to: NodeId, kind: MessageKind, bytes: Vec<u8>) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(message) = Message::parse_from_bytes(&bytes) else {
            said.broken.get_or_insert_with(|| "what it sent cannot be decoded".to_owned());
            return;
        };
        let letter = Letter { from: self.node, to, kind, bytes, message };
        if let Some(broken) = broken_promise(&letter.message, &look(&self.medium)) {
            said.broken.get_or_insert_with(|| format!("{letter}: {broken}"));
        }
        said.letters.push(letter);
    }
}

/// What a message promises that the medium would not know any more after a crash.
fn broken_promise(message: &Message, medium: &Medium) -> Option<String> {
    let kind = message.get_msg_type();
    // These name a term that nobody is in yet, or none.
    let is_question = matches!(
        kind,
        MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse | MessageType::MsgReadIndex
    );
    if is_question {
        return None;
    }
    let durable = medium.durable();
    let promise = durable.hard_state();
    if promise.term < message.term {
        return Some(format!("the durable term is {}", promise.term));
    }
    if promise.term > message.term {
        // Answered, and overtaken in the same turn: whoever knows the later term keeps its word about the earlier one.
        return None;
    }
    let voted = match kind {
        MessageType::MsgRequestVote => Some(message.from),
        MessageType::MsgRequestVoteResponse if !message.reject => Some(message.to),
        _ => None,
    };
    if voted.is_some_and(|voted| promise.vote.0 != voted) {
        return Some(format!("the durable vote is {promise:?}"));
    }
    if kind == MessageType::MsgAppendResponse && !message.reject {
        let term = medium.cached().term(message.index);
        let held = term.is_none_or(|term| durable.holds(Position { index: message.index, term }));
        if !held || durable.last_index() < message.index {
            return Some(format!("the durable log ends at {}", durable.last_index()));
        }
    }
    None
}

/// What the network does to a message.
#[derive(Debug)]
pub(super) enum Fate {
    /// It gets lost.
    Lost,
    /// It arrives so much later, each time.
    Arrives(Vec<u64>),
}

/// The links between nodes.
#[derive(Debug, Default)]
pub(super) struct Network {
    cuts: BTreeSet<(NodeId, NodeId)>,
    /// Messages out of a thousand that get lost.
    pub(super) loss: u64,
    /// Messages out of a thousand that arrive twice.
    pub(super) repetition: u64,
    /// Whether entries are slow while everything else is quick, so that what is confirmed is not yet agreed on.
    pub(super) slow_entries: bool,
    /// Messages out of a thousand that are delayed for long.
    pub(super) lateness: u64,
    defect: Option<Defect>,
}

impl Network {
    pub(super) fn new(defect: Option<Defect>) -> Self {
        Self { defect, ..Self::default() }
    }

    pub(super) fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cuts.insert((from, to));
    }

    pub(super) fn heal(&mut self, from: NodeId, to: NodeId) {
        self.cuts.remove(&(from, to));
    }

    /// From now on everything arrives, soon and in order of its sending, more or less.
    pub(super) fn calm(&mut self) {
        self.cuts.clear();
        self.slow_entries = false;
        (self.loss, self.repetition, self.lateness) = (0, 0, 0);
    }

    /// Takes a message; changes it when the network has a defect.
    pub(super) fn carry(&self, letter: &mut Letter, random: &mut Random) -> Fate {
        self.spoil(letter);
        let times = if random.chance(self.repetition) { 2 } else { 1 };
        let delays: Vec<u64> = (0..times).filter_map(|_| self.delay(letter.from, letter.to, random)).collect();
        let entries = self.slow_entries && letter.message.get_msg_type() == MessageType::MsgAppend;
        let more = if entries { random.within(50..300) } else { 0 };
        let again = letter.message.get_msg_type() == MessageType::MsgRequestVote && random.chance(300);
        let again = again.then(|| random.within(10..150));
        let delays: Vec<u64> = delays.into_iter().map(|delay| delay + more).chain(again).collect();
        if delays.is_empty() { Fate::Lost } else { Fate::Arrives(delays) }
    }

    /// How long something takes that is not Raft's; none when it gets lost.
    pub(super) fn delay(&self, from: NodeId, to: NodeId, random: &mut Random) -> Option<u64> {
        if self.cuts.contains(&(from, to)) || random.chance(self.loss) {
            return None;
        }
        let range = match random.chance(self.lateness) {
            true if random.chance(100) => 400..5_000,
            true => 20..400,
            false => 1..6,
        };
        Some(random.within(range))
    }

    fn spoil(&self, letter: &mut Letter) {
        match (self.defect, letter.message.get_msg_type()) {
            (Some(Defect::AlteredAppend), MessageType::MsgAppend) => {
                for entry in letter.message.mut_entries() {
                    let mut data = entry.data.to_vec();
                    if let Some(last) = data.last_mut() {
                        *last ^= 1;
                    }
                    entry.data = data.into();
                }
            }
            (Some(Defect::StaleRead), MessageType::MsgReadIndexResp) => letter.message.index = 1,
            _ => return,
        }
        if let Ok(bytes) = letter.message.write_to_bytes() {
            letter.bytes = bytes;
        }
    }
}
