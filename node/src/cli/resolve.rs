//! `causeway stream resolve`: decides about one fault, or about every fault of a stream.
//!
//! Each decision names the fault that was read, so that another one, raised meanwhile, is never decided about unseen.
//! Of several, one that is refused does not keep the others from being tried; only a node that does not answer ends it.

use causeway_core::ids::Timestamp;
use serde_json::{Value, json};

use crate::admin::model::{PartitionView, ResolveAnswer, ResolveRequest};
use crate::cli::Session;
use crate::cli::args::{Decision, Format, ResolveArguments, Which};
use crate::cli::exit::{Exit, Failure};
use crate::cli::http::segment;
use crate::cli::parse::PartitionText;

/// A partition, and the fault that is decided about.
struct Chosen {
    partition: PartitionText,
    /// When it was raised; none where there is no fault, which the node refuses.
    fault_since: Option<Timestamp>,
}

/// Does what was typed. Ends as the first refusal does, after everything was tried.
///
/// # Errors
/// [`Failure`] where the one partition that was named is refused, or nothing was tried.
pub fn execute(session: &mut Session, arguments: &ResolveArguments) -> Result<Exit, Failure> {
    let ResolveArguments { name, which: Which { partition, all: _ }, fault_since, decision, change } = arguments;
    let Some(request) = decided(decision) else {
        return Err(Failure::usage("say what was decided: --retry, --skip or --restart POSITION"));
    };
    let partitions = format!("/v1/streams/{}/partitions", segment(name));
    let chosen = match partition {
        Some(partition) => vec![one(session, &partitions, partition, *fault_since)?],
        None => faulted(session, &partitions)?,
    };
    if chosen.is_empty() && session.format != Format::Json {
        session.screen.line(format!("no partition of {name} waits for a decision"));
        return Ok(Exit::Done);
    }
    let (mut items, mut refused, mut exit) = (Vec::new(), 0_usize, Exit::Done);
    for chosen in &chosen {
        let answer = session.api.post(&path(&partitions, chosen, change.dry_run), Some(&request));
        let answer = answer.map_err(|failure| match &decision.restart {
            Some(start) => start.named_in("restart.start", failure),
            None => failure,
        });
        match answer {
            Ok(answer) => items.push(taken(session, &chosen.partition, answer)?),
            Err(failure) if partition.is_some() => return Err(failure),
            Err(failure) => {
                items.push(not_taken(session, &chosen.partition, &failure));
                refused = refused.saturating_add(1);
                exit = if exit == Exit::Done { failure.exit } else { exit };
                if matches!(failure.exit, Exit::Unavailable | Exit::TimedOut) {
                    break;
                }
            }
        }
    }
    if session.format == Format::Json {
        session.screen.json(&json!({ "items": items, "next": Value::Null }));
        return Ok(exit);
    }
    if change.dry_run {
        session.screen.line("nothing was changed (--dry-run)");
    }
    if exit != Exit::Done {
        let tried = items.len();
        let left = chosen.len().saturating_sub(tried);
        session.screen.remark(format!("{refused} of {tried} decisions were not taken; {left} were not tried"));
    }
    Ok(exit)
}

fn decided(decision: &Decision) -> Option<ResolveRequest> {
    match decision {
        Decision { retry: true, .. } => Some(ResolveRequest::Retry {}),
        Decision { skip: true, .. } => Some(ResolveRequest::Skip {}),
        Decision { restart: Some(start), .. } => Some(ResolveRequest::Restart { start: start.position }),
        Decision { .. } => None,
    }
}

fn path(partitions: &str, chosen: &Chosen, dry_run: bool) -> String {
    let Chosen { partition: PartitionText { broker, queue }, fault_since } = chosen;
    let since = fault_since.map_or_else(String::new, |since| format!("&fault_since={}", since.0));
    format!("{partitions}/{}/{queue}:resolve?dry_run={dry_run}{since}", segment(broker))
}

fn one(
    session: &Session,
    partitions: &str,
    partition: &PartitionText,
    fault_since: Option<i64>,
) -> Result<Chosen, Failure> {
    if let Some(since) = fault_since {
        return Ok(Chosen { partition: partition.clone(), fault_since: Some(Timestamp(since)) });
    }
    let PartitionText { broker, queue } = partition;
    let answer = session.api.get(&format!("{partitions}/{}/{queue}", segment(broker)))?;
    let view: PartitionView = session.api.read(&answer)?;
    Ok(Chosen { partition: partition.clone(), fault_since: view.fault.map(|fault| fault.since) })
}

fn faulted(session: &Session, partitions: &str) -> Result<Vec<Chosen>, Failure> {
    let mut chosen = Vec::new();
    for item in session.api.list(partitions)? {
        let PartitionView { source, fault, .. } = session.api.read(&item)?;
        if let Some(fault) = fault {
            let partition = PartitionText { broker: source.broker, queue: source.queue };
            chosen.push(Chosen { partition, fault_since: Some(fault.since) });
        }
    }
    Ok(chosen)
}

fn taken(session: &mut Session, partition: &PartitionText, answer: Value) -> Result<Value, Failure> {
    let PartitionText { broker, queue } = partition;
    if session.format != Format::Json {
        let told: ResolveAnswer = session.api.read(&answer)?;
        session.screen.line(format!("{broker}/{queue}: {}", told.effect));
        session.screen.line(format!("  it stood because {}  {}", told.fault.message, told.fault.code));
    }
    Ok(with_source(partition, answer))
}

fn not_taken(session: &mut Session, partition: &PartitionText, failure: &Failure) -> Value {
    let PartitionText { broker, queue } = partition;
    if session.format != Format::Json {
        session.screen.line(format!("{broker}/{queue}: not decided: {failure}"));
    }
    with_source(partition, failure.to_json())
}

/// An item of the answer for programs: several are told apart by their partition.
fn with_source(partition: &PartitionText, mut item: Value) -> Value {
    if let Value::Object(fields) = &mut item {
        fields.insert("source".to_owned(), json!({ "broker": partition.broker, "queue": partition.queue }));
    }
    item
}
