//! Messages that are too large for one frame.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use causeway_cluster::transport::{ConnectionError, Error, PeerAddress, Security, Settings};
use causeway_core::ids::NodeId;
use tokio::sync::oneshot;

use crate::certificates::Authority;
use crate::node::{Node, PATIENT, anywhere, eventually, identity, settings};
use crate::proxy::{Mode, Proxy};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

/// No part of it is like another, so whatever is lost, doubled or swapped shows. Quick to make, because both ends and
/// what stands between them share a thread with the test.
fn bytes(count: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(usize::to_be_bytes).collect();
    bytes.truncate(count);
    bytes
}

fn send(from: &Node, message: Vec<u8>) -> oneshot::Receiver<Result<(), Error>> {
    let (tell, told) = oneshot::channel();
    from.transport.send_snapshot(B, message, move |what| drop(tell.send(what)));
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_message_arrives_whole_and_small_ones_pass_it() {
    let authority = Authority::new("one");
    let a = Arc::new(Node::tls(1, "a", authority.security("a")).await);
    let b = Node::tls(2, "b", authority.security("b")).await;
    let proxy = Proxy::to(&b.address()).await;
    a.know(&[(B, PeerAddress { address: proxy.address.clone(), ..b.at() })]);
    a.connected(B).await;
    // Slow enough that the message is under way while the others are sent, whatever the machine does.
    proxy.set(Mode::Slow(16 << 10));
    let message = bytes(20 << 20);
    let mut told = send(&a, message.clone());
    let mut passed = 0;
    for _ in 0..10 {
        assert_eq!(a.ask(B, b"x").await.unwrap(), b"re:x");
        a.transport.send_raft(B, vec![7]).unwrap();
        passed += usize::from(told.try_recv().is_err());
    }
    assert!(passed > 0, "requests were answered while the message was under way");
    eventually("heartbeats pass", || (b.heard().len() == 10).then_some(())).await;
    assert!(told.try_recv().is_err() && b.heard().iter().all(|(_, heard)| heard == &[7]));
    proxy.set(Mode::Pass);
    assert_eq!(told.await.unwrap(), Ok(()));
    let heard = b.heard();
    assert!(heard.last() == Some(&(A, message)), "it arrives as it was sent");
    assert_eq!((heard.len(), a.transport.peers()[&B].last_error.clone()), (11, None));
}

#[tokio::test]
async fn messages_between_a_frame_and_a_snapshot_travel_in_pieces_by_themselves() {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    a.know(&[(B, b.at())]);
    let sizes = [2 << 20, (2 << 20) + 1, 5 << 20, 0, 1];
    for size in sizes {
        a.transport.send_raft(B, vec![1; size]).unwrap();
    }
    let mut expected = sizes.to_vec();
    expected.sort_unstable();
    eventually("all arrive", || {
        let mut heard: Vec<usize> = b.heard().iter().map(|(_, message)| message.len()).collect();
        heard.sort_unstable();
        (heard == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_sender_learns_why_a_message_was_not_taken() {
    let small = Settings { maximum_message_bytes: 2 << 20, ..settings() };
    let a = Node::plain(1, "a").await;
    let b = Node::new(small, Security::Plain, identity(2, "b"), anywhere()).await;
    a.know(&[(B, b.at())]);
    let told = send(&a, bytes(3 << 20)).await.unwrap().unwrap_err();
    assert!(matches!(&told, Error::NotTaken { reason } if reason.contains("larger than allowed")), "{told}");
    assert_eq!(send(&a, bytes(1 << 20)).await.unwrap(), Ok(()), "the next one is");
    assert!(matches!(send(&a, vec![1; 300 << 20]).await.unwrap(), Err(Error::TooLarge { .. })));
    assert!(matches!(send(&a, Vec::new()).await.unwrap(), Err(Error::NotTaken { .. })));
    a.know(&[]);
    assert_eq!(send(&a, bytes(1)).await.unwrap(), Err(Error::UnknownPeer { node: B }));
}

#[tokio::test]
async fn a_message_whose_connection_ends_fails_and_the_next_one_arrives() {
    // A busy machine must not take a slow way for a dead one.
    let (dead_after, handshake_timeout) = (PATIENT * 4, PATIENT * 5);
    let patient = Settings { dead_after, handshake_timeout, ..settings() };
    let a = Node::new(patient.clone(), Security::Plain, identity(1, "a"), anywhere()).await;
    let b = Node::new(patient, Security::Plain, identity(2, "b"), anywhere()).await;
    let proxy = Proxy::to(&b.address()).await;
    a.know(&[(B, PeerAddress { address: proxy.address.clone(), ..b.at() })]);
    a.connected(B).await;
    proxy.set(Mode::Slow(1 << 10));
    let (first, second) = (send(&a, vec![1; 20 << 20]), send(&a, vec![2; 1 << 20]));
    assert_eq!(a.ask(B, b"x").await.unwrap(), b"re:x");
    proxy.set(Mode::Cut);
    let error = first.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Interrupted(ConnectionError::Closed)), "{error}");
    assert!(matches!(second.await.unwrap(), Err(Error::NotSent(_))));
    proxy.set(Mode::Pass);
    a.connected(B).await;
    assert_eq!(send(&a, bytes(3 << 20)).await.unwrap(), Ok(()));
    assert_eq!(b.heard().len(), 1);
}

#[tokio::test]
async fn a_message_that_takes_too_long_fails_and_the_connection_goes_on() {
    let hasty = Settings { message_time_limit: Duration::from_millis(500), ..settings() };
    let a = Node::plain(1, "a").await;
    let b = Node::new(hasty, Security::Plain, identity(2, "b"), anywhere()).await;
    let proxy = Proxy::to(&b.address()).await;
    a.know(&[(B, PeerAddress { address: proxy.address.clone(), ..b.at() })]);
    a.connected(B).await;
    proxy.set(Mode::Slow(4 << 10));
    let told = send(&a, vec![1; 200 << 20]).await.unwrap().unwrap_err();
    assert!(matches!(&told, Error::NotTaken { reason } if reason.contains("too long")), "{told}");
    assert_eq!(a.ask(B, b"x").await.unwrap(), b"re:x");
    assert_eq!(a.transport.peers()[&B].last_error, None);
}

#[tokio::test]
async fn every_message_is_told_about_exactly_once() {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    a.know(&[(B, b.at())]);
    let (told, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for _ in 0..50 {
        let (told, taken) = (Arc::clone(&told), Arc::clone(&taken));
        a.transport.send_snapshot(B, bytes(100 << 10), move |what| {
            told.fetch_add(1, Ordering::Relaxed);
            taken.fetch_add(usize::from(what.is_ok()), Ordering::Relaxed);
        });
    }
    eventually("all are told", || (told.load(Ordering::Relaxed) == 50).then_some(())).await;
    assert_eq!(taken.load(Ordering::Relaxed), b.heard().len());
    assert!(!b.heard().is_empty());
}
