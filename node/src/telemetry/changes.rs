//! Counts what changed hands and who took part, by comparing one look with the one before.
//!
//! Looked at about once a second: a partition that came and went in between is counted once, by how it came last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use causeway_core::ids::NodeId;
use causeway_core::node::Predecessor;
use causeway_core::state::State;

/// A member of the Raft group, and whether its word counts.
pub type Member = (NodeId, bool);

/// What was counted since the process started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Partitions that this node was given because their owner was gone.
    pub takeovers: u64,
    /// Partitions that their owner handed to this node.
    pub moves_in: u64,
    /// Nodes that entered or left the Raft group, or won or lost their vote.
    pub member_changes: u64,
    /// Raft messages to other nodes that were dropped: no room, or no connection.
    pub dropped_messages: u64,
}

/// Compares looks.
#[derive(Debug)]
pub struct Changes {
    me: NodeId,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The state and the members of the last look. Nothing is counted at the first one.
    before: Option<(Arc<State>, BTreeSet<Member>)>,
    /// By peer: a peer that is set anew counts from zero.
    dropped: BTreeMap<NodeId, u64>,
    counted: Counted,
}

impl Changes {
    /// Counts for this node; nothing was seen yet.
    #[must_use]
    pub fn new(me: NodeId) -> Self {
        Self { me, seen: Mutex::default() }
    }

    /// Looks once. `dropped` is what each peer has dropped since it was set.
    pub fn look(&self, view: Arc<State>, members: BTreeSet<Member>, dropped: impl IntoIterator<Item = (NodeId, u64)>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = seen.before.take() {
            let more = self.compare(&before, &view, &members);
            let counted = &mut seen.counted;
            counted.takeovers = counted.takeovers.saturating_add(more.takeovers);
            counted.moves_in = counted.moves_in.saturating_add(more.moves_in);
            counted.member_changes = counted.member_changes.saturating_add(more.member_changes);
        }
        seen.before = Some((view, members));
        let dropped: BTreeMap<NodeId, u64> = dropped.into_iter().collect();
        for (peer, now) in &dropped {
            let known = seen.dropped.get(peer).copied().unwrap_or(0);
            let more = now.checked_sub(known).unwrap_or(*now);
            seen.counted.dropped_messages = seen.counted.dropped_messages.saturating_add(more);
        }
        seen.dropped = dropped;
    }

