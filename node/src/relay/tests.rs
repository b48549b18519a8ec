//! Reading through a relay gives what reading directly gives, whatever happens on the way.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use causeway_core::error_code::ErrorCode;
use causeway_rocketmq::wire::record::Record;
use proptest::prelude::{prop, proptest};
use tokio::time::{Instant, sleep, timeout};

use super::packing::Compression;
use super::settings::RelaySettings;
use super::testing::{Cutter, Pair, RELAY, numbers, settings};
use super::wire::Refusal;
use crate::replicate::batching::Last;
use crate::replicate::memory::{MemoryQueue, Message, message};
use crate::replicate::ports::{Bounds, Queue as _, Read, Source};
use crate::status::ReadPath;

const PATIENT: Duration = Duration::from_secs(30);
const WAIT: Duration = Duration::from_millis(300);

fn queue(messages: u64) -> MemoryQueue {
    let queue = MemoryQueue::default();
    queue.append_all((0..messages).map(message));
    queue
}

/// Messages of so many bytes that do not compress.
fn noise(messages: u64, bytes: usize) -> MemoryQueue {
    let (queue, mut numbers) = (MemoryQueue::default(), numbers(9));
    let body = |numbers: &mut dyn FnMut() -> u64| (0..bytes / 8).flat_map(|_| numbers().to_be_bytes()).collect();
    let bodies: Vec<Vec<u8>> = (0..messages).map(|_| body(&mut numbers)).collect();
    queue.append_all(bodies.into_iter().map(|body| Message { body: body.into(), ..Message::default() }));
    queue
}

fn tagged(tags: &[u8]) -> MemoryQueue {
    let queue = MemoryQueue::default();
    queue.append_all(
        tags.iter().map(|tag| Message {
            properties: Bytes::from(format!("TAGS\x01tag-{tag}\x02")),
            ..message(u64::from(*tag))
        }),
    );
    queue
}

/// Reads from an offset to another as the loop does, and checks that nothing is missing or doubled.
async fn read_all(source: &impl Source, from: i64, to: i64) -> Vec<Read> {
    let (mut next, mut reads, began) = (from, Vec::new(), Instant::now());
    while next < to {
        assert!(began.elapsed() < PATIENT, "at offset {next}");
        let Ok(read) = timeout(PATIENT, source.read(next, 1024, WAIT)).await.expect("an answer") else {
            sleep(Duration::from_millis(2)).await;
            continue;
        };
        if let Some(left_out) = read.left_out {
            assert!(read.records.is_empty());
            assert_eq!(left_out.first, next);
            next = left_out.last.offset + 1;
        }
        for record in &read.records {
            assert_eq!(record.queue_offset, next);
            next += 1;
        }
        reads.push(read);
    }
    reads
}

/// Checks that reads brought these records first.
fn brought(reads: Vec<Read>, expected: &[Record]) {
    let records: Vec<_> = reads.into_iter().flat_map(|read| read.records).collect();
    assert!(records.len() >= expected.len(), "{} of {} records", records.len(), expected.len());
    for (record, expected) in records.iter().zip(expected) {
        assert_eq!(record, expected);
    }
}

#[tokio::test]
async fn compressed_or_not_the_relay_gives_what_the_queue_holds() {
    let mut bytes = Vec::new();
    for compression in [Compression::Off, Compression::Lz4, Compression::Zstd] {
        let pair = Pair::new(queue(3_000), RelaySettings { compression, ..settings() }).await;
        let source = pair.source("*");
        brought(read_all(&source, 0, 3_000).await, &pair.queue.records());
        brought(read_all(&source, 1_234, 3_000).await, &pair.queue.records()[1_234..]);
        assert_eq!((pair.direct_reads(), pair.figures().failures), (0, 0));
        let served = pair.served();
        assert!(served.batches < 60, "reads are gathered: {served:?}");
        bytes.push((served.raw_bytes, served.wire_bytes));
        assert_eq!(source.bounds().await, Ok(Bounds { minimum: 0, maximum: 3_000 }));
        assert_eq!(source.offset_at(6_000).await, Ok(999));
    }
    let [(raw, plain), (_, lz4), (_, zstd)] = bytes[..] else { panic!("three runs") };
    assert!(plain > raw && lz4 < raw / 2 && zstd < lz4, "{bytes:?}");
}

