//! What has to be true of the copies, whatever happened (P1 to P7).

use std::collections::BTreeMap;

use causeway_core::checkpoint::Checkpoint;
use causeway_core::partition::{Partition, PartitionId};
use causeway_core::state::State;

use super::broker::Brokers;
use super::resident::Surroundings;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// The source offset that progress was agreed on up to, last.
    agreed_next: BTreeMap<PartitionId, i64>,
}

fn queue_of(id: &PartitionId) -> usize {
    usize::try_from(id.source.queue).unwrap()
}

impl Judge {
    /// Looks at what was sent and agreed on since the last time.
    pub(super) fn look(&mut self, brokers: &Brokers, agreed: &State) -> Result<(), String> {
        if let Some(broken) = brokers.broken() {
            return Err(broken);
        }
        for (id, partition) in &agreed.partitions {
            if let Some(raised) = &partition.fault {
                return Err(format!("P7: {id}: {}", raised.fault));
            }
            let Some(checkpoint) = &partition.checkpoint else { continue };
            let (known, next) = (self.agreed_next.get(id).copied(), checkpoint.source_next);
            if known == Some(next) {
                // Whoever begins repeats what was agreed before, also what the target lost meanwhile.
                continue;
            }
            self.agreed_next.insert(id.clone(), next);
            if known < Some(next) {
                covers(brokers, id, checkpoint)?;
            }
        }
        Ok(())
    }
}

/// What is agreed on counts for what is sent from now on.
pub(super) fn agree(brokers: &Brokers, agreed: &State) {
    for (id, partition) in &agreed.partitions {
        brokers.agree(queue_of(id), partition.epoch);
    }
}

fn messages(brokers: &Brokers, number: usize) -> u64 {
    u64::try_from(brokers.sources[number].lengths().0).unwrap()
}

/// Whether all messages stand at the target, and it is agreed that they do.
pub(super) fn everything_is_copied(brokers: &Brokers, agreed: &State) -> bool {
    agreed.partitions.iter().all(|(id, partition)| {
        let wanted = messages(brokers, queue_of(id));
        let told = partition.checkpoint.as_ref().map(|checkpoint| checkpoint.source_next);
        brokers.look(queue_of(id), |ledger| ledger.standing) == wanted && told == i64::try_from(wanted).ok()
    })
}

/// What is not copied.
pub(super) fn left(brokers: &Brokers, agreed: &State) -> String {
    let of = |(id, partition): (&PartitionId, &Partition)| {
        let (number, to) = (queue_of(id), partition.moving_to);
        let told = partition.checkpoint.as_ref().map(|checkpoint| checkpoint.source_next);
        let (copied, wanted) = (brokers.look(number, |ledger| ledger.standing), messages(brokers, number));
        let owner = partition.assignment();
        format!("{id}: {copied} of {wanted} copied, {told:?} agreed on, {owner:?} to {to:?}")
    };
    agreed.partitions.iter().map(of).collect::<Vec<_>>().join("\n")
}

/// What stands in the targets when all is over: the messages, and those among them that stand there twice. What senders
/// wrote late that were stopped right before it is no excuse where takeovers are strict.
pub(super) fn at_the_end(around: &Surroundings, excuses: bool) -> Result<(u64, u64), String> {
    let (mut all, mut twice) = (0, 0);
    for number in 0..around.brokers.sources.len() {
        let wanted = messages(&around.brokers, number);
        let (found, excused) = around.brokers.look(number, |ledger| (ledger.copies.clone(), ledger.excused));
        let mut next = 0;
        for one in &found {
            if *one > next {
                return Err(format!("P1: queue {number} has {one} where {next} was due"));
            }
            next += u64::from(*one == next);
        }
        if next < wanted {
            return Err(format!("P1: queue {number} ends with {next} of {wanted}"));
        }
        let excused = if excuses { excused } else { 0 };
        let (doubled, reported) = (u64::try_from(found.len()).unwrap() - wanted, around.reported(number));
        if doubled > excused {
            return Err(format!("P2: queue {number} has {doubled} messages twice, {excused} could not be known of"));
        }
        if doubled > reported {
            return Err(format!("P3: queue {number} has {doubled} messages twice, {reported} were reported"));
        }
        (all, twice) = (all + wanted, twice + doubled);
    }
    Ok((all, twice))
}

/// What agreed progress claims stands at the target, or stood there before the target lost it under the same ownership.
fn covers(brokers: &Brokers, id: &PartitionId, checkpoint: &Checkpoint) -> Result<(), String> {
    let number = queue_of(id);
    let claimed = u64::try_from(checkpoint.source_next).unwrap();
    let held = brokers.look(number, |ledger| {
        let after_a_loss = ledger.lost_under.is_some_and(|epoch| epoch < checkpoint.epoch);
        if after_a_loss { ledger.standing } else { ledger.reached }
    });
    if claimed > held {
        let epoch = checkpoint.epoch;
        return Err(format!("P5: {claimed} of {id} are agreed to be copied under epoch {epoch}, {held} stand there"));
    }
    Ok(())
}
