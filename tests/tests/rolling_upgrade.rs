//! Three nodes are upgraded one after the other to a build that knows one more version of the command set. Until the
//! last one is, everything is as before, in both directions; what is new is refused by name. No brokers are needed.

use causeway_tests::members::{Members, name};
use causeway_tests::product;
use causeway_tests::scenario::build;
use causeway_tests::scenario::node::{Node, NodeSettings};
use serde_json::{Value, json};

const REGIONS: [&str; 3] = ["hohhot", "hohhot", "qingdao"];

/// The version that each build knows.
const OLD: u64 = 4;
const NEW: u64 = 5;

fn marks(node: &Node) -> (u64, u64) {
    let seen = node.get("/v1/marks");
    let number = |field: &str| seen[field].as_u64().unwrap_or_else(|| panic!("no {field}: {seen}"));
    (number("agreed_version"), number("marks"))
}

/// Starts a node that runs again with another build.
fn replace(members: &mut Members, place: usize, binary: &std::path::Path) {
    assert!(members.stop(place).success(), "{} did not end with success", name(place));
    members.node_mut(place).set_binary(binary);
    members.start(place);
    members.wait_whole();
}

/// Every node says of all, in the order of places, that they have these builds. What a node that was started says of
/// itself is known a moment later.
fn have_builds(members: &Members, expected: [u64; 3]) {
    members.wait(&format!("all nodes to know that the builds are {expected:?}"), |members| {
        (0..members.count()).all(|place| seen_from(members, place).as_deref() == Some(&expected)).then_some(())
    });
}

fn seen_from(members: &Members, place: usize) -> Option<Vec<u64>> {
    let mut seen: Vec<_> =
        members.look(place)?.into_iter().map(|member| (member.name, member.command_version)).collect();
    seen.sort();
    Some(seen.into_iter().map(|(_, version)| version.into()).collect())
}

/// The leader is the node at this place from now on.
fn lead(members: &Members, place: usize) {
    members.wait(&format!("{} to lead", name(place)), |members| {
        if members.leader() == Some(place) {
            return Some(());
        }
        let _ = members.command(&["transfer-leader", "--to", &name(place)], None);
        None
    });
}

#[test]
fn a_newer_build_changes_nothing_until_every_node_has_it() {
    let new = build::next();
    let folder = tempfile::tempdir().unwrap();
    let mut members = Members::found(folder.path(), &REGIONS, &NodeSettings::default());
    let old = product::binary();
    members.carry_on("all-old");
    have_builds(&members, [OLD; 3]);

    replace(&mut members, 0, &new);
    members.carry_on("one-new");
    have_builds(&members, [NEW, OLD, OLD]);
    assert_eq!(members.node(0).refused("/v1/marks", &Value::Null), "CWY-0509");

    // Back in the middle of it, which has to stay possible.
    replace(&mut members, 0, &old);
    members.carry_on("all-old-again");
    have_builds(&members, [OLD; 3]);

    replace(&mut members, 0, &new);
    replace(&mut members, 1, &new);
    have_builds(&members, [NEW, NEW, OLD]);

    // A node of the old build gets everything from a leader of the new one.
    lead(&members, 0);
    members.kill9(2);
    std::fs::remove_dir_all(members.node(2).data()).unwrap();
    members.rejoin(2);
    members.wait_whole();
    let known = members.node(2).get("/v1/instances").to_string();
    for instance in ["all-old", "one-new", "all-old-again"] {
        assert!(known.contains(&format!("\"{instance}\"")), "{instance} is not known: {known}");
    }
    members.carry_on("two-new");
    let refused = members.node(0).try_post("/v1/marks", &json!({})).unwrap();
    let why = refused["error"]["message"].as_str().unwrap_or_default();
    assert!(why.contains(&name(2)) && why.contains('4'), "who holds it back is not named: {refused}");
    assert_eq!(marks(members.node(1)), (OLD, 0));

    replace(&mut members, 2, &new);
    have_builds(&members, [NEW; 3]);
    members.wait("the version to rise", |members| (marks(members.node(2)).0 == NEW).then_some(()));
    members.node(2).post("/v1/marks", &json!({}));
    for place in 0..members.count() {
        members.wait("the mark to be everywhere", |members| (marks(members.node(place)) == (NEW, 1)).then_some(()));
    }

    // From now on there is no way back, and the node says so.
    assert!(members.stop(2).success());
    members.node_mut(2).set_binary(&old);
    let (status, said) = members.start_in_vain(2);
    assert_eq!(status.code(), Some(1), "{said}");
    for words in ["was written by a newer Causeway", "has command version 5, this one knows up to 4", "CWY-0507"] {
        assert!(said.contains(words), "not said: {words}\n{said}");
    }
    members.carry_on("without-the-downgraded-one");
    members.node_mut(2).set_binary(&new);
    members.start(2);
    members.wait_whole();
    assert_eq!(marks(members.node(2)), (NEW, 1));
}
