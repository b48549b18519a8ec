//! Finds the queues of every running stream and adds those that are new.
//!
//! Each stream is looked at when it appears or one of its instances changes, and then every interval; after a failure
//! sooner, with a pause that doubles. What keeps a stream from getting any partition is shown as the stream's condition
//! and heals by itself; once it has partitions, they show what keeps them from running, and that new queues are not
//! found is a note on the stream. [`discover`] is the loop, [`Discovery`] the actor that owns its life,
//! [`schedule`](super::schedule) decides when, [`topic`](super::topic) talks to the instances,
//! [`queue_mapping`](super::queue_mapping) decides what maps to what. Never removes a partition: a queue that is not in
//! a route may only be away for a while.
//!
//! Every node looks, not only the leader: each shows what it finds on its own status, a leader may stand where an
//! instance cannot be reached, and nothing has to be handed over when leadership changes. What several nodes find is
//! added once, because a partition that is there already is left as it is.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use causeway_core::command::Command;
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::{StreamId, Timestamp};
use causeway_core::outcome::Outcome;
use causeway_core::partition::QueueId;
use causeway_core::state::State;
use causeway_core::stream::{DesiredState, Stream};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock;
use crate::connect::{Error, Instances, Purpose};
use crate::status::{Condition, RunState, StatusBoard};
use crate::supervisor::lifeline::Lifeline;
use crate::supervisor::proposer::Proposer;
use crate::supervisor::queue_mapping::map_new;
use crate::supervisor::schedule::Schedule;
use crate::supervisor::topic::{Trouble, source_queues, target_queues};
use crate::supervisor::view_changes::view_changes;

/// Changes of the agreed state within this time are looked at once.
const PAUSE: Duration = Duration::from_millis(20);

/// How many streams are looked at together.
const TOGETHER: usize = 8;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What discovery works with.
#[derive(Clone)]
pub struct Discovering<P> {
    /// Agrees on new partitions.
    pub proposer: P,
    /// Clients of the streams' ends.
    pub instances: Arc<Instances>,
    /// Where a stream's condition is shown.
    pub board: Arc<StatusBoard>,
    /// Between two looks at a stream.
    pub interval: Duration,
}

/// Looks at streams until the cluster's handle is gone.
pub async fn discover<P: Proposer>(discovering: Discovering<P>) {
    let mut changes = pin!(view_changes(discovering.proposer.watch(), PAUSE));
    let mut schedule = Schedule::new(discovering.interval);
    let mut looks = FuturesUnordered::new();
    loop {
        let room = TOGETHER.saturating_sub(looks.len());
        for stream in schedule.begin(Instant::now(), room) {
            looks.push(look(discovering.clone(), stream));
        }
        let wake = schedule.next_due().unwrap_or_else(|| Instant::now() + discovering.interval);
        tokio::select! {
            changed = changes.next() => {
                if changed.is_none() { return }
                for gone in schedule.follow(&discovering.proposer.view(), Instant::now()) {
                    discovering.board.set_stream(gone, None);
                }
            }
            Some((stream, trouble)) = looks.next() => {
                let news = schedule.finish(stream, trouble.is_none(), Instant::now());
                show(&discovering, stream, trouble, news);
            }
            () = sleep_until(wake), if looks.len() < TOGETHER => {}
        }
    }
}

fn show<P: Proposer>(discovering: &Discovering<P>, stream: StreamId, trouble: Option<Trouble>, news: bool) {
    let view = discovering.proposer.view();
    let Some(agreed) = view.stream_by_id(stream).filter(|agreed| agreed.desired == DesiredState::Running) else {
        // Paused or deleted during the look: nobody would take the condition back.
        return;
    };
    if let Some(Trouble { code, why }) = trouble.as_ref().filter(|_| news) {
        tracing::warn!(stream = %agreed.spec.name, %code, %why, "the queues of a stream cannot be looked for");
    }
    let has_partitions = view.partitions_of(stream).next().is_some();
    let condition = trouble.map(|trouble| condition_of(trouble, has_partitions, clock::now()));
    discovering.board.set_stream(stream, condition);
}

