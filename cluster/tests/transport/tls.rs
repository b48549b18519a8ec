//! Mutual TLS: who is let in, and what both sides say when somebody is not.

use std::time::Duration;

use causeway_cluster::transport::{
    Caller, CertificateProblem, ConnectionError, Error, PeerAddress, RefusalCode, Security, Tls, TlsFileError,
    Transport,
};
use causeway_core::ids::NodeId;
use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::certificates::{Authority, at, now};
use crate::node::{Node, PATIENT, anywhere, eventually, identity, name, settings};
use crate::raw::{self, HELLO, REFUSED};

const A: NodeId = NodeId(1);
const B: NodeId = NodeId(2);

async fn pair(authority: &Authority) -> (Node, Node) {
    let a = Node::tls(1, "a", authority.security("a")).await;
    let b = Node::tls(2, "b", authority.security("b")).await;
    a.know(&[(B, b.at())]);
    b.know(&[(A, a.at())]);
    (a, b)
}

/// Two nodes of the cluster still talk.
async fn undisturbed(a: &Node, b: &Node) {
    assert_eq!(a.ask(B, b"x").await.unwrap(), b"re:x");
    assert_eq!(b.ask(A, b"y").await.unwrap(), b"re:y");
}

#[tokio::test]
async fn nodes_of_one_authority_talk_both_ways() {
    let (a, b) = pair(&Authority::new("one")).await;
    undisturbed(&a, &b).await;
    a.transport.send_raft(B, vec![1]).unwrap();
    b.transport.send_raft(A, vec![2]).unwrap();
    eventually("Raft messages", || (b.heard() == [(A, vec![1])] && a.heard() == [(B, vec![2])]).then_some(())).await;
    let peer = a.connected(B).await;
    assert_eq!((&peer.identity, peer.is_member), (&identity(2, "b"), true));
    assert!(peer.certificate_expires_at.is_some());
    assert!(a.transport.turned_away().is_empty() && b.transport.turned_away().is_empty());
}

#[tokio::test]
async fn a_foreign_authority_is_told_apart_on_both_sides() {
    // A foreign authority that has the same name can be told apart by its signature only.
    for (foreign, alert) in [("other", "UnknownCA"), ("one", "DecryptError")] {
        let (one, foreign) = (Authority::new("one"), Authority::new(foreign));
        let (a, b) = pair(&one).await;
        let stranger = Node::tls(3, "c", foreign.security("c")).await;
        a.know(&[(B, b.at()), (NodeId(3), stranger.at())]);
        let unknown = ConnectionError::Certificate(CertificateProblem::UnknownAuthority);
        assert_eq!(a.failure(NodeId(3)).await, unknown);
        let told = stranger.turned_away().await;
        assert!(matches!(told, ConnectionError::CertificateRefused { .. }), "{told}");
        // The other way round: a stranger who trusts this cluster, and shows what a foreign authority signed.
        let shown = foreign.issue("b", |_| ());
        let mut client = raw::tls_client(&a.address(), "a", &one, Some(&shown)).await.unwrap();
        let told = raw::introduce(&mut client, &identity(2, "b"), 9).await.unwrap_err();
        assert!(told.to_string().contains(alert), "{told}");
        assert_eq!(a.turned_away().await, unknown);
        undisturbed(&a, &b).await;
    }
}

