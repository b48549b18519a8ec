use std::net::SocketAddr;
use std::sync::Arc;

use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::name::Name;
use proptest::prelude::{any, prop, proptest};
use rcgen::{CertificateParams, KeyPair};

use super::{Caller, Expected, Facts, Hello, Identity, Peer, Purpose, Refusal, RefusalCode};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn hello(cluster: Option<u64>, node: u64, text: &str, process: u128) -> Hello {
    let identity = Identity {
        cluster: cluster.map(ClusterId),
        node: NodeId(node),
        name: name(text),
        region: name("eu"),
        command_version: 3,
    };
    Hello { identity, process, purpose: Purpose::Messages }
}

fn caller(certificate_of: Option<&str>) -> Caller {
    let certificate = certificate_of.map(|text| {
        let params = CertificateParams::new(vec![format!("{text}.node.causeway")]).unwrap();
        Facts::read(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der()).unwrap()
    });
    Caller { address: SocketAddr::from(([127, 0, 0, 1], 7)), certificate }
}

fn judged(other: &Hello, expected: &Expected, certificate_of: Option<&str>) -> Result<Arc<Peer>, Refusal> {
    let me = hello(Some(1), 1, "a", 100);
    me.judge(&other.encode().unwrap(), expected, caller(certificate_of)).map(|(peer, _)| peer)
}

fn code(other: &Hello, expected: &Expected, certificate_of: Option<&str>) -> RefusalCode {
    judged(other, expected, certificate_of).unwrap_err().code
}

#[test]
fn a_node_of_the_cluster_is_a_member_and_one_without_a_cluster_is_not() {
    let anyone = Expected::default();
    let member = judged(&hello(Some(1), 2, "b", 200), &anyone, Some("b")).unwrap();
    assert_eq!((member.is_member, member.identity.node, member.process), (true, NodeId(2), 200));
    assert!(member.certificate_expires_at.is_some());
    assert!(!judged(&hello(None, 0, "b", 200), &anyone, None).unwrap().is_member);
}

#[test]
fn byte_streams_are_for_members() {
    let anyone = Expected::default();
    let streams = |cluster, node| Hello { purpose: Purpose::Streams, ..hello(cluster, node, "b", 200) };
    let me = hello(Some(1), 1, "a", 100);
    let (_, purpose) = me.judge(&streams(Some(1), 2).encode().unwrap(), &anyone, caller(None)).unwrap();
    assert_eq!(purpose, Purpose::Streams);
    assert_eq!(code(&streams(None, 0), &anyone, None), RefusalCode::NotMember);
}

#[test]
fn each_reason_to_refuse_has_its_code() {
    let anyone = Expected::default();
    assert_eq!(code(&hello(Some(2), 2, "b", 200), &anyone, Some("b")), RefusalCode::OtherCluster);
    assert_eq!(code(&hello(Some(1), 1, "a", 100), &anyone, Some("a")), RefusalCode::Itself);
    assert_eq!(code(&hello(Some(1), 2, "b", 200), &anyone, Some("c")), RefusalCode::WrongName);
    assert_eq!(code(&hello(Some(1), 0, "b", 200), &anyone, Some("b")), RefusalCode::Malformed);
    assert_eq!(code(&hello(None, 2, "b", 200), &anyone, Some("b")), RefusalCode::Malformed);
    let third = Expected { node: Some(NodeId(3)), name: None };
    assert_eq!(code(&hello(Some(1), 2, "b", 200), &third, Some("b")), RefusalCode::WrongNode);
    let named = Expected { node: None, name: Some(name("c")) };
    assert_eq!(code(&hello(Some(1), 2, "b", 200), &named, Some("b")), RefusalCode::WrongNode);
}

#[test]
fn another_version_is_recognised_before_anything_else_is_read() {
    let me = hello(Some(1), 1, "a", 100);
    let refusal = me.judge(&[0, 9, 1, 2, 3], &Expected::default(), caller(None)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::OtherProtocol);
    assert_eq!(refusal.reason, "protocol version 9 meets version 1");
}

proptest! {
    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), known in any::<bool>()) {
        if known && bytes.len() > 2 {
            bytes[..2].copy_from_slice(&super::PROTOCOL.to_be_bytes());
        }
        let _ = hello(Some(1), 1, "a", 100).judge(&bytes, &Expected::default(), caller(None));
    }
}
