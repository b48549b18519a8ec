//! Copies one source queue until it must stop.
//!
//! ```text
//! begin: the first checkpoint is durable before the first send
//!   '-> resume: settle, read the target's tail, seek the source behind the last copy <--+
//!         '-> copy: read > filter > transform > send > record --- interrupted ----------+
//! ```
//!
//! The only loop that turns source messages into target messages. Every interruption takes the path of a restart.

use std::convert::Infallible;
use std::future::Future;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway_core::checkpoint::Checkpoint;
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::{Fault, Resolution};
use causeway_core::ids::{InstanceIdentity, RuleVersion};
use causeway_core::partition::{Partition, PartitionId, ResolvedFault};
use causeway_core::provenance::{Stamp, StreamKey};
use causeway_core::stream::StreamSpec;
use causeway_rules::tag::TagExpression;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::batching::{Batcher, Limits};
use super::budget::{Charge, ReadAheadBudget};
use super::buffers::Buffers;
use super::condition::Condition;
use super::durability::Recorder;
use super::exit::PartitionExit;
use super::fetch::Reading;
use super::filter::Filter;
use super::in_flight::InFlight;
use super::ports::{Sink, Source};
use super::progress::ProgressCell;
use super::resume::{Cause, Findings, Known, Look};
use super::settings::ReplicateSettings;
use super::settle::SettleMode;
use super::sink::{Interruption, Writer, Writing};
use super::source::Reader;
use super::start::first_place;
use super::stop::StopSignal;
use super::tail::{Halt, OwnCopies};
use super::transform::Transform;
use super::trouble::Trouble;
use crate::lease::Tenure;
use crate::status::PartitionGauge;

/// What a target takes when its broker does not tell: Apache's default `maxMessageSize`.
const USUAL_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// A send never asks more of the target than this, whatever it says, so that a frame stays below RocketMQ's 16 MiB.
const LARGEST_MESSAGE_BYTES: usize = 15 * 1024 * 1024;

/// Agreements take a disk barrier or two; one that takes longer than this is shown.
const USUAL_AGREEMENT: Duration = Duration::from_secs(5);

/// One run of a partition, apart from its two ends.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) id: PartitionId,
    pub(super) stream: StreamKey,
    pub(super) rule_version: RuleVersion,
    pub(super) spec: Arc<StreamSpec>,
    pub(super) partition: Partition,
    pub(super) source_identity: InstanceIdentity,
    pub(super) target_identity: InstanceIdentity,
    pub(super) gauge: Arc<PartitionGauge>,
    pub(super) progress: Arc<ProgressCell>,
    pub(super) budget: Arc<ReadAheadBudget>,
    pub(super) buffers: Arc<Buffers>,
    pub(super) target_lock: Arc<Mutex<()>>,
    pub(super) stop: StopSignal,
    pub(super) lease: Tenure,
    pub(super) in_flight: Arc<InFlight>,
    pub(super) settings: Arc<ReplicateSettings>,
}

/// Copies until it must stop.
pub(super) async fn run<S: Source, K: Sink>(run: Run, source: S, sink: K) -> PartitionExit {
    let opened = async { Pipeline::begin(run, source, sink).await?.copy_until_it_ends().await };
    match opened.await {
        Err(exit) => exit,
    }
}

struct Pipeline<S, K> {
    run: Run,
    own: OwnCopies,
    condition: Arc<Condition>,
    source: Reader<S>,
    batcher: Batcher,
    sink: Writer<K>,
    recorder: Recorder,
}

impl<S: Source, K: Sink> Pipeline<S, K> {
    async fn copy_until_it_ends(&mut self) -> Result<Infallible, PartitionExit> {
        let mut cause = Cause::Start;
        loop {
            self.resume(cause).await?;
            let interrupted = self.copy().await;
            // Until copying goes on nobody listens to the source.
            self.run.gauge.source_left();
            cause = match interrupted {
                Err(Interruption::Resume(cause)) => cause,
                Err(Interruption::OneByOne(below)) => {
                    self.batcher.one_by_one_below(below);
                    Cause::Connection
                }
                Err(Interruption::Exit(exit)) => return Err(self.leave(exit).await),
            };
        }
    }

