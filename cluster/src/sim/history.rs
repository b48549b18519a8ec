//! What the group has agreed on so far, and whether every node keeps to it: judges S1 to S6.

use std::collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher};
use std::hash::{Hash as _, Hasher as _};

use ::raft::eraftpb::ConfChangeV2;
use causeway_core::codec;
use causeway_core::ids::NodeId;
use causeway_core::outcome::Outcome;
use causeway_core::state::State;
use causeway_storage::raft_log::{EntryKind, LogEntry, Position};
use causeway_storage::snapshot_file::Membership;
use protobuf::Message as _;

use super::Violation;
use super::disk::Contents;
use crate::raft::membership;
use crate::raft::observe::envelope;

struct Agreed {
    entry: LogEntry,
    /// Of the state after it.
    digest: u64,
    /// The term of the node that was first seen to have applied it: it was committed in that term or before.
    known_in: u64,
}

/// Everything that is known to be agreed on.
pub(super) struct History {
    first: Position,
    agreed: BTreeMap<u64, Agreed>,
    state: State,
    members: BTreeMap<u64, Membership>,
    places: BTreeMap<u128, u64>,
    outcomes: BTreeMap<u128, Outcome>,
    refused: BTreeSet<u128>,
    leaders: BTreeMap<u64, NodeId>,
    answered: u64,
}

/// What a replica shows after a call.
pub(super) struct Seen<'a> {
    pub(super) node: NodeId,
    pub(super) term: u64,
    pub(super) applied: Position,
    pub(super) state: &'a State,
    pub(super) membership: &'a Membership,
    pub(super) log: &'a Contents,
}

impl History {
    /// A group that was founded by these voters.
    pub(super) fn new(first: Position, voters: Vec<NodeId>) -> Self {
        Self {
            first,
            agreed: BTreeMap::new(),
            state: State::default(),
            members: BTreeMap::from([(first.index, Membership { voters, ..Membership::default() })]),
            places: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            refused: BTreeSet::new(),
            leaders: BTreeMap::new(),
            answered: 0,
        }
    }

    /// The last index that anybody applied.
    pub(super) fn last(&self) -> u64 {
        self.agreed.last_key_value().map_or(self.first.index, |(index, _)| *index)
    }

    /// The newest agreed membership.
    pub(super) fn membership(&self) -> Membership {
        self.members.last_key_value().map(|(_, members)| members.clone()).unwrap_or_default()
    }

    /// The agreed state after everything that anybody applied.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The voters that may have decided about an index: those before it, or before the change before it.
    pub(super) fn voters_around(&self, index: u64) -> impl Iterator<Item = &Vec<NodeId>> {
        self.members.range(..=index).rev().take(2).map(|(_, members)| &members.voters)
    }

    pub(super) fn changes(&self) -> u64 {
        u64::try_from(self.members.len()).unwrap_or(u64::MAX).saturating_sub(1)
    }

    pub(super) fn terms_with_leader(&self) -> u64 {
        u64::try_from(self.leaders.len()).unwrap_or(u64::MAX)
    }

    /// What a caller may rely on that asks now.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }

