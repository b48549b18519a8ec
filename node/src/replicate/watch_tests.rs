//! After a takeover every copy that a dead owner's send leaves at the target within the watch is counted and told once,
//! wherever it lands, and nobody else's message ever is.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway_core::ids::Epoch;
use causeway_core::provenance::Provenance;
use causeway_rocketmq::wire::record::Record;
use proptest::prelude::*;
use tokio::time::{Instant, sleep, sleep_until};

use super::duplicates::{append_again, last_of_each};
use super::exit::PartitionExit;
use super::memory::message;
use super::pipeline_tests::Scene;
use super::settings::ReplicateSettings;
use crate::telemetry::captured::Lines;

/// Messages that the dead owner copied in its time.
const COPIED: usize = 100;

/// Messages that its late sends hold at most.
const KNOWN: u64 = 200;

const TOLD: &str = "copies landed late";

/// A partition that another ownership takes over, and every copy that the dead one may have sent.
async fn taken_over() -> (Scene, Vec<Record>) {
    let dead = Scene::new(KNOWN);
    dead.play().await;
    let sent = dead.sink.queue.records();
    let mut scene = Scene::new(u64::try_from(COPIED).unwrap());
    scene.play().await;
    scene.run.settings = Arc::new(ReplicateSettings { batch_messages: 10, ..ReplicateSettings::default() });
    (scene.again(), sent)
}

fn counted(scene: &Scene) -> u64 {
    scene.run.gauge.zombie_writes.load(Ordering::Relaxed)
}

/// When the watch of a run that begins now is over: it begins when the tail was read.
fn end_of_watch(scene: &Scene) -> Instant {
    Instant::now() + scene.run.settings.settle + scene.run.settings.watch
}

/// Plays for long enough, with something beside, and says what was told about late copies.
async fn told(scene: &Scene, beside: impl Future<Output = ()>) -> Vec<String> {
    let lines = Lines::default();
    let guard = lines.listen();
    let (exit, ()) = tokio::join!(scene.play_for(250), beside);
    drop(guard);
    assert_eq!(exit, PartitionExit::Stopped);
    lines.about(TOLD)
}

