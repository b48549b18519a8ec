//! `causeway cluster ...` for a node that runs: nodes, their roles, and who leads.

use std::time::Duration;

use causeway_core::name::Name;
use causeway_core::node::MemberRole;
use serde_json::{Value, json};

use crate::admin::model::{IssueJoinToken, JoinTokenAnswer, List, MoveView, NodeList, NodeView, TransferLeader};
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
        ClusterCommand::Promote(node) => change(session, &node, "promote"),
        ClusterCommand::Demote(node) => change(session, &node, "demote"),
        ClusterCommand::Undrain(node) => change(session, &node, "undrain"),
        ClusterCommand::Drain { node, wait } => {
            let done = change(session, &node, "drain")?;
            if wait && !node.change.dry_run { drained(session, &node.name) } else { Ok(done) }
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

fn change(session: &mut Session, node: &NodeChange, verb: &str) -> Result<Exit, Failure> {
    let path = format!("/v1/nodes/{}:{verb}{}", segment(&node.name), query(node.change.dry_run));
    let answer = session.api.post(&path, None::<&Value>)?;
    if node.change.dry_run {
        return effects(session, &answer);
    }
    if session.format == Format::Json {
        session.screen.json(&answer);
    } else {
        show(session, &json!({ "items": [answer], "next": Value::Null, "strange_members": [] }))?;
    }
    Ok(Exit::Done)
}

/// Waits until a node runs nothing any more.
fn drained(session: &mut Session, name: &str) -> Result<Exit, Failure> {
    let path = format!("/v1/nodes/{}", segment(name));
    let (mut fewest, mut since) = (usize::MAX, std::time::Instant::now());
    loop {
        let answer = session.api.get(&path)?;
        let node: NodeView = session.api.read(&answer)?;
        if node.partitions == 0 {
            session.screen.remark(format!("{name} runs nothing any more"));
            return Ok(Exit::Done);
        }
        if node.partitions < fewest {
            (fewest, since) = (node.partitions, std::time::Instant::now());
            session.screen.remark(format!("{name} still runs {}", partitions(&node)));
        }
        if since.elapsed() >= PATIENCE {
            session.screen.remark(format!("none of them left within {} s; is another node up?", PATIENCE.as_secs()));
            return Ok(Exit::TimedOut);
        }
        std::thread::sleep(LOOK);
    }
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
