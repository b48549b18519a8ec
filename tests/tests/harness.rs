//! The harness itself works: clusters start, change roles and end; what Java produces is dumped and judged; the fault
//! proxy forwards. Product tests build on this.

use std::path::Path;
use std::time::Duration;

use causeway_tests::brokers::settings::TlsSettings;
use causeway_tests::brokers::{Acl, Cluster, ClusterSettings, Credentials, IpVersion, Slaves, Version};
use causeway_tests::checker::{Rules, compare};
use causeway_tests::java::{self, Numbered};

/// Dumps a topic twice and expects the judge to find both equal; returns how many messages it has.
fn dump_twice(cluster: &Cluster, topic: &str, folder: &Path) -> usize {
    let (first, second) = (folder.join("first"), folder.join("second"));
    java::dump(&cluster.access(), topic, &first);
    java::dump(&cluster.access(), topic, &second);
    let report = compare(&first, &second, &Rules::exact()).unwrap();
    assert!(report.identical_topics, "{report}");
    report.source_messages
}

fn fidelity_set(version: Version, ip: IpVersion) {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(ClusterSettings { ip, ..ClusterSettings::new(version) });
    cluster.admin().create_topic("orders", 8);
    let sent = java::produce_fidelity_set(&cluster.access(), "orders", 1, version.is_five());
    assert_eq!(u64::try_from(dump_twice(&cluster, "orders", folder.path())).unwrap(), sent);
    let text = std::fs::read_to_string(folder.path().join("first")).unwrap();
    let host = if ip == IpVersion::V6 { "\"born_host\":\"/[0:0:0:0:0:0:0:1]" } else { "\"born_host\":\"/127.0.0.1:" };
    assert!(text.contains(host), "no born host {host}");
    for case in ["largest", "compressed-LZ4", "compressed-ZSTD", "compressed-untyped", "committed", "delay-level-1"] {
        assert!(text.contains(&format!("\"case\":\"{case}")), "{case} is missing");
    }
    assert!(!text.contains("rolled-back"), "a rolled back transaction is visible");
}

#[test]
fn the_fidelity_set_on_5_5_0_is_dumped_whole() {
    fidelity_set(Version::V5_5_0, IpVersion::V4);
}

#[test]
fn the_fidelity_set_on_4_9_7_is_dumped_whole() {
    fidelity_set(Version::V4_9_7, IpVersion::V4);
}

#[test]
fn the_fidelity_set_over_ipv6_is_dumped_whole() {
    fidelity_set(Version::V5_5_0, IpVersion::V6);
}

#[test]
fn a_promoted_slave_lacks_what_it_had_not_received() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster =
        Cluster::start(ClusterSettings { slaves: Slaves::Asynchronous, ..ClusterSettings::new(Version::V5_5_0) });
    cluster.admin().create_topic("orders", 4);
    java::produce_numbered(&cluster.access(), "orders", &Numbered::new(400));
    cluster.admin().wait_replicated(0, "orders", 4);
    cluster.slaves[0].pause();
    java::produce_numbered(&cluster.access(), "orders", &Numbered { first: 400, ..Numbered::new(200) });
    assert_eq!(cluster.admin().messages("orders", 4), 600);
    cluster.brokers[0].kill9();
    cluster.promote_slave(0);
    assert_eq!(cluster.admin().messages("orders", 4), 400);
    java::produce_numbered(&cluster.access(), "orders", &Numbered { first: 600, ..Numbered::new(80) });
    assert_eq!(dump_twice(&cluster, "orders", folder.path()), 480);
}

#[test]
fn a_killed_broker_comes_back_with_its_messages() {
    let folder = tempfile::tempdir().unwrap();
    let settings = ClusterSettings { name_servers: 2, brokers: 2, ..ClusterSettings::new(Version::V5_3_3) };
    let mut cluster = Cluster::start(settings);
    cluster.admin().create_topic("orders", 2);
    let report = java::produce_numbered(&cluster.access(), "orders", &Numbered::new(400));
    assert!(report.len() == 4 && report.iter().all(|line| line["acknowledged"] == 100), "{report:?}");
    cluster.brokers[0].kill9();
    cluster.brokers[0].start();
    cluster.brokers[1].restart();
    assert_eq!(dump_twice(&cluster, "orders", folder.path()), 400);
    cluster.admin().delete_topic("orders");
}

#[test]
fn access_control_and_tls_admit_who_they_should() {
    for version in [Version::V4_9_4, Version::V5_5_0] {
        let folder = tempfile::tempdir().unwrap();
        let tls = Some(TlsSettings { require_client_certificate: version.is_five() });
        let acl = Some(Acl::default());
        let cluster = Cluster::start(ClusterSettings { acl, tls, ..ClusterSettings::new(version) });
        cluster.admin().create_topic("orders", 2);
        java::produce_numbered(&cluster.user_access(), "orders", &Numbered::new(50));
        java::dump(&cluster.user_access(), "orders", &folder.path().join("dump"));
        if version.is_five() {
            let user = Credentials::new("reader", "reader-secret");
            cluster.admin().create_user(&user);
            cluster.admin().allow(&user, &[("Topic:*", &["Sub", "Get"]), ("Group:*", &["Sub"])]);
            let reader = causeway_tests::brokers::Access { credentials: Some(user), ..cluster.access() };
            java::dump(&reader, "orders", &folder.path().join("again"));
        }
        let wrong = Some(Credentials::new("causeway-user", "not-the-secret"));
        let stranger = causeway_tests::brokers::Access { credentials: wrong, ..cluster.access() };
        let mut refused = java::program("NumberedProduce", &stranger);
        refused.args(["--topic", "orders", "--messages", "2", "--deadline", "3"]);
        assert_eq!(refused.output().unwrap().status.code(), Some(1), "wrong credentials were accepted");
    }
}

/// The proxy in front of a broker, as product tests use it.
#[test]
fn a_broker_is_reached_through_the_fault_proxy() {
    let announced = Some("127.0.0.2".parse().unwrap());
    let cluster = Cluster::start(ClusterSettings { announced, ..ClusterSettings::new(Version::V5_2_0) });
    let broker = &cluster.brokers[0];
    let proxy = causeway_tests::proxy::FaultProxy::start(&broker.announced(), &broker.address());
    cluster.admin().create_topic("orders", 2);
    proxy.set_delay(causeway_tests::proxy::Direction::ToServer, Duration::from_millis(5));
    java::produce_numbered(&cluster.access(), "orders", &Numbered::new(64));
    assert_eq!(cluster.admin().messages("orders", 2), 64);
    assert!(proxy.connections_accepted() > 0);
}
