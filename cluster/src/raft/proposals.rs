//! Proposals that wait for their outcome.
//!
//! A waiter is kept under the log index of its entry together with the entry's request id. What is applied at an index
//! settles the waiter there for good: either it is its own entry, or another leader's took its place and it will never
//! be applied. Answering in order of arrival instead would pair outcomes with the wrong calls after a change of leader.

use std::collections::BTreeMap;

use causeway_core::ids::NodeId;
use causeway_core::outcome::Outcome;
use tokio::sync::oneshot;

use crate::error::Error;

/// Where an outcome goes.
pub(crate) type Reply = oneshot::Sender<Result<Outcome, Error>>;

struct Waiter {
    request: u128,
    reply: Reply,
}

/// All that wait, and answers that are due after the next publication of the view.
#[derive(Default)]
pub(crate) struct Proposals {
    waiting: BTreeMap<u64, Waiter>,
    due: Vec<(Reply, Result<Outcome, Error>)>,
}

impl Proposals {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Waits for the entry at `index`. An earlier waiter there belonged to an entry that was replaced.
    pub(crate) fn wait(&mut self, index: u64, request: u128, reply: Reply) {
        if let Some(replaced) = self.waiting.insert(index, Waiter { request, reply }) {
            // It is gone from this log only: another member may hold it still, lead, and commit it.
            self.due.push((replaced.reply, Err(Error::Interrupted)));
        }
    }

    /// An entry was applied; `request` is none for one that is not a command.
    pub(crate) fn applied(&mut self, index: u64, request: Option<u128>, outcome: Outcome, leader: Option<NodeId>) {
        let Some(waiter) = self.waiting.remove(&index) else { return };
        let answer = if request == Some(waiter.request) { Ok(outcome) } else { Err(Error::NotLeader { leader }) };
        self.due.push((waiter.reply, answer));
    }

    /// A snapshot replaced all entries up to `index`: whether they were these is unknown.
    pub(crate) fn overtaken(&mut self, index: u64) {
        let behind = self.waiting.split_off(&index.saturating_add(1));
        for waiter in std::mem::replace(&mut self.waiting, behind).into_values() {
            self.due.push((waiter.reply, Err(Error::Interrupted)));
        }
    }

    /// Forgets those whose callers no longer wait.
    pub(crate) fn forget_abandoned(&mut self) {
        self.waiting.retain(|_, waiter| !waiter.reply.is_closed());
    }

    /// Gives out the answers that are due.
    pub(crate) fn answer(&mut self) {
        for (reply, answer) in self.due.drain(..) {
            // A caller that no longer waits has already been told that the outcome is unknown.
            let _ = reply.send(answer);
        }
    }

    /// Answers everybody because the replica ends.
    pub(crate) fn fail_all(&mut self, error: &Error) {
        self.answer();
        for waiter in std::mem::take(&mut self.waiting).into_values() {
            let _ = waiter.reply.send(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::outcome::Outcome;
    use tokio::sync::oneshot;

    use super::Proposals;
    use crate::error::Error;

    #[test]
    fn an_outcome_reaches_only_the_call_that_proposed_it() {
        let mut proposals = Proposals::default();
        let (reply, mut own) = oneshot::channel();
        proposals.wait(5, 50, reply);
        let (reply, mut replaced) = oneshot::channel();
        proposals.wait(6, 60, reply);
        let (reply, mut later) = oneshot::channel();
        proposals.wait(7, 70, reply);
        proposals.applied(5, Some(50), Outcome::Done, None);
        assert!(own.try_recv().is_err(), "answered before the view was published");
        proposals.applied(6, Some(61), Outcome::Done, None);
        proposals.answer();
        assert!(matches!(own.try_recv(), Ok(Ok(Outcome::Done))));
        assert!(matches!(replaced.try_recv(), Ok(Err(Error::NotLeader { .. }))));
        assert!(later.try_recv().is_err());
        proposals.overtaken(7);
        proposals.answer();
        assert!(matches!(later.try_recv(), Ok(Err(Error::Interrupted))));
        assert_eq!(proposals.len(), 0);
    }

    #[test]
    fn an_entry_that_left_this_log_unapplied_has_an_unknown_outcome() {
        let mut proposals = Proposals::default();
        let (reply, mut replaced) = oneshot::channel();
        proposals.wait(5, 50, reply);
        let (reply, mut later) = oneshot::channel();
        proposals.wait(5, 51, reply);
        proposals.answer();
        assert!(matches!(replaced.try_recv(), Ok(Err(Error::Interrupted))));
        assert!(later.try_recv().is_err());
    }

    #[test]
    fn callers_that_gave_up_are_forgotten() {
        let mut proposals = Proposals::default();
        let (reply, gone) = oneshot::channel();
        proposals.wait(5, 50, reply);
        let (reply, _kept) = oneshot::channel();
        proposals.wait(6, 60, reply);
        drop(gone);
        proposals.forget_abandoned();
        assert_eq!(proposals.len(), 1);
    }
}
