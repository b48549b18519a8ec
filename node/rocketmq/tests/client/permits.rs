//! The permit of a send: no frame becomes whole after it was withdrawn.
//!
//! The peer is the stub, which counts whole frames, or a bare socket that reads nothing until told, so that a large
//! frame gets stuck half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use causeway_rocketmq::stub::{Fault, Stub, StubOptions};
use causeway_rocketmq::wire::code::request::{SEND_BATCH_MESSAGE, SEND_MESSAGE_V2};
use causeway_rocketmq::{Client, ClientSettings, Content, Error, OutgoingBatch, Permit, Refusal, SendOutcome};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::{batch, pair, queue, settings, single};

const FRAME_BYTES: usize = 15 << 20;

/// A frame of this size fits into the kernel's buffers, and its last bytes have a write of their own.
const SPLIT_BYTES: usize = 100_000;

fn large() -> OutgoingBatch {
    sized(FRAME_BYTES)
}

fn sized(bytes: usize) -> OutgoingBatch {
    OutgoingBatch::new(Content::Batch(Bytes::from(vec![7; bytes])), 0)
}

/// Grants so many writes, and then no more. Counts the questions.
pub(crate) fn grants(writes: usize) -> (Permit, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    (Arc::new(move || counted.fetch_add(1, Ordering::SeqCst) < writes), asked)
}

