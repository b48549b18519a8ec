//! Name servers that are not there, or are something else, and topics that are not there yet.

use causeway_tests::brokers::{Access, Cluster, ClusterSettings, Version};
use causeway_tests::java::{self, Numbered};
use causeway_tests::ports::Ports;
use causeway_tests::proxy::FaultProxy;

use super::impostor::{Impostor, Trick};
use super::{assert_blocked, assert_copied, assert_test_fails, assert_unharmed, create, fill, node, topic};

#[test]
fn a_wrong_address_and_impostors_block_with_a_code_and_heal() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(ClusterSettings::new(Version::V5_3_3));
    fill(&cluster, "orders", 300);
    let mut node = node(folder.path());
    node.register("right", &cluster.access());
    // Nothing listens, connection lost, and twice no RocketMQ.
    let cases = [
        ("nothing", None, "CWY-0301"),
        ("mid-frame", Some(Trick::CloseMidFrame), "CWY-0301"),
        ("two-gib", Some(Trick::Announce2Gib), "CWY-0304"),
        ("garbage", Some(Trick::Garbage), "CWY-0304"),
    ];
    let mut wrong = Vec::new();
    for (name, trick, code) in cases {
        let ports = Ports::reserve();
        let address = format!("127.0.0.1:{}", ports.at(0));
        let impostor = trick.map(|trick| Impostor::start(&address, trick));
        node.register(name, &Access { name_servers: vec![address.clone()], credentials: None, tls: None });
        assert_test_fails(&node, name, None, &[code]);
        create(&node, (name, "orders"), ("right", &format!("from-{name}")));
        wrong.push((name, ports, address, impostor, code));
    }
    for (name, _, _, impostor, code) in &wrong {
        assert_blocked(&node, &format!("from-{name}"), &[code]);
        assert!(impostor.as_ref().is_none_or(|impostor| impostor.asked() > 0), "nobody asked impostor {name}");
    }
    assert_unharmed(&mut node);
    // The repair: the real name server answers at each address.
    let real = &cluster.name_servers()[0];
    for (name, _ports, address, impostor, _) in wrong {
        drop(impostor);
        let _proxy = FaultProxy::start(&address, real);
        let target = format!("from-{name}");
        assert_copied(&node, topic(&cluster, "orders"), topic(&cluster, &target), folder.path());
    }
    assert_unharmed(&mut node);
}

#[test]
fn a_missing_topic_blocks_with_a_code_and_heals_when_it_appears() {
    let folder = tempfile::tempdir().unwrap();
    // Sending to or asking for a topic must not create it: the test says when it appears.
    let settings = ClusterSettings::new(Version::V4_9_7).property("autoCreateTopicEnable", "false");
    let cluster = Cluster::start(settings);
    let mut node = node(folder.path());
    node.register("here", &cluster.access());
    create(&node, ("here", "late"), ("here", "copy-of-late"));
    let why = assert_blocked(&node, "copy-of-late", &["CWY-0303"]);
    assert!(why.contains("late"), "the reason does not name the topic: {why}");
    fill(&cluster, "late", 250);
    assert_copied(&node, topic(&cluster, "late"), topic(&cluster, "copy-of-late"), folder.path());
    java::produce_numbered(&cluster.access(), "late", &Numbered { first: 250, ..Numbered::new(50) });
    assert_copied(&node, topic(&cluster, "late"), topic(&cluster, "copy-of-late"), folder.path());
    assert_unharmed(&mut node);
}