    async fn copy(&mut self) -> Result<Infallible, Interruption> {
        loop {
            let ready = tokio::select! {
                biased;
                // Contiguous and undamaged; filtered, transformed and packed when they arrive.
                ready = self.run.stop.unless_stopped(self.source.next(&mut self.batcher)) => ready??,
                interruption = self.sink.watch(&self.run.lease) => return Err(interruption),
            };
            let began = Instant::now();
            // One in flight, and only under the lease.
            let write = self.sink.write(&ready, &self.run.lease);
            let ack = beside(write, self.source.read_ahead(&mut self.batcher)).await?;
            self.source.sent_within(began.elapsed());
            self.recorder.record(&ready, ack); // advances by the durability policy, even if all were left out
            self.tell_what_is_covered();
            self.source.release(ready.source_bytes);
            self.batcher.give_back(ready);
            self.show();
        }
    }

    /// Reads the target's tail and seeks the source behind the last copy.
    async fn resume(&mut self, cause: Cause) -> Result<(), PartitionExit> {
        let stop = self.run.stop.clone();
        let settings = Arc::clone(&self.run.settings);
        let settle_mode = SettleMode::before(&self.run.in_flight, settings.takeover);
        if cause == Cause::Start {
            let settles = self.run.partition.checkpoint.is_some();
            self.condition.starting(settle_mode.why().filter(|_| settles));
        }
        let known = Known {
            durable: self.recorder.durable().clone(),
            reached: self.recorder.reached().clone(),
            verified: self.sink.verified_connection(),
            complete_to: self.sink.complete_to(),
            watches: self.sink.watches(),
            had_owner: self.run.partition.checkpoint.is_some(),
            settle_mode,
            passed_over: passed_over(&self.run.partition),
        };
        let mut look = Look::new(cause, known);
        let mut findings = Findings::default();
        let looked_at = Instant::now();
        let (connection, resumed) = loop {
            let (began, read_to) = (Instant::now(), look.read_to());
            match stop.unless_stopped(look.attempt(&self.sink.sink, &self.own, &settings)).await? {
                Ok(looked) => break looked,
                // One that got somewhere is no failure before it failed.
                Err(Halt::Trouble(trouble)) => {
                    findings = Findings::default();
                    let began = if look.read_to() > read_to { Instant::now() } else { began };
                    self.sink.wait_since(began, &trouble).await?;
                }
                Err(Halt::Unreadable(fault)) => {
                    let trouble = Trouble::new(ErrorCode::InstanceRefused, fault.to_string());
                    let exit = PartitionExit::Fault(fault);
                    let is_confirmed = findings.confirm(&exit, settings.confirmations);
                    match self.sink.wait(&trouble).await {
                        Err(PartitionExit::SinkLost { .. }) if is_confirmed => return Err(self.leave(exit).await),
                        waited => waited?,
                    }
                }
                Err(Halt::Exit(exit)) => {
                    if findings.confirm(&exit, settings.confirmations) {
                        self.run.gauge.zombie_writes.fetch_add(look.left_behind(), Ordering::Relaxed);
                        return Err(self.leave(exit).await);
                    }
                    stop.unless_stopped(sleep(settings.confirmation_wait)).await?;
                }
            }
        };
        if matches!(cause, Cause::Start | Cause::Unknown) {
            // This run relies on it from here on, and so may the next.
            self.run.in_flight.waited_out();
        }
        self.recorder.resumed(&resumed, cause);
        self.tell_what_is_covered();
        self.sink.verified(connection, &resumed, cause);
        self.sink.looked(looked_at).await;
        if cause != Cause::Connection || self.source.position(&self.batcher) != resumed.source_next {
            self.batcher.restart(resumed.behind_last_copy());
            let [boundary, older] = resumed.boundaries;
            self.source.seek(resumed.source_next, boundary, older);
        }
        if self.recorder.waits() {
            // The source's silence does not end an outage of the target while copies wait for durability.
            self.show();
        }
        Ok(())
    }