    /// A node applied something: everything behind `from`.
    pub(super) fn applied(&mut self, from: u64, seen: &Seen<'_>) -> Result<(), Violation> {
        let to = seen.applied.index;
        for index in from.saturating_add(1)..=to {
            match (seen.log.entry(index), self.agreed.get(&index)) {
                (Some(entry), Some(agreed)) if *entry != agreed.entry => {
                    let detail = format!("node {} applied {entry:?}, others {:?}", seen.node, agreed.entry);
                    return Err(Violation::new("S2", detail));
                }
                (Some(entry), None) => self.learn(entry.clone(), seen.term)?,
                (None, None) if index > self.first.index => {
                    let detail = format!("node {} has a snapshot of {index}, which nobody applied", seen.node);
                    return Err(Violation::new("S2", detail));
                }
                _ => {}
            }
        }
        self.compare(seen)
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<(), Violation> {
        let index = seen.applied.index;
        let expected = match self.agreed.get(&index) {
            Some(agreed) => (agreed.entry.position, agreed.digest),
            None if index == self.first.index => (self.first, digest(&State::default())?),
            None => return Err(Violation::new("S2", format!("node {} applied {index} before it was", seen.node))),
        };
        if (seen.applied, digest(seen.state)?) != expected {
            return Err(Violation::new("S2", format!("node {} has another state at {index}", seen.node)));
        }
        let members = self.members.range(..=index).next_back().map(|(_, members)| members);
        if members != Some(seen.membership) {
            let detail = format!("node {} has {:?} at {index}, not {members:?}", seen.node, seen.membership);
            return Err(Violation::new("S2", detail));
        }
        Ok(())
    }

    /// Applies an entry that nobody was seen to have applied.
    fn learn(&mut self, entry: LogEntry, known_in: u64) -> Result<(), Violation> {
        let index = entry.position.index;
        if index != self.last().saturating_add(1) {
            return Err(Violation::new("S2", format!("{index} was applied after {}", self.last())));
        }
        let request = match entry.kind {
            EntryKind::Normal if entry.data.is_empty() => None,
            EntryKind::Normal => {
                let envelope = envelope(&entry.data)
                    .ok_or_else(|| Violation::new("S2", format!("{index} holds a command that nobody proposed")))?;
                let outcome = self.state.apply(index, &envelope);
                self.outcomes.insert(envelope.request, outcome);
                Some(envelope.request)
            }
            EntryKind::MemberChange | EntryKind::MembersChange => {
                let (members, request) = changed(&self.membership(), &entry)?;
                self.members.insert(index, members);
                Some(request)
            }
        };
        if let Some(request) = request {
            if self.refused.contains(&request) {
                return Err(Violation::new("S4", format!("{index} is a request that was refused for good")));
            }
            if let Some(before) = self.places.insert(request, index) {
                return Err(Violation::new("S4", format!("one request was applied at {before} and at {index}")));
            }
        }
        let digest = digest(&self.state)?;
        self.agreed.insert(index, Agreed { entry, digest, known_in });
        Ok(())
    }

    /// A node leads that did not lead that term before.
    pub(super) fn leads(&mut self, node: NodeId, term: u64, log: &Contents) -> Result<(), Violation> {
        let first = *self.leaders.entry(term).or_insert(node);
        if first != node {
            return Err(Violation::new("S1", format!("nodes {first} and {node} both lead term {term}")));
        }
        for agreed in self.agreed.values().filter(|agreed| agreed.known_in < term) {
            if !log.holds(agreed.entry.position) {
                let detail = format!("node {node} leads term {term} without {:?}", agreed.entry.position);
                return Err(Violation::new("S3", detail));
            }
        }
        Ok(())
    }

    /// A leader's log behind what it applied.
    pub(super) fn one_change_in_progress(&self, seen: &Seen<'_>) -> Result<(), Violation> {
        let behind = seen.applied.index.saturating_add(1)..=seen.log.last_index();
        let changes =
            behind.filter(|index| seen.log.entry(*index).is_some_and(|entry| entry.kind != EntryKind::Normal));
        let changes: Vec<u64> = changes.collect();
        if changes.len() > 1 {
            return Err(Violation::new("S5", format!("node {} has changes at {changes:?}", seen.node)));
        }
        Ok(())
    }

    /// A request was answered with its outcome; answers where it stands.
    pub(super) fn outcome(&mut self, request: u128, told: &Outcome) -> Result<Position, Violation> {
        let Some(index) = self.places.get(&request).copied() else {
            return Err(Violation::new("S4", "an outcome was answered of a request that nobody applied"));
        };
        let expected = self.outcomes.get(&request).unwrap_or(&Outcome::Done);
        if told != expected {
            return Err(Violation::new("S4", format!("{told:?} was answered, {expected:?} came of it")));
        }
        self.answered = self.answered.max(index);
        Ok(self.agreed.get(&index).map(|agreed| agreed.entry.position).unwrap_or_default())
    }

    /// A request was refused: it changed nothing and never will.
    pub(super) fn refuse(&mut self, request: u128) -> Result<(), Violation> {
        self.refused.insert(request);
        match self.places.get(&request) {
            Some(index) => Err(Violation::new("S4", format!("a request was refused that was applied at {index}"))),
            None => Ok(()),
        }
    }

    /// A read was answered: `floor` is what had been answered when it was asked.
    pub(super) fn read(&mut self, index: u64, floor: u64, applied: u64) -> Result<(), Violation> {
        if index < floor || applied < index {
            let detail = format!("a read saw {index} of {applied} applied, {floor} had been answered before");
            return Err(Violation::new("S6", detail));
        }
        self.answered = self.answered.max(index);
        Ok(())
    }
}

fn digest(state: &State) -> Result<u64, Violation> {
    let bytes = codec::encode(state).map_err(|error| Violation::new("S2", error.to_string()))?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Ok(hasher.finish())
}

/// The membership after a change, by the rules and not by raft-rs, and the request of the change.
fn changed(before: &Membership, entry: &LogEntry) -> Result<(Membership, u128), Violation> {
    let unexpected = |reason: String| Violation::new("S5", format!("the change at {}: {reason}", entry.position.index));
    let change = ConfChangeV2::parse_from_bytes(&entry.data).map_err(|error| unexpected(error.to_string()))?;
    let after = membership::changed(before, entry.kind, &entry.data)
        .ok_or_else(|| unexpected("it is not of one member".to_owned()))?;
    if after.voters.is_empty() {
        return Err(unexpected("it leaves no voter".to_owned()));
    }
    let request = change.get_context().try_into().map_err(|_| unexpected("it has no request".to_owned()))?;
    Ok((after, u128::from_le_bytes(request)))
}
