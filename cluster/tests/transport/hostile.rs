//! Whoever sends what no node would send is cut off, and the others notice nothing.

use std::time::Duration;

use causeway_cluster::transport::{ConnectionError, FrameError, RefusalCode, Security, Settings};
use causeway_core::ids::NodeId;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::node::{Node, PATIENT, anywhere, eventually, identity, settings};
use crate::raw::{self, HELLO, PING, REFUSED, REQUEST};

const A: NodeId = NodeId(1);

async fn pair(settings: Settings) -> (Node, Node) {
    let a = Node::new(settings, Security::Plain, identity(1, "a"), anywhere()).await;
    let b = Node::plain(2, "b").await;
    b.know(&[(A, a.at())]);
    b.connected(A).await;
    (a, b)
}

async fn undisturbed(b: &Node) {
    assert_eq!(b.ask(A, b"x").await.unwrap(), b"re:x");
}

#[tokio::test]
async fn a_length_above_the_cap_ends_the_connection_before_its_bytes_come() {
    let (a, b) = pair(settings()).await;
    // In the first frame nobody is trusted with more than a few kilobytes.
    let mut stream = TcpStream::connect(a.address()).await.unwrap();
    stream.write_all(&[0, 1, 0, 0, HELLO]).await.unwrap();
    let (kind, body) = raw::read(&mut stream).await.unwrap();
    assert_eq!(kind, REFUSED);
    assert!(String::from_utf8_lossy(&body).contains("a frame of 65536 bytes, the maximum is 4096"));
    let too_large = FrameError::TooLarge { bytes: 65536, maximum: 4096 };
    assert_eq!(a.turned_away().await, ConnectionError::Frame(too_large));
    // After it, with a length of 128 MiB.
    let mut stream = raw::introduced(&a.address(), &identity(3, "c"), 5).await;
    stream.write_all(&[8, 0, 0, 0, REQUEST]).await.unwrap();
    raw::ended(&mut stream).await;
    undisturbed(&b).await;
}

#[tokio::test]
async fn garbage_ends_the_connection() {
    let (a, b) = pair(settings()).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0, 0, 0, 1, 99], &raw::frame(PING, b""), &[0xff; 64]] {
        let mut stream = TcpStream::connect(a.address()).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        raw::ended(&mut stream).await;
        let mut stream = raw::introduced(&a.address(), &identity(3, "c"), 5).await;
        stream.write_all(garbage).await.unwrap();
        stream.write_all(&raw::frame(HELLO, b"")).await.unwrap();
        raw::ended(&mut stream).await;
    }
    undisturbed(&b).await;
}

#[tokio::test]
async fn whoever_says_nothing_or_says_it_slowly_is_cut_off_in_time() {
    let (a, b) = pair(settings()).await;
    let mut silent = TcpStream::connect(a.address()).await.unwrap();
    let mut slow = TcpStream::connect(a.address()).await.unwrap();
    let (mut reading, mut writing) = slow.split();
    // Slower than the time limit, and never silent for long.
    let dripping = async {
        let hello = raw::hello(&identity(3, "c"), 5);
        for byte in hello.iter().chain(std::iter::repeat(&0)) {
            tokio::time::sleep(Duration::from_millis(250)).await;
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(raw::ended(&mut silent), raw::ended(&mut reading), dripping);
    let late = ConnectionError::HandshakeTimeout { waited: settings().handshake_timeout };
    assert!(a.transport.turned_away().iter().all(|away| away.error == late), "{:?}", a.transport.turned_away());
    assert_eq!(a.turned_away().await, late);
    undisturbed(&b).await;
}

#[tokio::test]
async fn strangers_that_fill_all_handshakes_take_nothing_from_whoever_is_in() {
    let (a, b) = pair(Settings { handshakes: 2, connections: 2, ..settings() }).await;
    let mut strangers = Vec::new();
    for _ in 0..10 {
        strangers.push(TcpStream::connect(a.address()).await.unwrap());
    }
    undisturbed(&b).await;
    // They are cut off in time, so a node that comes behind them gets in.
    drop(strangers.split_off(2));
    let c = Node::plain(3, "c").await;
    c.know(&[(A, a.at())]);
    c.connected(A).await;
    assert_eq!(c.ask(A, b"x").await.unwrap(), b"re:x");
}

#[tokio::test]
async fn connections_are_bounded_and_one_too_many_is_told_so() {
    let (a, b) = pair(Settings { connections: 1, handshakes: 1, ..settings() }).await;
    let _second = raw::introduced(&a.address(), &identity(3, "c"), 5).await;
    let mut third = TcpStream::connect(a.address()).await.unwrap();
    let (kind, body) = raw::introduce(&mut third, &identity(4, "d"), 6).await.unwrap();
    assert_eq!((kind, &body[2..]), (REFUSED, &b"too many connections"[..]));
    let error = a.turned_away().await;
    assert!(matches!(&error, ConnectionError::Refusing(refusal) if refusal.code == RefusalCode::Busy), "{error}");
    undisturbed(&b).await;
}

#[tokio::test]
async fn whoever_asks_for_ever_and_reads_no_answer_is_cut_off() {
    // Long before it would be noticed that the answers are not taken.
    let (dead_after, handshake_timeout) = (PATIENT * 4, PATIENT * 5);
    let (a, b) = pair(Settings { dead_after, handshake_timeout, ..settings() }).await;
    let (_unread, mut asking) = raw::introduced(&a.address(), &identity(3, "c"), 5).await.into_split();
    let mut request = [0; 8].to_vec();
    request.extend_from_slice(&[b'.'; 64 * 1024]);
    let request = raw::frame(REQUEST, &request);
    let asking = async { while asking.write_all(&request).await.is_ok() {} };
    tokio::time::timeout(PATIENT, asking).await.expect("it is cut off");
    undisturbed(&b).await;
}

#[tokio::test]
async fn more_requests_than_allowed_are_answered_with_busy_and_the_rest_goes_on() {
    const BUSY: u8 = 9;
    let (a, b) = pair(Settings { requests: 2, ..settings() }).await;
    let mut stream = raw::introduced(&a.address(), &identity(3, "c"), 5).await;
    let ask = |id: u64, body: &[u8]| raw::frame(REQUEST, &[&id.to_be_bytes()[..], body].concat());
    for id in 0..3 {
        stream.write_all(&ask(id, b"never")).await.unwrap();
    }
    assert_eq!(raw::read(&mut stream).await.unwrap(), (BUSY, 2_u64.to_be_bytes().to_vec()));
    eventually("two began", || (a.memory.begun.load(std::sync::atomic::Ordering::Relaxed) == 2).then_some(())).await;
    undisturbed(&b).await;
}
