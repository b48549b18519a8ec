//! `causeway cluster ...` for a node that runs: nodes, their roles, and who leads.

use std::time::{Duration, Instant};

use causeway_core::error_code::ErrorCode;
use causeway_core::name::Name;
use causeway_core::node::MemberRole;
use serde_json::{Value, json};

use crate::admin::model::{
    ChangedNode, IssueJoinToken, JoinTokenAnswer, List, MoveView, NodeList, NodeView, TransferLeader,
};
use crate::admin::node_changes::nobody_takes;
use crate::cli::args::cluster::RoleArgument;
use crate::cli::args::{ClusterCommand, Format, NodeChange};
use crate::cli::exit::{Exit, Failure};
use crate::cli::http::segment;
use crate::cli::human::ago;
use crate::cli::nodes::{moves_table, on_their_way, partitions, removal, table, who_leads};
use crate::cli::stream_text::{effects, query};
use crate::cli::{Session, backup::backup};
use crate::clock;

/// Between two looks while a node is drained.
const LOOK: Duration = Duration::from_millis(500);

/// How long a drain is waited for without a partition leaving.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does what is asked of the cluster.
///
/// # Errors
/// [`Failure`].
pub fn execute(session: &mut Session, command: ClusterCommand) -> Result<Exit, Failure> {
    match command {
        // They work on a data directory and are done before a node is asked.
        ClusterCommand::Init { .. }
        | ClusterCommand::Join { .. }
        | ClusterCommand::Rejoin { .. }
        | ClusterCommand::Restore { .. }
        | ClusterCommand::Recover { .. } => Ok(Exit::Done),
        ClusterCommand::Backup { file, stale } => backup(session, &file, stale),
        ClusterCommand::Token { role, valid_hours } => token(session, role, valid_hours),
        ClusterCommand::Nodes => nodes(session),
        ClusterCommand::Moves => moves(session),
        ClusterCommand::Promote(node) => change(session, &node, "promote").map(|_| Exit::Done),
        ClusterCommand::Demote(node) => change(session, &node, "demote").map(|_| Exit::Done),
        ClusterCommand::Undrain(node) => change(session, &node, "undrain").map(|_| Exit::Done),
        ClusterCommand::Drain { node, wait, timeout_seconds } => {
            let warning = change(session, &node, "drain")?.pop();
            if !wait || node.change.dry_run {
                return Ok(Exit::Done);
            }
            drained(session, &node.name, timeout_seconds, warning)
        }
        ClusterCommand::Remove(node) => remove(session, &node),
        ClusterCommand::TransferLeader { to } => transfer_leader(session, to),
    }
}

fn token(session: &mut Session, role: RoleArgument, valid_hours: u64) -> Result<Exit, Failure> {
    let role = match role {
        RoleArgument::Voter => MemberRole::Voter,
        RoleArgument::Learner => MemberRole::Learner,
    };
    let body = IssueJoinToken { role, valid_seconds: valid_hours.saturating_mul(3_600) };
    let answer = session.api.post("/v1/cluster/join-tokens", Some(&body))?;
    if session.format == Format::Json {
        session.screen.json(&answer);
        return Ok(Exit::Done);
    }
    let told: JoinTokenAnswer = session.api.read(&answer)?;
    let left = ago(clock::now(), told.expires_at);
    session.screen.line(format!("  token  {}", told.token));
    session.screen.line(format!("         shown this once; it lets one {} in and is good for {left}", told.role));
    let at = told.members.first().map_or("HOST:PORT", String::as_str);
    session.screen.line(format!(
        "  next   on the new node: CAUSEWAY_JOIN_TOKEN=... causeway cluster join --at {at} --config FILE"
    ));
    Ok(Exit::Done)
}

