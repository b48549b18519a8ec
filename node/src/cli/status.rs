//! `causeway status`: what every stream does now.

use crate::admin::model::{StatusAnswer, StreamStatus};
use crate::cli::Session;
use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure};
use crate::cli::human::{ago, bytes, grouped, or_unknown, rate, seconds_or_unknown};
use crate::cli::nodes::{about, removal};
use crate::cli::stream_text::{at_least, behind, catch_up, lag, reason, state};
use crate::cli::table::{Cell, Column, Table, Tone};

/// Where the node tells everything at once.
pub const PATH: &str = "/v1/status";

/// Shows it once.
///
/// # Errors
/// [`Failure`].
pub fn once(session: &mut Session) -> Result<Exit, Failure> {
    let answer = session.api.get(PATH)?;
    if session.format == Format::Json {
        session.screen.json(&answer);
        return Ok(Exit::Done);
    }
    let status: StatusAnswer = session.api.read(&answer)?;
    session.screen.line(title(&status));
    for line in about(&status).into_iter().chain(removal(status.raft.removed.as_deref())) {
        session.screen.line(line);
    }
    if status.streams.is_empty() {
        session.screen.line(nothing(&status));
        return Ok(Exit::Done);
    }
    let table = table(&status, session.format == Format::Wide);
    session.screen.table(&table);
    Ok(Exit::Done)
}

/// Which node answers, and how long it has been up.
#[must_use]
pub fn title(status: &StatusAnswer) -> String {
    let node = &status.node;
    let leader = match status.raft.leader {
        Some(leader) if leader == node.id => String::new(),
        Some(_) if status.nodes.len() > 1 => String::new(),
        Some(leader) => format!(", led by node {leader}"),
        None => ", no leader: nothing can be changed now".to_owned(),
    };
    format!(
        "{} in {}, up {}, version {}{leader}",
        node.name,
        node.region,
        ago(node.started_at, status.at),
        node.version
    )
}

/// What to say where there is no stream.
#[must_use]
pub fn nothing(status: &StatusAnswer) -> &'static str {
    match status.instances.len() {
        0 | 1 => "  no stream yet; begin with: causeway instance add NAME --region R --name-server HOST:PORT",
        _ => "  no stream yet; begin with: causeway stream create NAME --from INSTANCE/TOPIC --to INSTANCE/TOPIC",
    }
}

/// The streams, one a row, with what there is to say about each below it.
#[must_use]
pub fn table(status: &StatusAnswer, wide: bool) -> Table {
    let mut columns = vec![
        Column::left("STREAM"),
        Column::left("STATE"),
        Column::right("RATE"),
        Column::right("LAG"),
        Column::right("BEHIND"),
        Column::right("COPIED").spare(1),
    ];
    if wide {
        columns.extend([
            Column::left("FROM"),
            Column::left("TO"),
            Column::right("PARTITIONS"),
            Column::right("RPO"),
            Column::right("BYTES"),
            Column::right("LEFT OUT"),
            Column::right("IN FLIGHT"),
            Column::right("CHECKPOINT"),
        ]);
    }
    let mut table = Table::new(columns);
    for stream in &status.streams {
        table.row(cells(stream, wide));
        if let Some(progress) = &stream.catch_up {
            table.note(catch_up(progress, None), Tone::Plain);
        }
        let (_, tone) = state(stream.condition.state);
        for line in reason(stream.name.as_str(), &stream.condition, status.at) {
            table.note(line, tone);
        }
    }
    table
}

fn cells(stream: &StreamStatus, wide: bool) -> Vec<Cell> {
    let run = stream.condition.state;
    let (word, tone) = state(run);
    let figures = &stream.figures;
    let mut cells = vec![
        Cell::from(stream.name.to_string()),
        Cell::toned(word, tone),
        rate(figures.copied_messages_per_second).into(),
        at_least(run, figures.lag_messages.is_some(), lag(figures.lag_messages)).into(),
        behind(run, figures.lag_seconds, figures.rpo_seconds).into(),
        grouped(figures.copied_messages).into(),
    ];
    if wide {
        let left_out = figures.filtered_messages.saturating_add(figures.looped_messages);
        cells.extend([
            Cell::from(format!("{}/{}", stream.source.instance, stream.source.topic)),
            format!("{}/{}", stream.target.instance, stream.target.topic).into(),
            or_unknown(u64::try_from(stream.partitions).ok()).into(),
            seconds_or_unknown(figures.rpo_seconds).into(),
            bytes(figures.copied_bytes).into(),
            grouped(left_out).into(),
            bytes(figures.in_flight_bytes).into(),
            seconds_or_unknown(figures.checkpoint_age_seconds).into(),
        ]);
    }
    cells
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