/// Trouble blocks a stream that has no partition. Beside partitions it is only a note: they go on without it.
fn condition_of(Trouble { code, why }: Trouble, has_partitions: bool, since: Timestamp) -> Condition {
    if has_partitions {
        let why = format!("new queues of its source topic cannot be found: {why}");
        return Condition { state: RunState::Running, since, why: Some(why), code: None };
    }
    Condition { state: RunState::Blocked, since, why: Some(why), code: Some(code) }
}

async fn look<P: Proposer>(discovering: Discovering<P>, stream: StreamId) -> (StreamId, Option<Trouble>) {
    let view = discovering.proposer.view();
    let Some(agreed) = view.stream_by_id(stream).cloned() else { return (stream, None) };
    let trouble = match timeout(PATIENCE, find(&discovering, &view, &agreed)).await {
        Ok(found) => found.err(),
        Err(_) => {
            let why = format!("looking for the queues of its topics took longer than {PATIENCE:?}");
            Some(Trouble { code: ErrorCode::TimedOut, why })
        }
    };
    if let Some(trouble) = &trouble {
        for end in [&agreed.spec.source, &agreed.spec.target] {
            discovering.instances.forget_refused(&end.instance, trouble.code);
        }
    }
    (stream, trouble)
}

async fn find<P: Proposer>(discovering: &Discovering<P>, view: &State, stream: &Stream) -> Result<(), Trouble> {
    let (source, target) = (&stream.spec.source, &stream.spec.target);
    let unusable = |error: Error| Trouble { code: error.code(), why: error.to_string() };
    let source_client = discovering.instances.connect(&source.instance, Purpose::Look).await.map_err(unusable)?;
    let target_client = discovering.instances.connect(&target.instance, Purpose::Look).await.map_err(unusable)?;
    let known: BTreeSet<QueueId> = view.partitions_of(stream.id).map(|(id, _)| id.source.clone()).collect();
    let source_brokers: BTreeSet<&str> = known.iter().map(|queue| queue.broker.as_str()).collect();
    let partitions = view.partitions_of(stream.id);
    let target_brokers: BTreeSet<&str> = partitions.map(|(_, partition)| partition.target.broker.as_str()).collect();
    let queues = source_queues(&source_client, source, &source_brokers).await?;
    let copied = view.partitions_of(stream.id).any(|(_, partition)| partition.checkpoint.is_some());
    let like = (&source_client, source, queues.len());
    let places = target_queues(&target_client, target, &target_brokers, like, !copied).await?;
    let new = map_new(&known, &queues, &places);
    if new.is_empty() {
        return Ok(());
    }
    tracing::info!(stream = %stream.spec.name, queues = new.len(), "new source queues");
    let command = Command::AddPartitions { stream: stream.id, partitions: new };
    match discovering.proposer.propose(command).await {
        Ok(Outcome::Refused(refusal)) => tracing::info!(stream = %stream.spec.name, %refusal, "new queues refused"),
        Ok(_) => {}
        Err(error) => {
            let why = format!("its new queues could not be agreed on: {error}");
            return Err(Trouble { code: ErrorCode::Unavailable, why });
        }
    }
    Ok(())
}

/// The actor that runs [`discover`].
pub struct Discovery<P> {
    discovering: Discovering<P>,
    _lifeline: Lifeline,
}

impl<P: Proposer> Discovery<P> {
    /// A discovery that begins when it is started.
    #[must_use]
    pub fn new(discovering: Discovering<P>, lifeline: Lifeline) -> Self {
        Self { discovering, _lifeline: lifeline }
    }
}

impl<P: Proposer> Actor for Discovery<P> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let loop_ = discover(self.discovering.clone());
        context.spawn(loop_.into_actor(self).map(|(), _, context| context.stop()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_blocks_a_stream_without_partitions_and_is_a_note_beside_them() {
        let trouble = || Trouble { code: ErrorCode::Unreachable, why: "hohhot:9876 is unreachable".to_owned() };
        let alone = condition_of(trouble(), false, Timestamp(1));
        assert_eq!((alone.state, alone.code), (RunState::Blocked, Some(ErrorCode::Unreachable)));
        let beside = condition_of(trouble(), true, Timestamp(1));
        assert_eq!((beside.state, beside.code), (RunState::Running, None));
        assert!(beside.why.is_some_and(|why| why.ends_with("hohhot:9876 is unreachable")));
    }
}
