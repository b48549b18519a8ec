//! `causeway partition ...`

use std::collections::BTreeMap;

use causeway_core::ids::{NodeId, Timestamp};
use causeway_core::name::Name;
use serde_json::{Value, json};

use crate::admin::model::partition::ReadPathView;
use crate::admin::model::{NodeList, PartitionView};
use crate::cli::Session;
use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure, read};
use crate::cli::http::segment;
use crate::cli::human::{UNKNOWN, ago, grouped, grouped_signed, or_unknown, rate};
use crate::cli::stream_text::{at_least, behind, state};
use crate::cli::table::{Cell, Column, Table, Tone};
use crate::clock;

/// Lists the partitions of a stream.
///
/// # Errors
/// [`Failure`].
pub fn list(session: &mut Session, stream: &str) -> Result<Exit, Failure> {
    let items = session.api.list(&format!("/v1/streams/{}/partitions", segment(stream)))?;
    if session.format == Format::Json {
        session.screen.json(&json!({ "items": items, "next": Value::Null }));
        return Ok(Exit::Done);
    }
    let partitions: Vec<PartitionView> = items.iter().map(|item| session.api.read(item)).collect::<Result<_, _>>()?;
    if partitions.is_empty() {
        session.screen.line(format!("{stream} has no partitions yet: the queues of its source topic are not known"));
        session.screen.line(format!("  why: causeway stream show {stream}"));
        return Ok(Exit::Done);
    }
    let names = names(session);
    let table = table(stream, &partitions, &names, session.format == Format::Wide, clock::now());
    session.screen.table(&table);
    Ok(Exit::Done)
}

/// What the nodes are called. Numbers say less, but enough where nobody answers.
pub fn names(session: &Session) -> BTreeMap<NodeId, Name> {
    let answer = session.api.get("/v1/nodes").and_then(|answer| session.api.read::<NodeList>(&answer));
    let nodes = answer.map(|list| list.items).unwrap_or_default();
    nodes.into_iter().map(|node| (node.id, node.name)).collect()
}

/// The partitions, one a row, with the reasons of those that stand below theirs.
#[must_use]
pub fn table(
    stream: &str,
    partitions: &[PartitionView],
    names: &BTreeMap<NodeId, Name>,
    wide: bool,
    now: Timestamp,
) -> Table {
    let mut columns = vec![
        Column::left("PARTITION"),
        Column::left("STATE"),
        Column::right("OWNER").spare(3),
        Column::right("EPOCH").spare(2),
        Column::right("RATE"),
        Column::right("LAG"),
        Column::right("BEHIND"),
        Column::right("COPIED UP TO").spare(1),
        Column::left("READ").spare(4),
    ];
    if wide {
        columns.extend([
            Column::left("TARGET"),
            Column::right("SOURCE END"),
            Column::right("CHECKPOINT"),
            Column::right("AGE"),
            Column::right("REWINDS"),
        ]);
    }
    let mut table = Table::new(columns);
    for partition in partitions {
        table.row(cells(partition, names, wide, now));
        notes(&mut table, stream, partition, now);
    }
    table
}

fn cells(partition: &PartitionView, names: &BTreeMap<NodeId, Name>, wide: bool, now: Timestamp) -> Vec<Cell> {
    let run = partition.condition.state;
    let (word, tone) = state(run);
    let figures = partition.figures.as_ref();
    let lag = figures.and_then(|figures| figures.lag_messages);
    let unknown = || Cell::from(UNKNOWN);
    let named = |node: NodeId| names.get(&node).map_or_else(|| node.to_string(), |name| name.to_string());
    let owner = partition.owner.map_or_else(|| "none".to_owned(), named);
    let offset = |offset: Option<i64>| offset.map_or_else(unknown, |offset| grouped_signed(offset).into());
    let mut cells = vec![
        Cell::from(partition.source.to_string()),
        Cell::toned(word, tone),
        owner.into(),
        partition.epoch.to_string().into(),
        rate(figures.and_then(|figures| figures.copied_messages_per_second)).into(),
        at_least(run, lag.is_some(), or_unknown(lag)).into(),
        behind(run, figures.and_then(|figures| figures.lag_seconds), figures.and_then(|figures| figures.rpo_seconds))
            .into(),
        offset(figures.and_then(|figures| figures.durable_next)),
        path(partition, names).into(),
    ];
    if wide {
        let checkpoint = partition.checkpoint.as_ref();
        let at = figures.and_then(|figures| figures.checkpoint_at);
        cells.extend([
            Cell::from(partition.target.to_string()),
            offset(figures.and_then(|figures| figures.source_maximum)),
            checkpoint.map_or_else(|| Cell::from("none"), |checkpoint| grouped_signed(checkpoint.source_next).into()),
            at.map_or_else(unknown, |at| ago(at, now).into()),
            grouped(partition.rewinds).into(),
        ]);
    }
    cells
}