    /// Leaves with an exit. One that is followed by a decision waits until the progress of this run is agreed on,
    /// because the decision is measured against that: the cluster's about a rewind always, an operator's about a fault
    /// as long as a failure is waited for. A run that is asked to stop meanwhile leaves the finding to the next.
    async fn leave(&self, exit: PartitionExit) -> PartitionExit {
        if matches!(exit, PartitionExit::TargetRewound { .. } | PartitionExit::Fault(_)) {
            // What is decided may take progress back.
            self.run.in_flight.uncovered();
        }
        let waited = match &exit {
            PartitionExit::TargetRewound { .. } => self.agree_on_progress().await,
            PartitionExit::Fault(fault) => {
                let agreed = timeout(self.run.settings.patience, self.agree_on_progress()).await;
                agreed.unwrap_or_else(|_| {
                    tracing::warn!(%fault, "what was copied before a fault is not agreed on");
                    Ok(())
                })
            }
            _ => Ok(()),
        };
        waited.err().unwrap_or(exit)
    }

    /// Whoever goes on need not wait for what progress counts on.
    fn tell_what_is_covered(&self) {
        if !self.recorder.waits() {
            self.run.in_flight.covered();
        }
    }

    /// Waits until the progress of this run is agreed on.
    async fn agree_on_progress(&self) -> Result<(), PartitionExit> {
        match self.run.progress.newest() {
            Some(newest) => agreed(&self.run, &self.condition, &newest).await,
            None => Ok(()),
        }
    }

    fn show(&mut self) {
        let waits = self.recorder.waits();
        self.source.held_back = waits;
        let at_end = self.source.is_at_end(&self.batcher);
        if at_end && !self.source.reads_slave() {
            self.recorder.at_end();
        }
        self.condition.flowing(self.source.backlog(self.recorder.reached_next()), waits);
    }

    /// Makes the pipeline. Without a checkpoint, the first one is found and agreed on here, before anything is sent.
    async fn begin(run: Run, source: S, sink: K) -> Result<Self, PartitionExit> {
        let tags = TagExpression::parse(&run.spec.tag_expression).map_err(|error| {
            PartitionExit::source_lost(Trouble::new(ErrorCode::InvalidFilter, format!("the tag expression: {error}")))
        })?;
        let seed = seed(&run);
        let condition = Arc::new(Condition::new(Arc::clone(&run.gauge)));
        condition.starting(None);
        let (incarnation, from) = (run.partition.source_incarnation, run.id.source.clone());
        let own = OwnCopies { stream: run.stream, source: from.clone(), incarnation };
        let mut writer = Writer::new(
            sink.clone(),
            Writing {
                turn: Arc::clone(&run.target_lock),
                own: own.clone(),
                settings: Arc::clone(&run.settings),
                condition: Arc::clone(&condition),
                gauge: Arc::clone(&run.gauge),
                stop: run.stop.clone(),
                in_flight: Arc::clone(&run.in_flight),
                queue: run.partition.target.queue,
                had_owner: run.partition.checkpoint.is_some(),
                seed,
            },
        );
        let message_bytes = loop {
            match run.stop.unless_stopped(sink.message_limit()).await? {
                Ok(told) => break told.unwrap_or(USUAL_MESSAGE_BYTES).min(LARGEST_MESSAGE_BYTES),
                Err(trouble) => writer.wait(&trouble).await?,
            }
        };
        let checkpoint = match run.partition.checkpoint.clone() {
            Some(known) => Checkpoint { epoch: run.partition.epoch, rule_version: run.rule_version, ..known },
            None => {
                let first = first_checkpoint(&run, &source, &sink, &own, &mut writer).await?;
                agreed(&run, &condition, &first).await?;
                tracing::info!(source_next = first.source_next, "copying begins");
                first
            }
        };
        let stamp = |topic: &str| {
            let epoch = run.partition.epoch;
            Stamp::new(run.stream, epoch, run.source_identity, &from.broker, topic, from.queue, incarnation)
        };
        let limits = Limits {
            batch_bytes: run.settings.batch_bytes,
            batch_messages: run.settings.batch_messages.max(1),
            message_bytes,
            born_timestamp: run.spec.run.born_timestamp,
        };
        let filter = Filter::new(tags, run.target_identity);
        let transform = Transform::new(&run.spec.source.topic, stamp);
        let reading = Reading { source, settings: Arc::clone(&run.settings), condition: Arc::clone(&condition), seed };
        let charge = Charge::new(Arc::clone(&run.budget), Arc::clone(&run.gauge));
        let (progress, gauge) = (Arc::clone(&run.progress), Arc::clone(&run.gauge));
        Ok(Self {
            own,
            condition,
            source: Reader::new(Arc::new(reading), Arc::clone(&run.gauge), charge),
            batcher: Batcher::new(filter, transform, limits, Arc::clone(&run.buffers)),
            sink: writer,
            recorder: Recorder::new(run.spec.run.durability, progress, gauge, checkpoint),
            run,
        })
    }
}

