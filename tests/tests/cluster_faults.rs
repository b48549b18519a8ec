//! What can be wrong with one of three nodes, each a process: the operator is told with a stable code or sees it in
//! `cluster nodes`, the other nodes carry on, and the node comes back when it is put right. No brokers are needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use causeway_tests::certificates::{Authority, NodeFiles};
use causeway_tests::members::{Members, name, succeeded};
use causeway_tests::scenario::node::{Node, NodeSettings};
use causeway_tests::scenario::view::Member;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tempfile::TempDir;

const REGIONS: [&str; 3] = ["hohhot", "hohhot", "qingdao"];

/// How long a node whose data are lost may take from `cluster rejoin` until it is a voter again.
const REJOINED: Duration = Duration::from_secs(30);

fn found(folder: &TempDir) -> Members {
    Members::found(folder.path(), &REGIONS, &NodeSettings::default())
}

/// A node that does not lead.
fn follower(members: &Members) -> usize {
    let leader = members.wait_whole();
    (0..REGIONS.len()).rev().find(|place| *place != leader).unwrap()
}

/// Waits until the leader says that it lost the node, and for this reason.
fn wait_lost(members: &Members, place: usize, reason: &str) {
    members.wait(&format!("{} to be down: {reason}", name(place)), |members| {
        let is_lost = |member: &&Member| {
            member.name == name(place)
                && member.liveness.as_deref() == Some("down")
                && member.connection.as_deref().is_some_and(|connection| connection.contains(reason))
        };
        members.look(members.leader()?)?.iter().find(is_lost).map(drop)
    });
    let shown = succeeded(&members.command(&["nodes"], Some(place)));
    assert!(shown.contains(reason), "cluster nodes does not say why {} is lost:\n{shown}", name(place));
}

/// The log of a node from a place on.
fn log_from(node: &Node, place: usize) -> String {
    fs::read_to_string(node.log()).unwrap_or_default().split_off(place)
}

#[track_caller]
fn says(said: &str, wanted: &[&str]) {
    for words in wanted {
        assert!(said.contains(words), "not said: {words}\n{said}");
    }
}

/// From some byte on no file of the process can grow, whoever runs the test: an error of the write, as a full disk is.
#[test]
fn the_leader_has_no_room_left() {
    const ROOM: u64 = 32 << 10;
    let folder = tempfile::tempdir().unwrap();
    let mut members = found(&folder);
    let leader = members.wait_whole();
    let pid = Pid::from_raw(i32::try_from(members.node_mut(leader).process().id()).unwrap()).unwrap();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: Some(ROOM), maximum: None }).unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut number = 0;
    while members.node_mut(leader).process().ended().is_none() {
        assert!(Instant::now() < deadline, "{number} instances and still room");
        let address = ["--region", "hohhot", "--name-server", "127.0.0.1:9"];
        // Refused ones are those that the end came upon.
        let _ = members.node(leader).command(&[&["instance", "add", &format!("i{number}")], &address[..]].concat());
        number += 1;
    }
    let status = members.wait_ended(leader);
    assert_eq!(status.code(), Some(1), "{status}");
    says(&log_from(members.node(leader), 0), &["File too large", "causeway explain CWY-0504"]);
    members.carry_on("without-the-full-one");
    wait_lost(&members, leader, "cannot be reached");
    members.start(leader);
    members.wait_whole();
}

/// Overwrites part of the database of a node that is down.
fn tear(database: &Path, tear: impl FnOnce(&mut Vec<u8>)) {
    let file = database.join("db");
    let mut bytes = fs::read(&file).unwrap();
    tear(&mut bytes);
    fs::write(file, bytes).unwrap();
}

/// The damage is told, the node does not start again on what is left, and `cluster rejoin` makes it a voter.
fn rejoins(members: &mut Members, place: usize) {
    let data = members.node(place).data();
    let (status, said) = members.start_in_vain(place);
    assert_eq!(status.code(), Some(1), "{said}");
    says(&said, &["has been moved to", "database.quarantined-1", "causeway explain CWY-0504"]);
    assert!(!said.contains("panicked at"), "{said}");
    assert!(data.join("database.quarantined-1").is_dir());
    let (status, said) = members.start_in_vain(place);
    assert_eq!(status.code(), Some(1), "{said}");
    says(&said, &["causeway cluster rejoin", "causeway explain CWY-0505"]);
    members.carry_on("without-the-torn-one");
    let began = Instant::now();
    members.rejoin(place);
    members.wait_whole();
    let took = began.elapsed();
    println!("a voter again {took:.1?} after cluster rejoin");
    assert!(took < REJOINED, "a voter again only after {took:?}");
    let known = members.node(place).get("/v1/instances").to_string();
    says(&known, &["without-the-torn-one"]);
}

#[test]
fn a_database_with_bytes_of_something_else_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut members = found(&folder);
    let place = follower(&members);
    members.carry_on("before");
    members.kill9(place);
    tear(&members.node(place).data().join("database"), |bytes| bytes[512..8_192].fill(0xa5));
    rejoins(&mut members, place);
}

/// What is left is a whole database of a moment ago, so only the other nodes can know that something is missing.
#[test]
fn a_database_without_what_was_written_last() {
    let folder = tempfile::tempdir().unwrap();
    let mut members = found(&folder);
    let place = follower(&members);
    for number in 0..20 {
        members.carry_on(&format!("lost-{number}"));
    }
    members.wait("the instances to be everywhere", |members| {
        members.node(place).look("/v1/instances")?.to_string().contains("lost-19").then_some(())
    });
    members.kill9(place);
    tear(&members.node(place).data().join("database"), |bytes| {
        let first = bytes.windows(7).position(|word| word == b"lost-10").expect("the log has the instance");
        bytes[first - 64..].fill(0);
    });
    rejoins(&mut members, place);
}

