//! The actor that owns the life of one run of a partition: it drives the pipeline and tells how it ended.
//!
//! The pipeline is a future that the actor is given; messages that are copied never pass through a mailbox. A run that
//! ended is never resumed: the next one is built from the agreed state. Never restarts itself, and never ends without
//! telling: a panic is caught and reported as one end among others.

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Message, Recipient, WrapFuture};
use causeway_core::partition::PartitionId;
use futures::future::LocalBoxFuture;
use tokio::task::JoinSet;

use crate::replicate::PartitionExit;

/// Makes the pipeline, on the thread that will run it.
pub type Work = Box<dyn FnOnce() -> LocalBoxFuture<'static, PartitionExit> + Send>;

/// A run ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RunEnded {
    /// The partition.
    pub partition: PartitionId,
    /// How.
    pub exit: PartitionExit,
}

/// One run of a partition.
pub struct PartitionActor {
    partition: PartitionId,
    work: Option<Work>,
    exit: Option<PartitionExit>,
    /// Used once, so its place in the mailbox is always free: each sender has one of its own.
    ended: Recipient<RunEnded>,
}

impl PartitionActor {
    /// A run that begins when the actor is started.
    #[must_use]
    pub fn new(partition: PartitionId, work: Work, ended: Recipient<RunEnded>) -> Self {
        Self { partition, work: Some(work), exit: None, ended }
    }
}

impl Actor for PartitionActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some(work) = self.work.take() else { return };
        // A task of its own, so that the mailbox is not looked at for every answer of a broker. It ends with this
        // future, and it catches panics; making the pipeline may panic as well as running it, so both happen inside.
        let run = async move {
            let mut task = JoinSet::new();
            task.spawn_local(async move { work().await });
            task.join_next().await
        };
        context.spawn(run.into_actor(self).map(|result, actor, context| {
            actor.exit = Some(result.and_then(Result::ok).unwrap_or(PartitionExit::Panicked));
            context.stop();
        }));
    }

    /// Runs after a panic of the actor itself too, and then there is no exit.
    fn stopped(&mut self, _: &mut Self::Context) {
        let exit = self.exit.take().unwrap_or(PartitionExit::Panicked);
        let ended = RunEnded { partition: self.partition.clone(), exit };
        if self.ended.try_send(ended).is_err() {
            tracing::debug!(partition = %self.partition, "a run ended after its supervisor");
        }
    }
}
