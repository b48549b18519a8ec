//! Who is let in: one process per node id, one cluster, one protocol.

use causeway_cluster::transport::{ConnectionError, Error, Identity, LinkState, RefusalCode, Security};
use causeway_core::ids::{ClusterId, NodeId};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::node::{Node, PATIENT, anywhere, eventually, identity, settings};
use crate::proxy::{Mode, Proxy};
use crate::raw::{self, HELLO, RAFT, REFUSED};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

fn code(error: &ConnectionError) -> Option<RefusalCode> {
    match error {
        ConnectionError::Refused(refusal) | ConnectionError::Refusing(refusal) => Some(refusal.code),
        _ => None,
    }
}

async fn other_cluster(id: u64, text: &str) -> Node {
    let me = Identity { cluster: Some(ClusterId(8)), ..identity(id, text) };
    Node::new(settings(), Security::Plain, me, anywhere()).await
}

#[tokio::test]
async fn two_processes_with_one_id_are_never_taken_for_one_node() {
    let (a, b, twin) = (Node::plain(1, "a").await, Node::plain(2, "b").await, Node::plain(2, "b").await);
    b.know(&[(A, a.at())]);
    a.know(&[(B, b.at())]);
    b.connected(A).await;
    twin.know(&[(A, a.at())]);
    let told = twin.failure(A).await;
    assert_eq!(code(&told), Some(RefusalCode::DuplicateNode), "{told}");
    assert!(matches!(twin.state(A), LinkState::Refused(refusal) if refusal.reason.contains("node 2")));
    assert_eq!(code(&a.turned_away().await), Some(RefusalCode::DuplicateNode));
    // Also when the connection to the second one is opened from here.
    let asked = a.transport.request_at(&twin.address(), None, b"x".to_vec(), PATIENT).await.unwrap_err();
    let Error::NotSent(error) = &asked else { panic!("{asked}") };
    assert_eq!(code(error), Some(RefusalCode::DuplicateNode));
    assert_eq!(b.ask(A, b"x").await.unwrap(), b"re:x");
    // And by the twin itself, of this node.
    let met = b.transport.request_at(&twin.address(), None, b"x".to_vec(), PATIENT).await.unwrap_err();
    assert!(met.to_string().contains("another living process"), "{met}");
}

#[tokio::test]
async fn a_process_that_was_stopped_gives_way_to_its_successor() {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    b.know(&[(A, a.at())]);
    b.connected(A).await;
    b.transport.shutdown().await;
    let successor = Node::plain(2, "b").await;
    successor.know(&[(A, a.at())]);
    assert_eq!(successor.ask(A, b"x").await.unwrap(), b"re:x");
}

#[tokio::test]
async fn a_process_that_vanished_without_a_word_gives_way_when_its_silence_is_noticed() {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    let proxy = Proxy::to(&a.address()).await;
    let mut through = a.at();
    through.address = proxy.address.clone();
    b.know(&[(A, through)]);
    b.connected(A).await;
    proxy.set(Mode::Swallow);
    let successor = Node::plain(2, "b").await;
    successor.know(&[(A, a.at())]);
    successor.connected(A).await;
    assert_eq!(successor.transport.peers()[&A].last_error, None, "it was kept waiting, not refused");
    // Should it come back after all, it is the second one now.
    proxy.set(Mode::Pass);
    eventually("the first one is refused", || {
        let last = b.transport.peers()[&A].last_error.clone();
        last.filter(|error| code(error) == Some(RefusalCode::DuplicateNode))
    })
    .await;
}

#[tokio::test]
async fn another_cluster_is_refused_in_words() {
    let (a, b, other) = (Node::plain(1, "a").await, Node::plain(2, "b").await, other_cluster(2, "c").await);
    b.know(&[(A, a.at())]);
    other.know(&[(A, a.at())]);
    let told = other.failure(A).await;
    assert_eq!(code(&told), Some(RefusalCode::OtherCluster));
    let words = "c belongs to cluster 0000000000000008, a to cluster 0000000000000007";
    assert!(told.to_string().contains(words), "{told}");
    assert_eq!(code(&a.turned_away().await), Some(RefusalCode::OtherCluster));
    assert_eq!(b.ask(A, b"x").await.unwrap(), b"re:x");
}

#[tokio::test]
async fn a_node_does_not_take_itself_for_another() {
    let a = Node::plain(1, "a").await;
    let met = a.transport.request_at(&a.address(), None, b"x".to_vec(), PATIENT).await.unwrap_err();
    let Error::NotSent(error) = &met else { panic!("{met}") };
    assert_eq!(code(error), Some(RefusalCode::Itself));
    a.know(&[(A, a.at())]);
    assert!(a.transport.peers().is_empty(), "it is no peer of itself");
}

#[tokio::test]
async fn another_node_at_the_address_is_not_taken_for_the_peer() {
    let (a, c) = (Node::plain(1, "a").await, Node::plain(3, "c").await);
    a.know(&[(B, c.at())]);
    assert_eq!(code(&a.failure(B).await), Some(RefusalCode::WrongNode));
}

#[tokio::test]
async fn a_removed_node_is_told_so() {
    let (a, b) = (Node::plain(1, "a").await, Node::plain(2, "b").await);
    *a.memory.not_admitted.lock().unwrap() = Some(B);
    b.know(&[(A, a.at())]);
    eventually("refused", || {
        matches!(b.state(A), LinkState::Refused(refusal) if refusal.reason == "the node was removed").then_some(())
    })
    .await;
    *a.memory.not_admitted.lock().unwrap() = None;
    b.connected(A).await;
    assert_eq!(b.ask(A, b"x").await.unwrap(), b"re:x");
}

#[tokio::test]
async fn another_version_of_the_protocol_is_refused_in_a_form_that_it_can_read() {
    let a = Node::plain(1, "a").await;
    let mut stream = TcpStream::connect(a.address()).await.unwrap();
    stream.write_all(&raw::hello_of_version(9, &identity(2, "b"), 5)).await.unwrap();
    let (kind, body) = raw::read(&mut stream).await.unwrap();
    assert_eq!((kind, &body[2..]), (REFUSED, &b"protocol version 9 meets version 1"[..]));
    assert_eq!(code(&a.turned_away().await), Some(RefusalCode::OtherProtocol));
}

#[tokio::test]
async fn raft_messages_are_taken_from_members_only() {
    let a = Node::plain(1, "a").await;
    let mut stranger = TcpStream::connect(a.address()).await.unwrap();
    let (kind, _) = raw::introduce(&mut stranger, &identity(0, "b"), 5).await.unwrap();
    assert_eq!(kind, HELLO);
    stranger.write_all(&raw::frame(RAFT, b"vote for me")).await.unwrap();
    let (kind, body) = raw::read(&mut stranger).await.unwrap();
    assert_eq!(kind, REFUSED);
    assert!(String::from_utf8_lossy(&body).contains("without being in this node's cluster"));
    raw::ended(&mut stranger).await;
    assert!(a.heard().is_empty());
}