#[test]
fn the_data_of_another_cluster() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut members = found(&folder);
    let place = follower(&members);
    let mut others = Members::found(elsewhere.path(), &REGIONS, &NodeSettings::default());
    let foreign = others.node(place).data();
    for other in 0..others.count() {
        assert!(others.stop(other).success());
    }
    assert!(members.stop(place).success());
    let (data, own) = (members.node(place).data(), folder.path().join("own"));
    fs::rename(&data, &own).unwrap();
    copy(&foreign, &data);
    members.start(place);
    members.carry_on("without-the-foreign-one");
    wait_lost(&members, place, "belongs to cluster");
    says(&log_from(members.node(place), 0), &["belongs to cluster"]);
    members.stop(place);
    fs::remove_dir_all(&data).unwrap();
    fs::rename(&own, &data).unwrap();
    members.start(place);
    members.wait_whole();
}

#[test]
fn two_processes_with_one_id() {
    let folder = tempfile::tempdir().unwrap();
    let mut members = found(&folder);
    let place = follower(&members);
    let data = members.node(place).data();
    // One directory cannot be opened twice.
    let mut second =
        Node::member(&folder.path().join("second"), &name(place), REGIONS[place], &NodeSettings::default());
    let config = fs::read_to_string(second.config()).unwrap();
    let shared = config.replace(second.data().to_str().unwrap(), data.to_str().unwrap());
    fs::write(second.config(), shared).unwrap();
    second.launch();
    assert_eq!(second.process().wait(Duration::from_secs(30)).code(), Some(1));
    says(&log_from(&second, 0), &["is in use by another process", "causeway explain CWY-0505"]);
    // A copy of it can; the others go on talking to the process that they know.
    let mut copied = Node::member(&folder.path().join("copy"), &name(place), REGIONS[place], &NodeSettings::default());
    members.kill9(place);
    copy(&data, &copied.data());
    members.start(place);
    members.wait_whole();
    copied.set_token(members.any().token());
    copied.start_again();
    let refused = "another living process is node";
    let deadline = Instant::now() + Duration::from_secs(30);
    let told = loop {
        let shown = succeeded(&copied.command(&["cluster", "nodes"]));
        if shown.matches(refused).count() == 2 {
            break shown;
        }
        assert!(Instant::now() < deadline, "the copy does not say that it is one:\n{shown}");
    };
    says(&told, &["out of reach"]);
    members.carry_on("beside-a-copy");
    members.wait_whole();
    assert!(copied.stop().success());
}

/// Three nodes that talk over TLS, the files of each, and the authority of all.
fn found_with_certificates(folder: &Path) -> (Members, Vec<NodeFiles>, Authority) {
    let authority = Authority::create(&folder.join("certs"));
    let files: Vec<NodeFiles> =
        (0..REGIONS.len()).map(|place| NodeFiles::new(&folder.join(format!("tls-{place}")), &name(place))).collect();
    for of_node in &files {
        authority.issue(of_node);
        authority.trust(of_node);
    }
    let members = Members::found_each(&folder.join("nodes"), &REGIONS, |place, _| files[place].settings());
    (members, files, authority)
}

#[test]
fn a_certificate_of_another_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, files, authority) = found_with_certificates(folder.path());
    let stranger = Authority::create(&folder.path().join("other"));
    let place = follower(&members);
    assert!(members.stop(place).success());
    // The node does not even begin with a certificate that its own authorities do not know.
    stranger.issue(&files[place]);
    let (status, said) = members.start_in_vain(place);
    assert_eq!(status.code(), Some(1), "{said}");
    says(&said, &["was not signed by an authority that this node knows", "causeway explain CWY-0205"]);
    // With an authority of its own it begins, and nobody believes it.
    stranger.trust(&files[place]);
    members.start(place);
    members.carry_on("without-the-stranger");
    wait_lost(&members, place, "not signed by an authority that this node knows");
    let seen = succeeded(&members.node(place).command(&["cluster", "nodes"]));
    says(&seen, &["out of reach"]);
    // Nor is a node let in that shows such a certificate.
    let joining = NodeFiles::new(&folder.path().join("joining"), "node-9");
    stranger.issue(&joining);
    stranger.trust(&joining);
    let node = Node::member(&folder.path().join("node-9"), "node-9", "hohhot", &joining.settings());
    let token = members.join_token((place + 1) % REGIONS.len(), 9);
    let (at, config) = (members.any().peer_address(), node.config());
    let [config, token] = [&config, &token].map(|path| path.to_str().unwrap());
    let output = node.command(&["cluster", "join", "--at", &at, "--join-token-file", token, "--config", config]);
    assert!(!output.status.success());
    says(&String::from_utf8_lossy(&output.stderr), &["not signed by an authority", "CWY-0306"]);
    assert!(members.stop(place).success());
    authority.issue(&files[place]);
    authority.trust(&files[place]);
    members.start(place);
    members.wait_whole();
}

#[test]
fn a_certificate_that_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (mut members, files, authority) = found_with_certificates(folder.path());
    let place = follower(&members);
    assert!(members.stop(place).success());
    authority.issue_expired(&files[place]);
    let (status, said) = members.start_in_vain(place);
    assert_eq!(status.code(), Some(1), "{said}");
    says(&said, &["expired", "causeway explain CWY-0205"]);
    members.carry_on("without-the-expired-one");
    wait_lost(&members, place, "cannot be reached");
    authority.issue(&files[place]);
    members.start(place);
    members.wait_whole();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry: PathBuf = entry.unwrap().path();
        let there = to.join(entry.file_name().unwrap());
        if entry.is_dir() { copy(&entry, &there) } else { fs::copy(&entry, &there).map(drop).unwrap() }
    }
}