    /// What was counted so far.
    #[must_use]
    pub fn counted(&self) -> Counted {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).counted
    }

    fn compare(&self, before: &(Arc<State>, BTreeSet<Member>), view: &State, members: &BTreeSet<Member>) -> Counted {
        let (view_before, members_before) = before;
        // A node whose vote was won or lost is there twice, and is one change.
        let changed: BTreeSet<_> = members_before.symmetric_difference(members).map(|(node, _)| node).collect();
        let member_changes = u64::try_from(changed.len()).unwrap_or(u64::MAX);
        let mut more = Counted { member_changes, ..Counted::default() };
        for (id, partition) in &view.partitions {
            let was = view_before.partitions.get(id);
            if partition.owner != Some(self.me) || was.is_some_and(|was| was.epoch == partition.epoch) {
                continue;
            }
            let (Predecessor::Released(from) | Predecessor::Ended(from)) = partition.predecessor else { continue };
            // Whoever let go of it without knowing what is still on its way has let go of it all the same.
            let let_go = was.is_some_and(|was| was.moving_to == Some(self.me) && was.owner == Some(from));
            let is_move = let_go || matches!(partition.predecessor, Predecessor::Released(_));
            let count = if is_move { &mut more.moves_in } else { &mut more.takeovers };
            *count = count.saturating_add(u64::from(from != self.me));
        }
        more
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::command::{Command, NewPartition};
    use causeway_core::ids::{Epoch, StreamId};
    use causeway_core::name::Name;
    use causeway_core::node::{NodeSpec, ProcessId};
    use causeway_core::partition::{PartitionId, QueueId};

    use super::*;
    use crate::telemetry::rates::tests::{apply, view as one_stream};

    const ME: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    fn id(queue: u32) -> PartitionId {
        PartitionId { stream: StreamId(3), source: QueueId { broker: "broker-a".to_owned(), queue } }
    }

    /// Three partitions of node 2.
    fn view() -> State {
        let mut state = one_stream();
        let name = |text: &str| Name::new(text).unwrap();
        let spec = NodeSpec { name: name("node-1"), region: name("hohhot"), address: None, supports: 3 };
        apply(&mut state, 3, Command::StartNode { node: ME, spec, process: ProcessId(1) });
        let new = (0..3).map(|queue| NewPartition { source: id(queue).source, target: id(queue).source });
        apply(&mut state, 4, Command::AddPartitions { stream: StreamId(3), partitions: new.collect() });
        for queue in 0..3 {
            assign(&mut state, queue, OTHER, 1);
        }
        state
    }

    fn assign(state: &mut State, queue: u32, node: NodeId, epoch: u64) {
        apply(state, 10, Command::Assign { partition: id(queue), node, epoch: Epoch(epoch) });
    }

    fn give(state: &mut State, queue: u32, settled: bool) {
        let (partition, epoch) = (id(queue), state.partitions[&id(queue)].epoch);
        apply(state, 11, Command::Move { partition: partition.clone(), epoch, to: ME });
        state.partitions[&partition].moving_to.expect("it is on its way");
        if settled {
            release(state, queue, true);
        }
    }

    fn release(state: &mut State, queue: u32, settled: bool) {
        let (partition, epoch) = (id(queue), state.partitions[&id(queue)].epoch);
        apply(state, 12, Command::Release { partition, node: OTHER, epoch, checkpoint: None, settled });
    }

    #[test]
    fn what_is_taken_and_what_is_handed_over_are_told_apart_and_the_past_is_not_counted() {
        let (changes, mut state) = (Changes::new(ME), view());
        let look = |state: &State| changes.look(Arc::new(state.clone()), BTreeSet::new(), []);
        assign(&mut state, 0, ME, 2);
        look(&state);
        assert_eq!(changes.counted(), Counted::default(), "it was so before this process looked");
        give(&mut state, 1, true);
        assign(&mut state, 2, ME, 2);
        look(&state);
        look(&state);
        assert_eq!(changes.counted(), Counted { takeovers: 1, moves_in: 1, ..Counted::default() });
        assign(&mut state, 2, OTHER, 3);
        look(&state);
        give(&mut state, 2, false);
        look(&state);
        release(&mut state, 2, false);
        look(&state);
        let counted = Counted { takeovers: 1, moves_in: 2, ..Counted::default() };
        assert_eq!(changes.counted(), counted, "a move whose sends were not all answered is a move");
        assign(&mut state, 2, OTHER, 5);
        assign(&mut state, 2, ME, 6);
        look(&state);
        assert_eq!(changes.counted().takeovers, 2, "it was away between two looks");
    }

    #[test]
    fn members_are_counted_once_for_each_change_and_dropped_messages_never_go_back() {
        let (changes, state) = (Changes::new(ME), State::default());
        let look = |members: &[Member], dropped: &[(NodeId, u64)]| {
            changes.look(Arc::new(state.clone()), members.iter().copied().collect(), dropped.iter().copied());
            (changes.counted().member_changes, changes.counted().dropped_messages)
        };
        assert_eq!(look(&[(ME, true)], &[(OTHER, 5)]), (0, 5));
        assert_eq!(look(&[(ME, true), (OTHER, false)], &[(OTHER, 7)]), (1, 7));
        assert_eq!(look(&[(ME, true), (OTHER, true)], &[]), (2, 7));
        assert_eq!(look(&[(ME, true)], &[(OTHER, 3)]), (3, 10), "it was set anew");
    }
}
