//! Linearizable reads: how a caller learns that its view includes everything that was answered before it asked.
//!
//! One round of Raft's ReadIndex at a time: the leader notes its commit index and lets a majority confirm that it
//! still leads. Callers that arrive during a round wait for the next one, because the index of this one may be older
//! than what they have to see. So a member costs its leader few open rounds, however many callers it has.
//!
//! raft-rs knows a round by its context, and what confirms one confirms all that were begun before it. A question of
//! another member that comes twice, because it was asked again or repeated on its way, would be a round that is begun
//! anew and that confirmations of its first time still reach. They would confirm rounds that were begun since, on a
//! leader that is none any more. So a leader gives every question that arrives a context of its own.

use tokio::sync::oneshot;

use crate::error::Error;

/// The most callers that wait at once.
pub(crate) const MAXIMUM_WAITING: usize = 1024;

/// One caller.
pub(crate) struct Read {
    /// Random: the first one of a round names the round, also to other members, so an answer to a round of an earlier
    /// life of this node is never taken for an answer to this one.
    pub(crate) request: u128,
    /// Where the index goes that the view includes.
    pub(crate) reply: oneshot::Sender<Result<u64, Error>>,
}

struct Round {
    context: Vec<u8>,
    asked_at: u64,
    reads: Vec<Read>,
}

/// All that wait, and answers that are due after the next publication of the view.
#[derive(Default)]
pub(crate) struct Reads {
    arrived: Vec<Read>,
    round: Option<Round>,
    /// By the index that the view has to include.
    confirmed: Vec<(u64, Read)>,
    due: Vec<(u64, Read)>,
    /// Questions of other members that arrived.
    questions: u64,
}

impl Reads {
    pub(crate) fn len(&self) -> usize {
        let asked = self.round.as_ref().map_or(0, |round| round.reads.len());
        self.arrived.len().saturating_add(asked).saturating_add(self.confirmed.len())
    }

    /// Takes a caller, or tells it that there are too many.
    pub(crate) fn wait(&mut self, read: Read) {
        if self.len() >= MAXIMUM_WAITING {
            // A caller that no longer waits needs no answer.
            let _ = read.reply.send(Err(Error::Busy));
            return;
        }
        self.arrived.push(read);
    }

    /// Begins the next round when none is open and somebody waits for one; answers its context.
    pub(crate) fn begin(&mut self, now: u64) -> Option<Vec<u8>> {
        if self.round.is_some() {
            return None;
        }
        let context = self.arrived.first()?.request.to_le_bytes().to_vec();
        self.round = Some(Round { context: context.clone(), asked_at: now, reads: std::mem::take(&mut self.arrived) });
        Some(context)
    }

    /// The context of a round that was asked for `patience` ticks ago: the question or its answer was lost, or there
    /// was nobody to ask. To ask again is safe, as every answer names a commit index of after the first time.
    pub(crate) fn overdue(&mut self, now: u64, patience: u64) -> Option<Vec<u8>> {
        let round = self.round.as_mut().filter(|round| now.saturating_sub(round.asked_at) >= patience)?;
        round.asked_at = now;
        Some(round.context.clone())
    }

    /// The context of a question of another member, as no question before it has it. A node leads a term in one life
    /// only, and heeds confirmations of that term only, so a count is enough.
    pub(crate) fn tell_apart(&mut self, context: &[u8]) -> Vec<u8> {
        self.questions = self.questions.saturating_add(1);
        [context, &self.questions.to_le_bytes()].concat()
    }

    /// Raft confirmed the round of this context, or of one that its leader told apart; others are of the past.
    pub(crate) fn confirm(&mut self, context: &[u8], index: u64) {
        if let Some(round) = self.round.take_if(|round| context.starts_with(&round.context)) {
            self.confirmed.extend(round.reads.into_iter().map(|read| (index, read)));
        }
    }

    /// The view includes everything up to `applied`.
    pub(crate) fn applied(&mut self, applied: u64) {
        self.due.extend(self.confirmed.extract_if(.., |(index, _)| *index <= applied));
    }

    /// Forgets those whose callers no longer wait.
    pub(crate) fn forget_abandoned(&mut self) {
        self.arrived.retain(|read| !read.reply.is_closed());
        self.confirmed.retain(|(_, read)| !read.reply.is_closed());
        self.round.take_if(|round| {
            round.reads.retain(|read| !read.reply.is_closed());
            round.reads.is_empty()
        });
    }

