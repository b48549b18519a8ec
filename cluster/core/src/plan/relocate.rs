//! Partitions whose owner lives and shall not keep them: it drains, or another node stands beside the target.

use super::burden::Burdens;
use crate::command::Command;
use crate::state::State;

/// A wish that makes no sense any more is replaced by a better one, or taken back: the node that was to take over is
/// not up, drains now, or stands in the wrong region.
///
/// Costs no room: the partition is on its way already.
pub(super) fn withdraw<'a>(view: &'a State, burdens: &mut Burdens<'a>, _room: usize) -> Vec<Command> {
    let mut commands = Vec::new();
    for (id, partition) in &view.partitions {
        let Some((owner, to)) = burdens.can_be_asked(partition).zip(partition.moving_to) else { continue };
        if burdens.suits(to, id.stream) {
            continue;
        }
        let better = burdens.lightest(id.stream).filter(|_| !burdens.suits(owner, id.stream));
        let node = better.unwrap_or(owner);
        burdens.give(id, Some(to), node);
        commands.push(Command::Move { partition: id.clone(), epoch: partition.epoch, to: node });
    }
    commands
}

/// Asks for a bounded number of moves away from nodes that do not suit.
pub(super) fn relocate<'a>(view: &'a State, burdens: &mut Burdens<'a>, room: usize) -> Vec<Command> {
    let mut commands = Vec::new();
    for (id, partition) in &view.partitions {
        if commands.len() >= room {
            break;
        }
        let Some(owner) = burdens.can_be_asked(partition).filter(|_| burdens.is_free(id)) else { continue };
        if burdens.suits(owner, id.stream) {
            continue;
        }
        let Some(to) = burdens.lightest(id.stream) else { continue };
        burdens.give(id, Some(owner), to);
        commands.push(Command::Move { partition: id.clone(), epoch: partition.epoch, to });
    }
    commands
}