fn nodes(session: &mut Session) -> Result<Exit, Failure> {
    let answer = session.api.get("/v1/nodes")?;
    show(session, &answer)?;
    if session.format != Format::Json {
        let NodeList { items: nodes, removed, .. } = session.api.read(&answer)?;
        session.screen.line(format!("  {}", who_leads(&nodes)));
        removal(removed.as_deref()).iter().for_each(|line| session.screen.line(line));
        if let Some(line) = on_their_way(nodes.iter().map(|node| node.leaving_partitions).sum()) {
            session.screen.line(format!("  {line}: causeway cluster moves"));
        }
    }
    Ok(Exit::Done)
}

fn show(session: &mut Session, answer: &Value) -> Result<Exit, Failure> {
    if session.format == Format::Json {
        session.screen.json(answer);
        return Ok(Exit::Done);
    }
    let list: NodeList = session.api.read(answer)?;
    let table = table(&list, session.format == Format::Wide, clock::now());
    session.screen.table(&table);
    Ok(Exit::Done)
}

fn moves(session: &mut Session) -> Result<Exit, Failure> {
    let answer = session.api.get("/v1/cluster/moves")?;
    if session.format == Format::Json {
        session.screen.json(&answer);
        return Ok(Exit::Done);
    }
    let moves: List<MoveView> = session.api.read(&answer)?;
    if moves.items.is_empty() {
        session.screen.line("  no partition is on its way to another node");
        return Ok(Exit::Done);
    }
    let nodes: NodeList = session.api.read(&session.api.get("/v1/nodes")?)?;
    session.screen.table(&moves_table(&moves.items, &nodes.items));
    Ok(Exit::Done)
}

/// Answers the warnings that were shown.
fn change(session: &mut Session, node: &NodeChange, verb: &str) -> Result<Vec<String>, Failure> {
    let path = format!("/v1/nodes/{}:{verb}{}", segment(&node.name), query(node.change.dry_run));
    let answer = session.api.post(&path, None::<&Value>)?;
    if node.change.dry_run {
        effects(session, &answer)?;
        return Ok(Vec::new());
    }
    if session.format == Format::Json {
        session.screen.json(&answer);
        return Ok(Vec::new());
    }
    show(session, &json!({ "items": [answer], "next": Value::Null, "strange_members": [] }))?;
    let ChangedNode { warnings, .. } = session.api.read(&answer)?;
    warnings.iter().for_each(|warning| session.screen.remark(format!("warning: {warning}")));
    Ok(warnings)
}

/// Waits until a node runs nothing any more. Says how many are left, and what keeps them where that was not said last.
fn drained(
    session: &mut Session,
    name: &str,
    limit_seconds: Option<u64>,
    mut said: Option<String>,
) -> Result<Exit, Failure> {
    let limit = limit_seconds.map(Duration::from_secs);
    let begun = Instant::now();
    let (mut fewest, mut since, mut told) = (usize::MAX, begun, String::new());
    loop {
        let answer = session.api.get("/v1/nodes")?;
        let nodes = session.api.read::<NodeList>(&answer)?.items;
        let Some(node) = nodes.iter().find(|node| node.name.as_str() == name) else {
            return Err(Failure::new(ErrorCode::NoSuchNode, format!("{name} was removed in the meantime")));
        };
        if node.partitions == 0 {
            session.screen.remark(format!("{name} runs nothing any more"));
            return Ok(Exit::Done);
        }
        let (runs, why) = (format!("{name} still runs {}", partitions(node)), what_keeps(&nodes, node));
        let with = |why: Option<&String>| why.map_or_else(|| runs.clone(), |why| format!("{runs}; {why}"));
        let all = with(why.as_ref());
        if all != told {
            session.screen.remark(with(why.as_ref().filter(|why| said.as_ref() != Some(*why))));
            (told, said) = (all, why);
        }
        if node.partitions < fewest {
            (fewest, since) = (node.partitions, Instant::now());
        }
        let over = limit.map_or_else(|| since.elapsed() >= PATIENCE, |limit| begun.elapsed() >= limit);
        if over {
            return Err(Failure::new(ErrorCode::TimedOut, format!("not there in time: {told}")).advise(format!(
                "it goes on by itself when another node takes them; to give it up: causeway cluster undrain {name}"
            )));
        }
        std::thread::sleep(LOOK);
    }
}

