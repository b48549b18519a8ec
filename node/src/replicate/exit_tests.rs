//! Ends that somebody decides on: what is agreed on before they are told, and that copying goes on after the decision.

use causeway_core::error_code::ErrorCode;
use causeway_core::fault::{Fault, Resolution};
use causeway_core::ids::Timestamp;
use causeway_core::partition::ResolvedFault;
use causeway_core::stream::StartPosition;
use tokio::time::{Duration, Instant, sleep};

use super::exit::PartitionExit;
use super::memory::{MemoryQueue, message};
use super::memory_sink::{MemorySink, Step};
use super::pipeline::{Run, run};
use super::pipeline_tests::{Scene, a_run};
use crate::status::RunState;

const GAP: Fault = Fault::SourceGap { from: 40, to: 44 };

/// Runs over a source with a hole, and says how long that took.
async fn until_the_end(run_: Run) -> (PartitionExit, Duration) {
    let source = MemoryQueue::default();
    source.append_all((0..100).map(message));
    source.hide(40..44);
    let began = Instant::now();
    let exit = run(run_, source, MemorySink::default()).await;
    (exit, began.elapsed())
}

/// Agrees on the first checkpoint, and then on nothing before a time.
async fn agrees_late(run: &Run, after: Duration) {
    while run.progress.newest().is_none() {
        sleep(Duration::from_millis(50)).await;
    }
    run.progress.committed(&run.progress.newest().unwrap());
    sleep(after).await;
    run.progress.committed(&run.progress.newest().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_fault_is_told_only_when_everything_before_it_is_agreed_on() {
    let run = a_run();
    let late = Duration::from_secs(20);
    let ((exit, took), ()) = tokio::join!(until_the_end(run.clone()), agrees_late(&run, late));
    assert_eq!(exit, PartitionExit::Fault(GAP));
    assert!(took >= late && took < late + Duration::from_secs(1), "{took:?}");
    assert_eq!(run.progress.newest().unwrap().source_next, 40);
}

#[tokio::test(start_paused = true)]
async fn a_fault_does_not_wait_for_ever_for_an_agreement() {
    let run = a_run();
    let never = run.settings.patience * 100;
    tokio::select! {
        (exit, took) = until_the_end(run.clone()) => {
            assert_eq!(exit, PartitionExit::Fault(GAP));
            assert!(took >= run.settings.patience && took < run.settings.patience * 2, "{took:?}");
        }
        () = agrees_late(&run, never) => panic!("it waits for ever"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_waits_for_an_agreement_heeds_the_stop() {
    let run = a_run();
    let stops = async {
        sleep(Duration::from_secs(10)).await;
        run.stop.stop();
        sleep(Duration::from_secs(1)).await;
    };
    tokio::select! {
        (exit, took) = until_the_end(run.clone()) => {
            assert_eq!((exit, took), (PartitionExit::Stopped, Duration::from_secs(10)), "the next run finds it again");
        }
        () = async { tokio::join!(agrees_late(&run, Duration::from_secs(60)), stops); } => panic!("it does not stop"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_damaged_after_it_was_copied_stops_once_and_can_be_passed() {
    let scene = Scene::new(100);
    scene.play().await;
    let mut scene = scene.again();
    scene.source.make_undecodable(99);
    scene.source.append_all((100..120).map(message));
    let exit = scene.play().await;
    assert!(matches!(exit, PartitionExit::Fault(Fault::DamagedRecord { offset: 99, .. })), "{exit:?}");
    // What a skip makes of the partition.
    let PartitionExit::Fault(fault) = exit else { panic!() };
    scene.run.partition.checkpoint.as_mut().unwrap().fingerprint = None;
    let passed = ResolvedFault { fault, resolution: Resolution::Skip, at: Timestamp(0) };
    scene.run.partition.resolved.push(passed);
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn an_agreement_that_does_not_come_is_shown() {
    let begins = a_run();
    let _never_begins = tokio::time::timeout(Duration::from_secs(20), until_the_end(begins.clone())).await;
    let faulted = a_run();
    let watched = async {
        let before = Duration::from_secs(4);
        sleep(before).await;
        assert_ne!(faulted.gauge.condition().state, RunState::Blocked, "agreements take a moment");
        sleep(Duration::from_secs(10)).await;
    };
    tokio::select! {
        (exit, _) = until_the_end(faulted.clone()) => panic!("{exit:?}"),
        () = agrees_late(&faulted, Duration::from_secs(600)) => unreachable!(),
        () = watched => {}
    }
    for run in [begins, faulted] {
        let condition = run.gauge.condition();
        assert_eq!((condition.state, condition.code), (RunState::Blocked, Some(ErrorCode::Unavailable)));
        assert!(condition.why.unwrap().contains("agreed"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_offset_to_begin_at_that_retention_has_passed_is_a_fault_that_can_be_skipped() {
    let scene = Scene::starting(StartPosition::Offset(3), 100);
    scene.source.retain_from(10);
    assert_eq!(scene.play().await, PartitionExit::Fault(Fault::RetentionWon { from: 3, to: 10 }));
    assert_eq!(scene.checkpoint().source_next, 3, "what a decision is measured against");
    let mut scene = scene.again();
    // What a skip makes of the checkpoint.
    scene.run.partition.checkpoint.as_mut().unwrap().source_next = 10;
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(10));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_target_does_not_hide_how_much_there_is_to_copy() {
    let scene = Scene::new(100);
    let outage = async {
        sleep(Duration::from_secs(20)).await;
        scene.sink.queue.fail_reads(u32::MAX);
        scene.sink.play([Step::Unknown(0)]);
        scene.source.append_all((100..110).map(message));
        sleep(Duration::from_secs(25)).await;
        assert_eq!(scene.run.gauge.figures().lag_messages(), Some(10));
    };
    tokio::select! {
        exit = scene.play_for(100) => panic!("{exit:?}"),
        () = outage => {}
    }
}
