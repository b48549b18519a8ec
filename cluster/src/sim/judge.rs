//! What is looked at after every call into a replica, and at the end.

use causeway_core::ids::NodeId;
use causeway_storage::raft_log::Position;

use super::Violation;
use super::disk::{SimulatedDisk, look};
use super::history::Seen;
use super::node::{Awaited, Life, Node};
use super::world::World;
use crate::error::{Error, Fatal};
use crate::raft::replica::Replica;
use crate::status::Role;

/// How long a caller waits, in milliseconds.
const PATIENCE: u64 = 5_000;
/// Within so many milliseconds everything goes on again when nothing is broken any more.
const RECOVERY: u64 = 60_000;

impl World {
    pub(super) fn recover(&mut self) -> Result<(), Violation> {
        let (begun, agreed, answered) = (self.now, self.history.last(), self.stats.answered);
        while !(self.goes_on(agreed) && self.stats.answered > answered) {
            if self.now > begun + RECOVERY {
                return Err(Violation::new("S10", format!("after {RECOVERY} ms: {}", self.outline())));
            }
            self.step()?;
        }
        self.stats.recovery = self.stats.recovery.max(self.now - begun);
        Ok(())
    }

    pub(super) fn goes_on(&self, agreed: u64) -> bool {
        let mut lives = self.nodes.values().filter_map(|node| node.life.as_ref());
        let Some(leader) = lives.find(|life| life.status.ready) else { return false };
        let (members, last) = (&leader.status.members, leader.status.last_index);
        let up_to_date = |id: &NodeId| self.life(*id).is_some_and(|(life, _)| life.status.applied == last);
        last >= agreed
            && members.iter().all(|member| up_to_date(&member.node))
            && self.members_are_as_wanted()
            && super::duties::is_set_up(self.history.state())
            && (self.setup.has_residents || self.every_partition_is_written(self.history.state()))
    }

    pub(super) fn outline(&self) -> String {
        let of = |node: &Node| match &node.life {
            Some(Life { status, holder, .. }) => {
                let (members, now) = (status.members.iter().map(|member| member.node.0), node.clock.now());
                format!(
                    "{}: {:?} of term {}, {} of {} applied, members {:?}, {:?} at {now}",
                    node.id,
                    status.role,
                    status.term,
                    status.applied,
                    status.last_index,
                    members.collect::<Vec<_>>(),
                    holder
                )
            }
            None => format!("{} is down", node.id),
        };
        let partitions = self.history.state().partitions.iter();
        let owners = partitions.map(|(id, is)| format!("{id}: {:?} to {:?}", is.assignment(), is.moving_to));
        self.nodes.values().map(of).chain(owners).collect::<Vec<_>>().join("\n")
    }

    /// Calls into a replica, then judges what came of it.
    pub(super) fn call(
        &mut self,
        id: NodeId,
        call: impl FnOnce(&mut Replica<SimulatedDisk>) -> Result<(), Fatal>,
    ) -> Result<(), Violation> {
        let Some(life) = self.life_mut(id) else { return Ok(()) };
        let ended = call(&mut life.replica);
        self.after_call(id, ended)
    }

    pub(super) fn after_call(&mut self, id: NodeId, ended: Result<(), Fatal>) -> Result<(), Violation> {
        // Before its last words leave, behind which it may crash in another way.
        let has_failed = self.nodes.get(&id).is_some_and(|node| look(&node.medium).has_failed());
        self.carry_letters(id)?;
        if let Err(fatal) = ended {
            if has_failed {
                let restart = self.faults.within(20..3_000);
                self.crash(id, restart);
                return Ok(());
            }
            return Err(Violation::new("S9", format!("node {id} ended: {fatal}")));
        }
        let setup = self.setup;
        if let Some(node) = self.nodes.get_mut(&id) {
            node.publish(&setup);
        }
        self.judge(id)?;
        self.settle(id)?;
        self.reconcile(id);
        self.tell_residents(id);
        self.admit();
        self.judge_writers()
    }

    fn judge(&mut self, id: NodeId) -> Result<(), Violation> {
        let Some(node) = self.nodes.get_mut(&id) else { return Ok(()) };
        let Some(life) = node.life.as_mut() else { return Ok(()) };
        let medium = look(&node.medium);
        let state = life.replica.state();
        let seen = Seen {
            node: id,
            term: life.status.term,
            applied: life.replica.applied(),
            state: &state,
            membership: life.replica.membership(),
            log: medium.cached(),
        };
        if seen.applied.index != life.judged {
            self.history.applied(life.judged, &seen)?;
            life.judged = seen.applied.index;
        }
        if life.status.role == Role::Leader {
            if life.led != seen.term {
                self.history.leads(id, seen.term, seen.log)?;
                life.led = seen.term;
            }
            self.history.one_change_in_progress(&seen)?;
        }
        Ok(())
    }

    /// Looks at the answers that came.
    fn settle(&mut self, id: NodeId) -> Result<(), Violation> {
        let now = self.now;
        let Some(life) = self.life_mut(id) else { return Ok(()) };
        let applied = life.status.applied;
        let mut taken = false;
        for (since, mut awaited) in std::mem::take(&mut life.waiting) {
            let settled = match &mut awaited {
                Awaited::Outcome { request, taking, asker, answer } => match answer.try_recv() {
                    Ok(answer) => {
                        taken |= *taking;
                        if let Some(asker) = asker {
                            let answer = answer.as_ref().map_err(ToString::to_string).cloned();
                            self.send_answer(id, *asker, answer, applied);
                        }
                        match answer {
                            Ok(outcome) => self.answered(*request, &outcome)?,
                            Err(error) if error.outcome_is_unknown() => {}
                            Err(_) => self.history.refuse(*request)?,
                        }
                        true
                    }
                    // What is being taken from nodes is waited for until it is known.
                    Err(_) => !*taking && now > since + PATIENCE,
                },
                Awaited::Read { floor, answer, lease } => match answer.try_recv() {
                    Ok(Ok(index)) => {
                        self.history.read(index, *floor, applied)?;
                        match lease {
                            Some((question, term)) => self.grant(id, *question, *term, index)?,
                            None => self.stats.reads += 1,
                        }
                        true
                    }
                    Ok(Err(_)) => true,
                    Err(_) => now > since + PATIENCE,
                },
                Awaited::Transfer { answer } => match answer.try_recv() {
                    Ok(result) => {
                        self.stats.transfers += u64::from(result.is_ok());
                        !matches!(result, Err(Error::Fatal(_)))
                    }
                    Err(_) => now > since + PATIENCE,
                },
            };
            if !settled && let Some(life) = self.life_mut(id) {
                life.waiting.push((since, awaited));
            }
        }
        if taken {
            self.end_taking(id);
        }
        Ok(())
    }

    /// What was answered must survive the crash of everybody.
    pub(super) fn judge_durability(&mut self, position: Position) -> Result<(), Violation> {
        let holds = |id: &NodeId| self.nodes.get(id).is_some_and(|node| look(&node.medium).durable().holds(position));
        let enough = self
            .history
            .voters_around(position.index)
            .any(|voters| voters.iter().filter(|id| holds(id)).count() > voters.len() / 2);
        if enough { Ok(()) } else { Err(Violation::new("S3", format!("{position:?} was answered and may get lost"))) }
    }
}
