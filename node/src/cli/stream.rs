//! `causeway stream ...`

use causeway_core::ids::StreamId;
use causeway_core::stream::{BornTimestamp, Durability, SlaveReads};
use serde_json::{Value, json};

use crate::admin::model::stream::{FilterSettings, RunSettings, SourceSettings, TargetSettings};
use crate::admin::model::{CreateStream, PartitionView, StreamPlan, StreamView, Verdict};
use crate::cli::Session;
use crate::cli::args::{
    BornTimestampArgument, Change, CreateStreamArguments, DurabilityArgument, Format, SlaveReadsArgument,
    StreamCommand, Wait,
};
use crate::cli::exit::{Exit, Failure};
use crate::cli::http::segment;
use crate::cli::human::time;
use crate::cli::parse::start_text;
use crate::cli::stream_text::{details, effects, plan, query, state};
use crate::cli::table::{Cell, Column, Table};
use crate::cli::wait::{Goal, wait};
use crate::cli::{partition, resolve};
use crate::clock;
use crate::status::RunState;

/// So many partitions that wait for a decision are shown with a stream.
const MAXIMUM_SHOWN: usize = 20;

/// Does what was typed.
///
/// # Errors
/// [`Failure`].
pub fn execute(session: &mut Session, command: StreamCommand) -> Result<Exit, Failure> {
    match command {
        StreamCommand::Create(arguments) => create(session, *arguments),
        StreamCommand::List => list(session),
        StreamCommand::Show { name } => show(session, &name),
        StreamCommand::Pause { name, change, wait } => set(session, &name, "pause", change, wait, Goal::Paused),
        StreamCommand::Resume { name, change, wait } => set(session, &name, "resume", change, wait, Goal::CaughtUp),
        StreamCommand::Delete { name, change, wait: waiting } => delete(session, &name, change, waiting),
        StreamCommand::Resolve(arguments) => resolve::execute(session, &arguments),
    }
}

fn create(session: &mut Session, arguments: CreateStreamArguments) -> Result<Exit, Failure> {
    let CreateStreamArguments { name, from, to, tag, start, change, wait: waiting, .. } = arguments;
    let run = RunSettings {
        born_timestamp: match arguments.born_timestamp {
            BornTimestampArgument::Carried => BornTimestamp::Carried,
            BornTimestampArgument::Exact => BornTimestamp::Exact,
        },
        durability: match arguments.durability {
            DurabilityArgument::Confirmed => Durability::Confirmed,
            DurabilityArgument::Stored => Durability::Stored,
        },
        slave_reads: match arguments.slave_reads {
            SlaveReadsArgument::MasterGone => SlaveReads::MasterGone,
            SlaveReadsArgument::ColdCatchUp => SlaveReads::ColdCatchUp,
            SlaveReadsArgument::Never => SlaveReads::Never,
        },
    };
    let body = CreateStream {
        name: name.clone(),
        source: SourceSettings {
            instance: from.instance,
            topic: from.topic,
            start: start.position,
            filter: FilterSettings { tag },
        },
        target: TargetSettings { instance: to.instance, topic: to.topic },
        run,
    };
    let answer = session.api.post(&format!("/v1/streams{}", query(change.dry_run)), Some(&body));
    let answer = answer.map_err(|failure| start.named_in("source.start", failure))?;
    if session.format == Format::Json && !waiting.wait {
        session.screen.json(&answer);
        return Ok(Exit::Done);
    }
    if change.dry_run {
        return show_plan(session, &answer);
    }
    if waiting.wait {
        return wait(session, &name, Goal::CaughtUp, waiting.timeout_seconds);
    }
    session.screen.line(format!("stream {name} is created and starts now"));
    session.screen.line("  see it: causeway status --watch");
    Ok(Exit::Done)
}

fn show_plan(session: &mut Session, answer: &Value) -> Result<Exit, Failure> {
    let found: StreamPlan = session.api.read(answer)?;
    for line in plan(&found) {
        session.screen.line(line);
    }
    for finding in found.findings.iter().filter(|finding| finding.verdict != Verdict::Ok) {
        session.screen.line(format!("  look at       {}: {}", finding.subject, finding.message));
    }
    session.screen.line("nothing was changed (--dry-run)");
    Ok(Exit::Done)
}

fn list(session: &mut Session) -> Result<Exit, Failure> {
    let items = session.api.list("/v1/streams")?;
    if session.format == Format::Json {
        session.screen.json(&json!({ "items": items, "next": Value::Null }));
        return Ok(Exit::Done);
    }
    let streams: Vec<StreamView> = items.iter().map(|item| session.api.read(item)).collect::<Result<_, _>>()?;
    if streams.is_empty() {
        session.screen.line("there is no stream; create one with: causeway stream create NAME --from INSTANCE/TOPIC --to INSTANCE/TOPIC");
        return Ok(Exit::Done);
    }
    let table = table(&streams, session.format == Format::Wide);
    session.screen.table(&table);
    Ok(Exit::Done)
}