/// A name server whose only broker is a bare listener.
async fn deaf_broker() -> (Stub, TcpListener) {
    let stub = Stub::start(StubOptions::default()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    stub.store().create_topic("t", 1);
    let mut route = stub.store().own_route("t").unwrap();
    route["brokerDatas"][0]["brokerAddrs"] = json!({"0": listener.local_addr().unwrap().to_string()});
    stub.store().routes.insert("t".into(), route);
    (stub, listener)
}

#[tokio::test]
async fn without_a_permit_nothing_leaves_and_the_connection_stays() {
    let (stub, client) = pair().await;
    let generation = client.connect_for_send(&queue(0)).await.unwrap();
    let message = OutgoingBatch { permit: Some(Arc::new(|| false)), ..single("a") };
    assert_eq!(client.send(&queue(0), message).await, SendOutcome::NotStored(Refusal::PermitWithdrawn));
    assert_eq!(stub.requests(SEND_MESSAGE_V2), 0);
    assert_eq!(client.connection_generation(&queue(0)), generation);
    let message = OutgoingBatch { permit: Some(Arc::new(|| true)), ..single("a") };
    assert!(matches!(client.send(&queue(0), message).await, SendOutcome::Stored { offset: 0, .. }));
}

#[tokio::test]
async fn a_permit_withdrawn_half_way_keeps_the_last_bytes_back() {
    let (stub, listener) = deaf_broker().await;
    let client = Client::new(settings(&stub)).unwrap();
    let allowed = Arc::new(AtomicBool::new(true));
    let permit = Arc::clone(&allowed);
    let message = OutgoingBatch { permit: Some(Arc::new(move || permit.load(Ordering::SeqCst))), ..large() };
    let sending = {
        let client = client.clone();
        tokio::spawn(async move { client.send(&queue(0), message).await })
    };
    let (mut broker, _) = listener.accept().await.unwrap();
    let mut received = broker.read(&mut [0; 1024]).await.unwrap();
    assert!(received > 0);
    allowed.store(false, Ordering::SeqCst);
    // Reading makes room, so the client would go on writing.
    let mut room = vec![0; 1 << 20];
    while let Ok(count @ 1..) = broker.read(&mut room).await {
        received += count;
    }
    assert!(received < FRAME_BYTES, "the frame became whole");
    assert_eq!(sending.await.unwrap(), SendOutcome::NotStored(Refusal::PermitWithdrawn));
    assert_eq!(client.connection_generation(&queue(0)), 0);
}

#[tokio::test]
async fn a_frame_that_never_became_whole_is_provably_not_stored() {
    let (stub, listener) = deaf_broker().await;
    let impatient = ClientSettings { request_timeout: Duration::from_millis(300), ..settings(&stub) };
    let client = Client::new(impatient).unwrap();
    let sending = {
        let client = client.clone();
        tokio::spawn(async move { client.send(&queue(0), large()).await })
    };
    let (broker, _) = listener.accept().await.unwrap();
    let outcome = sending.await.unwrap();
    assert!(
        matches!(
            outcome,
            SendOutcome::NotStored(Refusal::NotConnected(Error::Timeout { .. } | Error::ConnectionLost { .. }))
        ),
        "{outcome:?}"
    );
    assert_eq!(client.connection_generation(&queue(0)), 0);
    drop(broker);
}

#[tokio::test]
async fn a_peer_that_closes_half_way_stores_nothing() {
    let (stub, listener) = deaf_broker().await;
    let client = Client::new(settings(&stub)).unwrap();
    let sending = {
        let client = client.clone();
        tokio::spawn(async move { client.send(&queue(0), large()).await })
    };
    let (mut broker, _) = listener.accept().await.unwrap();
    assert!(broker.read(&mut [0; 1024]).await.unwrap() > 0);
    drop(broker);
    let outcome = sending.await.unwrap();
    assert!(
        matches!(outcome, SendOutcome::NotStored(Refusal::NotConnected(Error::ConnectionLost { .. }))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_permit_withdrawn_before_the_last_bytes_leaves_a_frame_that_is_never_whole() {
    let (stub, client) = pair().await;
    client.connect_for_send(&queue(0)).await.unwrap();
    // Another request waits on the same connection: it was whole, so nobody knows what becomes of it.
    stub.fault(SEND_MESSAGE_V2, Fault::Silence);
    let other = {
        let client = client.clone();
        tokio::spawn(async move { client.send(&queue(0), single("a")).await })
    };
    crate::until(|| stub.requests(SEND_MESSAGE_V2) == 1).await;
    let (permit, asked) = grants(1);
    let message = OutgoingBatch { permit: Some(permit), ..sized(SPLIT_BYTES) };
    assert_eq!(client.send(&queue(0), message).await, SendOutcome::NotStored(Refusal::PermitWithdrawn));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(client.connection_generation(&queue(0)), 0);
    let other = other.await.unwrap();
    assert!(matches!(other, SendOutcome::Unknown(Error::ConnectionLost { .. })), "{other:?}");
    // What comes next goes over a connection of its own.
    assert!(matches!(client.send(&queue(0), batch(&["b"])).await, SendOutcome::Stored { offset: 0, .. }));
    assert_eq!(stub.requests(SEND_BATCH_MESSAGE), 1, "half a frame was taken for a whole one");
}

#[tokio::test]
async fn a_connection_that_holds_half_a_frame_is_reset() {
    let (stub, listener) = deaf_broker().await;
    let client = Client::new(settings(&stub)).unwrap();
    let message = OutgoingBatch { permit: Some(grants(1).0), ..sized(SPLIT_BYTES) };
    let sending = tokio::spawn(async move { client.send(&queue(0), message).await });
    let (mut broker, _) = listener.accept().await.unwrap();
    let announced = usize::try_from(broker.read_u32().await.unwrap()).unwrap();
    let (mut received, mut room) = (0, vec![0; 1 << 20]);
    let end = loop {
        match broker.read(&mut room).await {
            Ok(0) => panic!("closed in order: the kernel delivers what it still had"),
            Ok(count) => received += count,
            Err(error) => break error,
        }
    };
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(announced > SPLIT_BYTES && received < announced, "the frame became whole");
    assert_eq!(sending.await.unwrap(), SendOutcome::NotStored(Refusal::PermitWithdrawn));
}

#[tokio::test]
async fn a_frame_of_the_usual_size_is_asked_for_once() {
    let (stub, client) = pair().await;
    let (permit, asked) = grants(1);
    let message = OutgoingBatch { permit: Some(permit), ..batch(&["a", "b"]) };
    assert!(matches!(client.send(&queue(0), message).await, SendOutcome::Stored { offset: 0, .. }));
    assert_eq!((asked.load(Ordering::SeqCst), stub.requests(SEND_BATCH_MESSAGE)), (1, 1));
}

#[tokio::test]
async fn a_permit_that_stays_changes_no_byte_on_the_wire() {
    let (stub, listener) = deaf_broker().await;
    for bytes in [1, 65_000, SPLIT_BYTES, 3 << 20] {
        let mut frames = Vec::new();
        for permit in [None, Some(grants(usize::MAX).0)] {
            let client = Client::new(settings(&stub)).unwrap();
            let message = OutgoingBatch { permit, ..sized(bytes) };
            let sending = tokio::spawn(async move { client.send(&queue(0), message).await });
            let (mut broker, _) = listener.accept().await.unwrap();
            let length = broker.read_u32().await.unwrap();
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            broker.read_exact(&mut frame).await.unwrap();
            frames.push(frame);
            drop(broker);
            assert!(matches!(sending.await.unwrap(), SendOutcome::Unknown(_)), "it was whole");
        }
        assert!(frames[0].len() > bytes && frames[0] == frames[1], "{bytes}");
    }
}
