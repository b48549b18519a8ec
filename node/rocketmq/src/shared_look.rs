//! One question that many ask at the same time.
//!
//! Whoever asks gets an answer to a question that was put after that: an older one may not show what the asker did
//! before. Who comes while a question is under way therefore waits for the next one, and shares it with everybody else
//! who came meanwhile. So any number of askers cost two answers' time.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// The way to one question's answers.
pub(crate) struct SharedLook<T> {
    /// How many have come so far.
    came: AtomicU64,
    latest: Mutex<Option<Latest<T>>>,
}

struct Latest<T> {
    /// How many had come when it was asked for: it is good for all of them.
    good_for: u64,
    answer: T,
}

impl<T> Default for SharedLook<T> {
    fn default() -> Self {
        Self { came: AtomicU64::new(0), latest: Mutex::default() }
    }
}

impl<T: Clone> SharedLook<T> {
    /// The answer to a question that is put after this call. May be given up at any time: the next one asks then.
    pub(crate) async fn ask(&self, question: impl Future<Output = T>) -> T {
        let number = self.came.fetch_add(1, Ordering::SeqCst);
        let mut latest = self.latest.lock().await;
        if let Some(latest) = latest.as_ref().filter(|latest| number < latest.good_for) {
            return latest.answer.clone();
        }
        let good_for = self.came.load(Ordering::SeqCst);
        let answer = question.await;
        *latest = Some(Latest { good_for, answer: answer.clone() });
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    const TIME: Duration = Duration::from_millis(250);

    /// Asks; the answer says when its question was put.
    async fn asked(look: &SharedLook<Instant>, questions: &AtomicUsize) -> Instant {
        let question = async {
            questions.fetch_add(1, Ordering::SeqCst);
            let put = Instant::now();
            sleep(TIME).await;
            put
        };
        look.ask(question).await
    }

    #[tokio::test(start_paused = true)]
    async fn many_askers_share_answers_and_none_gets_one_to_an_older_question() {
        let (look, questions) = (Arc::new(SharedLook::default()), Arc::new(AtomicUsize::new(0)));
        let began = Instant::now();
        let askers = (0..100_u64).map(|number| {
            let (look, questions) = (Arc::clone(&look), Arc::clone(&questions));
            tokio::spawn(async move {
                sleep(Duration::from_millis(number % 10)).await;
                let came = Instant::now();
                assert!(asked(&look, &questions).await >= came, "what was asked before may not show what came since");
            })
        });
        for asker in askers.collect::<Vec<_>>() {
            asker.await.unwrap();
        }
        assert_eq!(questions.load(Ordering::SeqCst), 2);
        assert_eq!(began.elapsed(), TIME * 2);
        asked(&look, &questions).await;
        assert_eq!(questions.load(Ordering::SeqCst), 3, "a later asker asks again");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_leaves_the_question_to_the_next() {
        let (look, questions) = (SharedLook::default(), AtomicUsize::new(0));
        let gives_up = timeout(TIME / 2, asked(&look, &questions));
        let (given_up, answered) = tokio::join!(gives_up, asked(&look, &questions));
        assert!(given_up.is_err());
        assert_eq!(questions.load(Ordering::SeqCst), 2);
        assert!(answered.elapsed() >= TIME);
    }
}
