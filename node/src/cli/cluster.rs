//! `causeway cluster ...` for a node that runs: nodes, their roles, and who leads.

use std::time::Duration;

use causeway_core::ids::Timestamp;
use causeway_core::name::Name;
use causeway_core::node::MemberRole;
use serde_json::{Value, json};

use crate::admin::model::{IssueJoinToken, JoinTokenAnswer, NodeList, NodeView, StrangeMember, TransferLeader};
use crate::cli::args::cluster::RoleArgument;
use crate::cli::args::{ClusterCommand, Format, NodeChange};
use crate::cli::exit::{Exit, Failure};
use crate::cli::http::segment;
use crate::cli::human::{UNKNOWN, ago, grouped};
use crate::cli::stream_text::{effects, query};
use crate::cli::table::{Cell, Column, Table, Tone};
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
    show(session, &answer)
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

/// The nodes, one a row, with what is wrong with each below it; then members of the Raft group that are no nodes.
#[must_use]
pub fn table(list: &NodeList, wide: bool, now: Timestamp) -> Table {
    let mut columns = vec![
        Column::left("NODE"),
        Column::right("ID").spare(2),
        Column::left("REGION"),
        Column::left("ROLE"),
        Column::left("STATE"),
        Column::right("PARTITIONS"),
        Column::right("UP").spare(1),
    ];
    if wide {
        columns.extend([
            Column::left("ADDRESS"),
            Column::left("CONNECTION"),
            Column::right("BEHIND"),
            Column::right("STARTS"),
            Column::right("COMMANDS"),
        ]);
    }
    let mut table = Table::new(columns);
    for node in &list.items {
        table.row(cells(node, wide, now));
        if node.member.is_none() {
            table.note("no member of the Raft group: the leader makes it one", Tone::Busy);
        }
        if let Some(line) = remarks(node.connection.as_deref()) {
            table.note(line, Tone::Bad);
        }
    }
    for member in &list.strange_members {
        table.row(strange_cells(member, wide));
        table.note(
            "a member of the Raft group that is no node of the cluster: the leader takes it out when the voters that \
             remain are a majority without it",
            Tone::Bad,
        );
        if let Some(line) = remarks(member.connection.as_deref()) {
            table.note(line, Tone::Bad);
        }
    }
    table
}

fn strange_cells(member: &StrangeMember, wide: bool) -> Vec<Cell> {
    let unknown = || Cell::from(UNKNOWN.to_owned());
    let role = if member.leader { "leader".to_owned() } else { member.member.to_string() };
    let state = Cell::toned("removed".to_owned(), Tone::Bad);
    let mut cells = vec![unknown(), member.id.to_string().into(), unknown(), role.into(), state, unknown(), unknown()];
    if wide {
        let connection = member.connection.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        let behind = member.behind_entries.map_or_else(|| UNKNOWN.to_owned(), grouped);
        cells.extend([unknown(), connection.into(), behind.into(), unknown(), unknown()]);
    }
    cells
}

fn cells(node: &NodeView, wide: bool, now: Timestamp) -> Vec<Cell> {
    let (state, tone) = state(node);
    let started = if node.starts == 0 { "not started".to_owned() } else { ago(node.started_at, now) };
    let mut cells = vec![
        Cell::from(format!("{}{}", node.name, if node.answers { " *" } else { "" })),
        node.id.to_string().into(),
        node.region.to_string().into(),
        role(node).into(),
        Cell::toned(state, tone),
        partitions(node).into(),
        started.into(),
    ];
    if wide {
        let connection = if node.answers { "answers" } else { node.connection.as_deref().unwrap_or(UNKNOWN) };
        cells.extend([
            Cell::from(node.address.clone().unwrap_or_else(|| UNKNOWN.to_owned())),
            connection.to_owned().into(),
            node.behind_entries.map_or_else(|| UNKNOWN.to_owned(), grouped).into(),
            grouped(node.starts).into(),
            node.command_version.to_string().into(),
        ]);
    }
    cells
}

/// What it is, and what it is becoming.
fn role(node: &NodeView) -> String {
    match node.member {
        _ if node.leader => "leader".to_owned(),
        Some(member) if member == node.role => member.to_string(),
        Some(member) => format!("{member}, to be {}", node.role),
        None => format!("to be {}", node.role),
    }
}

/// What the leader knows of it, or else what the node that answers sees.
fn state(node: &NodeView) -> (String, Tone) {
    let draining = if node.draining { ", draining" } else { "" };
    let told = node.liveness.as_deref().unwrap_or(match &node.connection {
        None if node.answers => "up",
        None => UNKNOWN,
        Some(connection) if connection == "connected" => "connected",
        Some(_) => "out of reach",
    });
    let tone = match told {
        "up" | "connected" if node.draining => Tone::Busy,
        "up" | "connected" => Tone::Good,
        "silent" => Tone::Busy,
        "down" | "out of reach" => Tone::Bad,
        _ => Tone::Plain,
    };
    (format!("{told}{draining}"), tone)
}

fn partitions(node: &NodeView) -> String {
    let count = |count: usize| grouped(u64::try_from(count).unwrap_or(u64::MAX));
    match node.leaving_partitions {
        0 => count(node.partitions),
        leaving => format!("{} ({} leaving)", count(node.partitions), count(leaving)),
    }
}

fn remarks(connection: Option<&str>) -> Option<String> {
    let connection = connection?;
    (connection != "connected" && connection != "connecting").then(|| format!("not reached by this node: {connection}"))
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

#[cfg(test)]
mod tests {
    use causeway_core::ids::NodeId;

    use super::*;
    use crate::cli::tests::{name, run_against};

    fn node(text: &str, member: Option<MemberRole>) -> NodeView {
        NodeView {
            id: NodeId(1),
            name: name(text),
            region: name("hohhot"),
            address: None,
            role: MemberRole::Voter,
            member,
            leader: member.is_some(),
            answers: true,
            liveness: Some("up".to_owned()),
            behind_entries: None,
            connection: None,
            draining: false,
            partitions: 2,
            leaving_partitions: 0,
            command_version: 3,
            starts: 1,
            started_at: Timestamp(0),
        }
    }

    #[test]
    fn nodes_that_are_no_members_and_members_that_are_no_nodes_are_shown() {
        let gone = StrangeMember {
            id: NodeId(9),
            member: MemberRole::Voter,
            leader: false,
            behind_entries: Some(3),
            connection: Some("disconnected: closed".to_owned()),
        };
        let items = vec![node("node-1", Some(MemberRole::Voter)), node("node-2", None)];
        let list = NodeList { items, next: None, strange_members: vec![gone] };
        let answer = serde_json::to_string(&list).unwrap();
        let (exit, shown, _, _) = run_against(vec![(200, answer)], &["cluster", "nodes"]);
        assert_eq!(exit, Exit::Done);
        let lines: Vec<_> = shown.lines().collect();
        let row = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{shown}"));
        assert!(lines[row("node-2") + 1].contains("no member of the Raft group"), "{shown}");
        assert!(lines[row("removed")].contains(" 9 "), "{shown}");
        assert!(lines[row("removed") + 1].contains("is no node of the cluster"), "{shown}");
        assert!(shown.contains("not reached by this node: disconnected: closed"), "{shown}");
        assert!(!lines[row("node-1") + 1].contains("no member"), "{shown}");
    }
}
