//! Evens out what nodes carry.
//!
//! Every move costs a pause of its partition, so one is made only where it clearly helps: the difference has to be more
//! than a fifth of what the heavier node carries, and the partition must weigh at most three quarters of it. The sum of
//! squares of what nodes carry falls with every move, so moves come to an end.

use super::burden::{BASE_BURDEN, Burdens};
use crate::command::Command;
use crate::ids::NodeId;
use crate::partition::PartitionId;
use crate::state::State;

/// A node is too heavy when the difference is more than this part of what it carries.
const TOLERATED_PART: u64 = 5;

/// And more than this, so that nearly idle nodes are left alone.
const TOLERATED: u64 = 2 * BASE_BURDEN;

pub(super) fn balance<'a>(view: &'a State, burdens: &mut Burdens<'a>, room: usize) -> Vec<Command> {
    let mut commands = Vec::new();
    while commands.len() < room {
        let best = burdens.heaviest_first().into_iter().find_map(|from| best_move(view, burdens, from));
        let Some((id, from, to)) = best else { break };
        burdens.give(id, Some(from), to);
        let Some(partition) = view.partitions.get(id) else { break };
        commands.push(Command::Move { partition: id.clone(), epoch: partition.epoch, to });
    }
    commands
}

/// The partition of a heavy node whose move leaves the smallest difference.
fn best_move<'a>(view: &'a State, burdens: &Burdens<'a>, from: NodeId) -> Option<(&'a PartitionId, NodeId, NodeId)> {
    let heavy = burdens.carried(from)?;
    let mut best: Option<(u64, &PartitionId, NodeId)> = None;
    for (id, partition) in &view.partitions {
        if burdens.can_be_asked(partition) != Some(from) || !burdens.is_free(id) {
            continue;
        }
        let Some(to) = burdens.lightest(id.stream).filter(|to| *to != from) else { continue };
        let difference = heavy.saturating_sub(burdens.carried(to)?);
        let weight = burdens.of(id);
        let left = difference.abs_diff(weight.saturating_mul(2));
        let helps = difference > TOLERATED
            && difference > heavy / TOLERATED_PART
            && weight.saturating_mul(4) <= difference.saturating_mul(3);
        if helps && best.is_none_or(|(smallest, ..)| left < smallest) {
            best = Some((left, id, to));
        }
    }
    best.map(|(_, id, to)| (id, from, to))
}
