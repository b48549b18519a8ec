//! What a change of a node brings about beyond the node itself, and what became of it.

use causeway_core::command::{CURRENT_VERSION, Command, Envelope};
use causeway_core::ids::NodeId;
use causeway_core::name::Name;
use causeway_core::node::MemberRole;
use causeway_core::outcome::Outcome;
use causeway_core::plan::{Liveness, may_take};
use causeway_core::state::State;

use super::answer::Error;
use super::model::NodeView;
use super::seam::Site;
use crate::clock;

/// Has a change of a node agreed on. The log says what became of it, not what was asked for.
pub(super) async fn agree(site: &Site, node: &Name, command: Command) -> Result<(), Error> {
    let answered = site.change(command.clone()).await;
    match &answered {
        Ok(_) => tracing::info!(%node, ?command, "a node was changed"),
        Err(error @ Error::Unavailable { nothing_done: false, .. }) => {
            tracing::warn!(%node, ?command, code = %error.code(), %error, "it is not known whether a node was changed");
        }
        Err(error) => {
            tracing::warn!(%node, ?command, code = %error.code(), %error, "a change of a node was refused");
        }
    }
    answered.map(drop)
}

/// Why no other node may take the partitions of the node of this name; none while one may, or none is known to be down.
#[must_use]
pub fn nobody_takes(nodes: &[NodeView], name: &str) -> Option<String> {
    let mut kept = Vec::new();
    for node in nodes.iter().filter(|node| node.name.as_str() != name) {
        kept.push(format!("{} {}", node.name, keeps(node)?));
    }
    Some(match kept.as_slice() {
        [] => "no other node may take its partitions: it is the only one".to_owned(),
        kept => format!("no other node may take its partitions: {}", kept.join(", ")),
    })
}

/// What keeps a node from taking partitions; none where nothing is known to.
fn keeps(node: &NodeView) -> Option<&'static str> {
    let known = match node.liveness {
        Some(liveness) => liveness.into(),
        None if node.starts == 0 => Liveness::Down,
        None => Liveness::Up,
    };
    if may_take(node.draining, node.leaving, known) {
        return None;
    }
    Some(match known {
        _ if node.starts == 0 => "has not started yet",
        Liveness::Down => "is down",
        Liveness::Silent => "is silent",
        Liveness::Up if node.draining => "is draining",
        Liveness::Up => "is stopping",
    })
}

/// Why a change would be refused as things are; none where it would not.
pub(super) fn would_be_refused(view: &State, command: Command) -> Option<String> {
    let envelope = Envelope { version: CURRENT_VERSION, request: 0, at: clock::now(), command };
    match view.clone().apply(0, &envelope) {
        Outcome::Refused(refusal) => Some(format!("nothing: it would be refused ({}): {refusal}", refusal.code())),
        _ => None,
    }
}

