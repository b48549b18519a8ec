//! The loop over a relayed source does what it does over the same source read directly.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway_core::checkpoint::Checkpoint;
use causeway_core::fault::Fault;
use causeway_core::partition::Partition;
use proptest::prelude::{any, prop, proptest};
use tokio::time::{sleep, timeout};

use super::exit::PartitionExit;
use super::memory::{MemoryQueue, Message, message};
use super::pipeline::run;
use super::pipeline_tests::Scene;
use super::ports::Source;
use super::settings::ReplicateSettings;
use crate::relay::RelaySettings;
use crate::relay::testing::{Cutter, Pair, numbers, settings};

const PATIENT: Duration = Duration::from_secs(60);

fn quick() -> ReplicateSettings {
    ReplicateSettings {
        poll_wait: Duration::from_millis(100),
        settle: Duration::from_millis(20),
        settle_own: Duration::from_millis(20),
        settle_poll: Duration::from_millis(5),
        retry_first: Duration::from_millis(5),
        retry_longest: Duration::from_millis(50),
        patience: Duration::from_secs(2),
        confirmation_wait: Duration::from_millis(10),
        ..ReplicateSettings::default()
    }
}

/// Runs until it ends by itself, or until the checkpoint stands at `end`.
async fn play(scene: &Scene, source: impl Source, end: i64) -> PartitionExit {
    let commits = async {
        loop {
            if let Some(checkpoint) = scene.run.progress.take_changed() {
                scene.run.progress.committed(&checkpoint);
                if checkpoint.source_next == end {
                    scene.run.stop.stop();
                }
            }
            sleep(Duration::from_millis(2)).await;
        }
    };
    let both = async {
        tokio::select! {
            exit = run(scene.run.clone(), source, scene.sink.clone()) => exit,
            () = commits => unreachable!(),
        }
    };
    timeout(PATIENT, both).await.expect("it ends")
}

fn tagged(tags: &[u8]) -> Vec<Message> {
    let tag = |tag: &u8| Message { properties: format!("TAGS\x01tag-{tag}\x02").into(), ..message(u64::from(*tag)) };
    tags.iter().map(tag).collect()
}

/// Two runs of the same messages and settings: one reads directly, one through a relay.
async fn scenes(messages: Vec<Message>, tag_expression: &str) -> (Scene, Scene, Pair) {
    let [direct, relayed] = [(), ()].map(|()| {
        let mut scene = Scene::new(0);
        scene.source.append_all(messages.iter().cloned());
        scene.run.settings = Arc::new(quick());
        let mut spec = (*scene.run.spec).clone();
        tag_expression.clone_into(&mut spec.tag_expression);
        scene.run.spec = Arc::new(spec);
        scene
    });
    // Less than what one pull brings, so that each is a batch.
    let settings = RelaySettings { batch_bytes: 1_000, ..settings() };
    let pair = Pair::new(relayed.source.clone(), settings).await;
    (direct, relayed, pair)
}

fn counts(scene: &Scene) -> [u64; 4] {
    let gauge = &scene.run.gauge;
    [&gauge.read_messages, &gauge.read_bytes, &gauge.filtered_messages, &gauge.looped_messages]
        .map(|count| count.load(Ordering::Relaxed))
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(8))]

    #[test]
    fn filtered_near_the_source_or_at_the_target_is_the_same(
        tags in prop::collection::vec(0_u8..3, 1..400),
        cut_every in 15_000_u64..60_000,
        seed in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (direct, mut relayed, pair) = scenes(tagged(&tags), "tag-0 || tag-2").await;
            // The network lets something through now and then, and nobody knows when.
            relayed.run.settings = Arc::new(ReplicateSettings { patience: PATIENT, ..quick() });
            let mut random = numbers(seed);
            let cutter =
                Cutter::to(pair.relay.address(), move || 500 + random() % cut_every, Duration::ZERO).await;
            pair.reach(&cutter.address);
            pair.direct.fails.store(true, Ordering::Relaxed);
            let end = i64::try_from(tags.len()).unwrap();
            assert_eq!(play(&direct, direct.source.clone(), end).await, PartitionExit::Stopped);
            assert_eq!(play(&relayed, pair.source("tag-0 || tag-2"), end).await, PartitionExit::Stopped);
            assert_eq!(relayed.copied(), direct.copied());
            assert_eq!(counts(&relayed), counts(&direct));
            let [expected, checkpoint] = [&direct, &relayed].map(|scene| scene.run.progress.newest().unwrap());
            // How copies are packed into sends depends on how they arrived.
            assert_eq!(Checkpoint { last_copy: expected.last_copy, ..checkpoint }, expected);
        });
    }
}

