//! `causeway partition ...`

use causeway_core::ids::Timestamp;
use serde_json::{Value, json};

use crate::admin::model::PartitionView;
use crate::cli::Session;
use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure};
use crate::cli::http::segment;
use crate::cli::human::{UNKNOWN, ago, grouped, grouped_signed, or_unknown, rate, seconds_or_unknown};
use crate::cli::stream_text::state;
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
        return Ok(Exit::Done);
    }
    let table = table(stream, &partitions, session.format == Format::Wide, clock::now());
    session.screen.table(&table);
    Ok(Exit::Done)
}

/// The partitions, one a row, with the reasons of those that stand below theirs.
#[must_use]
pub fn table(stream: &str, partitions: &[PartitionView], wide: bool, now: Timestamp) -> Table {
    let mut columns = vec![
        Column::left("PARTITION"),
        Column::left("STATE"),
        Column::right("OWNER").spare(3),
        Column::right("EPOCH").spare(2),
        Column::right("RATE"),
        Column::right("LAG"),
        Column::right("BEHIND"),
        Column::right("COPIED UP TO").spare(1),
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
        table.row(cells(partition, wide, now));
        notes(&mut table, stream, partition, now);
    }
    table
}

fn cells(partition: &PartitionView, wide: bool, now: Timestamp) -> Vec<Cell> {
    let (word, tone) = state(partition.condition.state);
    let figures = partition.figures.as_ref();
    let unknown = || Cell::from(UNKNOWN);
    let offset = |offset: Option<i64>| offset.map_or_else(unknown, |offset| grouped_signed(offset).into());
    let mut cells = vec![
        Cell::from(partition.source.to_string()),
        Cell::toned(word, tone),
        partition.owner.map_or_else(|| "none".to_owned(), |owner| owner.to_string()).into(),
        partition.epoch.to_string().into(),
        rate(figures.and_then(|figures| figures.copied_messages_per_second)).into(),
        or_unknown(figures.and_then(|figures| figures.lag_messages)).into(),
        seconds_or_unknown(figures.and_then(|figures| figures.lag_seconds)).into(),
        offset(figures.and_then(|figures| figures.durable_next)),
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

fn notes(table: &mut Table, stream: &str, partition: &PartitionView, now: Timestamp) {
    if let Some(fault) = &partition.fault {
        table.note(format!("since {}: {}  {}", ago(fault.since, now), fault.message, fault.code), Tone::Bad);
        let skip = match fault.skip_to {
            Some(to) => format!(" | --skip (goes on at {})", grouped_signed(to)),
            None => String::new(),
        };
        let options = format!("--retry{skip} | --restart POSITION");
        table.note(
            format!("decide: causeway stream resolve {stream} --partition {} {options}", partition.source),
            Tone::Plain,
        );
        table.note(format!("read: {}", fault.help), Tone::Quiet);
    } else if let Some(why) = &partition.condition.why {
        let code = partition.condition.code.as_ref().map_or(String::new(), |code| format!("  {code}"));
        table.note(format!("since {}: {why}{code}", ago(partition.condition.since, now)), Tone::Plain);
    }
}