    /// Gives out the answers that are due.
    pub(crate) fn answer(&mut self) {
        for (index, read) in self.due.drain(..) {
            // A caller that no longer waits needs no answer.
            let _ = read.reply.send(Ok(index));
        }
    }

    /// Answers everybody because the replica ends.
    pub(crate) fn fail_all(&mut self, error: &Error) {
        self.answer();
        let asked = self.round.take().map(|round| round.reads).unwrap_or_default();
        let confirmed = self.confirmed.drain(..).map(|(_, read)| read);
        for read in self.arrived.drain(..).chain(asked).chain(confirmed) {
            let _ = read.reply.send(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use ::raft::eraftpb::MessageType;
    use tokio::sync::oneshot::{self, Receiver};

    use super::{MAXIMUM_WAITING, Read, Reads};
    use crate::error::Error;
    use crate::raft::sample::group::Group;

    fn read(reads: &mut Reads, request: u128) -> Receiver<Result<u64, Error>> {
        let (reply, answer) = oneshot::channel();
        reads.wait(Read { request, reply });
        answer
    }

    #[test]
    fn who_arrives_during_a_round_waits_for_the_next() {
        let mut reads = Reads::default();
        let mut early = read(&mut reads, 1);
        let context = reads.begin(0).unwrap();
        let mut late = read(&mut reads, 2);
        assert_eq!(reads.begin(0), None);
        reads.confirm(&2_u128.to_le_bytes(), 9);
        reads.confirm(&context, 5);
        reads.applied(4);
        reads.answer();
        assert!(early.try_recv().is_err(), "answered before the view includes it");
        reads.applied(5);
        reads.answer();
        assert_eq!(early.try_recv().unwrap().unwrap(), 5);
        let context = reads.begin(1).unwrap();
        reads.confirm(&context, 5);
        reads.applied(5);
        reads.answer();
        assert_eq!(late.try_recv().unwrap().unwrap(), 5);
    }

    #[test]
    fn a_lost_round_is_asked_for_again_and_an_abandoned_one_is_not() {
        let mut reads = Reads::default();
        let abandoned = read(&mut reads, 1);
        let context = reads.begin(10).unwrap();
        assert_eq!(reads.overdue(11, 2), None);
        assert_eq!(reads.overdue(12, 2), Some(context));
        assert_eq!(reads.overdue(13, 2), None);
        drop(abandoned);
        reads.forget_abandoned();
        assert_eq!((reads.overdue(20, 2), reads.len()), (None, 0));
    }

    /// A follower's question is confirmed, and asked again; then the leader itself has to know whether it still leads.
    #[test]
    fn what_confirmed_a_question_the_first_time_confirms_nothing_that_was_asked_later() {
        let mut group = Group::new();
        let leader = group.leader();
        group.tick(3);
        let [asking, confirming] = [1, 2].map(|step| (leader - 1 + step) % 3 + 1);
        let _answer = group.ask(asking);
        let question = group.take(leader, MessageType::MsgReadIndex);
        group.give(leader, question.clone());
        let heartbeat = group.take(confirming, MessageType::MsgHeartbeat);
        group.give(confirming, heartbeat);
        let confirmation = group.take(leader, MessageType::MsgHeartbeatResponse);
        group.give(leader, confirmation.clone());
        group.take(asking, MessageType::MsgReadIndexResp);
        // From now on nobody hears from the leader.
        let mut late = group.ask(leader);
        group.give(leader, question);
        group.give(leader, confirmation);
        assert!(late.try_recv().is_err(), "nobody has confirmed it since");
    }

    #[test]
    fn the_number_of_callers_is_bounded() {
        let mut reads = Reads::default();
        let waiting: Vec<_> = (0..MAXIMUM_WAITING).map(|_| read(&mut reads, 1)).collect();
        assert!(matches!(read(&mut reads, 2).try_recv(), Ok(Err(Error::Busy))));
        reads.fail_all(&Error::Stopped);
        assert!(waiting.into_iter().all(|mut answer| matches!(answer.try_recv(), Ok(Err(Error::Stopped)))));
    }
}
