//! Streams and changes as text: states, plans, the words of progress.

use serde_json::Value;

use crate::admin::model::status::{CatchUp, StreamFigures};
use crate::admin::model::{ChangePlan, ConditionView, StreamPlan, StreamView};
use crate::cli::Session;
use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure};
use crate::cli::human::{
    UNKNOWN, ago, bar, bytes, counted, grouped, or_unknown, rate, seconds, seconds_or_unknown, time,
};
use crate::cli::parse::start_text;
use crate::cli::table::Tone;
use crate::clock;
use crate::status::RunState;

/// The query of a change.
#[must_use]
pub fn query(dry_run: bool) -> &'static str {
    if dry_run { "?dry_run=true" } else { "" }
}

/// Shows what a change did or would do.
///
/// # Errors
/// [`Failure`] where the node answers something else.
pub fn effects(session: &mut Session, answer: &Value) -> Result<Exit, Failure> {
    if session.format == Format::Json {
        session.screen.json(answer);
        return Ok(Exit::Done);
    }
    let plan: ChangePlan = session.api.read(answer)?;
    for effect in &plan.effects {
        session.screen.line(effect);
    }
    if plan.dry_run {
        session.screen.line("nothing was changed (--dry-run)");
    }
    Ok(Exit::Done)
}

/// A state as people write it.
#[must_use]
pub fn state(state: RunState) -> (&'static str, Tone) {
    match state {
        RunState::Ready => ("ready", Tone::Quiet),
        RunState::Starting => ("starting", Tone::Busy),
        RunState::CatchingUp => ("catching up", Tone::Busy),
        RunState::Running => ("running", Tone::Good),
        RunState::Paused => ("paused", Tone::Quiet),
        RunState::Blocked => ("blocked", Tone::Bad),
        RunState::Faulted => ("faulted", Tone::Bad),
        RunState::Deleting => ("deleting", Tone::Quiet),
    }
}

/// `12 messages`, or that it is not known.
#[must_use]
pub fn lag(messages: Option<u64>) -> String {
    messages.map_or_else(|| UNKNOWN.to_owned(), |messages| counted(messages, "message"))
}

/// Since when a state holds, why, and what to do: none where the state says it all.
#[must_use]
pub fn reason(name: &str, condition: &ConditionView, now: causeway_core::ids::Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(why) = &condition.why {
        let code = condition.code.as_ref().map_or(String::new(), |code| format!("  {code}"));
        lines.push(format!("since {}: {why}{code}", ago(condition.since, now)));
    }
    match condition.state {
        RunState::Faulted => lines.push(format!("decide: causeway partition list {name}")),
        RunState::Blocked => lines.push("goes on by itself as soon as it can".to_owned()),
        _ => {}
    }
    lines
}

/// `████████████░░░░░░░░  61 %  8 s left`.
#[must_use]
pub fn catch_up(progress: &CatchUp, cells: u32) -> String {
    let share = match progress.percent {
        Some(percent) => format!("{}  {:.0} %", bar(percent, cells), percent.floor().clamp(0.0, 100.0)),
        None => format!("{}  share unknown", bar(0.0, cells)),
    };
    let left = match (progress.eta_seconds, progress.remaining_messages) {
        (Some(eta), _) => format!("{} left", seconds(eta)),
        (None, Some(messages)) => format!("{} left, the backlog does not shrink", counted(messages, "message")),
        (None, None) => "time left unknown".to_owned(),
    };
    format!("{share}  {left}")
}

/// One line about what a stream does now.
#[must_use]
pub fn headline(name: &str, condition: &ConditionView, figures: &StreamFigures, progress: Option<&CatchUp>) -> String {
    let speed = rate(figures.copied_messages_per_second);
    match (condition.state, progress) {
        (RunState::CatchingUp, Some(progress)) => {
            format!("{name} running · catching up  {}   {speed}", catch_up(progress, 20))
        }
        (RunState::CatchingUp, None) => {
            format!("{name} running · catching up  {} behind   {speed}", lag(figures.lag_messages))
        }
        (RunState::Running, _) => format!(
            "{name} running  {speed}   {} behind ({})",
            lag(figures.lag_messages),
            seconds_or_unknown(figures.lag_seconds),
        ),
        (other, _) => {
            let why = condition.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
            format!("{name} {}{why}", state(other).0)
        }
    }
}

