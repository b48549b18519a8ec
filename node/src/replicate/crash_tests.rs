//! Whatever happens between the two ends, every message arrives once and in order.
//!
//! A seeded script crashes the run at any await, leaves sends unanswered after all, some or none of a batch landed,
//! lets the target lose its tail, reconnect and be written to by others, and lets the source fail. The judge at the end
//! reads the two queues and nothing else. One law holds all the time: no checkpoint is ahead of what the target ever
//! held.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use causeway_core::checkpoint::Checkpoint;
use causeway_core::partition::Partition;
use causeway_core::stream::{BornTimestamp, Durability};
use proptest::prelude::*;
use tokio::task::yield_now;

use super::duplicates::in_turn;
use super::exit::PartitionExit;
use super::in_flight_tests::earlier;
use super::memory::{MemoryQueue, Message, message};
use super::memory_sink::{MemorySink, Step};
use super::pipeline::{Run, run};
use super::pipeline_tests::a_run;
use super::progress::ProgressCell;

/// One life of the process.
#[derive(Debug, Clone)]
struct Life {
    /// Polls of the run until the crash.
    polls: u32,
    /// Whether it is another process than that of the life before, so that nothing is known of its sends.
    is_other_process: bool,
    /// What the target does meanwhile.
    steps: Vec<Step>,
    /// Source reads that fail.
    failing: u32,
    /// Messages that arrive at the source before it.
    arriving: u64,
    /// How slowly the keeper takes and commits.
    keeper: (u32, u32),
    /// What happens to the target while nobody runs.
    meanwhile: Option<Step>,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Store),
        2 => Just(Step::Weak),
        2 => Just(Step::Busy),
        3 => (0_usize..60).prop_map(Step::Unknown),
        1 => Just(Step::Reconnect),
        2 => (1_usize..80).prop_map(Step::LoseTail),
        2 => (1_usize..5).prop_map(Step::Foreign),
        1 => (1_u64..4_000).prop_map(Step::ShowLater),
    ]
}

/// A target that goes back under the living connection. Others write only while nobody runs: a loss that they fill up
/// to the very offset goes unnoticed.
fn step_back() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (1_usize..60).prop_map(Step::GoBack),
        5 => step().prop_filter("others write", |step| !matches!(step, Step::Foreign(_))),
    ]
}

fn life(step: impl Strategy<Value = Step>) -> impl Strategy<Value = Life> {
    let meanwhile =
        prop::option::of(prop_oneof![(1_usize..80).prop_map(Step::LoseTail), (1_usize..100).prop_map(Step::Foreign),]);
    let keeper = (0_u32..25, 0_u32..25);
    let steps = prop::collection::vec(step, 0..12);
    (3_u32..120, any::<bool>(), steps, 0_u32..3, 0_u64..120, keeper, meanwhile).prop_map(
        |(polls, is_other_process, steps, failing, arriving, keeper, meanwhile)| Life {
            polls,
            is_other_process,
            steps,
            failing,
            arriving,
            keeper,
            meanwhile,
        },
    )
}

/// The source's messages are of all kinds; two of seven do not match the filter.
fn numbered(number: u64) -> Message {
    let tag = if number % 7 < 5 { "paid" } else { "open" };
    let mut message = message(number);
    message.properties = Bytes::from(format!("KEYS\x01{number}\x02TAGS\x01{tag}\x02"));
    message.reconsume_times = i32::from(number.is_multiple_of(31));
    if number.is_multiple_of(13) {
        message.body = Bytes::from(format!("{number} {}", "x".repeat(3_950)));
    }
    message
}

/// Ends a future after so many polls.
struct Crash<F> {
    inner: F,
    polls: u32,
}

impl<F: Future + Unpin> Future for Crash<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        Pin::new(&mut self.inner).poll(context).map(Some)
    }
}

/// What the cluster agreed on.
type Agreed = Arc<Mutex<Partition>>;

/// Carries progress to what is agreed, and refuses what the state machine would refuse.
async fn keep(cell: Arc<ProgressCell>, agreed: Agreed, slowness: (u32, u32), source: MemoryQueue, sink: MemorySink) {
    loop {
        for _ in 0..=slowness.0 {
            yield_now().await;
        }
        let Some(new) = cell.take_changed() else {
            // Virtual time moves only while everybody sleeps.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        if slowness.1.is_multiple_of(2) {
            for _ in 0..slowness.1 {
                yield_now().await;
            }
        } else {
            tokio::time::sleep(Duration::from_millis(u64::from(slowness.1) * 300)).await;
        }
        {
            let mut agreed = agreed.lock().unwrap();
            let old = agreed.checkpoint.as_ref();
            assert!(old.is_none_or(|old| new.source_next >= old.source_next), "{old:?} -> {new:?}");
            assert!(old.is_none_or(|old| new.target_next >= old.target_next), "{old:?} -> {new:?}");
            assert_eq!(new.epoch, agreed.epoch);
            let before = usize::try_from(new.source_next).unwrap();
            for record in source.records().iter().take(before).filter(|record| is_wanted(record.property("TAGS"))) {
                assert!(sink.ever_stored(&record.body), "the checkpoint {new:?} is ahead of the target");
            }
            agreed.checkpoint = Some(new.clone());
        }
        yield_now().await;
        cell.committed(&new);
    }
}

fn is_wanted(tag: Option<&[u8]>) -> bool {
    tag == Some(b"paid")
}

