//! What a run leaves on its way, as it tells the next one and the cluster; and how long the next one waits for it.

use std::sync::Arc;
use std::time::Duration;

use causeway_core::ids::NodeId;
use causeway_core::node::Predecessor;
use tokio::time::{Instant, sleep};

use super::exit::PartitionExit;
use super::in_flight::{InFlight, OnItsWay};
use super::memory::message;
use super::memory_sink::Step;
use super::pipeline::run;
use super::pipeline_tests::Scene;
use super::settings::{ReplicateSettings, Takeover};
use crate::lease::LeaseKeeper;

/// What an owner that ended without a word may have left on its way.
pub(super) fn earlier() -> Arc<InFlight> {
    Arc::new(InFlight::after(Predecessor::Ended(NodeId(1))))
}

/// What one leaves that let go with nothing on its way.
fn nothing() -> Arc<InFlight> {
    Arc::new(InFlight::after(Predecessor::Released(NodeId(1))))
}

/// A scene that sends ten messages at a time.
fn by_tens(messages: u64) -> Scene {
    let mut scene = Scene::new(messages);
    scene.run.settings = Arc::new(ReplicateSettings { batch_messages: 10, ..ReplicateSettings::default() });
    scene
}

/// One that copied something, and whose next run begins.
async fn followed(messages: u64) -> Scene {
    let scene = by_tens(messages);
    scene.play().await;
    let mut scene = scene.again();
    scene.run.settings = by_tens(0).run.settings;
    scene
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_sends_are_all_answered_leaves_nothing() {
    for (step, name) in [
        (Step::Store, "stored"),
        (Step::Weak, "stored with less durability"),
        (Step::Busy, "refused"),
        (Step::Reconnect, "another connection"),
        (Step::Foreign(3), "others write"),
        (Step::Unknown(0), "unknown, waited out, and the tail read"),
        (Step::Unknown(7), "the same with some of it landed"),
    ] {
        let scene = by_tens(100);
        scene.sink.play([Step::Store, step]);
        assert_eq!(scene.play().await, PartitionExit::Stopped, "{name}");
        assert_eq!(scene.run.in_flight.now(), OnItsWay::Nothing, "{name}");
        assert_eq!(scene.copied(), scene.bodies(0), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_without_an_answer_is_left_until_it_was_waited_out() {
    let scene = by_tens(100);
    scene.sink.play([Step::Store, Step::Unknown(4)]);
    // Within the wait that follows the send.
    let stops = async {
        while scene.copied().len() < 14 {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_secs(1)).await;
        scene.run.stop.stop();
    };
    let (exit, ()) = tokio::join!(scene.play(), stops);
    assert_eq!((exit, scene.run.in_flight.now()), (PartitionExit::Stopped, OnItsWay::Own));

    let in_flight = Arc::clone(&scene.run.in_flight);
    let mut next = scene.again();
    next.run.in_flight = Arc::clone(&in_flight);
    let began = Instant::now();
    let copied = async {
        while next.copied().len() < 100 {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(began.elapsed() >= next.run.settings.settle, "{:?}", began.elapsed());
    };
    let (exit, ()) = tokio::join!(next.play(), copied);
    assert_eq!((exit, in_flight.now()), (PartitionExit::Stopped, OnItsWay::Nothing));
    assert_eq!(next.copied(), next.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_in_the_middle_of_a_send_leaves_it() {
    let scene = by_tens(10);
    scene.sink.play([Step::Slow(5_000)]);
    scene.run.progress.committed(&crate::supervisor::testing::checkpoint(1, 0));
    let running = run(scene.run.clone(), scene.source.clone(), scene.sink.clone());
    assert!(tokio::time::timeout(Duration::from_secs(2), running).await.is_err());
    assert_eq!(scene.run.in_flight.now(), OnItsWay::Own);
}

#[tokio::test(start_paused = true)]
async fn what_others_left_is_left_by_a_run_that_ends_before_it_has_waited() {
    let scene = followed(100).await;
    scene.source.append_all((100..110).map(message));
    assert_eq!(scene.run.in_flight.now(), OnItsWay::Earlier);
    assert_eq!(scene.play_for(1).await, PartitionExit::Stopped);
    assert_eq!((scene.run.in_flight.now(), scene.copied().len()), (OnItsWay::Earlier, 100));
    let scene = scene.again();
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!((scene.run.in_flight.now(), scene.copied().len()), (OnItsWay::Nothing, 110));
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_that_the_end_of_the_lease_cut_off_is_not_on_its_way() {
    let clock = crate::clock::of_runtime();
    let mut keeper = LeaseKeeper::new(clock.clone(), Duration::from_millis(500));
    keeper.renew(clock.now().saturating_add(Duration::from_secs(5)));
    let mut scene = by_tens(20);
    scene.run.lease = keeper.lease().tenure().unwrap();
    scene.sink.play([Step::Store, Step::Slow(60_000)]);
    assert_eq!(scene.play().await, PartitionExit::LeaseLost);
    assert_eq!((scene.run.in_flight.now(), scene.copied().len()), (OnItsWay::Nothing, 10));
}

#[tokio::test(start_paused = true)]
async fn who_follows_one_that_let_go_goes_on_at_once_and_reads_the_tail_all_the_same() {
    let mut scene = followed(100).await;
    // Its predecessor's last progress did not make it: ten copies stand behind the checkpoint.
    let checkpoint = scene.run.partition.checkpoint.as_mut().unwrap();
    checkpoint.source_next -= 10;
    checkpoint.target_next -= 10;
    checkpoint.last_copy = checkpoint.last_copy.map(|mut copy| {
        copy.source_offset -= 10;
        copy.target_offset -= 10;
        copy
    });
    checkpoint.fingerprint = None;
    scene.run.in_flight = nothing();
    scene.source.append_all((100..110).map(message));
    let began = Instant::now();
    let copied = async {
        while scene.copied().len() < 110 {
            sleep(Duration::from_millis(10)).await;
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    };
    let (exit, ()) = tokio::join!(scene.play(), copied);
    assert_eq!(exit, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_behind_the_checkpoint_is_looked_for_until_it_is_shown() {
    let scene = by_tens(20);
    scene.sink.play([Step::Store, Step::ShowLater(8_000), Step::Weak]);
    assert_eq!(scene.play_for(2).await, PartitionExit::Stopped);
    assert_eq!((scene.run.in_flight.now(), scene.copied().len()), (OnItsWay::Uncovered, 20));
    let in_flight = Arc::clone(&scene.run.in_flight);
    let mut next = scene.again();
    next.run.in_flight = Arc::clone(&in_flight);
    next.source.append_all((20..30).map(message));
    assert_eq!(next.play().await, PartitionExit::Stopped);
    assert_eq!((in_flight.now(), next.copied()), (OnItsWay::Nothing, next.bodies(0)));
}

#[tokio::test(start_paused = true)]
async fn what_may_take_progress_back_uncovers_what_was_acknowledged() {
    let mut scene = by_tens(20);
    scene.run.in_flight = nothing();
    scene.source.append_all([message(900)]);
    scene.sink.refuse(message(900).body);
    assert!(matches!(scene.play().await, PartitionExit::Fault(_)));
    assert_eq!(scene.run.in_flight.now(), OnItsWay::Uncovered);
}

#[tokio::test(start_paused = true)]
async fn a_strict_takeover_waits_until_brokers_have_closed_silent_connections_and_says_so() {
    let own = || {
        let sends = nothing();
        sends.begin();
        sends
    };
    type Left = fn() -> Arc<InFlight>;
    let cases: [(&str, Takeover, Left, bool, u64); 6] = [
        ("usual", Takeover::Usual, earlier, false, 1),
        ("strict", Takeover::Strict, earlier, false, 121),
        ("strict, but it was this process", Takeover::Strict, own, false, 1),
        ("strict, but it let go", Takeover::Strict, nothing, false, 0),
        ("strict, but it is the first", Takeover::Strict, earlier, true, 0),
        ("usual, and it let go", Takeover::Usual, nothing, false, 0),
    ];
    for (what, takeover, left, is_first, seconds) in cases {
        let mut scene = by_tens(100);
        if !is_first {
            scene = followed(100).await;
            scene.source.append_all((100..110).map(message));
        }
        scene.run.settings = Arc::new(ReplicateSettings { takeover, ..(*scene.run.settings).clone() });
        scene.run.in_flight = left();
        let waited = async {
            let began = Instant::now();
            sleep(Duration::from_millis(50)).await;
            let why = scene.run.gauge.condition().why;
            assert_eq!(why.is_some_and(|why| why.contains("closed")), seconds > 100, "{what}");
            while scene.copied().len() < scene.source.records().len() {
                sleep(Duration::from_millis(100)).await;
            }
            began.elapsed().as_secs()
        };
        let (exit, waited) = tokio::join!(scene.play_for(300), waited);
        assert_eq!((exit, waited), (PartitionExit::Stopped, seconds), "{what}");
        assert_eq!(scene.copied(), scene.bodies(0), "{what}");
    }
}
