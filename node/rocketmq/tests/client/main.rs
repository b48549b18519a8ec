//! The client against the stub: every bad input gives a typed error, nothing hangs, nothing is sent twice.
//!
//! Parts: [`pulls`], [`sends`], [`permits`], [`routes`], [`admin`], [`tls`].
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

mod admin;
mod permits;
mod pulls;
mod routes;
mod sends;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use causeway_rocketmq::stub::{Stub, StubOptions};
use causeway_rocketmq::wire::batch::Batch;
use causeway_rocketmq::{Client, ClientSettings, Content, OutgoingBatch, Pull, PullRequest, Queue};

/// Long enough for a busy machine, where the answer comes; see [`IMPATIENT`] where it does not.
const PATIENT: Duration = Duration::from_secs(30);
/// For tests in which no answer comes: only the kind of the outcome is checked, not the time.
const IMPATIENT: Duration = Duration::from_millis(200);

fn settings(stub: &Stub) -> ClientSettings {
    ClientSettings { request_timeout: PATIENT, connect_timeout: PATIENT, ..ClientSettings::new(vec![stub.address()]) }
}

/// A stub with topic `t` of two queues, and a client of it.
async fn pair() -> (Stub, Client) {
    let stub = Stub::start(StubOptions::default()).await.unwrap();
    stub.store().create_topic("t", 2);
    let client = Client::new(settings(&stub)).unwrap();
    (stub, client)
}

/// As [`pair`], with a client that gives up soon.
async fn impatient_pair() -> (Stub, Client) {
    let (stub, _) = pair().await;
    let client = Client::new(ClientSettings { request_timeout: IMPATIENT, ..settings(&stub) }).unwrap();
    (stub, client)
}

fn queue(id: u32) -> Queue {
    Queue { topic: "t".into(), broker: "stub".into(), id }
}

fn from(offset: i64) -> PullRequest {
    PullRequest { offset, maximum_messages: 32, wait: Duration::ZERO }
}

fn batch(bodies: &[&str]) -> OutgoingBatch {
    let mut batch = Batch::new(4 << 20);
    for body in bodies {
        batch.push(0, body.as_bytes(), b"KEYS\x01k\x02").unwrap();
    }
    OutgoingBatch::new(Content::Batch(batch.take()), 1_700_000_000_000)
}

fn single(body: &'static str) -> OutgoingBatch {
    let content = Content::Single {
        body: Bytes::from_static(body.as_bytes()),
        properties: Bytes::from_static(b"KEYS\x01k\x02"),
        flag: 7,
    };
    OutgoingBatch::new(content, 1_700_000_000_000)
}

/// Bodies of what a pull found.
fn bodies(pull: &Pull) -> Vec<String> {
    match pull {
        Pull::Found { records, .. } => records.iter().map(|r| String::from_utf8(r.body.to_vec()).unwrap()).collect(),
        other => panic!("{other:?}"),
    }
}

/// Waits until something is so, and fails when it does not come to be.
async fn until(mut is_so: impl FnMut() -> bool) {
    let comes = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENT * 2, comes).await.unwrap();
}