#[tokio::test(start_paused = true)]
async fn late_copies_are_told_with_their_epoch_and_offsets_however_much_others_wrote_around_them() {
    let (scene, sent) = taken_over().await;
    let lines = told(&scene, async {
        sleep(Duration::from_secs(30)).await;
        append_again(&scene.sink.queue, &sent[90..100]);
        scene.sink.append_foreign(20_000);
        scene.source.append_all((100..110).map(message));
    })
    .await;
    let [line] = lines.try_into().unwrap();
    for field in [" WARN", "copies=10", "written_under=1 ", "source_offsets=90..=99", "target_offsets=100..=109"] {
        assert!(line.contains(field), "{field}: {line}");
    }
    assert_eq!(counted(&scene), 10);
    assert_eq!(last_of_each(scene.copied()), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_lands_at_the_end_of_the_watch_is_told_though_nothing_is_copied_and_others_write() {
    for (before_the_end, expected) in [(Duration::from_secs(60), 10), (Duration::from_millis(1), 10)] {
        let (scene, sent) = taken_over().await;
        scene.sink.append_foreign(5);
        let end = end_of_watch(&scene);
        let lines = told(&scene, async {
            sleep_until(end - before_the_end).await;
            append_again(&scene.sink.queue, &sent[90..100]);
            scene.sink.append_foreign(5);
        })
        .await;
        assert_eq!((lines.len(), counted(&scene)), (1, expected), "{before_the_end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn others_messages_are_not_read_any_more_when_the_watch_is_over() {
    let (scene, _) = taken_over().await;
    scene.sink.append_foreign(5);
    let end = end_of_watch(&scene);
    let lines = told(&scene, async {
        sleep_until(end + Duration::from_secs(10)).await;
        let reads = scene.sink.queue.reads();
        scene.sink.append_foreign(5_000);
        scene.source.append_all((100..110).map(message));
        sleep(Duration::from_secs(70)).await;
        assert!(scene.sink.queue.reads() - reads < 5, "one for the last copy before the batch, one for each look");
    })
    .await;
    assert_eq!((lines.len(), counted(&scene)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn late_copies_of_what_was_not_copied_yet_are_gone_on_from_and_told_too() {
    let (scene, sent) = taken_over().await;
    scene.source.append_all((100..120).map(message));
    scene.source.fail_reads(u32::MAX);
    let lines = told(&scene, async {
        sleep(Duration::from_secs(13)).await;
        append_again(&scene.sink.queue, &sent[100..110]);
        sleep(Duration::from_secs(12)).await;
        scene.source.fail_reads(0);
    })
    .await;
    assert_eq!((lines.len(), counted(&scene)), (1, 10));
    assert_eq!(scene.copied(), scene.bodies(0), "nothing is there twice");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_is_read_again_before_the_watch_ends() {
    let (scene, sent) = taken_over().await;
    let lines = told(&scene, async {
        sleep(Duration::from_secs(30)).await;
        append_again(&scene.sink.queue, &sent[90..100]);
        scene.source.append_all((100..110).map(message));
        // The last copy is seen to stand, and then nothing is answered.
        scene.sink.queue.fail_reads_after(1);
        sleep(Duration::from_secs(5)).await;
        assert_eq!((scene.copied().len(), counted(&scene)), (120, 0), "copying does not wait for it");
        scene.sink.queue.fail_reads_after(1_000_000);
    })
    .await;
    assert_eq!((lines.len(), counted(&scene)), (1, 10));
    assert_eq!(scene.checkpoint().source_next, 110);
}

#[tokio::test(start_paused = true)]
async fn what_a_stopped_run_had_no_time_to_look_through_is_told_by_the_next() {
    let (scene, sent) = taken_over().await;
    let lines = told(&scene, async {
        sleep(Duration::from_secs(30)).await;
        append_again(&scene.sink.queue, &sent[90..100]);
        scene.source.append_all((100..110).map(message));
        scene.sink.queue.fail_reads_after(1);
        sleep(Duration::from_secs(1)).await;
        scene.run.stop.stop();
    })
    .await;
    assert_eq!((lines.len(), scene.copied().len()), (0, 120));
    assert_eq!(scene.run.progress.newest(), None, "nothing is counted on that was not looked through");
    scene.sink.queue.fail_reads_after(1_000_000);
    let scene = scene.again();
    let lines = told(&scene, async {}).await;
    assert_eq!((lines.len(), counted(&scene), scene.checkpoint().source_next), (1, 10, 110));
    assert_eq!(last_of_each(scene.copied()), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn what_an_owner_wrote_in_its_time_is_not_late() {
    let (mut scene, sent) = taken_over().await;
    // Acknowledged and not agreed on when it died; others wrote as well.
    scene.sink.append_foreign(5);
    scene.source.append_all((100..150).map(message));
    append_again(&scene.sink.queue, &sent[100..120]);
    let lines = told(&scene, async {}).await;
    assert_eq!((lines.len(), counted(&scene)), (0, 0));
    scene = scene.again();
    let lines = told(&scene, async {}).await;
    assert_eq!((lines.len(), counted(&scene)), (0, 0));
    assert_eq!(scene.copied(), scene.bodies(0));
}

#[derive(Debug, Clone)]
enum Event {
    /// Messages arrive at the source.
    Arrive(usize),
    /// Others write to the target.
    Foreign(usize),
    /// A send of the dead owner lands: where it begins, as a share of what there is, and how long it is.
    Late(f64, usize),
    /// The target's reads fail for so many milliseconds.
    Outage(u64),
    /// The connection for sends is another one.
    Reconnect,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1_usize..30).prop_map(Event::Arrive),
        3 => (1_usize..200).prop_map(Event::Foreign),
        3 => (0.0..1.0_f64, 1_usize..20).prop_map(|(share, length)| Event::Late(share, length)),
        1 => (1_u64..8_000).prop_map(Event::Outage),
        1 => Just(Event::Reconnect),
    ]
}

async fn watched(events: Vec<(u64, Event)>) {
    let (scene, sent) = taken_over().await;
    let end = end_of_watch(&scene);
    let mut late = 0;
    let lines = told(&scene, async {
        sleep(scene.run.settings.settle + Duration::from_secs(1)).await;
        for (wait, event) in events {
            sleep(Duration::from_millis(wait)).await;
            if Instant::now() >= end {
                break;
            }
            let arrived = scene.source.records().len();
            match event {
                Event::Arrive(messages) => {
                    let numbers = arrived..(arrived + messages).min(sent.len());
                    scene.source.append_all(numbers.map(|number| message(u64::try_from(number).unwrap())));
                }
                Event::Foreign(messages) => scene.sink.append_foreign(messages),
                Event::Late(share, messages) => {
                    let whole = u32::try_from(arrived).unwrap();
                    let from = (0..whole).filter(|offset| f64::from(*offset) < share * f64::from(whole)).count();
                    let batch = &sent[from..(from + messages).min(arrived)];
                    append_again(&scene.sink.queue, batch);
                    late += batch.len();
                }
                Event::Outage(milliseconds) => {
                    scene.sink.queue.fail_reads(u32::MAX);
                    sleep(Duration::from_millis(milliseconds)).await;
                    scene.sink.queue.fail_reads(0);
                }
                Event::Reconnect => scene.sink.reconnect(),
            }
        }
    })
    .await;
    let copies = |line: &String| -> usize {
        let number = line.split("copies=").nth(1).unwrap().split(' ').next().unwrap();
        number.parse().unwrap()
    };
    assert_eq!(lines.iter().map(copies).sum::<usize>(), late, "{lines:#?}");
    assert_eq!(counted(&scene), u64::try_from(late).unwrap());
    assert_eq!(last_of_each(scene.copied()).len(), scene.source.records().len());
    let is_own = |record: &Record| {
        record.property("CAUSEWAY").is_some_and(|value| Provenance::parse(value).unwrap().epoch == Epoch(2))
    };
    let (source, records) = (scene.bodies(0), scene.sink.queue.records());
    let mut rest = source.iter();
    let in_order = records.iter().filter(|record| is_own(record)).all(|copy| rest.any(|body| *body == copy.body));
    assert!(in_order, "of its own nothing is doubled, and all is in order");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn every_late_copy_is_told_once_and_nothing_else(
        events in prop::collection::vec((0_u64..15_000, event()), 0..25), shared: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let events = if shared { [vec![(0, Event::Foreign(3))], events].concat() } else { events };
        runtime.block_on(watched(events));
    }
}
