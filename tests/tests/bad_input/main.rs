//! Whatever is wrong outside: each fault is a state or an answer with a code that has a page, nothing crashes, and when
//! it is repaired every message is copied.

mod access;
mod broken_frames;
mod configuration;
mod impostor;
mod name_servers;

use std::fs;
use std::path::Path;

use causeway_tests::brokers::Cluster;
use causeway_tests::checker::Rules;
use causeway_tests::java::{self, Numbered};
use causeway_tests::process::tail;
use causeway_tests::scenario::node::{NewStream, Node, NodeSettings};
use causeway_tests::scenario::{Topic, copy_rules, judge, wait_caught_up};
use serde_json::Value;

/// Queues of the topics of these tests.
const QUEUES: u32 = 2;

/// A node that looks for topics and credentials often.
fn node(folder: &Path) -> Node {
    Node::start(&folder.join("node"), &NodeSettings::default().key("schedule.discovery_interval_ms", 500))
}

/// A topic of these tests.
fn topic<'a>(cluster: &'a Cluster, name: &'a str) -> Topic<'a> {
    Topic { cluster, name, queues: QUEUES }
}

/// Creates a topic with numbered messages.
fn fill(cluster: &Cluster, name: &str, messages: u64) {
    cluster.admin().create_topic(name, QUEUES);
    java::produce_numbered(&cluster.access(), name, &Numbered::new(messages));
}

/// A stream between two topics; it has the name of its target topic.
fn create(node: &Node, source: (&str, &str), target: (&str, &str)) {
    node.create_stream(&NewStream { name: target.1, source, target, exact_born_timestamps: false });
}

/// Waits for everything and lets both judges compare.
fn assert_copied(node: &Node, source: Topic<'_>, target: Topic<'_>, folder: &Path) {
    wait_caught_up(node, target.name, source, target);
    let rules = Rules { born_timestamp: false, ..copy_rules() };
    let verdict = judge(source, target, &folder.join(target.name), &rules);
    assert!(verdict.is_good(), "{} -> {}: {verdict}", source.name, target.name);
}

/// Every code is documented.
fn assert_documented(code: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/errors/{code}.md"));
    let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{code} has no page: {error}"));
    assert!(text.starts_with(&format!("# {code}: ")), "the page of {code} is about something else");
}

/// Waits until a stream is blocked for a documented reason with one of these codes, and returns the sentence beside it.
fn assert_blocked(node: &Node, stream: &str, codes: &[&str]) -> String {
    let is_wanted = |code: Option<&str>| code.is_some_and(|code| codes.contains(&code));
    let wanted = format!("blocked with one of {codes:?}");
    let found = node.wait_stream(stream, &wanted, |found| found.state == "blocked" && is_wanted(found.code.as_deref()));
    assert_documented(&found.code.unwrap());
    let why = found.why.unwrap_or_default();
    assert!(why.len() > 10, "stream {stream} is blocked without a reason");
    why
}

/// Tries an instance that does not work, and expects one of these documented codes among its findings.
fn assert_test_fails(node: &Node, instance: &str, topic: Option<&str>, codes: &[&str]) {
    let test = node.test_instance(instance, topic);
    let found: Vec<&str> = test["findings"]
        .as_array()
        .expect("a test has findings")
        .iter()
        .filter_map(|finding| finding["error"]["code"].as_str())
        .collect();
    assert_eq!(test["passed"], Value::Bool(false), "{test:#}");
    assert!(found.iter().any(|code| codes.contains(code)), "{instance}: none of {codes:?} in {test:#}");
    found.into_iter().for_each(assert_documented);
}

/// The process is alive and has never panicked.
fn assert_unharmed(node: &mut Node) {
    let log = fs::read_to_string(node.log()).unwrap();
    assert!(!log.contains("panicked at"), "something panicked:\n{}", tail(&node.log(), 80));
    assert!(node.process().ended().is_none(), "the node ended:\n{}", tail(&node.log(), 80));
}
