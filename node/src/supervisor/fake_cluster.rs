//! A cluster of one for the supervisor's tests: the real state machine, no Raft, failures on request.

use std::sync::{Arc, Mutex};

use causeway_core::command::Command;
use causeway_core::outcome::Outcome;
use causeway_core::state::State;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::supervisor::proposer::Proposer;
use crate::supervisor::testing::Replica;

/// Agrees at once on everything.
#[derive(Clone)]
pub(crate) struct FakeCluster {
    inner: Arc<Mutex<Inner>>,
    view: Arc<watch::Sender<Arc<State>>>,
}

struct Inner {
    replica: Replica,
    proposals: Vec<(Instant, Command)>,
    failures: usize,
}

impl FakeCluster {
    /// A cluster that agreed on this already.
    pub(crate) fn new(replica: Replica) -> Self {
        let view = Arc::new(watch::Sender::new(Arc::new(replica.state.clone())));
        let inner = Inner { replica, proposals: Vec::new(), failures: 0 };
        Self { inner: Arc::new(Mutex::new(inner)), view }
    }

    /// Changes what is agreed, as another proposer would.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Replica) -> T) -> T {
        let mut inner = self.inner.lock().unwrap();
        let answer = change(&mut inner.replica);
        self.view.send_replace(Arc::new(inner.replica.state.clone()));
        answer
    }

    /// The next so many proposals are applied, but answered with an error: their outcome is unknown.
    pub(crate) fn fail_next(&self, failures: usize) {
        self.inner.lock().unwrap().failures = failures;
    }

    /// Everything that was proposed, with the time.
    pub(crate) fn proposals(&self) -> Vec<(Instant, Command)> {
        self.inner.lock().unwrap().proposals.clone()
    }
}

impl Proposer for FakeCluster {
    type Error = &'static str;

    async fn propose(&self, command: Command) -> Result<Outcome, Self::Error> {
        tokio::task::yield_now().await;
        let outcome = self.change(|replica| replica.apply(command.clone()));
        let mut inner = self.inner.lock().unwrap();
        inner.proposals.push((Instant::now(), command));
        if inner.failures > 0 {
            inner.failures -= 1;
            return Err("the outcome is unknown");
        }
        Ok(outcome)
    }

    fn view(&self) -> Arc<State> {
        Arc::clone(&self.view.borrow())
    }

    fn watch(&self) -> watch::Receiver<Arc<State>> {
        self.view.subscribe()
    }
}
