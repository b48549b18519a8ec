//! Which slave the master of a queue wants to be read in its place, as it does for data that left its memory.
//!
//! Parts: [`Suggestions`]. Only what a master says sends a reader to a slave; a slave that has nothing more, or that
//! sends the reader back, is left for [`LEFT_ALONE`]. Each of them judges by its own memory and its own end, so without
//! that wait two that disagree would pass the reader to and fro, and every change costs a look at the boundary.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::route::{MASTER_ID, Queue};

/// How long a queue's slaves are not read after one of them was left.
const LEFT_ALONE: Duration = Duration::from_secs(5);

/// What is known of each queue. One entry for each that has a suggestion or had one.
#[derive(Default)]
pub(crate) struct Suggestions {
    known: Mutex<HashMap<Queue, Suggestion>>,
}

#[derive(Clone, Copy)]
enum Suggestion {
    Slave(u64),
    LeftAloneUntil(Instant),
}

impl Suggestions {
    /// The broker id of the slave that is to be read.
    pub(super) fn slave(&self, queue: &Queue) -> Option<u64> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(queue) {
            Some(Suggestion::Slave(id)) => Some(*id),
            Some(Suggestion::LeftAloneUntil(_)) | None => None,
        }
    }

    /// The queue's master answered and named the broker to be read next.
    pub(super) fn heard(&self, queue: &Queue, id: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(queue) {
            Some(Suggestion::LeftAloneUntil(until)) if Instant::now() < *until => {}
            _ if id == MASTER_ID => {
                known.remove(queue);
            }
            _ => {
                known.insert(queue.clone(), Suggestion::Slave(id));
            }
        }
    }

    /// The suggested slave had nothing, could not be asked, sent the reader back, or showed what its master has to
    /// confirm.
    pub(super) fn leave(&self, queue: &Queue) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(queue.clone(), Suggestion::LeftAloneUntil(Instant::now() + LEFT_ALONE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slave_that_was_left_is_not_read_again_for_a_while() {
        let suggestions = Suggestions::default();
        let queue = |id| Queue { topic: "t".into(), broker: "b".into(), id };
        suggestions.heard(&queue(0), 1);
        suggestions.heard(&queue(1), 2);
        assert_eq!((suggestions.slave(&queue(0)), suggestions.slave(&queue(1))), (Some(1), Some(2)));
        suggestions.heard(&queue(1), MASTER_ID);
        suggestions.leave(&queue(0));
        suggestions.heard(&queue(0), 1);
        assert_eq!((suggestions.slave(&queue(0)), suggestions.slave(&queue(1))), (None, None));
        tokio::time::advance(LEFT_ALONE).await;
        assert_eq!(suggestions.slave(&queue(0)), None, "nobody asked for it since");
        suggestions.heard(&queue(0), 1);
        assert_eq!(suggestions.slave(&queue(0)), Some(1));
    }
}