#[tokio::test]
async fn the_end_of_the_queue_is_told_and_what_comes_later_arrives() {
    let pair = Pair::new(queue(10), settings()).await;
    let source = pair.source("*");
    read_all(&source, 0, 10).await;
    let began = Instant::now();
    let read = source.read(10, 1024, WAIT).await.unwrap();
    assert!(read.records.is_empty() && began.elapsed() >= WAIT);
    assert_eq!(read.bounds, Bounds { minimum: 0, maximum: 10 });
    let later = tokio::spawn({
        let source = source.clone();
        async move { read_all(&source, 10, 20).await }
    });
    sleep(Duration::from_millis(50)).await;
    pair.queue.append_all((10..20).map(message));
    brought(later.await.unwrap(), &pair.queue.records()[10..]);
    assert_eq!(pair.direct_reads(), 0);
}

#[tokio::test]
async fn a_read_that_does_not_wait_sees_the_queue_as_it_is() {
    let pair = Pair::new(queue(100), settings()).await;
    let source = pair.source("tag");
    let looked = |offset| source.read(offset, 1, Duration::ZERO);
    assert_eq!(looked(7).await.unwrap().records, [pair.queue.record(7)], "whatever the filter says");
    let followed = source.read(0, 4, WAIT).await.unwrap();
    assert_eq!((looked(7).await.unwrap().connection, followed.from_slave), (followed.connection, false));
    pair.queue.truncate(7);
    let read = looked(7).await.unwrap();
    assert_eq!((read.records.len(), read.bounds.maximum), (0, 7), "not what was read ahead");
    assert_eq!(pair.direct_reads(), 0);
}

