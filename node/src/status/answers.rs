//! Whether the source of a partition answers. Where it does not, it may hold more than was last seen of it.
//!
//! A broker holds an answer back until a message comes, for as long as it was asked to. So a question is overdue only
//! behind that time, and where nothing is asked, as while the target takes nothing, nothing is overdue.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Beyond the time that a source was asked to wait, its answer may be on its way for so long.
pub const ON_ITS_WAY: Duration = Duration::from_secs(3);

/// Nothing is asked.
const NOTHING: u64 = u64::MAX;

/// Questions to one source and their answers, in milliseconds since the first look.
#[derive(Debug)]
pub(super) struct SourceAnswers {
    began: Instant,
    /// When an answer came last; zero before the first.
    answered: AtomicU64,
    /// When the oldest question without an answer is overdue.
    due: AtomicU64,
}

impl SourceAnswers {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), answered: AtomicU64::new(0), due: AtomicU64::new(NOTHING) }
    }

    /// The source was asked to answer within this time. Asking again makes no answer of it.
    pub(super) fn ask(&self, within: Duration) {
        let due = self.now().saturating_add(milliseconds(within.saturating_add(ON_ITS_WAY)));
        // Whatever another thread stores meanwhile is as true.
        let _asked_before = self.due.compare_exchange(NOTHING, due, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn answered(&self) {
        self.answered.store(self.now(), Ordering::Relaxed);
        self.due.store(NOTHING, Ordering::Relaxed);
    }

    /// Nobody waits any more. What is overdue stays so until an answer comes.
    pub(super) fn give_up(&self) {
        if !self.is_overdue() {
            self.due.store(NOTHING, Ordering::Relaxed);
        }
    }

    pub(super) fn is_overdue(&self) -> bool {
        self.now() > self.due.load(Ordering::Relaxed)
    }

    /// Whether an answer came after a moment.
    pub(super) fn since(&self, moment: Instant) -> bool {
        let answered = self.began.checked_add(Duration::from_millis(self.answered.load(Ordering::Relaxed)));
        answered.is_some_and(|answered| answered > moment)
    }

    fn now(&self) -> u64 {
        milliseconds(self.began.elapsed())
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NOTHING)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const WAIT: Duration = Duration::from_secs(15);
    const MOMENT: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn a_question_is_overdue_behind_its_wait_until_an_answer_comes_however_often_it_is_asked() {
        let answers = SourceAnswers::new();
        answers.ask(WAIT);
        advance(WAIT + ON_ITS_WAY).await;
        assert!(!answers.is_overdue());
        answers.ask(WAIT);
        let before = Instant::now();
        advance(MOMENT).await;
        assert!(answers.is_overdue(), "the second question does not stand for an answer to the first");
        answers.give_up();
        answers.ask(WAIT);
        assert!(answers.is_overdue() && !answers.since(before));
        answers.answered();
        assert!(!answers.is_overdue() && answers.since(before) && !answers.since(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_asked_nothing_is_overdue() {
        let answers = SourceAnswers::new();
        advance(WAIT * 9).await;
        assert!(!answers.is_overdue());
        answers.ask(WAIT);
        answers.give_up();
        advance(WAIT * 9).await;
        assert!(!answers.is_overdue());
    }
}