/// What is wrong with a source of 100 messages.
type Harm = fn(&MemoryQueue);

#[tokio::test]
async fn whatever_is_wrong_with_the_source_ends_the_run_in_the_same_way() {
    let harms: [(&str, Harm); 6] = [
        ("a hole", |queue| queue.hide([40, 41, 42])),
        ("a hole at the end", |queue| queue.hide([98, 99])),
        ("a damaged body", |queue| queue.corrupt(50)),
        ("an undecodable record", |queue| queue.make_undecodable(60)),
        ("retention", |queue| queue.retain_from(30)),
        ("an outage", |queue| queue.fail_reads_after(0)),
    ];
    for (what, harm) in harms {
        let (mut direct, mut relayed, pair) = scenes((0..100).map(message).collect(), "*").await;
        for scene in [&mut direct, &mut relayed] {
            // So that what retention has passed is missed.
            scene.run.partition.start = causeway_core::stream::StartPosition::Offset(10);
            harm(&scene.source);
        }
        let expected = play(&direct, direct.source.clone(), 100).await;
        let exit = play(&relayed, pair.source("*"), 100).await;
        assert_eq!(exit, expected, "{what}");
        assert!(!matches!(exit, PartitionExit::Stopped), "{what}");
        assert_eq!(relayed.copied(), direct.copied(), "{what}");
    }
}

#[tokio::test]
async fn another_life_of_the_queue_behind_the_relay_is_seen_before_it_is_copied() {
    for harm in ["rolled back", "diverged"] {
        let (_, relayed, pair) = scenes((0..100).map(message).collect(), "*").await;
        assert_eq!(play(&relayed, pair.source("*"), 100).await, PartitionExit::Stopped);
        let queue = &pair.queue;
        queue.truncate(60);
        if harm == "diverged" {
            queue.append_all((200..300).map(message));
        }
        queue.reconnect();
        let mut relayed = relayed.again();
        relayed.run.settings = Arc::new(quick());
        relayed.run.partition = Partition { ..relayed.run.partition };
        let exit = play(&relayed, pair.source("*"), 1_000).await;
        let fault = match harm {
            "diverged" => Fault::SourceDiverged { offset: 99 },
            _ => Fault::SourceRolledBack { copied: 100, maximum: 60 },
        };
        assert_eq!(exit, PartitionExit::Fault(fault));
        assert_eq!(relayed.copied().len(), 100);
        assert_eq!(pair.direct_reads(), 0);
    }
}

#[tokio::test]
async fn a_queue_that_changes_under_the_stream_is_seen_as_soon_as_its_connection_changes() {
    let (_, relayed, pair) = scenes((0..100).map(message).collect(), "*").await;
    let changing = async {
        while relayed.run.progress.newest().is_none_or(|checkpoint| checkpoint.source_next < 100) {
            sleep(Duration::from_millis(5)).await;
        }
        pair.queue.truncate(60);
        pair.queue.append_all((200..300).map(message));
        pair.queue.reconnect();
        std::future::pending::<()>().await
    };
    let exit = tokio::select! {
        exit = play(&relayed, pair.source("*"), 1_000) => exit,
        () = changing => unreachable!(),
    };
    assert_eq!(exit, PartitionExit::Fault(Fault::SourceDiverged { offset: 99 }));
    assert_eq!(relayed.copied().len(), 100);
}