#[tokio::test]
async fn a_certificate_that_expires_while_its_node_runs_is_refused_from_then_on() {
    let authority = Authority::new("one");
    let a = Node::tls(1, "a", authority.security("a")).await;
    let end = now() + 4;
    let late = Security::Tls(authority.tls_with("b", at(end)));
    let b = Node::tls(2, "b", late.clone()).await;
    let caller = Caller::new(settings(), late, identity(2, "b")).unwrap();
    caller.request_at(&a.address(), None, b"x".to_vec(), PATIENT).await.unwrap();
    sleep(Duration::from_secs((end + 1).saturating_sub(now()))).await;

    let expired = ConnectionError::Certificate(CertificateProblem::Expired);
    let refused = caller.request_at(&a.address(), None, b"x".to_vec(), PATIENT).await.unwrap_err();
    assert!(matches!(refused, Error::NotSent(ConnectionError::CertificateRefused { .. })), "{refused}");
    assert!(refused.to_string().contains("expired"), "{refused}");
    assert_eq!(a.turned_away().await, expired);
    a.know(&[(B, b.at())]);
    assert_eq!(a.failure(B).await, expired);
    let told = b.turned_away().await;
    assert!(matches!(told, ConnectionError::CertificateRefused { .. }), "{told}");
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_yet_is_refused() {
    let authority = Authority::new("one");
    let (a, b) = pair(&authority).await;
    let early = authority.issue("c", |params| params.not_before = date_time_ymd(2090, 1, 1));
    let mut client = raw::tls_client(&a.address(), "a", &authority, Some(&early)).await.unwrap();
    raw::introduce(&mut client, &identity(3, "c"), 9).await.unwrap_err();
    let not_yet = ConnectionError::Certificate(CertificateProblem::NotYetValid);
    assert_eq!(a.turned_away().await, not_yet);
    let server = raw::tls_server(&early).await;
    a.know(&[(B, b.at()), (NodeId(3), PeerAddress { name: name("c"), address: server })]);
    assert_eq!(a.failure(NodeId(3)).await, not_yet);
    undisturbed(&a, &b).await;
}

#[tokio::test]
async fn without_a_certificate_nobody_is_let_in() {
    let authority = Authority::new("one");
    let (a, b) = pair(&authority).await;
    let mut client = raw::tls_client(&a.address(), "a", &authority, None).await.unwrap();
    let told = raw::introduce(&mut client, &identity(3, "c"), 9).await.unwrap_err();
    assert!(told.to_string().contains("CertificateRequired"), "{told}");
    assert_eq!(a.turned_away().await, ConnectionError::Certificate(CertificateProblem::Missing));
    undisturbed(&a, &b).await;
}

#[tokio::test]
async fn a_node_answers_to_its_own_name_only() {
    let authority = Authority::new("one");
    let (a, b) = pair(&authority).await;
    a.know(&[(B, b.at()), (NodeId(3), PeerAddress { name: name("c"), address: b.address() })]);
    assert_eq!(a.failure(NodeId(3)).await, ConnectionError::Certificate(CertificateProblem::OtherName));
    let told = b.turned_away().await;
    assert!(matches!(told, ConnectionError::CertificateRefused { .. }), "{told}");
    // A name that the certificate does not carry, in the first frame.
    let shown = authority.issue("b", |_| ());
    let mut client = raw::tls_client(&a.address(), "a", &authority, Some(&shown)).await.unwrap();
    let (kind, body) = raw::introduce(&mut client, &identity(3, "c"), 9).await.unwrap();
    assert_eq!(kind, REFUSED);
    assert!(String::from_utf8_lossy(&body).contains("c.node.causeway"));
    let refusing = a.turned_away().await;
    let ConnectionError::Refusing(refusal) = refusing else { panic!("{refusing}") };
    assert_eq!(refusal.code, RefusalCode::WrongName);
    undisturbed(&a, &b).await;
}

#[tokio::test]
async fn whoever_joins_may_ask_any_node_of_the_authority() {
    let (one, other) = (Authority::new("one"), Authority::new("other"));
    let a = Node::tls(1, "a", one.security("a")).await;
    let joining = Caller::new(settings(), one.security("new"), identity(0, "new")).unwrap();
    let answer = joining.request_at(&a.address(), None, b"join".to_vec(), PATIENT).await.unwrap();
    assert_eq!((answer.from.identity.node, &answer.body[..]), (A, &b"re:join"[..]));
    assert!(!answer.from.is_member);
    let wrong = joining.request_at(&a.address(), Some(name("b")), Vec::new(), PATIENT).await;
    assert_eq!(wrong, Err(Error::NotSent(ConnectionError::Certificate(CertificateProblem::OtherName))));
    let stranger = Caller::new(settings(), other.security("new"), identity(0, "new")).unwrap();
    let refused = stranger.request_at(&a.address(), None, Vec::new(), PATIENT).await;
    assert_eq!(refused, Err(Error::NotSent(ConnectionError::Certificate(CertificateProblem::UnknownAuthority))));
}

#[tokio::test]
async fn tls_and_plain_tcp_do_not_meet() {
    let authority = Authority::new("one");
    let (a, b) = pair(&authority).await;
    let plain = Node::plain(3, "c").await;
    plain.know(&[(A, a.at())]);
    assert_eq!(plain.failure(A).await, ConnectionError::UnexpectedTls);
    assert_eq!(a.turned_away().await, ConnectionError::NotTls);
    a.know(&[(B, b.at()), (NodeId(3), plain.at())]);
    assert_eq!(a.failure(NodeId(3)).await, ConnectionError::NotTls);
    assert_eq!(plain.turned_away().await, ConnectionError::UnexpectedTls);
    undisturbed(&a, &b).await;
}

#[tokio::test]
async fn plain_tcp_stays_on_the_machine() {
    let beyond = "0.0.0.0:0".parse().unwrap();
    let memory = std::sync::Arc::<crate::node::Memory>::default();
    let bound = Transport::bind(settings(), Security::Plain, identity(1, "a"), beyond, memory, Handle::current()).await;
    assert_eq!(bound.err(), Some(Error::PlainBeyondLoopback { address: beyond }));
    let a = Node::plain(1, "a").await;
    a.know(&[(B, PeerAddress { name: name("b"), address: "192.0.2.1:9".into() })]);
    let failure = a.failure(B).await;
    assert!(matches!(failure, ConnectionError::PlainBeyondLoopback { .. }), "{failure}");
}

#[tokio::test]
async fn what_others_would_refuse_is_not_loaded() {
    let (one, other) = (Authority::new("one"), Authority::new("other"));
    let problem = |loaded: Result<Tls, TlsFileError>| match loaded.unwrap_err() {
        TlsFileError::Certificate { path, problem } => (path.ends_with("a.pem"), problem),
        error => panic!("{error}"),
    };
    let expired = one.write("a", &one.issue("a", at(1_500_000_000)));
    assert_eq!(problem(Tls::load(expired, name("a"))), (true, CertificateProblem::Expired));
    let foreign = one.write("a", &other.issue("a", |_| ()));
    assert_eq!(problem(Tls::load(foreign, name("a"))), (true, CertificateProblem::UnknownAuthority));
    for usage in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        let half = one.write("a", &one.issue("a", |params| params.extended_key_usages.push(usage)));
        let (named, problem) = problem(Tls::load(half, name("a")));
        assert!(named && matches!(problem, CertificateProblem::Unusable { .. }), "{problem}");
    }
    let other_name = Tls::load(one.files("b"), name("a")).unwrap_err();
    assert!(matches!(other_name, TlsFileError::OtherName { .. }), "{other_name}");
    let mut mixed = one.issue("a", |_| ());
    mixed.key = one.issue("a", |_| ()).key;
    let mixed = Tls::load(one.write("a", &mixed), name("a")).unwrap_err();
    assert!(matches!(mixed, TlsFileError::KeyMismatch { .. }), "{mixed}");
    let tls = Tls::load(one.files("a"), name("a")).unwrap();
    let shown = format!("{tls:?}");
    assert!(shown.contains("a.key") && shown.len() < 500, "{shown}");
    let unfit = Node::tls(1, "a", one.security("a")).await;
    let other_identity =
        Transport::bind(settings(), one.security("b"), identity(1, "a"), anywhere(), unfit.memory, Handle::current())
            .await;
    assert!(matches!(other_identity, Err(Error::Settings { .. })));
}

#[tokio::test]
async fn a_node_whose_name_no_certificate_can_carry_is_an_error_in_words() {
    let a = Node::tls(1, "a", Authority::new("one").security("a")).await;
    let b = Node::plain(2, "b").await;
    a.know(&[(B, PeerAddress { name: name("b-"), address: b.address() })]);
    assert_eq!(a.failure(B).await, ConnectionError::UnusableName { name: name("b-") });
}

#[tokio::test]
async fn a_tls_client_that_is_let_in_speaks_the_same_frames() {
    let authority = Authority::new("one");
    let a = Node::tls(1, "a", authority.security("a")).await;
    let shown = authority.issue("c", |_| ());
    let mut client = raw::tls_client(&a.address(), "a", &authority, Some(&shown)).await.unwrap();
    let (kind, _) = raw::introduce(&mut client, &identity(3, "c"), 9).await.unwrap();
    assert_eq!(kind, HELLO);
}
