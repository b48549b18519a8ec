//! Decides which node runs which partition, and which member of the Raft group changes next. Pure: compares what
//! exists with who is there; whoever calls it proposes what it answers.
//!
//! A partition is *placed* when nobody living owns it, and *moved* when its owner lives: then the owner is asked to let
//! go, so nothing waits for a lease. Who may own it: the nodes that are up and do not drain; of these the ones in the
//! region of the stream's target, and only where there is none, all of them.
//!
//! Properties, tested in `plan/tests.rs`; "settled" means that plans were carried out until one is empty, and that no
//! moves that wait for silent nodes take the room of others:
//! - P1 settled, every partition has exactly one owner, and it is up, as long as any node is;
//! - P2 a partition whose owner is up, does not drain and stands in the right region is moved only to balance;
//! - P3 settled, no node carries more than a bound above another one that could take over one of its partitions;
//! - P4 plans come to an end, and planning again after that proposes nothing;
//! - P5 settled, every partition is in its target's region when a node there may own it;
//! - P6 settled, a node that drains owns nothing when another one may;
//! - P7 never more than [`Limits::moves`] partitions are asked to move at once, and none twice;
//! - P8 nothing of a node that may still be alive is given to another one;
//! - P9 a stream that is added, changed or removed moves no partition of another one, except to balance.

mod balance;
mod burden;
mod member;
mod place;
mod relocate;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use burden::{BASE_BURDEN, may_take};
pub use member::{MemberChange, Members, next_member_change};

use crate::command::Command;
use crate::ids::NodeId;
use crate::partition::PartitionId;
use crate::state::State;
use burden::Burdens;

/// What the planner may assume of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// It was heard a moment ago.
    Up,
    /// It was not heard for a while, but may still hold a lease: nothing of it is given away.
    Silent,
    /// It holds no lease any more, and nothing that it sent is still on its way.
    Down,
}

/// What is known besides the agreed state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Each node of the cluster; one that is not named is taken for silent.
    pub nodes: BTreeMap<NodeId, Liveness>,
    /// Bytes per second that partitions copy; those that are not named copy none.
    pub bytes_per_second: BTreeMap<PartitionId, u64>,
}

/// How much one plan may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Partitions that are placed with one plan; the next one goes on with the rest.
    pub placements: usize,
    /// Partitions that are on their way between living nodes at any time.
    pub moves: usize,
    /// Whether partitions are moved only to even out what nodes carry.
    pub balances: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { placements: 256, moves: 8, balances: true }
    }
}

/// What to propose so that every partition has the right owner.
#[must_use]
pub fn plan(view: &State, conditions: &Conditions, limits: Limits) -> Vec<Command> {
    let mut burdens = Burdens::new(view, conditions);
    let mut commands = place::place(view, conditions, &mut burdens, limits.placements);
    let mut room = limits.moves.saturating_sub(burdens.moving());
    for decide in [relocate::withdraw, relocate::relocate] {
        let moves = decide(view, &mut burdens, room);
        room = room.saturating_sub(moves.len());
        commands.extend(moves);
    }
    if limits.balances {
        commands.extend(balance::balance(view, &mut burdens, room));
    }
    commands
}
