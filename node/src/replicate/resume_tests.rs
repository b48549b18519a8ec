//! Where copying goes on after the target lost, hid or moved something: nothing is lost, and nothing is sent twice that
//! the target still shows.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway_core::checkpoint::{Checkpoint, LastCopy};
use causeway_core::fault::Fault;
use causeway_core::ids::{Epoch, Incarnation, RuleVersion};
use causeway_core::stream::Durability;

use super::duplicates::{append_again, last_of_each};
use super::exit::PartitionExit;
use super::memory::message;
use super::memory_sink::Step;
use super::pipeline_tests::Scene;
use super::settings::ReplicateSettings;
use crate::status::RunState;

/// A scene that sends ten messages at a time.
fn by_tens(messages: u64) -> Scene {
    let mut scene = Scene::new(messages);
    scene.run.settings = Arc::new(ReplicateSettings { batch_messages: 10, ..ReplicateSettings::default() });
    scene
}

/// One in which the checkpoint waits for full acknowledgements.
fn confirmed(messages: u64) -> Scene {
    let mut scene = by_tens(messages);
    let mut spec = (*scene.run.spec).clone();
    spec.run.durability = Durability::Confirmed;
    scene.run.spec = Arc::new(spec);
    scene
}

/// One whose target others write to, and in which no dead owner is watched for.
fn shared(messages: u64) -> Scene {
    let mut scene = Scene::new(messages);
    scene.run.settings = Arc::new(ReplicateSettings { watch: Duration::ZERO, ..ReplicateSettings::default() });
    scene.sink.append_foreign(5);
    scene
}