/// Why nothing of a drained node moves, where that is known.
fn what_keeps(nodes: &[NodeView], node: &NodeView) -> Option<String> {
    let nobody_leads = || (!nodes.iter().any(|node| node.leader)).then(|| "nobody leads the cluster".to_owned());
    let no_more = || (!node.draining).then(|| "it is not to be drained any more".to_owned());
    no_more().or_else(nobody_leads).or_else(|| nobody_takes(nodes, node.name.as_str()))
}

fn remove(session: &mut Session, node: &NodeChange) -> Result<Exit, Failure> {
    let path = format!("/v1/nodes/{}{}", segment(&node.name), query(node.change.dry_run));
    let answer = session.api.delete(&path)?;
    effects(session, &answer)
}

fn transfer_leader(session: &mut Session, to: Option<String>) -> Result<Exit, Failure> {
    let name = to
        .map(|to| Name::new(to.as_str()).map_err(|error| Failure::usage(format!("--to {to}: {error}"))))
        .transpose()?;
    let answer = session.api.post("/v1/cluster/leader", Some(&TransferLeader { to: name }))?;
    show(session, &answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::nodes::tests::node;
    use crate::cli::tests::run_against;
    use crate::status::node::NodeLiveness;

    fn draining(others: Vec<NodeView>, partitions: usize) -> (u16, String) {
        let node = NodeView { draining: true, partitions, ..node(2) };
        let items = [vec![node], others].concat();
        (200, json!({ "items": items, "next": null, "strange_members": [] }).to_string())
    }

    #[test]
    fn a_drain_that_is_waited_for_says_what_is_left_and_what_keeps_it_and_ends() {
        let idle = || NodeView { draining: true, ..node(1) };
        let changed = ChangedNode {
            node: NodeView { draining: true, ..node(2) },
            warnings: vec!["no other node may take its partitions: node-1 is draining".to_owned()],
        };
        let changed = || (200, serde_json::to_string(&changed).expect("JSON"));
        let command = ["cluster", "drain", "node-2", "--wait"];
        let answers =
            vec![changed(), draining(vec![idle()], 4), draining(vec![node(1)], 1), draining(vec![node(1)], 0)];
        let (exit, _, err, _) = run_against(answers, &command);
        assert_eq!(exit, Exit::Done, "{err}");
        let expected = "warning: no other node may take its partitions: node-1 is draining\n\
                        node-2 still runs 4\nnode-2 still runs 1\nnode-2 runs nothing any more";
        assert_eq!(err.trim_end(), expected, "a reason is told once");
        let down = || NodeView { liveness: Some(NodeLiveness::Down), ..node(1) };
        let answers = vec![changed(), draining(vec![down()], 4), draining(vec![idle()], 4), draining(vec![down()], 0)];
        let (_, _, err, _) = run_against(answers, &command);
        let expected = "warning: no other node may take its partitions: node-1 is draining\n\
                        node-2 still runs 4; no other node may take its partitions: node-1 is down\n\
                        node-2 still runs 4; no other node may take its partitions: node-1 is draining\n\
                        node-2 runs nothing any more";
        assert_eq!(err.trim_end(), expected, "another reason is told");

        let answers = vec![changed(), draining(vec![idle()], 4)];
        let (exit, _, err, _) = run_against(answers, &[&command[..], &["--timeout-seconds", "0"]].concat());
        assert_eq!(exit, Exit::TimedOut, "{err}");
        assert!(err.contains("not there in time: node-2 still runs 4; no other node may take"), "{err}");
        assert!(err.contains("CWY-0308") && err.contains("causeway cluster undrain node-2"), "{err}");

        let leaderless = NodeView { leader: false, ..node(1) };
        let (exit, _, err, _) = run_against(
            vec![changed(), draining(vec![leaderless], 4)],
            &[&command[..], &["--timeout-seconds", "0"]].concat(),
        );
        assert_eq!(exit, Exit::TimedOut);
        assert!(err.contains("nobody leads the cluster"), "{err}");
    }
}
