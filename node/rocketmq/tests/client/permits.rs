//! The permit of a send: no frame becomes whole after it was withdrawn.
//!
//! The peer here is a bare socket that reads nothing until told, so that a large frame gets stuck half-way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use causeway_rocketmq::stub::{Stub, StubOptions};
use causeway_rocketmq::wire::code::request::SEND_MESSAGE_V2;
use causeway_rocketmq::{Client, ClientSettings, Content, Error, OutgoingBatch, Refusal, SendOutcome};
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::{pair, queue, settings, single};

const FRAME_BYTES: usize = 15 << 20;

fn large() -> OutgoingBatch {
    OutgoingBatch::new(Content::Batch(Bytes::from(vec![7; FRAME_BYTES])), 0)
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
