//! Carries progress into the agreed state: one proposal for all partitions, at most ten a second.
//!
//! [`keep`] is the loop; [`CheckpointKeeper`] is the actor that owns its life. A proposal costs one disk barrier
//! whatever it carries, so everything that changed goes into one. Never reports a checkpoint that the pipeline did not,
//! and never has two proposals under way, so reports reach the state machine in order.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::outcome::Outcome;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::clock;
use crate::supervisor::lifeline::Lifeline;
use crate::supervisor::progress_board::ProgressBoard;
use crate::supervisor::proposer::Proposer;

/// The shortest time between two proposals.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// The pause after a proposal that was not agreed on.
const RETRY: Duration = Duration::from_secs(1);

/// How many partitions one proposal reports. Bounds the size of a log entry; the others go first in the next.
pub const MAXIMUM_REPORTS: usize = 1_000;

/// How long a proposal may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a keeper works with.
#[derive(Debug, Clone)]
pub struct Keeping<P> {
    /// This node.
    pub me: NodeId,
    /// Agrees on progress.
    pub proposer: P,
    /// Where progress is found.
    pub progress: Arc<ProgressBoard>,
    /// Between two proposals; not shorter than [`SHORTEST_INTERVAL`].
    pub interval: Duration,
}

/// What became of one look for progress.
enum Round {
    /// There was nothing to report.
    Idle,
    /// Everything that there was is agreed on.
    Agreed,
    /// As much as one proposal carries is agreed on.
    Full,
    /// It is not known to be agreed on.
    Failed,
}

/// Reports progress until `stop` is true or its sender is gone, then reports what is left.
///
/// Looks once in each interval, and at once when a run waits for an agreement.
pub async fn keep<P: Proposer>(keeping: Keeping<P>, mut stop: watch::Receiver<bool>) {
    let mut next_proposal = Instant::now();
    let mut next_look = next_proposal + keeping.interval;
    while !*stop.borrow() {
        let awaited = async {
            keeping.progress.awaited().await;
            sleep_until(next_proposal).await;
        };
        tokio::select! {
            biased;
            () = sleep_until(next_look) => {}
            () = awaited => {}
            changed = stop.changed() => {
                if changed.is_err() { break }
                continue;
            }
        }
        let looked = Instant::now();
        let (proposal, look) = match round(&keeping).await {
            Round::Idle => (Duration::ZERO, keeping.interval),
            Round::Agreed => (SHORTEST_INTERVAL, keeping.interval),
            Round::Full => (SHORTEST_INTERVAL, SHORTEST_INTERVAL),
            Round::Failed => (RETRY, RETRY),
        };
        next_proposal = next_proposal.max(looked + proposal);
        next_look = next_proposal.max(looked + look);
    }
    while !keeping.progress.is_clean() {
        if !matches!(round(&keeping).await, Round::Agreed | Round::Full) {
            sleep(SHORTEST_INTERVAL).await;
        }
    }
}

/// One proposal, unless there is nothing to report.
async fn round<P: Proposer>(keeping: &Keeping<P>) -> Round {
    let progress = keeping.progress.collect(MAXIMUM_REPORTS);
    if progress.is_empty() {
        return Round::Idle;
    }
    let reports = progress.len();
    let command = Command::RecordProgress { node: keeping.me, progress };
    match timeout(PATIENCE, keeping.proposer.propose(command)).await {
        Ok(Ok(Outcome::Recorded { .. })) => {
            let view = keeping.proposer.view();
            for partition in keeping.progress.settle(&view, clock::now()) {
                let stream = view.stream_by_id(partition.stream).map(|stream| stream.spec.name.as_str());
                let epoch = view.partitions.get(&partition).map(|agreed| agreed.epoch.0);
                tracing::info!(
                    stream, %partition, epoch,
                    "progress was refused: another ownership is current, or it was behind what was agreed"
                );
            }
            return if reports < MAXIMUM_REPORTS { Round::Agreed } else { Round::Full };
        }
        Ok(Ok(other)) => tracing::error!(?other, "progress was answered with something else"),
        Ok(Err(error)) => tracing::warn!(%error, reports, "progress was not agreed on; it is reported again"),
        Err(_) => {
            tracing::warn!(reports, "progress was not agreed on within {PATIENCE:?}; it is reported again");
        }
    }
    keeping.progress.failed();
    Round::Failed
}

/// The actor that runs [`keep`].
pub struct CheckpointKeeper<P> {
    keeping: Keeping<P>,
    stop: watch::Sender<bool>,
    /// True when the loop has ended.
    ended: watch::Sender<bool>,
    _lifeline: Lifeline,
}

/// Ends the keeper after everything that is left was reported. Answers with a receiver that turns true then.
#[derive(Debug, Message)]
#[rtype(result = "watch::Receiver<bool>")]
pub struct Flush;

impl<P: Proposer> CheckpointKeeper<P> {
    /// A keeper that begins when it is started.
    #[must_use]
    pub fn new(keeping: Keeping<P>, lifeline: Lifeline) -> Self {
        Self { keeping, stop: watch::Sender::new(false), ended: watch::Sender::new(false), _lifeline: lifeline }
    }
}

impl<P: Proposer> Actor for CheckpointKeeper<P> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let loop_ = keep(self.keeping.clone(), self.stop.subscribe());
        context.spawn(loop_.into_actor(self).map(|(), keeper, context| {
            keeper.ended.send_replace(true);
            context.stop();
        }));
    }
}

impl<P: Proposer> Handler<Flush> for CheckpointKeeper<P> {
    type Result = actix::MessageResult<Flush>;

    fn handle(&mut self, _: Flush, _: &mut Self::Context) -> Self::Result {
        self.stop.send_replace(true);
        actix::MessageResult(self.ended.subscribe())
    }
}