/// The streams, one a row.
#[must_use]
pub fn table(streams: &[StreamView], wide: bool) -> Table {
    let mut columns = vec![
        Column::left("STREAM"),
        Column::left("STATE"),
        Column::left("FROM"),
        Column::left("TO"),
        Column::left("TAG").spare(1),
        Column::right("PARTITIONS").spare(2),
    ];
    if wide {
        columns.extend([
            Column::left("START"),
            Column::right("GENERATION"),
            Column::right("VERSION"),
            Column::left("CREATED"),
        ]);
    }
    let mut table = Table::new(columns);
    for stream in streams {
        let (word, tone) = state(stream.condition.state);
        let mut cells = vec![
            Cell::from(stream.name.to_string()),
            Cell::toned(word, tone),
            format!("{}/{}", stream.source.instance, stream.source.topic).into(),
            format!("{}/{}", stream.target.instance, stream.target.topic).into(),
            stream.source.filter.tag.as_str().into(),
            stream.partitions.to_string().into(),
        ];
        if wide {
            cells.extend([
                Cell::from(start_text(stream.source.start)),
                stream.generation.to_string().into(),
                stream.version.to_string().into(),
                time(stream.created_at).into(),
            ]);
        }
        table.row(cells);
    }
    table
}

fn show(session: &mut Session, name: &str) -> Result<Exit, Failure> {
    let answer = session.api.get(&format!("/v1/streams/{}", segment(name)))?;
    if session.format == Format::Json {
        session.screen.json(&answer);
        return Ok(Exit::Done);
    }
    let stream: StreamView = session.api.read(&answer)?;
    for line in details(&stream) {
        session.screen.line(line);
    }
    if stream.partition_states.contains_key(&RunState::Faulted) {
        faults(session, name)?;
    }
    Ok(Exit::Done)
}

/// The partitions that wait for a decision, each with its fault.
fn faults(session: &mut Session, name: &str) -> Result<(), Failure> {
    let items = session.api.list(&format!("/v1/streams/{}/partitions", segment(name)))?;
    let partitions: Vec<PartitionView> = items.iter().map(|item| session.api.read(item)).collect::<Result<_, _>>()?;
    let mut faulted: Vec<PartitionView> = partitions.into_iter().filter(|item| item.fault.is_some()).collect();
    let more = faulted.len().saturating_sub(MAXIMUM_SHOWN);
    faulted.truncate(MAXIMUM_SHOWN);
    session.screen.line("");
    let (names, wide) = (partition::names(session), session.format == Format::Wide);
    session.screen.table(&partition::table(name, &faulted, &names, wide, clock::now()));
    if more > 0 {
        session.screen.line(format!("  and {more} more: causeway partition list {name}"));
    }
    Ok(())
}

fn delete(session: &mut Session, name: &str, change: Change, waiting: Wait) -> Result<Exit, Failure> {
    let one = format!("/v1/streams/{}", segment(name));
    // What a name stood for is not known once it is gone.
    let id = if waiting.wait { Some(identifier(session, &one)?) } else { None };
    let answer = session.api.delete(&format!("{one}{}", query(change.dry_run)))?;
    if id.is_none() || session.format != Format::Json {
        effects(session, &answer)?;
    }
    match id {
        Some(id) => wait(session, name, Goal::Gone(id), waiting.timeout_seconds),
        None => Ok(Exit::Done),
    }
}

fn identifier(session: &Session, path: &str) -> Result<StreamId, Failure> {
    let answer = session.api.get(path)?;
    session.api.read(answer.get("id").unwrap_or(&Value::Null))
}

fn set(
    session: &mut Session,
    name: &str,
    verb: &str,
    change: Change,
    waiting: Wait,
    goal: Goal,
) -> Result<Exit, Failure> {
    let path = format!("/v1/streams/{}:{verb}{}", segment(name), query(change.dry_run));
    let answer = session.api.post(&path, None::<&Value>)?;
    if change.dry_run {
        return effects(session, &answer);
    }
    if waiting.wait {
        return wait(session, name, goal, waiting.timeout_seconds);
    }
    if session.format == Format::Json {
        session.screen.json(&answer);
        return Ok(Exit::Done);
    }
    let sentence = match verb {
        "pause" => {
            format!("stream {name} is paused; everything is kept, and it goes on with: causeway stream resume {name}")
        }
        _ => format!("stream {name} goes on where it stopped"),
    };
    session.screen.line(sentence);
    Ok(Exit::Done)
}