/// How many voters there are without this one, and how many of them may be lost; none where it does not vote.
pub(super) fn voters_without(view: &State, node: NodeId) -> Option<String> {
    let votes = |id: &NodeId| view.nodes.get(id).is_some_and(|node| node.role == MemberRole::Voter);
    if !votes(&node) {
        return None;
    }
    let left = view.nodes.keys().filter(|id| **id != node && votes(id)).count();
    let voters = if left == 1 { "voter" } else { "voters" };
    let spare = left.saturating_sub(1) / 2;
    Some(match spare {
        0 => format!(
            "the cluster then has {left} {voters} and survives the loss of none: without one, nothing is agreed on and \
             copying stops"
        ),
        spare => format!("the cluster then has {left} {voters} and survives the loss of {spare}"),
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use causeway_core::ids::Timestamp;
    use causeway_core::node::{JoinToken, NodeSpec, ProcessId};
    use serde_json::Value;

    use super::*;
    use crate::admin::auth::token_hash;
    use crate::admin::router_tests::{Ask, run};
    use crate::admin::seam::ProposeError;
    use crate::admin::tests::{Fixture, name};
    use crate::telemetry::captured::Lines;

    /// So many voters; each but the first is admitted and has started.
    fn voters(count: u64) -> Fixture {
        let fixture = Fixture::with_two_streams();
        for id in 1..=count {
            let spec = NodeSpec {
                name: name(&format!("node-{id}")),
                region: name("hohhot"),
                address: Some(format!("127.0.0.1:750{id}")),
                supports: CURRENT_VERSION,
            };
            if id > 1 {
                let (hash, role) = (token_hash(&format!("cwy_{id}")), MemberRole::Voter);
                let token = JoinToken { role, expires_at: Timestamp(i64::MAX) };
                fixture.cluster.apply(Command::IssueJoinToken { hash, token });
                fixture.cluster.apply(Command::AdmitNode { token: hash, spec: spec.clone() });
            }
            let process = ProcessId(u128::from(id));
            fixture.cluster.apply(Command::StartNode { node: NodeId(id), spec, process });
        }
        fixture
    }

    async fn ask(fixture: &Fixture, method: Method, path: &str) -> (u16, Value) {
        let (status, _, body) = run(fixture, vec![Ask(method, path, None, &[])]).await.remove(0);
        (status.as_u16(), body)
    }

    #[actix_web::test]
    async fn the_log_says_that_a_node_was_changed_only_when_that_was_agreed_on() {
        let (fixture, lines) = (voters(2), Lines::default());
        let _listening = lines.listen();
        for unknown in [false, true] {
            let down = ProposeError { why: "no majority".to_owned(), leader: None, outcome_is_unknown: unknown };
            *fixture.cluster.down.lock().unwrap() = Some(down);
            for (method, path) in [(Method::POST, "/v1/nodes/node-2:drain"), (Method::DELETE, "/v1/nodes/node-2")] {
                assert_eq!(ask(&fixture, method, path).await.0, 503);
            }
        }
        let changed = || lines.about("INFO").iter().filter(|line| line.contains("a node was changed")).count();
        assert_eq!(changed(), 0);
        let refused = lines.about("a change of a node was refused");
        assert_eq!(refused.len(), 2, "{refused:?}");
        assert!(refused[1].contains("RemoveNode") && refused[1].contains("no majority"), "{refused:?}");
        assert_eq!(lines.about("it is not known whether a node was changed").len(), 2);
        *fixture.cluster.down.lock().unwrap() = None;
        assert_eq!(ask(&fixture, Method::DELETE, "/v1/nodes/node-2").await.0, 200);
        assert_eq!(changed(), 1);
        assert_eq!(ask(&fixture, Method::DELETE, "/v1/nodes/node-1").await.0, 409);
        assert!(lines.about("a change of a node was refused")[2].contains("CWY-0116"));
    }

    #[actix_web::test]
    async fn a_voter_that_goes_is_told_with_how_many_may_be_lost_then() {
        let spare = "the cluster then has 3 voters and survives the loss of 1";
        let none = "the cluster then has 2 voters and survives the loss of none";
        for (count, said) in [(4, spare), (3, none)] {
            let fixture = voters(count);
            let (_, plan) = ask(&fixture, Method::DELETE, "/v1/nodes/node-2?dry_run=true").await;
            assert!(plan["effects"].to_string().contains(said), "{plan}");
            let (_, plan) = ask(&fixture, Method::POST, "/v1/nodes/node-2:demote?dry_run=true").await;
            assert!(plan["effects"].to_string().contains(said), "{plan}");
            let (_, node) = ask(&fixture, Method::POST, "/v1/nodes/node-2:demote").await;
            assert!(node["warnings"].to_string().contains(said), "{node}");
            let (_, done) = ask(&fixture, Method::DELETE, "/v1/nodes/node-2").await;
            assert!(!done["effects"].to_string().contains("survives"), "it has no vote any more: {done}");
            let (_, done) = ask(&fixture, Method::DELETE, "/v1/nodes/node-3").await;
            assert!(done["effects"].to_string().contains("the cluster then has"), "{done}");
        }
    }

    #[actix_web::test]
    async fn a_dry_run_says_that_the_only_voter_neither_goes_nor_loses_its_vote() {
        let alone = voters(1);
        for (method, path) in [(Method::DELETE, "/v1/nodes/node-1"), (Method::POST, "/v1/nodes/node-1:demote")] {
            let (status, plan) = ask(&alone, method.clone(), &format!("{path}?dry_run=true")).await;
            assert_eq!((status, plan["effects"].as_array().map(Vec::len)), (200, Some(1)), "{plan}");
            assert!(plan["effects"][0].as_str().unwrap().contains("refused (CWY-0116)"), "{plan}");
            assert_eq!(ask(&alone, method, path).await.1["error"]["code"].as_str(), Some("CWY-0116"));
        }
        let (_, plan) = ask(&voters(2), Method::DELETE, "/v1/nodes/node-1?dry_run=true").await;
        assert!(!plan["effects"].to_string().contains("refused"), "{plan}");
    }

    #[actix_web::test]
    async fn a_drain_that_nobody_takes_over_says_so_and_why() {
        let alone = voters(1);
        let (_, plan) = ask(&alone, Method::POST, "/v1/nodes/node-1:drain?dry_run=true").await;
        assert!(plan["effects"].to_string().contains("it is the only one"), "{plan}");
        let (_, node) = ask(&alone, Method::POST, "/v1/nodes/node-1:drain").await;
        assert!(node["warnings"].to_string().contains("no other node may take its partitions"), "{node}");

        let two = voters(2);
        let (_, node) = ask(&two, Method::POST, "/v1/nodes/node-2:drain").await;
        assert_eq!(node["warnings"], Value::Null, "it runs none: {node}");
        let (_, plan) = ask(&two, Method::POST, "/v1/nodes/node-1:drain?dry_run=true").await;
        assert!(plan["effects"].to_string().contains("node-2 is draining"), "{plan}");
        ask(&two, Method::POST, "/v1/nodes/node-2:undrain").await;
        let (_, plan) = ask(&two, Method::POST, "/v1/nodes/node-1:drain?dry_run=true").await;
        assert_eq!(plan["effects"].as_array().map(Vec::len), Some(1), "{plan}");
    }
}