fn rewind(agreed: &Agreed, checkpoint: Checkpoint) {
    let mut agreed = agreed.lock().unwrap();
    let current = agreed.checkpoint.clone().unwrap();
    assert!(checkpoint.source_next <= current.source_next, "not a rewind: {current:?} -> {checkpoint:?}");
    agreed.target_incarnation = agreed.target_incarnation.next();
    agreed.epoch = agreed.epoch.next();
    agreed.checkpoint =
        Some(Checkpoint { epoch: agreed.epoch, target_incarnation: agreed.target_incarnation, ..checkpoint });
}

/// Runs one life; `None` when it crashed.
async fn live(
    template: &mut Run,
    agreed: &Agreed,
    source: &MemoryQueue,
    sink: &MemorySink,
    life: &Life,
) -> Option<PartitionExit> {
    let epoch = agreed.lock().unwrap().epoch.next();
    agreed.lock().unwrap().epoch = epoch;
    let progress = Arc::new(ProgressCell::default());
    let partition = agreed.lock().unwrap().clone();
    if life.is_other_process {
        template.in_flight = earlier();
    }
    let this = Run { partition, progress: Arc::clone(&progress), ..template.clone() };
    let mut keeper = tokio::spawn(keep(progress, Arc::clone(agreed), life.keeper, source.clone(), sink.clone()));
    let running = pin!(run(this, source.clone(), sink.clone()));
    let exit = tokio::select! {
        exit = Crash { inner: running, polls: life.polls } => exit,
        failed = &mut keeper => panic!("{failed:?}"),
    };
    keeper.abort();
    if let Err(error) = keeper.await {
        assert!(error.is_cancelled(), "{error}");
    }
    exit
}

/// Bodies of the target's copies, in order.
fn copies(sink: &MemorySink) -> Vec<Bytes> {
    let records = sink.queue.records();
    records.into_iter().filter(|record| record.property("CAUSEWAY").is_some()).map(|record| record.body).collect()
}

fn wanted(source: &MemoryQueue) -> Vec<Bytes> {
    let records = source.records();
    records.into_iter().filter(|record| is_wanted(record.property("TAGS"))).map(|record| record.body).collect()
}

/// What of the copies has to be all that is wanted.
type Judged = fn(Vec<Bytes>, &[Bytes]) -> Vec<Bytes>;

async fn survive(lives: Vec<Life>, durability: Durability, born: BornTimestamp, judged: Judged) {
    let (source, sink) = (MemoryQueue::default(), MemorySink::default());
    sink.limit(4_000);
    sink.append_foreign(7);
    let mut template = a_run();
    let mut spec = (*template.spec).clone();
    spec.tag_expression = "paid".to_owned();
    spec.run.durability = durability;
    spec.run.born_timestamp = born;
    template.spec = Arc::new(spec);
    let agreed = Arc::new(Mutex::new(template.partition.clone()));
    let mut numbers = 0_u64..;
    let last = Life {
        polls: u32::MAX,
        is_other_process: false,
        steps: vec![],
        failing: 0,
        arriving: 20,
        keeper: (1, 1),
        meanwhile: None,
    };
    let mut lives: Vec<_> = lives.into_iter().chain([last]).rev().collect();
    while let Some(life) = lives.pop() {
        let arriving = usize::try_from(life.arriving).unwrap();
        source.append_all(numbers.by_ref().take(arriving).map(numbered));
        source.fail_reads(life.failing);
        match life.meanwhile {
            Some(Step::LoseTail(messages)) => sink.lose_tail(messages),
            Some(Step::Foreign(messages)) => sink.append_foreign(messages),
            _ => {}
        }
        sink.calm();
        sink.play(life.steps.iter().copied());
        let is_last = lives.is_empty();
        let all_copied = async {
            let is_whole = |wanted: &[Bytes]| judged(copies(&sink), wanted).len() >= wanted.len();
            while !is_last || !is_whole(&wanted(&source)) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let exit = tokio::select! {
            exit = live(&mut template, &agreed, &source, &sink, &life) => exit,
            () = all_copied => None,
            // Virtual time: many times what all the waits of one life take.
            () = tokio::time::sleep(Duration::from_secs(100_000)) => panic!("it copies no further: {life:?}"),
        };
        match exit {
            None => {}
            Some(PartitionExit::TargetRewound { checkpoint, .. }) => {
                rewind(&agreed, checkpoint);
                lives.push(Life { arriving: 0, meanwhile: None, steps: vec![], ..life });
            }
            Some(PartitionExit::SinkLost { .. }) => {}
            Some(other) => panic!("{other:?}"),
        }
    }
    assert!(!sink.overlapped(), "two sends at once");
    let wanted = wanted(&source);
    let copied = judged(copies(&sink), &wanted);
    assert_eq!(copied.len(), wanted.len());
    for (position, (copy, source)) in copied.iter().zip(&wanted).enumerate() {
        assert_eq!(copy, source, "at {position}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn every_message_arrives_once_and_in_order(
        lives in prop::collection::vec(life(step()), 1..8), confirmed: bool, exact: bool,
    ) {
        let durability = if confirmed { Durability::Confirmed } else { Durability::Stored };
        let born = if exact { BornTimestamp::Exact } else { BornTimestamp::Carried };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(survive(lives, durability, born, |copies, _| copies));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// What stands behind a hole is copied again, so it is there twice, and the target may lose some of that too; but
    /// nothing is missing, and whoever reads in order gets everything in order.
    #[test]
    fn nothing_is_lost_at_a_target_that_goes_back_under_the_living_connection(
        lives in prop::collection::vec(life(step_back()), 1..8), confirmed: bool,
    ) {
        let durability = if confirmed { Durability::Confirmed } else { Durability::Stored };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(survive(lives, durability, BornTimestamp::Carried, in_turn));
    }
}
