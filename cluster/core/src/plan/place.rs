//! Partitions that nobody living owns.

use super::burden::Burdens;
use super::{Conditions, Liveness};
use crate::command::Command;
use crate::state::State;

/// Gives each to the lightest node that suits it, the heaviest partitions first, so that the light ones even out.
pub(super) fn place<'a>(
    view: &'a State,
    conditions: &Conditions,
    burdens: &mut Burdens<'a>,
    maximum: usize,
) -> Vec<Command> {
    let is_gone = |owner| conditions.nodes.get(&owner) == Some(&Liveness::Down);
    let mut homeless: Vec<_> = view
        .partitions
        .iter()
        .filter(|(_, partition)| partition.owner.is_none_or(is_gone))
        .map(|(id, partition)| (burdens.of(id), id, partition))
        .collect();
    homeless.sort_by(|(one, ..), (other, ..)| other.cmp(one));
    let mut commands = Vec::new();
    for (_, id, partition) in homeless.into_iter().take(maximum) {
        let Some(node) = burdens.lightest(id.stream) else { continue };
        burdens.give(id, partition.moving_to.or(partition.owner), node);
        commands.push(Command::Assign { partition: id.clone(), node, epoch: partition.epoch.next() });
    }
    commands
}
