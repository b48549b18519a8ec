//! Byte streams when the network or the other side is not as it should be.

use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway_cluster::transport::streams::StreamEnd;
use causeway_cluster::transport::{ConnectionError, PeerAddress, RefusalCode};
use causeway_core::ids::NodeId;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::node::{Node, PATIENT, eventually, identity, name, numbered, settings};
use crate::proxy::{Mode, Proxy};
use crate::raw;

const B: NodeId = NodeId(2);

const OPEN: u8 = 11;
const DATA: u8 = 12;

async fn behind_a_proxy() -> (Node, Node, Proxy) {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    let proxy = Proxy::to(&b.address()).await;
    a.know(&[(B, PeerAddress { address: proxy.address.clone(), ..b.at() })]);
    (a, b, proxy)
}

fn opening(stream: u64, window: u64, words: &[u8]) -> Vec<u8> {
    raw::frame(OPEN, &[&stream.to_be_bytes()[..], &window.to_be_bytes(), words].concat())
}

#[tokio::test]
async fn a_cut_ends_the_stream_behind_what_arrived_and_the_next_one_is_whole() {
    let (a, b, proxy) = behind_a_proxy().await;
    let mut stream = a.open(B, 100_000, 1_000, 50_000);
    for number in 0..100 {
        assert_eq!(timeout(PATIENT, stream.receive()).await.unwrap().unwrap(), numbered(number, 1_000));
    }
    proxy.set(Mode::Cut);
    let mut number = 100;
    let end = loop {
        match timeout(PATIENT, stream.receive()).await.unwrap() {
            Ok(message) => assert_eq!(message, numbered(number, 1_000)),
            Err(end) => break end,
        }
        number += 1;
    };
    assert_eq!(end, StreamEnd::Interrupted(ConnectionError::Closed));
    eventually("it is not served any more", || (b.memory.serving.load(Ordering::Relaxed) == 0).then_some(())).await;
    let mut unreachable = a.open(B, 1, 1, 1);
    let end = timeout(PATIENT, unreachable.receive()).await.unwrap();
    assert!(matches!(end, Err(StreamEnd::Interrupted(_))), "{end:?}");
    proxy.set(Mode::Pass);
    let mut again = a.open(B, 10, 1_000, 50_000);
    for number in 0..10 {
        assert_eq!(timeout(PATIENT, again.receive()).await.unwrap().unwrap(), numbered(number, 1_000));
    }
    assert_eq!(timeout(PATIENT, again.receive()).await.unwrap(), Err(StreamEnd::Complete));
}

#[tokio::test]
async fn a_silent_network_is_noticed_in_time_on_both_sides() {
    let (a, b, proxy) = behind_a_proxy().await;
    let mut stream = a.open_with(B, "never", 1, 9);
    eventually("it is served", || (b.memory.serving.load(Ordering::Relaxed) == 1).then_some(())).await;
    sleep(settings().dead_after + Duration::from_millis(500)).await;
    assert_eq!(b.memory.serving.load(Ordering::Relaxed), 1, "an idle stream lives");
    proxy.set(Mode::Swallow);
    let silent = ConnectionError::Silent { waited: settings().dead_after };
    assert_eq!(timeout(PATIENT, stream.receive()).await.unwrap(), Err(StreamEnd::Interrupted(silent)));
    eventually("it is not served any more", || (b.memory.serving.load(Ordering::Relaxed) == 0).then_some(())).await;
}

#[tokio::test]
async fn streams_follow_their_peer_to_another_address() {
    let (a, b, _proxy) = behind_a_proxy().await;
    let mut stream = a.open_with(B, "never", 1, 9);
    eventually("it is served", || (b.memory.serving.load(Ordering::Relaxed) == 1).then_some(())).await;
    a.know(&[(B, b.at())]);
    let given_up = Err(StreamEnd::Interrupted(ConnectionError::GivenUp));
    assert_eq!(timeout(PATIENT, stream.receive()).await.unwrap(), given_up);
    let mut again = a.open(B, 1, 100, 9);
    assert_eq!(timeout(PATIENT, again.receive()).await.unwrap().unwrap(), numbered(0, 100));
}