/// Lets others write a thousand messages every ten seconds.
async fn write_on(scene: &Scene, times: u32) {
    for _ in 0..times {
        tokio::time::sleep(Duration::from_secs(10)).await;
        scene.sink.append_foreign(1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_behind_a_hole_is_not_taken_for_landed_after_a_crash() {
    let whole = Scene::new(30);
    whole.play().await;
    let copies = whole.sink.queue.records();
    let mut scene = Scene::new(30);
    // Twenty were acknowledged, the last five of them got lost, and the next ten were stored in their place.
    append_again(&scene.sink.queue, &copies[..15]);
    append_again(&scene.sink.queue, &copies[20..]);
    scene.run.partition.checkpoint = Some(Checkpoint {
        epoch: Epoch(1),
        rule_version: RuleVersion(0),
        source_next: 10,
        target_next: 10,
        source_incarnation: Incarnation(0),
        target_incarnation: Incarnation(0),
        fingerprint: None,
        last_copy: Some(LastCopy { source_offset: 9, target_offset: 9 }),
    });
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(last_of_each(scene.copied()), scene.bodies(0));
    assert_eq!(scene.run.gauge.zombie_writes.load(Ordering::Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn a_hole_under_the_living_connection_is_filled_while_the_checkpoint_waits() {
    let scene = confirmed(60);
    scene.sink.play([Step::Store, Step::Weak, Step::GoBack(5)]);
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(last_of_each(scene.copied()), scene.bodies(0));
    assert_eq!(scene.copied().len(), 70, "the batch behind the hole stands there twice");
    assert_eq!(scene.checkpoint().source_next, 60);
}

#[tokio::test(start_paused = true)]
async fn a_batch_below_where_it_was_expected_has_landed_when_only_others_messages_are_gone() {
    let scene = by_tens(20);
    let goes_back = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        scene.sink.append_foreign(5);
        scene.source.append_all((20..25).map(message));
        tokio::time::sleep(Duration::from_secs(10)).await;
        scene.sink.append_foreign(5);
        // The next look knows of them.
        tokio::time::sleep(Duration::from_secs(65)).await;
        scene.sink.queue.truncate(32);
        scene.source.append_all((25..30).map(message));
    };
    let (exit, ()) = tokio::join!(scene.play_for(150), goes_back);
    assert_eq!(exit, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn a_second_loss_does_not_take_the_batch_behind_the_first_hole_for_the_end() {
    let scene = by_tens(100);
    scene.play().await;
    let mut scene = scene.again();
    let loss = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        scene.sink.queue.truncate(80);
        scene.source.append_all((100..110).map(message));
    };
    let (exit, ()) = tokio::join!(scene.play(), loss);
    let PartitionExit::TargetRewound { checkpoint, .. } = exit else { panic!("{exit:?}") };
    assert_eq!((checkpoint.source_next, checkpoint.target_next), (80, 90));
    scene = scene.again();
    scene.run.partition.checkpoint = Some(checkpoint);
    scene.source.append_all((110..130).map(message));
    scene.play().await;
    assert_eq!(scene.checkpoint().source_next, 130);
    scene = scene.again();
    scene.sink.queue.truncate(86);
    let exit = scene.play().await;
    let PartitionExit::TargetRewound { checkpoint, .. } = exit else { panic!("{exit:?}") };
    assert_eq!((checkpoint.source_next, checkpoint.target_next), (80, 86));
}

#[tokio::test(start_paused = true)]
async fn what_a_broker_stored_and_does_not_show_yet_is_waited_for() {
    let scene = by_tens(30);
    scene.sink.play([Step::Store, Step::ShowLater(20_000), Step::Weak, Step::Reconnect]);
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_over_this_connection_is_waited_for_though_the_broker_hides_that_it_hides() {
    let scene = confirmed(30);
    scene.sink.lie();
    scene.sink.play([Step::Store, Step::ShowLater(20_000), Step::Weak, Step::Unknown(1)]);
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_was_frozen_is_given_time_after_it_answers() {
    let mut scene = by_tens(30);
    let retry_longest = Duration::from_millis(100);
    scene.run.settings = Arc::new(ReplicateSettings { retry_longest, ..(*scene.run.settings).clone() });
    scene.sink.play([Step::Store, Step::Freeze(20_000)]);
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn while_others_write_to_the_target_the_place_of_the_next_tail_read_goes_on() {
    let scene = shared(10);
    let (exit, ()) = tokio::join!(scene.play_for(310), write_on(&scene, 30));
    assert_eq!(exit, PartitionExit::Stopped);
    let checkpoint = scene.checkpoint();
    assert_eq!(checkpoint.last_copy, Some(LastCopy { source_offset: 9, target_offset: 14 }));
    assert!(checkpoint.target_next > 18_000, "{checkpoint:?}");

    // Retention passes the last copy, and nothing is missing.
    let scene = scene.again();
    scene.sink.queue.retain_from(15_000);
    scene.source.append_all((10..20).map(message));
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_lost_only_others_messages_lost_nothing_of_ours() {
    let scene = shared(10);
    tokio::join!(scene.play_for(310), write_on(&scene, 30));
    let mut scene = scene.again();
    scene.sink.queue.truncate(10_000);
    scene.source.append_all((10..20).map(message));
    let exit = scene.play().await;
    let PartitionExit::TargetRewound { checkpoint, lost: 0 } = exit else { panic!("{exit:?}") };
    assert_eq!((checkpoint.source_next, checkpoint.target_next), (10, 15));
    scene = scene.again();
    scene.run.partition.checkpoint = Some(checkpoint);
    assert_eq!(scene.play().await, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
    assert_eq!(scene.checkpoint().target_next, 10_010);
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_reads_no_tail_when_every_send_was_answered() {
    let scene = shared(10);
    let reconnects = async {
        // A look in between shows that others write.
        write_on(&scene, 7).await;
        let reads = scene.sink.queue.reads();
        scene.sink.reconnect();
        tokio::time::sleep(Duration::from_secs(20)).await;
        scene.source.append_all((10..20).map(message));
        tokio::time::sleep(Duration::from_secs(5)).await;
        scene.sink.queue.reads() - reads
    };
    let (exit, reads) = tokio::join!(scene.play(), reconnects);
    assert_eq!(exit, PartitionExit::Stopped);
    assert_eq!(scene.copied(), scene.bodies(0));
    assert!(reads <= 5, "{reads}");
}

#[tokio::test(start_paused = true)]
async fn a_long_tail_read_goes_on_where_it_was_after_an_outage() {
    let scene = Scene::new(10);
    scene.play().await;
    let scene = scene.again();
    scene.sink.append_foreign(3_200);
    let before = scene.sink.queue.reads();
    scene.sink.queue.fail_reads_after(60);
    let recovery = async {
        tokio::time::sleep(Duration::from_secs(15)).await;
        scene.sink.queue.fail_reads_after(1_000_000);
    };
    let (exit, ()) = tokio::join!(scene.play(), recovery);
    assert_eq!(exit, PartitionExit::Stopped);
    // A hundred for the tail, and those of the outage that failed.
    let reads = scene.sink.queue.reads() - before;
    assert!((100..140).contains(&reads), "{reads}");
}

#[tokio::test(start_paused = true)]
async fn a_message_in_another_queue_is_a_fault_and_not_sent_again() {
    let scene = by_tens(30);
    scene.sink.play([Step::Store, Step::Misplace]);
    let fault = Fault::StoredElsewhere { from: 10, to: 20, asked: 0, found: 1 };
    assert_eq!(fault.skip_to(), Some(20), "a skip leaves out the whole send, or the rest of it would be stored again");
    assert_eq!(scene.play().await, PartitionExit::Fault(fault));
    assert_eq!(scene.copied().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_others_have_filled_up_under_the_living_connection_is_found_by_the_next_batch_or_look() {
    for message_arrives in [true, false] {
        let scene = Scene::new(100);
        let loss = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            scene.sink.queue.truncate(70);
            scene.sink.append_foreign(50);
            if message_arrives {
                scene.source.append_all((100..110).map(message));
            }
        };
        let (exit, ()) = tokio::join!(scene.play(), loss);
        let PartitionExit::TargetRewound { checkpoint, lost: 30 } = exit else { panic!("{exit:?}") };
        assert_eq!(checkpoint.source_next, 70);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_owners_copies_are_counted_though_they_are_shown_late() {
    let scene = Scene::new(100);
    let zombie = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let old: Vec<_> = scene.sink.queue.records().split_off(90);
        scene.sink.queue.show_later(Duration::from_secs(1));
        append_again(&scene.sink.queue, &old);
        scene.source.append_all((100..110).map(message));
    };
    let (exit, ()) = tokio::join!(scene.play(), zombie);
    assert_eq!(exit, PartitionExit::Stopped);
    assert_eq!(scene.run.gauge.zombie_writes.load(Ordering::Relaxed), 10);
}

#[tokio::test(start_paused = true)]
async fn a_loss_under_the_living_connection_is_found_though_no_message_arrives() {
    for left in [70, 0] {
        let scene = Scene::new(100);
        let loss = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            // The topic was deleted and created again, or the broker dropped its tail.
            scene.sink.queue.truncate(left);
        };
        let (exit, ()) = tokio::join!(scene.play_for(200), loss);
        match exit {
            PartitionExit::TargetRewound { checkpoint, lost: 30 } => assert_eq!(checkpoint.source_next, 70),
            PartitionExit::Fault(Fault::TargetLost { .. }) => assert_eq!(left, 0),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_copies_wait_for_durability_a_look_reads_only_what_is_new_and_counts_it_once() {
    let scene = confirmed(2_000);
    scene.sink.play([Step::Weak; 200]);
    let looks = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(scene.copied().len(), 2_000);
        append_again(&scene.sink.queue, &scene.sink.queue.records()[1_990..]);
        let reads = scene.sink.queue.reads();
        tokio::time::sleep(Duration::from_secs(130)).await;
        let reads = scene.sink.queue.reads() - reads;
        // Another master may lack what waits, so all of it is read.
        scene.sink.reconnect();
        tokio::time::sleep(Duration::from_secs(40)).await;
        reads
    };
    let (exit, reads) = tokio::join!(scene.play_for(200), looks);
    assert_eq!(exit, PartitionExit::Stopped);
    assert!((3..=6).contains(&reads), "{reads}");
    assert_eq!(scene.run.gauge.zombie_writes.load(Ordering::Relaxed), 10);
    assert_eq!(scene.checkpoint().source_next, 0, "it waits");
    scene.source.append_all((2_000..2_001).map(message));
    assert_eq!(scene.again().play().await, PartitionExit::Stopped);
}

#[tokio::test(start_paused = true)]
async fn copies_that_are_lost_while_they_wait_for_durability_are_copied_again() {
    for left in [35, 5] {
        let scene = confirmed(60);
        scene.sink.play([Step::Store, Step::Weak, Step::Weak, Step::Weak, Step::Weak, Step::Weak]);
        let loss = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            assert_eq!((scene.copied().len(), scene.checkpoint().source_next), (60, 10));
            scene.sink.queue.truncate(left);
        };
        let (exit, ()) = tokio::join!(scene.play_for(200), loss);
        if left == 5 {
            assert!(matches!(exit, PartitionExit::TargetRewound { lost: 5, .. }), "{exit:?}");
        } else {
            assert_eq!(exit, PartitionExit::Stopped);
            assert_eq!(scene.copied(), scene.bodies(0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_others_have_filled_up_is_found_though_the_target_did_not_answer_at_once() {
    for failures in [1, 25] {
        let scene = Scene::new(100);
        let loss = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            scene.sink.queue.truncate(70);
            scene.sink.append_foreign(50);
            scene.sink.queue.fail_reads(failures);
            scene.source.append_all((100..110).map(message));
        };
        let (exit, ()) = tokio::join!(scene.play(), loss);
        let PartitionExit::TargetRewound { checkpoint, lost: 30 } = exit else { panic!("{failures}: {exit:?}") };
        assert_eq!(checkpoint.source_next, 70);
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_hole_that_was_skipped_the_source_is_compared_with_the_last_copy() {
    let scene = Scene::new(100);
    scene.source.hide(40..44);
    assert_eq!(scene.play().await, PartitionExit::Fault(Fault::SourceGap { from: 40, to: 44 }));
    let mut scene = scene.again();
    // What a skip makes of the checkpoint.
    let checkpoint = scene.run.partition.checkpoint.as_mut().unwrap();
    (checkpoint.source_next, checkpoint.fingerprint) = (44, None);
    // The source is another one by now.
    scene.source.corrupt(39);
    assert_eq!(scene.play().await, PartitionExit::Fault(Fault::SourceDiverged { offset: 39 }));
    assert_eq!(scene.copied().len(), 40);
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_target_is_over_when_it_answers_though_copies_wait_for_durability() {
    let scene = confirmed(20);
    scene.sink.play([Step::Weak; 2]);
    let outage = async {
        tokio::time::sleep(Duration::from_secs(55)).await;
        scene.sink.queue.fail_reads(5);
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(scene.run.gauge.condition().state, RunState::Blocked);
    };
    let (exit, ()) = tokio::join!(scene.play(), outage);
    assert_eq!(exit, PartitionExit::Stopped);
    assert_eq!(scene.run.gauge.condition().state, RunState::Running);
}

#[tokio::test(start_paused = true)]
async fn a_weak_acknowledgement_holds_the_checkpoint_back_though_the_tail_had_to_be_read_for_it() {
    for (step, expected) in [(Step::Weak, 10), (Step::Store, 15)] {
        let scene = confirmed(10);
        let jump = async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            scene.sink.append_foreign(5);
            // Whether the last copy still stands cannot be told in time.
            scene.sink.queue.fail_reads(25);
            scene.sink.play([step]);
            scene.source.append_all((10..15).map(message));
        };
        let (exit, ()) = tokio::join!(scene.play(), jump);
        assert_eq!(exit, PartitionExit::Stopped);
        assert_eq!(scene.copied(), scene.bodies(0));
        assert_eq!(scene.checkpoint().source_next, expected, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_loss_that_only_one_look_sees_is_none() {
    let scene = Scene::new(100);
    let glitch = async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        let copies = scene.sink.queue.records();
        scene.sink.queue.truncate(70);
        scene.sink.append_foreign(30);
        let reads = scene.sink.queue.reads();
        scene.sink.reconnect();
        while scene.sink.queue.reads() == reads {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        scene.sink.queue.truncate(70);
        append_again(&scene.sink.queue, &copies[70..]);
    };
    let (exit, ()) = tokio::join!(scene.play(), glitch);
    assert_eq!(exit, PartitionExit::Stopped);
    assert_eq!((scene.copied(), scene.checkpoint().target_next), (scene.bodies(0), 100));
}

#[tokio::test(start_paused = true)]
async fn what_the_target_does_not_show_is_a_fault_that_names_it_when_it_does_not_pass() {
    // The last copy itself, and what others wrote behind it.
    for (unreadable, hidden) in [(99, false), (99, true), (102, false), (102, true)] {
        let scene = Scene::new(100);
        scene.play().await;
        let mut scene = scene.again();
        scene.sink.append_foreign(5);
        if hidden {
            scene.sink.queue.hide([unreadable]);
        } else {
            scene.sink.queue.make_undecodable(unreadable);
        }
        let began = tokio::time::Instant::now();
        let fault = Fault::TargetTailGone { from: unreadable, to: unreadable + 1 };
        assert_eq!(scene.play().await, PartitionExit::Fault(fault));
        assert!(began.elapsed() >= scene.run.settings.patience, "it may pass");
        // What a skip makes of the checkpoint.
        let checkpoint = scene.run.partition.checkpoint.as_mut().unwrap();
        checkpoint.target_next = checkpoint.target_next.max(unreadable + 1);
        checkpoint.last_copy = checkpoint.last_copy.filter(|copy| copy.target_offset < unreadable);
        scene.source.append_all((100..110).map(message));
        assert_eq!(scene.play().await, PartitionExit::Stopped);
        assert_eq!(scene.copied(), scene.bodies(0));
    }
}
