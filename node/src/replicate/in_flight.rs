//! Whether something that was sent to a partition's target may still be on its way.
//!
//! ```text
//! Earlier --tail read after the wait--> Nothing --send--> Own --answered----------------+
//!                                          ^               '--no answer, wait, tail read-+
//!                                          +----------------------------------------------+
//! ```
//!
//! A cell outlives the runs of its partition in one process: it says what the next run waits for, and what an owner may
//! claim that lets go. Never says "nothing" of a send that was given up, dropped or ended by a panic.

use std::sync::atomic::{AtomicBool, Ordering};

use causeway_core::node::Predecessor;

/// What may still be on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnItsWay {
    /// Nothing: every send was answered, or waited out.
    Nothing,
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
}

impl InFlight {
    /// What an ownership finds that follows another one, before anything of it ran in this process.
    #[must_use]
    pub fn after(predecessor: Predecessor) -> Self {
        let earlier = matches!(predecessor, Predecessor::Ended(_));
        Self { earlier: AtomicBool::new(earlier), unanswered: AtomicBool::new(false) }
    }

    /// What may still be on its way now.
    #[must_use]
    pub fn now(&self) -> OnItsWay {
        if self.earlier.load(Ordering::Acquire) {
            OnItsWay::Earlier
        } else if self.unanswered.load(Ordering::Acquire) {
            OnItsWay::Own
        } else {
            OnItsWay::Nothing
        }
    }

    /// A send is about to begin. There is one at a time.
    pub fn begin(&self) {
        self.unanswered.store(true, Ordering::Release);
    }

    /// The send was answered: it is stored, or provably never will be.
    pub fn answered(&self) {
        self.unanswered.store(false, Ordering::Release);
    }

    /// The tail was read after the wait in which everything that was on its way has arrived or was dropped.
    pub fn waited_out(&self) {
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
        sends.answered();
        assert_eq!(sends.now(), OnItsWay::Earlier);
        sends.waited_out();
        assert_eq!(sends.now(), OnItsWay::Nothing);
        sends.begin();
        assert_eq!(sends.now(), OnItsWay::Own);
        sends.waited_out();
        assert_eq!(sends.now(), OnItsWay::Nothing);
    }
}