#[tokio::test]
async fn a_stranger_gets_no_stream() {
    let a = Node::plain(1, "a").await;
    let mut stream = tokio::net::TcpStream::connect(a.address()).await.unwrap();
    stream.write_all(&raw::streams_hello(&identity(0, "c"), 5)).await.unwrap();
    let (kind, _) = raw::read(&mut stream).await.unwrap();
    assert_eq!(kind, raw::REFUSED);
    let error = a.turned_away().await;
    assert!(matches!(&error, ConnectionError::Refusing(refusal) if refusal.code == RefusalCode::NotMember), "{error}");
}

#[tokio::test]
async fn whoever_opens_for_ever_and_reads_nothing_is_cut_off() {
    let a = Node::plain(1, "a").await;
    let mut socket = tokio::net::TcpStream::connect(a.address()).await.unwrap();
    socket.write_all(&raw::streams_hello(&identity(2, "b"), 5)).await.unwrap();
    let (_unread, mut write) = socket.into_split();
    let opening_for_ever = async {
        for stream in 1.. {
            if write.write_all(&opening(stream, u64::MAX, b"1000 100000")).await.is_err() {
                return;
            }
        }
    };
    timeout(PATIENT, opening_for_ever).await.expect("it is cut off");
    eventually("nothing is served any more", || (a.memory.serving.load(Ordering::Relaxed) == 0).then_some(())).await;
}

#[tokio::test]
async fn frames_that_have_no_place_end_the_connection() {
    let a = Node::plain(1, "a").await;
    let twice = [opening(1, 9, b"never"), opening(1, 9, b"never")].concat();
    let data = raw::frame(DATA, &1_u64.to_be_bytes());
    let too_long = opening(1, 9, &[b'0'; 70_000]);
    for bytes in [twice, data, too_long, raw::frame(raw::RAFT, b"x"), raw::frame(99, b"")] {
        let mut socket = tokio::net::TcpStream::connect(a.address()).await.unwrap();
        socket.write_all(&raw::streams_hello(&identity(2, "b"), 5)).await.unwrap();
        let (kind, _) = raw::read(&mut socket).await.unwrap();
        assert_eq!(kind, raw::HELLO);
        // It may be gone before everything was written.
        let _ = socket.write_all(&bytes).await;
        raw::ended(&mut socket).await;
    }
    eventually("nothing is served any more", || (a.memory.serving.load(Ordering::Relaxed) == 0).then_some(())).await;
    // And on a connection for messages.
    let mut socket = raw::introduced(&a.address(), &identity(2, "b"), 5).await;
    socket.write_all(&opening(1, 9, b"never")).await.unwrap();
    raw::ended(&mut socket).await;
}

#[tokio::test]
async fn a_server_that_sends_more_than_it_may_is_cut_off() {
    let a = Node::plain(1, "a").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let greedy = PeerAddress { name: name("c"), address: listener.local_addr().unwrap().to_string() };
    let serving = tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                raw::introduce(&mut socket, &identity(3, "c"), 5).await.unwrap();
                let Ok((OPEN, _)) = raw::read(&mut socket).await else { return };
                let data = raw::frame(DATA, &[&1_u64.to_be_bytes()[..], &[7; 1_000]].concat());
                while socket.write_all(&data).await.is_ok() {}
            });
        }
    });
    a.know(&[(NodeId(3), greedy)]);
    let mut stream = a.open_with(NodeId(3), "x", 1, 10_000);
    // Long before anything is taken.
    sleep(Duration::from_millis(300)).await;
    let mut bytes = 0;
    let end = loop {
        match timeout(PATIENT, stream.receive()).await.unwrap() {
            Ok(message) => bytes += message.len(),
            Err(end) => break end,
        }
    };
    assert_eq!(end, StreamEnd::Interrupted(ConnectionError::Overrun));
    assert_eq!(bytes, 10_000);
    serving.abort();
}
