//! Nodes as text: the table, one line about all of them, partitions on their way.

use causeway_core::ids::{NodeId, Timestamp};

use crate::admin::model::{MoveView, NodeList, NodeView, StatusAnswer, StrangeMember};
use crate::cli::human::{UNKNOWN, ago, bytes, counted, grouped, or_unknown, seconds};
use crate::cli::table::{Cell, Column, Table, Tone};
use crate::status::node::{LeaseState, NodeFigures, NodeLiveness, REMOVED};

/// The nodes, one a row, with what is wrong with each below it; then members of the Raft group that are no nodes.
#[must_use]
pub fn table(list: &NodeList, wide: bool, now: Timestamp) -> Table {
    let mut columns = vec![
        Column::left("NODE"),
        Column::right("ID").spare(5),
        Column::left("REGION"),
        Column::left("ROLE"),
        Column::left("STATE"),
        Column::right("PARTITIONS"),
        Column::right("LAG").spare(2),
        Column::right("LEASE").spare(3),
        Column::right("RELAYS").spare(4),
        Column::right("UP").spare(1),
    ];
    if wide {
        columns.extend([
            Column::left("ADDRESS"),
            Column::left("CONNECTION"),
            Column::right("TERM"),
            Column::right("APPLIED"),
            Column::right("BEHIND"),
            Column::right("RELAYED"),
            Column::right("SENT"),
            Column::right("RECEIVED"),
            Column::right("FALLBACKS"),
            Column::right("TAKEOVERS"),
            Column::right("STARTS"),
            Column::right("COMMANDS"),
            Column::left("VERSION"),
        ]);
    }
    let mut table = Table::new(columns);
    for node in &list.items {
        table.row(cells(node, wide, now));
        if node.member.is_none() {
            let note = if node.starts == 0 {
                "let in, not started: the leader makes it a member of the Raft group when it has"
            } else {
                "no member of the Raft group: the leader makes it one"
            };
            table.note(note, Tone::Busy);
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
    let unknown = || Cell::from(UNKNOWN);
    let role = if member.leader { "leader".to_owned() } else { member.member.to_string() };
    let state = Cell::toned("removed", Tone::Bad);
    let mut cells = vec![unknown(), member.id.to_string().into(), unknown(), role.into(), state];
    cells.extend(std::iter::repeat_with(unknown).take(5));
    if wide {
        let connection = member.connection.clone().unwrap_or_else(|| UNKNOWN.to_owned());
        cells.extend([unknown(), connection.into(), unknown(), unknown(), or_unknown(member.behind_entries).into()]);
        cells.extend(std::iter::repeat_with(unknown).take(8));
    }
    cells
}

fn cells(node: &NodeView, wide: bool, now: Timestamp) -> Vec<Cell> {
    let (state, tone) = state(node);
    // What a node said last is shown for a while, but not where it is known to be wrong.
    let figures = node.figures.as_ref().filter(|_| node.liveness != Some(NodeLiveness::Down));
    let of = |read: fn(&NodeFigures) -> u64| or_unknown(figures.map(read));
    let started = if node.starts == 0 { "not started".to_owned() } else { ago(node.started_at, now) };
    let mut cells = vec![
        Cell::from(format!("{}{}", node.name, if node.answers { " *" } else { "" })),
        node.id.to_string().into(),
        node.region.to_string().into(),
        role(node).into(),
        Cell::toned(state, tone),
        partitions(node).into(),
        of(|figures| figures.apply_lag_entries).into(),
        lease(figures),
        of(|figures| figures.relay.served_streams).into(),
        started.into(),
    ];
    if wide {
        let connection = if node.answers { "answers" } else { node.connection.as_deref().unwrap_or(UNKNOWN) };
        let size = |read: fn(&NodeFigures) -> u64| figures.map_or_else(|| UNKNOWN.to_owned(), |of| bytes(read(of)));
        cells.extend([
            Cell::from(node.address.clone().unwrap_or_else(|| UNKNOWN.to_owned())),
            connection.to_owned().into(),
            of(|figures| figures.term).into(),
            of(|figures| figures.applied_index).into(),
            or_unknown(node.behind_entries).into(),
            size(|figures| figures.relay.raw_bytes).into(),
            size(|figures| figures.relay.sent_bytes).into(),
            size(|figures| figures.relay.received_bytes).into(),
            of(|figures| figures.relay.fallbacks).into(),
            of(|figures| figures.takeovers).into(),
            grouped(node.starts).into(),
            node.command_version.to_string().into(),
            figures.map_or_else(|| UNKNOWN.to_owned(), |figures| figures.version.clone()).into(),
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
fn known(node: &NodeView) -> &'static str {
    node.liveness.map(NodeLiveness::word).unwrap_or(match &node.connection {
        None if node.answers => "up",
        None => UNKNOWN,
        Some(connection) if connection == "connected" => "connected",
        Some(_) => "out of reach",
    })
}

fn state(node: &NodeView) -> (String, Tone) {
    let told = known(node);
    let goes = match (node.leaving, node.draining) {
        (true, _) => ", stopping",
        (false, true) if node.partitions == 0 => ", drained",
        (false, true) => ", draining",
        (false, false) => "",
    };
    let tone = match told {
        "up" | "connected" if !goes.is_empty() => Tone::Busy,
        "up" | "connected" => Tone::Good,
        "silent" => Tone::Busy,
        "down" | "out of reach" => Tone::Bad,
        _ => Tone::Plain,
    };
    (format!("{told}{goes}"), tone)
}

/// `5`, `5 (2 leaving)`, `5 (2 leaving, 1 arriving)`.
#[must_use]
pub fn partitions(node: &NodeView) -> String {
    let count = |count: usize| grouped(u64::try_from(count).unwrap_or(u64::MAX));
    let moving = [(node.leaving_partitions, "leaving"), (node.arriving_partitions, "arriving")];
    let moving = moving.into_iter().filter(|(number, _)| *number > 0);
    let moving: Vec<String> = moving.map(|(number, word)| format!("{} {word}", count(number))).collect();
    match moving.as_slice() {
        [] => count(node.partitions),
        moving => format!("{} ({})", count(node.partitions), moving.join(", ")),
    }
}

fn lease(figures: Option<&NodeFigures>) -> Cell {
    match figures.map(|figures| (figures.lease, figures.lease_seconds)) {
        None => UNKNOWN.into(),
        Some((LeaseState::None, _)) => Cell::toned("none", Tone::Bad),
        Some((LeaseState::Unlimited, _)) => "no end".into(),
        Some((LeaseState::Held, left)) => left.map_or_else(|| "held".to_owned(), seconds).into(),
    }
}

fn remarks(connection: Option<&str>) -> Option<String> {
    let connection = connection?;
    (connection != "connected" && connection != "connecting").then(|| format!("not reached by this node: {connection}"))
}

/// That the node that answers was removed, how it comes back, and why it knows; nothing while nothing says so.
#[must_use]
pub fn removal(removed: Option<&str>) -> Vec<String> {
    let Some(why) = removed else { return Vec::new() };
    let sentences = REMOVED.split_inclusive(". ").chain([why]);
    sentences.map(|sentence| format!("  {}", sentence.trim())).collect()
}

/// Who leads, in which term.
#[must_use]
pub fn who_leads(nodes: &[NodeView]) -> String {
    let term = nodes.iter().find(|node| node.answers).and_then(|node| node.figures.as_ref()).map(|own| own.term);
    let term = term.map_or(String::new(), |term| format!(" in term {}", grouped(term)));
    match nodes.iter().find(|node| node.leader) {
        Some(leader) => format!("led by {}{term}", leader.name),
        None => format!("no leader{term}: nothing can be changed now"),
    }
}

/// How many partitions are on their way between nodes; none where nothing moves.
#[must_use]
pub fn on_their_way(moves: usize) -> Option<String> {
    let moves = u64::try_from(moves).unwrap_or(u64::MAX);
    let are = if moves == 1 { "is on its way" } else { "are on their way" };
    (moves > 0).then(|| format!("{} {are}", counted(moves, "partition")))
}

/// One line about a cluster of several nodes; none for a node that is alone.
#[must_use]
pub fn about(status: &StatusAnswer) -> Option<String> {
    if status.nodes.len() < 2 {
        return None;
    }
    let mut parts = vec![counted(u64::try_from(status.nodes.len()).unwrap_or(u64::MAX), "node")];
    parts.push(who_leads(&status.nodes));
    let worth_telling = status.nodes.iter().filter(|node| {
        let word = known(node);
        !matches!(word, "up" | "connected") || node.draining || node.leaving
    });
    parts.extend(worth_telling.map(|node| format!("{} {}", node.name, state(node).0)));
    if status.raft.apply_lag_entries > 0 {
        parts.push(format!("this one {} behind", counted_entries(status.raft.apply_lag_entries)));
    }
    parts.extend(on_their_way(status.moves));
    let relayed = status.streams.iter().flat_map(|stream| stream.figures.relayed_partitions.values()).sum::<usize>();
    if relayed > 0 {
        let relayed = counted(u64::try_from(relayed).unwrap_or(u64::MAX), "partition");
        parts.push(format!("{relayed} read through another node"));
    }
    Some(format!("  {}", parts.join(", ")))
}

fn counted_entries(entries: u64) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{} entries", grouped(entries)) }
}

/// Partitions on their way, one a row.
#[must_use]
pub fn moves_table(moves: &[MoveView], nodes: &[NodeView]) -> Table {
    let name = |id: NodeId| {
        let node = nodes.iter().find(|node| node.id == id);
        node.map_or_else(|| format!("node {id}"), |node| node.name.to_string())
    };
    let mut table =
        Table::new(vec![Column::left("STREAM"), Column::left("PARTITION"), Column::left("FROM"), Column::left("TO")]);
    for one in moves {
        let (from, to) = (name(one.from), name(one.to));
        table.row(vec![one.stream.to_string().into(), one.source.to_string().into(), from.into(), to.into()]);
    }
    table
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
pub(crate) mod tests;