/// By which path its source is read.
fn path(partition: &PartitionView, names: &BTreeMap<NodeId, Name>) -> String {
    match partition.figures.as_ref().and_then(|figures| Some((figures.read_path?, figures.relay))) {
        None => UNKNOWN.to_owned(),
        Some((ReadPathView::Direct, _)) => "directly".to_owned(),
        Some((ReadPathView::Relay, None)) => "through a node".to_owned(),
        Some((ReadPathView::Relay, Some(node))) => match names.get(&node) {
            Some(name) => format!("through {name}"),
            None => format!("through node {node}"),
        },
    }
}

fn notes(table: &mut Table, stream: &str, partition: &PartitionView, now: Timestamp) {
    if let Some(fault) = &partition.fault {
        table.note(format!("since {}: {}  {}", ago(fault.since, now), fault.message, fault.code), Tone::Bad);
        let (source, since) = (&partition.source, fault.since.0);
        let decide =
            format!("decide: causeway stream resolve {stream} --partition {source} --fault-since {since} DECISION");
        table.note(decide, Tone::Plain);
        let skip = fault.skip_to.map_or_else(String::new, |to| format!(", --skip (goes on at {})", grouped_signed(to)));
        table.note(format!("DECISION is --retry{skip} or --restart POSITION"), Tone::Plain);
        table.note(read(&fault.code), Tone::Quiet);
    } else if let Some(why) = &partition.condition.why {
        let code = partition.condition.code.as_ref().map_or(String::new(), |code| format!("  {code}"));
        table.note(format!("since {}: {why}{code}", ago(partition.condition.since, now)), Tone::Plain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::name;

    /// Two partitions: one that runs, one that waits for a decision.
    fn sample() -> Vec<PartitionView> {
        let figures = json!({
            "read_messages": 5, "read_bytes": 5, "slave_read_messages": 0, "copied_messages": 5, "copied_bytes": 5,
            "filtered_messages": 0, "looped_messages": 0, "zombie_writes": 0, "in_flight_bytes": 0, "read_path": "relay", "relay": 3,
            "source_next": 82_612, "source_maximum": 82_612,
            "durable_next": 82_600, "lag_messages": 12, "lag_seconds": 0.008, "rpo_seconds": 0.008,
            "copied_messages_per_second": 250.2, "caught_up_at": 3_599_000, "checkpoint_at": 3_599_910,
        });
        let partition = |queue: u32, state: &str, fault: Value, figures: Value| {
            json!({
                "source": { "broker": "broker-a", "queue": queue }, "target": { "broker": "broker-x", "queue": queue },
                "state": state, "since": 0, "why": null, "code": null, "help": null, "owner": 1, "epoch": 3, "generation": 0,
                "start": "earliest", "source_incarnation": 0, "target_incarnation": 0, "checkpoint": null, "fault": fault,
                "resolved": [], "rewinds": 0, "figures": figures,
            })
        };
        let fault = json!({
            "code": "CWY-0402", "message": "the source's retention removed offsets 1000 to 2500 before they were copied",
            "help": "/errors/CWY-0402", "since": 3_400_000,
            "detail": { "retention_won": { "from": 1000, "to": 2500 } }, "skip_to": 2500,
        });
        let views = [partition(0, "running", Value::Null, figures), partition(1, "faulted", fault, Value::Null)];
        views.into_iter().map(|view| serde_json::from_value(view).expect("a partition")).collect()
    }

    #[test]
    fn golden_partitions() {
        let now = Timestamp(3_600_000);
        let table = |names, wide| table("orders", &sample(), names, wide, now);
        let (nobody, named) =
            (BTreeMap::new(), BTreeMap::from([1, 3].map(|id| (NodeId(id), name(&format!("node-{id}"))))));
        let drawn = |wide, width| table(&nobody, wide).lines(width, false).join("\n");
        let all = [drawn(false, 80), drawn(false, 120), drawn(true, 200)].join("\n\n");
        assert_eq!(format!("{all}\n"), include_str!("testdata/partitions.golden"));
        let lines = table(&named, false).lines(120, false);
        assert!(lines[1].contains("node-1") && lines[1].contains("through node-3"), "{lines:?}");
    }
}