/// Finds the first place, and leaves it to be agreed on.
async fn first_checkpoint<S: Source, K: Sink>(
    run: &Run,
    source: &S,
    sink: &K,
    own: &OwnCopies,
    writer: &mut Writer<K>,
) -> Result<Checkpoint, PartitionExit> {
    let place = loop {
        let looked = first_place(source, sink, own, run.partition.start, &run.settings);
        match run.stop.unless_stopped(looked).await? {
            Ok(place) => break place,
            Err(PartitionExit::SourceLost { code, why }) => {
                writer.wait_for_source(&Trouble::new(code, why)).await?;
            }
            Err(PartitionExit::SinkLost { code, why }) => writer.wait(&Trouble::new(code, why)).await?,
            Err(other) => return Err(other),
        }
    };
    let checkpoint = Checkpoint {
        epoch: run.partition.epoch,
        rule_version: run.rule_version,
        source_next: place.source_next,
        target_next: place.target_next,
        source_incarnation: run.partition.source_incarnation,
        target_incarnation: run.partition.target_incarnation,
        fingerprint: None,
        last_copy: place.last_copy,
    };
    run.progress.store(checkpoint.clone());
    Ok(checkpoint)
}

/// Waits until progress of this run is agreed on, for as long as it takes, and shows it when it takes long.
async fn agreed(run: &Run, condition: &Condition, progress: &Checkpoint) -> Result<(), PartitionExit> {
    let mut agreement = pin!(run.progress.wait_committed(progress));
    if run.stop.unless_stopped(timeout(USUAL_AGREEMENT, agreement.as_mut())).await?.is_ok() {
        return Ok(());
    }
    condition.blocked(&Trouble::new(ErrorCode::Unavailable, "the cluster has not agreed on the progress for a while"));
    run.stop.unless_stopped(agreement).await
}

/// The damaged records that somebody decided to pass over after they were copied, or instead.
fn passed_over(partition: &Partition) -> Vec<i64> {
    let damaged = partition.resolved.iter().filter(|past| past.resolution == Resolution::Skip);
    let offset = |past: &ResolvedFault| match past.fault {
        Fault::DamagedRecord { offset, .. } => Some(offset),
        _ => None,
    };
    damaged.filter_map(offset).collect()
}

/// Does something, and something else as long as that takes.
async fn beside<T>(work: impl Future<Output = T>, other: impl Future<Output = Infallible>) -> T {
    tokio::select! {
        biased;
        done = work => done,
        never = other => match never {},
    }
}

/// Differs from run to run of a partition, and is the same when a simulation repeats it.
fn seed(run: &Run) -> u64 {
    let mut hasher = DefaultHasher::new();
    run.id.hash(&mut hasher);
    run.partition.epoch.hash(&mut hasher);
    hasher.finish()
}
