//! Links live through everything that happens to connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use causeway_cluster::transport::{ConnectionError, Error, LinkState, PeerAddress, Security, Settings};
use causeway_core::ids::NodeId;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::node::{Node, PATIENT, anywhere, eventually, identity, name, settings};
use crate::proxy::{Mode, Proxy};
use crate::raw;

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

/// Requests that will not be answered, in progress at the other side.
async fn in_progress(a: &Node, b: &Node, count: usize) -> JoinSet<Result<Vec<u8>, Error>> {
    let mut asking = JoinSet::new();
    for _ in 0..count {
        let transport = Arc::clone(&a.transport);
        asking.spawn(async move { transport.request(B, b"never".to_vec(), PATIENT * 2).await });
    }
    eventually("all requests are in progress", || (b.memory.begun.load(Ordering::Relaxed) == count).then_some(()))
        .await;
    asking
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_started_again_is_found_again_and_requests_in_flight_fail() {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    let at = b.transport.address();
    a.know(&[(B, b.at())]);
    let mut asking = in_progress(&a, &b, 20).await;
    b.transport.shutdown().await;
    while let Some(failed) = asking.join_next().await {
        let error = failed.unwrap().unwrap_err();
        assert!(matches!(error, Error::Interrupted(ConnectionError::Closed)), "{error}");
        assert!(error.outcome_is_unknown());
    }
    eventually("nobody answers", || {
        matches!(a.state(B), LinkState::Disconnected(ConnectionError::Unreachable { .. })).then_some(())
    })
    .await;
    assert!(a.memory.unreachable.load(Ordering::Relaxed) > 0);
    let unsent = a.transport.request(B, b"x".to_vec(), PATIENT).await.unwrap_err();
    assert!(matches!(unsent, Error::NotSent(ConnectionError::Unreachable { .. })), "{unsent}");
    assert!(!unsent.outcome_is_unknown());
    let again = Node::new(settings(), Security::Plain, identity(2, "b"), at).await;
    a.connected(B).await;
    assert_eq!(a.ask(B, b"x").await.unwrap(), b"re:x");
    a.transport.send_raft(B, vec![1]).unwrap();
    eventually("a Raft message", || (again.heard() == [(A, vec![1])]).then_some(())).await;
}

#[tokio::test]
async fn a_silent_connection_is_dead_in_time_on_both_sides() {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    let proxy = Proxy::to(&b.address()).await;
    a.know(&[(B, PeerAddress { address: proxy.address.clone(), ..b.at() })]);
    let mut asking = in_progress(&a, &b, 3).await;
    proxy.set(Mode::Swallow);
    while let Some(failed) = asking.join_next().await {
        let silent = ConnectionError::Silent { waited: settings().dead_after };
        assert_eq!(failed.unwrap(), Err(Error::Interrupted(silent)));
    }
    proxy.set(Mode::Pass);
    assert_eq!(a.ask(B, b"x").await.unwrap(), b"re:x");
}

#[tokio::test]
async fn an_idle_connection_is_kept_alive_by_pings() {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    a.know(&[(B, b.at())]);
    a.connected(B).await;
    tokio::time::sleep(settings().dead_after + Duration::from_secs(1)).await;
    assert_eq!((a.connected(B).await.identity.node, a.transport.peers()[&B].last_error.clone()), (B, None));
}

#[tokio::test]
async fn a_peer_that_stops_reading_holds_up_nobody_and_memory_stays_bounded() {
    let settings = Settings { buffered_messages: 100, buffered_bytes: 4 << 20, ..settings() };
    let a = Node::new(settings.clone(), Security::Plain, identity(1, "a"), anywhere()).await;
    let b = Node::plain(2, "b").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let deaf = PeerAddress { name: name("c"), address: listener.local_addr().unwrap().to_string() };
    let deafness = tokio::spawn(async move {
        // Lets the other side in, lives on, and reads nothing.
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if raw::introduce(&mut stream, &identity(3, "c"), 5).await.is_ok() {
                let (read, mut write) = stream.into_split();
                open.push((
                    read,
                    tokio::spawn(async move {
                        use tokio::io::AsyncWriteExt as _;
                        while write.write_all(&raw::frame(raw::PING, b"")).await.is_ok() {
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    }),
                ));
            }
        }
    });
    a.know(&[(B, b.at()), (NodeId(3), deaf)]);
    a.connected(NodeId(3)).await;
    let mut full = false;
    let stalled = ConnectionError::Stalled { waited: settings.dead_after };
    eventually("the peer is given up", || {
        for _ in 0..20 {
            full |= a.transport.send_raft(NodeId(3), vec![0; 256 << 10]) == Err(Error::BufferFull);
        }
        let status = a.transport.peers().remove(&NodeId(3)).unwrap();
        assert!(status.buffered.bytes <= settings.buffered_bytes, "{:?}", status.buffered);
        (status.last_error == Some(stalled.clone())).then_some(())
    })
    .await;
    assert!(full && a.transport.peers()[&NodeId(3)].buffered.dropped > 0);
    assert_eq!(a.ask(B, b"x").await.unwrap(), b"re:x");
    assert_eq!(a.transport.peers()[&B].last_error, None);
    deafness.abort();
}

#[tokio::test]
async fn a_link_follows_its_peer_to_another_address() {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    let elsewhere = Proxy::to(&b.address()).await;
    a.know(&[(B, PeerAddress { address: elsewhere.address.clone(), ..b.at() })]);
    let mut asking = in_progress(&a, &b, 1).await;
    a.know(&[(B, b.at())]);
    let interrupted = asking.join_next().await.unwrap().unwrap();
    assert_eq!(interrupted, Err(Error::Interrupted(ConnectionError::GivenUp)));
    assert_eq!(a.ask(B, b"x").await.unwrap(), b"re:x");
    assert_eq!(a.connected(B).await.address.to_string(), b.address());
    a.know(&[(B, b.at())]);
    assert_eq!(a.ask(B, b"y").await.unwrap(), b"re:y");
    assert_eq!(a.transport.peers()[&B].last_error, None, "the same address again changes nothing");
    a.know(&[]);
    assert_eq!(a.ask(B, b"x").await, Err(Error::UnknownPeer { node: B }));
    assert_eq!(a.transport.send_raft(B, vec![1]), Err(Error::UnknownPeer { node: B }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_without_a_runtime_sets_peers_and_sends() {
    let (a, b) = (Arc::new(Node::plain(1, "a").await), Node::plain(2, "b").await);
    let (from, at) = (Arc::clone(&a), b.at());
    let thread = std::thread::spawn(move || {
        from.know(&[(B, at)]);
        from.transport.send_raft(B, vec![1])
    });
    assert_eq!(thread.join().unwrap(), Ok(()));
    eventually("a Raft message", || (b.heard() == [(A, vec![1])]).then_some(())).await;
}

#[tokio::test]
async fn a_request_ends_in_time_and_gives_its_place_back() {
    let a = Node::new(Settings { requests: 2, ..settings() }, Security::Plain, identity(1, "a"), anywhere()).await;
    let b = Node::plain(2, "b").await;
    a.know(&[(B, b.at())]);
    let waited = Duration::from_millis(200);
    for _ in 0..5 {
        let late = a.transport.request(B, b"never".to_vec(), waited).await;
        assert_eq!(late, Err(Error::Timeout { waited }));
    }
    let both = async { tokio::join!(a.ask(B, b"never"), a.ask(B, b"never"), a.ask(B, b"x")) };
    tokio::select! {
        _ = both => panic!("two of them have no answer"),
        full = async { eventually("both places are taken", || (a.transport.peers()[&B].buffered.requests == 2).then_some(())).await; a.ask(B, b"x").await } => {
            assert_eq!(full, Err(Error::BufferFull));
        }
    }
    let used = || a.transport.peers()[&B].buffered.requests;
    eventually("calls that were given up take no place", || (used() == 0).then_some(())).await;
    assert_eq!(a.ask(B, b"x").await.unwrap(), b"re:x");
}

#[tokio::test]
async fn a_handler_that_panics_or_answers_too_much_fails_one_request_only() {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    a.know(&[(B, b.at())]);
    assert_eq!(a.ask(B, b"panic").await, Err(Error::PeerFailed));
    assert_eq!(a.ask(B, b"huge").await, Err(Error::PeerFailed));
    let large = vec![b'.'; settings().maximum_body_bytes()];
    assert_eq!(a.ask(B, &large).await, Err(Error::PeerFailed), "the answer is longer");
    let large = &large[3..];
    assert_eq!(a.ask(B, large).await.unwrap().len(), settings().maximum_body_bytes());
    assert!(matches!(a.ask(B, &vec![0; 9 << 20]).await, Err(Error::TooLarge { .. })));
    assert_eq!(a.transport.peers()[&B].last_error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_everything() {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    a.know(&[(B, b.at())]);
    b.know(&[(A, a.at())]);
    b.connected(A).await;
    let mut asking = in_progress(&a, &b, 5).await;
    let (tell, told) = tokio::sync::oneshot::channel();
    let silent = PeerAddress { name: name("c"), address: "127.0.0.1:9".into() };
    a.know(&[(B, b.at()), (NodeId(3), silent)]);
    a.transport.send_snapshot(NodeId(3), vec![1; 10], move |what| drop(tell.send(what)));
    tokio::time::timeout(PATIENT, a.transport.shutdown()).await.expect("everything ends");
    while let Some(failed) = asking.join_next().await {
        let error = failed.unwrap().unwrap_err();
        assert!(matches!(error, Error::Interrupted(ConnectionError::GivenUp) | Error::Stopped), "{error}");
    }
    assert!(told.await.unwrap().is_err());
    assert_eq!(Arc::strong_count(&a.memory), 2, "the test's and the transport's own");
    assert_eq!(a.ask(B, b"x").await, Err(Error::Stopped));
    assert_eq!(a.transport.send_raft(B, vec![1]), Err(Error::Stopped));
    a.know(&[(B, b.at())]);
    assert!(a.transport.peers().is_empty());
    TcpListener::bind(a.transport.address()).await.expect("the address is free");
}