/// What a new stream would do.
#[must_use]
pub fn plan(plan: &StreamPlan) -> Vec<String> {
    let copy = &plan.would_copy;
    let queues = counted(u64::try_from(copy.queues.len()).unwrap_or(u64::MAX), "queue");
    let since = copy.retained_since.map_or(String::new(), |since| format!(" since {}", time(since)));
    let retained = copy
        .retained_messages
        .map_or_else(|| "an unknown number of messages".to_owned(), |count| counted(count, "message"));
    let mut lines = vec![format!("  would copy    {queues}, {retained} retained{since}")];
    let start = start_text(plan.stream.source.start);
    lines.push(match copy.messages_to_copy {
        Some(count) => format!("  from          {start}: {} to copy before new ones", counted(count, "message")),
        None => format!("  from          {start}"),
    });
    let target = &plan.stream.target;
    lines.push(match &plan.would_create {
        Some(topic) => format!(
            "  would create  {}/{} with {} on each broker",
            topic.instance,
            topic.topic,
            counted(u64::from(topic.queues), "queue")
        ),
        None => format!("  would use     {}/{} as it is", target.instance, target.topic),
    });
    lines
}

/// Everything about a stream.
#[must_use]
pub fn details(stream: &StreamView) -> Vec<String> {
    let now = clock::now();
    let figures = &stream.figures;
    let states: Vec<String> =
        stream.partition_states.iter().map(|(run, count)| format!("{count} {}", state(*run).0)).collect();
    let rows = [
        ("stream", stream.name.to_string()),
        ("state", format!("{} for {}", state(stream.condition.state).0, ago(stream.condition.since, now))),
        ("why", stream.condition.why.clone().unwrap_or_default()),
        ("code", stream.condition.code.clone().unwrap_or_default()),
        ("from", format!("{}/{}", stream.source.instance, stream.source.topic)),
        ("to", format!("{}/{}", stream.target.instance, stream.target.topic)),
        ("tag", stream.source.filter.tag.clone()),
        ("start", start_text(stream.source.start)),
        ("born timestamp", word(&stream.run.born_timestamp)),
        ("durability", word(&stream.run.durability)),
        ("slave reads", word(&stream.run.slave_reads)),
        ("partitions", format!("{}: {}", stream.partitions, states.join(", "))),
        ("rate", rate(figures.copied_messages_per_second)),
        ("lag", format!("{}, {}", lag(figures.lag_messages), seconds_or_unknown(figures.lag_seconds))),
        ("RPO", seconds_or_unknown(figures.rpo_seconds)),
        (
            "copied",
            format!(
                "{}, {} since the node started",
                counted(figures.copied_messages, "message"),
                bytes(figures.copied_bytes)
            ),
        ),
        (
            "left out",
            format!(
                "{} by the filter, {} as loops",
                grouped(figures.filtered_messages),
                grouped(figures.looped_messages)
            ),
        ),
        ("checkpoint", format!("{} old", seconds_or_unknown(figures.checkpoint_age_seconds))),
        ("created", time(stream.created_at)),
        ("id", format!("{}, generation {}, version {}", stream.id, stream.generation, stream.version)),
    ];
    rows.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(what, value)| format!("  {what:<14}  {value}"))
        .collect()
}

fn word(option: &impl serde::Serialize) -> String {
    match serde_json::to_value(option) {
        Ok(Value::String(word)) => word.replace('_', "-"),
        _ => UNKNOWN.to_owned(),
    }
}

/// A queue offset that may not be known.
#[must_use]
pub fn offset(offset: Option<i64>) -> String {
    or_unknown(offset.and_then(|offset| u64::try_from(offset).ok()))
}
