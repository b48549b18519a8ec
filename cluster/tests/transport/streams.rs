//! Byte streams: order, credit, and what each side hears of the other's end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use causeway_cluster::transport::streams::{MAXIMUM_OPENING_BYTES, Opening, Stream, StreamEnd};
use causeway_cluster::transport::{Error, Security, Settings};
use causeway_core::ids::NodeId;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::certificates::Authority;
use crate::node::{Node, PATIENT, anywhere, eventually, identity, numbered, settings};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

async fn pair(settings: Settings) -> (Node, Node) {
    let a = Node::new(settings.clone(), Security::Plain, identity(1, "a"), anywhere()).await;
    let b = Node::new(settings, Security::Plain, identity(2, "b"), anywhere()).await;
    a.know(&[(B, b.at())]);
    b.know(&[(A, a.at())]);
    (a, b)
}

/// Takes messages until the end, and checks that they are the ones from `first` on.
async fn take_all(stream: &mut Stream, first: u64, bytes: usize) -> (u64, StreamEnd) {
    let mut number = first;
    loop {
        match timeout(PATIENT, stream.receive()).await.expect("a message or the end") {
            Ok(message) => assert_eq!(message, numbered(number, bytes), "message {number}"),
            Err(end) => return (number, end),
        }
        number += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_many_streams_arrive_whole_once_and_in_order_over_tls() {
    let authority = Authority::new("one");
    let a = Node::tls(1, "a", authority.security("a")).await;
    let b = Node::tls(2, "b", authority.security("b")).await;
    a.know(&[(B, b.at())]);
    let mut reading = JoinSet::new();
    for key in 0..12_u64 {
        let bytes = 10 + usize::try_from(key).unwrap() * 9_001;
        let mut stream = a.open_with(B, &format!("200 {bytes}"), key, 300_000);
        reading.spawn(async move { take_all(&mut stream, 0, bytes).await });
    }
    while let Some(ended) = reading.join_next().await {
        assert_eq!(ended.unwrap(), (200, StreamEnd::Complete));
    }
    eventually("nothing is served any more", || (b.memory.serving.load(Ordering::Relaxed) == 0).then_some(())).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_holds_up_itself_only() {
    const WINDOW: usize = 100_000;
    let (a, b) = pair(settings()).await;
    let mut idle = a.open(B, 1_000_000, 1_000, WINDOW);
    let first = timeout(PATIENT, idle.receive()).await.unwrap().unwrap();
    assert_eq!(first, numbered(0, 1_000));
    let sent = || b.memory.sent_bytes.load(Ordering::Relaxed);
    eventually("the window is full", || (sent() >= WINDOW).then_some(())).await;
    sleep(Duration::from_millis(200)).await;
    assert!(sent() <= WINDOW + 1_000, "{} bytes were sent", sent());
    // The same connection, and everything else.
    let mut other = a.open(B, 500, 5_000, WINDOW);
    assert_eq!(take_all(&mut other, 0, 5_000).await, (500, StreamEnd::Complete));
    assert_eq!(a.ask(B, b"x").await.unwrap(), b"re:x");
    // Credit for what is taken, and for more.
    let before = sent();
    idle.widen(WINDOW);
    assert_eq!(idle.window(), 2 * WINDOW);
    eventually("the wider window is full", || (sent() >= before + WINDOW).then_some(())).await;
    sleep(Duration::from_millis(200)).await;
    assert!(sent() <= before + WINDOW + 1_000);
    for number in 1..5_000 {
        assert_eq!(timeout(PATIENT, idle.receive()).await.unwrap().unwrap(), numbered(number, 1_000));
    }
    drop(idle);
    eventually("it is not served any more", || (b.memory.serving.load(Ordering::Relaxed) == 0).then_some(())).await;
}

#[tokio::test]
async fn a_message_that_is_larger_than_the_window_gets_through() {
    let (a, b) = pair(settings()).await;
    let bytes = settings().stream_message_bytes;
    let mut stream = a.open(B, 3, bytes, 1);
    assert_eq!(take_all(&mut stream, 0, bytes).await, (3, StreamEnd::Complete));
    let mut stream = a.open(B, 3, bytes + 1, 1);
    assert_eq!(
        take_all(&mut stream, 0, bytes).await,
        (0, StreamEnd::Complete),
        "the server was told that it is too large"
    );
    assert_eq!(b.memory.sent.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn every_end_has_its_reason_and_stays_what_it_is() {
    let (a, _b) = pair(settings()).await;
    for (words, end) in [("unknown", StreamEnd::NotServed), ("panic", StreamEnd::Failed), ("0 0", StreamEnd::Complete)]
    {
        let mut stream = a.open_with(B, words, 1, 100);
        for _ in 0..2 {
            assert_eq!(timeout(PATIENT, stream.receive()).await.unwrap(), Err(end.clone()), "{words}");
        }
    }
    let open = |to, bytes| {
        let body = Bytes::from(vec![b'0'; bytes]);
        a.transport.open_stream(to, Opening { body, stripe_key: 1, window: 1 }).map(drop)
    };
    assert_eq!(open(NodeId(9), 1), Err(Error::UnknownPeer { node: NodeId(9) }));
    let maximum = MAXIMUM_OPENING_BYTES;
    assert_eq!(open(B, maximum + 1), Err(Error::TooLarge { bytes: maximum + 1, maximum }));
    let zeros = "0".repeat(maximum - 2);
    let mut longest = a.open_with(B, &format!("{zeros} 0"), 1, 1);
    assert_eq!(take_all(&mut longest, 0, 0).await, (0, StreamEnd::Complete));
}

#[tokio::test]
async fn streams_are_bounded_on_both_sides() {
    let (a, _) = pair(Settings { streams: 3, ..settings() }).await;
    let b = Node::new(Settings { streams: 2, ..settings() }, Security::Plain, identity(2, "b"), anywhere()).await;
    a.know(&[(B, b.at())]);
    let (first, second) = (a.open_with(B, "never", 1, 9), a.open_with(B, "never", 1, 9));
    eventually("two are served", || (b.memory.serving.load(Ordering::Relaxed) == 2).then_some(())).await;
    let mut third = a.open_with(B, "0 0", 1, 9);
    assert_eq!(timeout(PATIENT, third.receive()).await.unwrap(), Err(StreamEnd::Busy));
    drop(first);
    eventually("one is served", || (b.memory.serving.load(Ordering::Relaxed) == 1).then_some(())).await;
    let again = async {
        loop {
            let end = a.open_with(B, "0 0", 1, 9).receive().await;
            if end == Err(StreamEnd::Complete) {
                return;
            }
            assert_eq!(end, Err(StreamEnd::Busy));
        }
    };
    timeout(PATIENT, again).await.expect("its place is free");
    let _held = (a.open_with(B, "never", 1, 9), a.open_with(B, "never", 1, 9));
    let opening = Opening { body: Bytes::from_static(b"0 0"), stripe_key: 1, window: 9 };
    assert_eq!(a.transport.open_stream(B, opening.clone()).map(drop), Err(Error::BufferFull));
    assert!(a.transport.open_stream(B, Opening { stripe_key: 2, ..opening }).is_ok(), "another stripe");
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_transport_ends_streams_on_both_sides() {
    let (a, b) = pair(settings()).await;
    let (mut read, mut removed) = (a.open_with(B, "never", 1, 9), b.open_with(A, "never", 2, 9));
    eventually("both are served", || {
        let serving = [&a, &b].map(|node| node.memory.serving.load(Ordering::Relaxed));
        (serving == [1, 1]).then_some(())
    })
    .await;
    b.know(&[]);
    assert_eq!(timeout(PATIENT, removed.receive()).await.unwrap(), Err(StreamEnd::Stopped));
    eventually("the other side sees it", || (a.memory.serving.load(Ordering::Relaxed) == 0).then_some(())).await;
    timeout(PATIENT, a.transport.shutdown()).await.expect("everything ends");
    assert_eq!(timeout(PATIENT, read.receive()).await.unwrap(), Err(StreamEnd::Stopped));
    eventually("the other side sees it", || (b.memory.serving.load(Ordering::Relaxed) == 0).then_some(())).await;
    let opening = Opening { body: Bytes::new(), stripe_key: 1, window: 1 };
    assert_eq!(a.transport.open_stream(B, opening).map(drop), Err(Error::Stopped));
}
