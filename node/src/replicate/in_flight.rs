//! Whether something that was sent to a partition's target may still be on its way.
//!
//! ```text
//! Earlier --tail read after the wait--> Nothing --send--> Own --stored--> Uncovered --progress covers it--+
//!                                          ^               '--no answer, wait, tail read----------------+
//!                                          +-------------------------------------------------------------+
//! ```
//!
//! A cell outlives the runs of its partition in one process: it says what the next run waits for, and what an owner may
//! claim that lets go. Never says "nothing" of a send that was given up, dropped or ended by a panic, nor while the
//! target acknowledged something that the partition's progress does not count on.

use std::sync::atomic::{AtomicBool, Ordering};

use causeway_core::node::Predecessor;

/// What may still be on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnItsWay {
    /// Nothing: every send was answered, or waited out, and progress covers everything that was acknowledged. A target
    /// whose queue reaches that progress shows all of it.
    Nothing,
    /// Nothing, but more was acknowledged than progress covers: the target may not show it yet.
    Uncovered,
    /// A send of this process.
    Own,
    /// A send of an ownership of another process, which ended without a word.
    Earlier,
}

/// The sends of one partition, as this process knows them.
#[derive(Debug)]
pub struct InFlight {
    /// Something of another process is not waited out.
    earlier: AtomicBool,
    /// A send was begun, and neither answered nor waited out.
    unanswered: AtomicBool,
    /// Something was acknowledged that progress does not cover.
    uncovered: AtomicBool,
    /// A run of this process has read the tail or sent something: its progress may be ahead of what is agreed on.
    has_run: AtomicBool,
}

impl InFlight {
    /// What an ownership finds that follows another one, before anything of it ran in this process.
    #[must_use]
    pub fn after(predecessor: Predecessor) -> Self {
        let earlier = matches!(predecessor, Predecessor::Ended(_));
        let [unanswered, uncovered, has_run] = [false; 3].map(AtomicBool::new);
        Self { earlier: AtomicBool::new(earlier), unanswered, uncovered, has_run }
    }

    /// What may still be on its way now.
    #[must_use]
    pub fn now(&self) -> OnItsWay {
        if self.earlier.load(Ordering::Acquire) {
            OnItsWay::Earlier
        } else if self.unanswered.load(Ordering::Acquire) {
            OnItsWay::Own
        } else if self.uncovered.load(Ordering::Acquire) {
            OnItsWay::Uncovered
        } else {
            OnItsWay::Nothing
        }
    }

    /// Whether the checkpoint that a run begins with covers everything that was ever acknowledged: whoever let go of
    /// the partition gave it along. Progress of this process may not be agreed on yet.
    #[must_use]
    pub fn is_covered_by_the_checkpoint(&self) -> bool {
        self.now() == OnItsWay::Nothing && !self.has_run.load(Ordering::Acquire)
    }

    /// A send is about to begin. There is one at a time.
    pub fn begin(&self) {
        self.has_run.store(true, Ordering::Release);
        self.unanswered.store(true, Ordering::Release);
    }

    /// The send was answered: it is stored.
    pub fn stored(&self) {
        self.uncovered();
        self.unanswered.store(false, Ordering::Release);
    }

    /// The send was answered: it provably never will be stored.
    pub fn refused(&self) {
        self.unanswered.store(false, Ordering::Release);
    }

    /// Progress falls back behind what was acknowledged, or may.
    pub fn uncovered(&self) {
        self.uncovered.store(true, Ordering::Release);
    }

    /// Progress counts on everything that was acknowledged.
    pub fn covered(&self) {
        self.uncovered.store(false, Ordering::Release);
    }

    /// The tail was read after the wait in which everything that was on its way has arrived or was dropped.
    pub fn waited_out(&self) {
        self.has_run.store(true, Ordering::Release);
        self.unanswered.store(false, Ordering::Release);
        self.earlier.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::NodeId;

    use super::*;

    #[test]
    fn begins_with_what_the_ownership_before_left() {
        for (predecessor, left) in [
            (Predecessor::Nobody, OnItsWay::Nothing),
            (Predecessor::Released(NodeId(2)), OnItsWay::Nothing),
            (Predecessor::Ended(NodeId(2)), OnItsWay::Earlier),
        ] {
            assert_eq!(InFlight::after(predecessor).now(), left);
        }
    }

    #[test]
    fn an_answer_says_nothing_of_what_others_sent_and_a_wait_of_everything() {
        let sends = InFlight::after(Predecessor::Ended(NodeId(2)));
        sends.begin();
        sends.refused();
        assert_eq!(sends.now(), OnItsWay::Earlier);
        sends.waited_out();
        assert_eq!(sends.now(), OnItsWay::Nothing);
        sends.begin();
        assert_eq!(sends.now(), OnItsWay::Own);
        sends.waited_out();
        assert_eq!(sends.now(), OnItsWay::Nothing);
    }

    #[test]
    fn what_was_acknowledged_has_to_be_covered_by_progress() {
        let sends = InFlight::after(Predecessor::Nobody);
        sends.begin();
        sends.stored();
        assert_eq!(sends.now(), OnItsWay::Uncovered);
        sends.begin();
        assert_eq!(sends.now(), OnItsWay::Own);
        sends.refused();
        assert_eq!(sends.now(), OnItsWay::Uncovered, "that is about the send before");
        sends.waited_out();
        assert_eq!(sends.now(), OnItsWay::Uncovered, "the tail was read, and nobody has counted on it yet");
        sends.covered();
        assert_eq!(sends.now(), OnItsWay::Nothing);
        assert!(!sends.is_covered_by_the_checkpoint(), "that may be older than progress");
        assert!(InFlight::after(Predecessor::Released(NodeId(2))).is_covered_by_the_checkpoint());
        let earlier = InFlight::after(Predecessor::Ended(NodeId(2)));
        assert!(!earlier.is_covered_by_the_checkpoint());
        earlier.waited_out();
        assert!(!earlier.is_covered_by_the_checkpoint(), "what the tail showed is not agreed on");
    }
}
