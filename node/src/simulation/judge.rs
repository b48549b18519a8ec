//! What has to be true of the copies, whatever happened (P1 to P6).

use std::collections::BTreeMap;

use causeway_core::checkpoint::Checkpoint;
use causeway_core::partition::PartitionId;
use causeway_core::state::State;

use super::broker::Brokers;
use super::resident::Home;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Judge {
    /// The newest progress that was agreed on.
    checkpoints: BTreeMap<PartitionId, Checkpoint>,
}

fn queue_of(id: &PartitionId) -> usize {
    usize::try_from(id.source.queue).unwrap()
}

impl Judge {
    /// Looks at what was sent and agreed on since the last time.
    pub(super) fn look(&mut self, brokers: &Brokers, agreed: &State) -> Result<(), String> {
        if let Some(broken) = brokers.broken() {
            return Err(format!("P4: {broken}"));
        }
        for (id, partition) in &agreed.partitions {
            brokers.agree(queue_of(id), partition.epoch);
            if let Some(raised) = &partition.fault {
                return Err(format!("P7: {id}: {}", raised.fault));
            }
            let Some(checkpoint) = &partition.checkpoint else { continue };
            let known = self.checkpoints.insert(id.clone(), checkpoint.clone());
            // Whoever begins repeats what was agreed before, also what the target lost meanwhile.
            if known.is_none_or(|known| known.source_next < checkpoint.source_next) {
                covers(brokers, id, checkpoint)?;
            }
        }
        Ok(())
    }

    pub(super) fn everything_is_copied(&self, brokers: &Brokers) -> bool {
        (0..brokers.sources.len()).all(|number| {
            let wanted = u64::try_from(brokers.sources[number].lengths().0).unwrap();
            brokers.look(number, |ledger| ledger.standing) == wanted
        })
    }

    /// What is not copied.
    pub(super) fn left(&self, brokers: &Brokers, agreed: &State) -> String {
        let of = |(id, partition): (&PartitionId, &causeway_core::partition::Partition)| {
            let number = queue_of(id);
            let copied = brokers.look(number, |ledger| ledger.standing);
            let wanted = brokers.sources[number].lengths().0;
            format!("{id}: {copied} of {wanted} copied, {:?} to {:?}", partition.assignment(), partition.moving_to)
        };
        agreed.partitions.iter().map(of).collect::<Vec<_>>().join("\n")
    }

    /// What stands in the targets when all is over: the messages, and those among them that stand there twice.
    pub(super) fn at_the_end(&self, home: &Home, allows_zombies: bool) -> Result<(u64, u64), String> {
        let (mut messages, mut twice) = (0, 0);
        for number in 0..home.brokers.sources.len() {
            let wanted = u64::try_from(home.brokers.sources[number].lengths().0).unwrap();
            let found = home.brokers.look(number, |ledger| ledger.copies.clone());
            let copied = u64::try_from(found.len()).unwrap();
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
            let (doubled, reported) = (copied - wanted, home.reported(number));
            if doubled > 0 && !allows_zombies {
                return Err(format!("P2: queue {number} has {doubled} messages twice, and nobody was a zombie"));
            }
            if doubled > reported {
                return Err(format!("P3: queue {number} has {doubled} messages twice, {reported} were reported"));
            }
            (messages, twice) = (messages + wanted, twice + doubled);
        }
        Ok((messages, twice))
    }
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
