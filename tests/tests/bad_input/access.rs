//! Credentials and certificates: the right ones work, wrong ones block with a code and heal, and secrets stay secret.

use std::fs;
use std::path::Path;

use causeway_tests::brokers::settings::TlsSettings;
use causeway_tests::brokers::tls::TlsFiles;
use causeway_tests::brokers::{Access, Acl, Cluster, ClusterSettings, Version};
use causeway_tests::scenario::node::instance;
use serde_json::json;

use super::{assert_blocked, assert_copied, assert_test_fails, assert_unharmed, create, fill, node, topic};

/// What a node may not leave anywhere in clear.
fn assert_nowhere(folder: &Path, secret: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_nowhere(&path, secret);
        } else {
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds the secret in clear", path.display());
        }
    }
}

fn credentials(version: Version) {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(ClusterSettings { acl: Some(Acl::default()), ..ClusterSettings::new(version) });
    fill(&cluster, "orders", 200);
    for target in ["by-wrong", "by-user", "by-admin"] {
        if target != "by-admin" {
            cluster.admin().create_topic(target, super::QUEUES);
        }
    }
    let mut node = node(folder.path());
    let user = cluster.user_access();
    let credentials = user.credentials.as_ref().unwrap();

    // A file with the wrong secret: both ends are refused until it holds the right one.
    let secret = folder.path().join("secret");
    fs::write(&secret, "not-the-secret\n").unwrap();
    let mut wrong = instance("wrong", &user);
    wrong["rocketmq"]["secret"] = json!({ "file": secret });
    node.post("/v1/instances", &wrong);
    assert_test_fails(&node, "wrong", Some("orders"), &["CWY-0302"]);
    create(&node, ("wrong", "orders"), ("wrong", "by-wrong"));
    assert_blocked(&node, "by-wrong", &["CWY-0302"]);

    // The right ones: a user who may publish and subscribe, and one who may also create the topic.
    node.register("user", &user);
    node.register("admin", &cluster.access());
    create(&node, ("user", "orders"), ("user", "by-user"));
    create(&node, ("user", "orders"), ("admin", "by-admin"));
    for target in ["by-user", "by-admin"] {
        assert_copied(&node, topic(&cluster, "orders"), topic(&cluster, target), folder.path());
    }
    let copied = causeway_tests::scenario::total(topic(&cluster, "by-wrong"));
    assert_eq!(copied, 0, "the wrong secret wrote messages");

    fs::write(&secret, format!("{}\n", credentials.secret_key)).unwrap();
    assert_copied(&node, topic(&cluster, "orders"), topic(&cluster, "by-wrong"), folder.path());
    assert_unharmed(&mut node);

    for path in ["/v1/instances", "/v1/instances/user", "/v1/status"] {
        assert!(!node.get(path).to_string().contains(&credentials.secret_key), "{path} shows the secret");
    }
    node.stop();
    assert_nowhere(&folder.path().join("node"), &credentials.secret_key);
}

#[test]
fn acl_1_admits_the_right_credentials_only() {
    credentials(Version::V4_9_7);
}

#[test]
fn acl_2_admits_the_right_credentials_only() {
    credentials(Version::V5_5_0);
}

#[test]
fn tls_works_with_the_right_authority_and_is_refused_without() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Some(TlsSettings { require_client_certificate: true });
    let cluster = Cluster::start(ClusterSettings { tls, ..ClusterSettings::new(Version::V5_5_0) });
    fill(&cluster, "orders", 200);
    let mut node = node(folder.path());
    node.register("right", &cluster.access());
    create(&node, ("right", "orders"), ("right", "by-right"));

    let stranger = TlsFiles::create(&folder.path().join("stranger"));
    node.register("stranger", &Access { tls: Some(stranger), ..cluster.access() });
    node.register("plain", &Access { tls: None, ..cluster.access() });
    for (name, codes) in [("stranger", &["CWY-0306"][..]), ("plain", &["CWY-0301", "CWY-0304"])] {
        assert_test_fails(&node, name, None, codes);
        create(&node, (name, "orders"), ("right", &format!("by-{name}")));
        assert_blocked(&node, &format!("by-{name}"), codes);
    }
    assert_copied(&node, topic(&cluster, "orders"), topic(&cluster, "by-right"), folder.path());
    assert_unharmed(&mut node);
}