#[tokio::test]
async fn who_answers_is_told_by_a_number_that_changes_with_the_connection_and_the_way() {
    let mut pair = Pair::new(queue(100), settings()).await;
    let source = pair.source("*");
    let number = async || source.read(7, 1, Duration::ZERO).await.unwrap().connection;
    let first = number().await;
    assert_eq!(number().await, first);
    pair.queue.reconnect();
    let reconnected = number().await;
    assert_ne!(reconnected, first);
    pair.refuse(Some(Refusal::OtherVersion));
    let direct = number().await;
    assert!(direct != first && direct != reconnected);
    pair.refuse(None);
    sleep(pair.settings.direct_longest).await;
    assert_eq!(number().await, reconnected, "the same relay over the same connection");
    pair.relay.shutdown().await;
    pair.start_relay_again().await;
    let other_process = timeout(PATIENT, async {
        loop {
            let now = number().await;
            if now != direct && now != reconnected {
                return now;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    assert_ne!(other_process.await.expect("relayed again"), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn cuts_at_any_byte_lose_and_double_nothing() {
    for seed in 1..6 {
        let pair = Pair::new(noise(3_000, 400), RelaySettings { batch_bytes: 20_000, ..settings() }).await;
        let mut random = numbers(seed * 7_919);
        let cutter = Cutter::to(pair.relay.address(), move || random() % 150_000, Duration::ZERO).await;
        pair.reach(&cutter.address);
        // So that all of it comes through the relay.
        pair.direct.fails.store(true, Ordering::Relaxed);
        let source = pair.source("*");
        brought(read_all(&source, 0, 3_000).await, &pair.queue.records());
        let cuts = cutter.cuts.load(Ordering::Relaxed);
        assert!(cuts >= 5, "{cuts} cuts");
        assert!(pair.served().batches > 10, "{:?}", pair.served());
    }
}

#[tokio::test]
async fn what_waits_for_a_slow_reader_is_bounded_and_its_room_comes_back() {
    let settings = RelaySettings { first_window_bytes: 200_000, batch_bytes: 50_000, ..settings() };
    let pair = Pair::new(noise(10_000, 2_000), settings).await;
    let source = pair.source("*");
    read_all(&source, 0, 1).await;
    let relayed = || usize::try_from(pair.served().wire_bytes).unwrap();
    let begun = Instant::now();
    while relayed() < 200_000 {
        assert!(begun.elapsed() < PATIENT);
        sleep(Duration::from_millis(5)).await;
    }
    sleep(Duration::from_millis(200)).await;
    // The window, the batch that passes its end, the one that waits for credit, and the one that was taken.
    let held = pair.windows.held();
    assert!(relayed() <= held + 3 * 150_000, "{} bytes for a window of {held}", relayed());
    assert!(held < 1_000_000);
    brought(read_all(&source, 5_000, 10_000).await, &pair.queue.records()[5_000..]);
    drop(source);
    assert_eq!(pair.windows.held(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_grows_while_the_network_is_waited_for_and_stays_within_its_bounds() {
    let settings = RelaySettings {
        first_window_bytes: 20_000,
        window_bytes: 160_000,
        node_window_bytes: 200_000,
        batch_bytes: 10_000,
        ..settings()
    };
    let pair = Pair::new(noise(4_000, 1_000), settings).await;
    let cutter = Cutter::to(pair.relay.address(), || u64::MAX, Duration::from_millis(5)).await;
    pair.reach(&cutter.address);
    let source = pair.source("*");
    let (first, second) = (pair.source("*"), pair.source("*"));
    read_all(&first, 0, 4_000).await;
    assert_eq!(pair.windows.held(), 160_000, "the largest window");
    read_all(&second, 0, 2_000).await;
    assert_eq!(pair.windows.held(), 200_000, "all that there is room for");
    read_all(&source, 0, 10).await;
    assert_eq!(pair.windows.held(), 220_000, "a stream always gets its first window");
    // At the end of its queue the wide one is given back.
    assert!(first.read(4_000, 1_024, WAIT).await.unwrap().records.is_empty());
    assert_eq!(pair.windows.held(), 60_000);
    drop((first, second, source));
    assert_eq!(pair.windows.held(), 0);
}

#[tokio::test]
async fn a_relay_that_refuses_is_gone_round_and_comes_back() {
    let mut pair = Pair::new(queue(200), settings()).await;
    for refusal in [Refusal::OtherVersion, Refusal::NoClient("no secret".into()), Refusal::Busy] {
        pair.refuse(Some(refusal.clone()));
        let source = pair.source("*");
        let direct = pair.direct_reads();
        read_all(&source, 0, 100).await;
        assert!(pair.direct_reads() > direct, "{refusal}");
        pair.refuse(None);
        sleep(pair.settings.direct_longest).await;
        let direct = pair.direct_reads();
        read_all(&source, 100, 200).await;
        assert_eq!(pair.direct_reads(), direct, "relayed again after {refusal}");
    }
    assert_eq!(pair.figures().turned_direct, 3);
    let source = pair.source("*");
    read_all(&source, 0, 10).await;
    pair.replace_relay().await;
    let direct = pair.direct_reads();
    brought(read_all(&source, 10, 200).await, &pair.queue.records()[10..]);
    assert!(pair.direct_reads() > direct, "the node in its place serves no streams");
    pair.know(&[]);
    let alone = pair.source("*");
    let failures = pair.figures().failures;
    read_all(&alone, 0, 200).await;
    assert_eq!(pair.figures().failures, failures, "where nobody relays nothing fails");
}

#[tokio::test]
async fn a_node_that_relays_for_nobody_is_no_relay_until_it_does() {
    let mut pair = Pair::new(queue(100), settings()).await;
    pair.replace_relay().await;
    let connected = async {
        loop {
            let failures = pair.figures().failures;
            pair.source("*").bounds().await.unwrap();
            if pair.figures().failures == failures {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENT, connected).await.expect("it says that it serves nothing");
    let (source, before, began) = (pair.source("*"), pair.figures(), Instant::now());
    while began.elapsed() < 3 * pair.settings.direct_longest {
        read_all(&source, 0, 100).await;
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(pair.figures(), before, "that it is asked now and then is no failure");
    assert_eq!(pair.gauge.figures().read_path, Some(ReadPath::Direct));
    pair.relay.shutdown().await;
    pair.start_relay_again().await;
    let relayed = async {
        while pair.gauge.figures().read_path != Some(ReadPath::Relay(RELAY)) {
            read_all(&source, 0, 100).await;
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENT, relayed).await.expect("it is noticed");
}

#[tokio::test]
async fn a_relay_that_dies_is_gone_round_until_it_is_there_again() {
    let mut pair = Pair::new(queue(1_000), settings()).await;
    let source = pair.source("*");
    read_all(&source, 0, 100).await;
    assert_eq!(pair.direct_reads(), 0);
    let path = || pair.gauge.figures().read_path;
    assert_eq!((path(), pair.served().served_streams), (Some(ReadPath::Relay(RELAY)), 1));
    pair.relay.shutdown().await;
    brought(read_all(&source, 100, 500).await, &pair.queue.records()[100..500]);
    assert!(pair.direct_reads() > 0);
    assert_eq!((path(), pair.served().served_streams), (Some(ReadPath::Direct), 0));
    assert_eq!((pair.figures().received_streams, pair.figures().resumes), (0, 0));
    pair.start_relay_again().await;
    let again = async {
        loop {
            let direct = pair.direct_reads();
            read_all(&source, 500, 510).await;
            if pair.direct_reads() == direct {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENT, again).await.expect("relayed again");
    brought(read_all(&source, 510, 1_000).await, &pair.queue.records()[510..]);
    assert_eq!(pair.gauge.figures().read_path, Some(ReadPath::Relay(RELAY)));
    assert_eq!((pair.figures().received_streams, pair.figures().resumes), (1, 1));
}

#[tokio::test]
async fn trouble_of_the_source_is_told_and_where_the_source_is_out_of_reach_the_relay_is_asked_again() {
    let pair = Pair::new(queue(100), settings()).await;
    pair.direct.fails.store(true, Ordering::Relaxed);
    let source = pair.source("*");
    pair.queue.fail_reads(20);
    let mut told = Vec::new();
    let read = timeout(PATIENT, async {
        loop {
            match source.read(0, 1024, WAIT).await {
                Ok(read) => return read,
                Err(trouble) => told.push(trouble),
            }
        }
    });
    let read = read.await.expect("it is read in the end");
    assert_eq!(read.records, pair.queue.records()[..read.records.len()]);
    assert!(told.iter().all(|trouble| trouble.code == ErrorCode::Unreachable));
    assert!(told.iter().any(|trouble| trouble.why == "the broker does not answer"), "{told:?}");
    assert!(pair.direct_reads() > 0, "a relay whose source fails is gone round, too");
    pair.queue.make_undecodable(50);
    let failures = pair.figures().failures;
    let trouble = source.read(50, 1, Duration::ZERO).await.unwrap_err();
    assert_eq!((trouble.code, pair.figures().failures), (ErrorCode::Malformed, failures));
}

#[tokio::test]
async fn a_relay_that_says_nothing_is_gone_round_in_time() {
    let settings = RelaySettings { answer_limit: Duration::from_millis(200), ..settings() };
    let pair = Pair::new(queue(100), settings).await;
    // Connects, and passes nothing on towards the owner after the handshake.
    let cutter = Cutter::to(pair.relay.address(), || u64::MAX, Duration::from_secs(60)).await;
    pair.reach(&cutter.address);
    let source = pair.source("*");
    let began = Instant::now();
    read_all(&source, 0, 100).await;
    assert!(began.elapsed() < Duration::from_secs(5) && pair.direct_reads() > 0);
    pair.know(&[RELAY]);
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(12))]

    #[test]
    fn what_the_filter_leaves_out_is_counted_and_nothing_else_is_missing(
        tags in prop::collection::vec(0_u8..4, 1..300),
        wanted in 0_u8..5,
        compression in prop::sample::select(vec![Compression::Off, Compression::Lz4, Compression::Zstd]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pair = Pair::new(tagged(&tags), RelaySettings { compression, ..settings() }).await;
            let source = pair.source(&format!("tag-{wanted}"));
            let end = i64::try_from(tags.len()).unwrap();
            let reads = read_all(&source, 0, end).await;
            let left_out: Vec<_> = reads.iter().filter_map(|read| read.left_out).collect();
            let all = pair.queue.records();
            for stretch in &left_out {
                let last = &all[usize::try_from(stretch.last.offset).unwrap()];
                assert_eq!((stretch.last, stretch.looped), (Last::of(last), 0));
            }
            let filtered: u64 = left_out.iter().map(|stretch| stretch.filtered).sum();
            let expected: Vec<_> =
                all.into_iter().zip(&tags).filter(|(_, tag)| **tag == wanted).map(|(record, _)| record).collect();
            assert_eq!(filtered, u64::try_from(tags.len() - expected.len()).unwrap());
            assert_eq!(pair.served().left_out, filtered);
            brought(reads, &expected);
            assert_eq!(pair.direct_reads(), 0);
        });
    }
}
