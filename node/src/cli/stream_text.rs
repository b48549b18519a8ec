//! Streams and changes as text: states, plans, the words of progress.

use serde_json::Value;

use crate::admin::model::status::{CatchUp, StreamFigures};
use crate::admin::model::{ChangePlan, ConditionView, StreamPlan, StreamView};
use crate::cli::Session;
use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure, read};
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
        RunState::Pausing => ("pausing", Tone::Quiet),
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

/// Whether nobody looks at the source in this state, so that it may hold more than was last seen.
fn looks_away(state: RunState) -> bool {
    matches!(state, RunState::Blocked | RunState::Faulted | RunState::Paused | RunState::Pausing)
}

/// How much is left, as it can be known in a state: at least what was last seen, where nobody looks.
#[must_use]
pub fn at_least(state: RunState, known: bool, text: String) -> String {
    if known && looks_away(state) { format!("≥ {text}") } else { text }
}

/// How far the target is behind; where nobody looks, the time since it was last known not to be.
#[must_use]
pub fn behind(state: RunState, lag_seconds: Option<f64>, rpo_seconds: Option<f64>) -> String {
    seconds_or_unknown(if looks_away(state) { rpo_seconds } else { lag_seconds })
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
        RunState::Blocked => lines.push("tries again by itself".to_owned()),
        _ => {}
    }
    lines
}

/// `████████████░░░░░░░░  61 %   58,200/s   8 s left`; without the bar where the share is not known.
#[must_use]
pub fn catch_up(progress: &CatchUp, speed: Option<f64>) -> String {
    const CELLS: u32 = 20;
    let share = progress.percent.map_or_else(String::new, |percent| {
        format!("{}  {:.0} %   ", bar(percent, CELLS), percent.floor().clamp(0.0, 100.0))
    });
    let left = match (progress.eta_seconds, progress.remaining_messages) {
        (Some(eta), _) => format!("{} left", seconds(eta)),
        (None, Some(messages)) => format!("{} left", counted(messages, "message")),
        (None, None) => "time left unknown".to_owned(),
    };
    match speed {
        Some(_) => format!("{share}{}   {left}", rate(speed)),
        None => format!("{share}{left}"),
    }
}

/// One line about what a stream does now.
#[must_use]
pub fn headline(name: &str, condition: &ConditionView, figures: &StreamFigures, progress: Option<&CatchUp>) -> String {
    let speed = rate(figures.copied_messages_per_second);
    match (condition.state, progress) {
        (RunState::CatchingUp, Some(progress)) => {
            format!("{name} running · catching up  {}", catch_up(progress, figures.copied_messages_per_second))
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
    let source = &plan.stream.source;
    let untold = format!("cannot be told until {}/{} is there", source.instance, source.topic);
    let source_known = !copy.queues.is_empty() || copy.retained_messages.is_some();
    let queues = counted(u64::try_from(copy.queues.len()).unwrap_or(u64::MAX), "queue");
    let since = copy.retained_since.map_or(String::new(), |since| format!(" since {}", time(since)));
    let retained = copy
        .retained_messages
        .map_or_else(|| "an unknown number of messages".to_owned(), |count| counted(count, "message"));
    let mut lines = vec![if source_known {
        format!("  would copy    {queues}, {retained} retained{since}")
    } else {
        format!("  would copy    {untold}")
    }];
    let start = start_text(source.start);
    lines.push(match copy.messages_to_copy {
        Some(count) => format!("  from          {start}: {} to copy before new ones", counted(count, "message")),
        None => format!("  from          {start}"),
    });
    let target = &plan.stream.target;
    lines.push(match &plan.would_create {
        Some(topic) => {
            let queues = topic.queues.map(|queues| counted(u64::from(queues), "queue"));
            let queues = queues.map_or_else(
                || format!("; how many queues {untold}"),
                |queues| format!(" with {queues} on each broker"),
            );
            format!("  would create  {}/{}{queues}", topic.instance, topic.topic)
        }
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
        ("", stream.condition.code.as_deref().map(read).unwrap_or_default()),
        ("from", format!("{}/{}", stream.source.instance, stream.source.topic)),
        ("to", format!("{}/{}", stream.target.instance, stream.target.topic)),
        ("tag", stream.source.filter.tag.clone()),
        ("start", start_text(stream.source.start)),
        ("born timestamp", word(&stream.run.born_timestamp)),
        ("durability", word(&stream.run.durability)),
        ("slave reads", word(&stream.run.slave_reads)),
        ("partitions", [vec![stream.partitions.to_string()], states].concat().join(", ")),
        ("read", paths(figures)),
        ("rate", rate(figures.copied_messages_per_second)),
        ("lag", behind_by(stream.condition.state, figures)),
        ("RPO", seconds_or_unknown(figures.rpo_seconds)),
        (
            "copied",
            format!(
                "{}, {} as counted by the node that answers",
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
        (
            "checkpoint",
            figures.checkpoint_age_seconds.map_or(UNKNOWN.to_owned(), |age| format!("{} old", seconds(age))),
        ),
        ("created", time(stream.created_at)),
        ("id", format!("{}, generation {}, version {}", stream.id, stream.generation, stream.version)),
    ];
    rows.into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(what, value)| format!("  {what:<14}  {value}"))
        .collect()
}

/// By which paths the sources of running partitions are read; empty while that is not known.
fn paths(figures: &StreamFigures) -> String {
    let partitions = |count: usize| counted(u64::try_from(count).unwrap_or(u64::MAX), "partition");
    let direct = Some(figures.direct_partitions).filter(|count| *count > 0);
    let direct = direct.map(|count| format!("{} directly", partitions(count)));
    let through = figures.relayed_partitions.iter();
    let through = through.map(|(node, count)| format!("{} through {node}", partitions(*count)));
    direct.into_iter().chain(through).collect::<Vec<_>>().join(", ")
}

fn behind_by(state: RunState, figures: &StreamFigures) -> String {
    let StreamFigures { lag_messages, lag_seconds, rpo_seconds, .. } = *figures;
    let messages = at_least(state, lag_messages.is_some(), lag(lag_messages));
    match behind(state, lag_seconds, rpo_seconds) {
        age if age == messages => messages,
        age => format!("{messages}, {age}"),
    }
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

#[cfg(test)]
mod tests {
    use causeway_core::ids::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::admin::model::stream::TopicPlan;

    fn condition(state: RunState, why: Option<&str>) -> ConditionView {
        ConditionView { state, since: Timestamp(0), why: why.map(str::to_owned), code: None, help: None }
    }

    #[test]
    fn one_line_says_what_a_stream_does() {
        let mut figures = StreamFigures {
            copied_messages_per_second: Some(58_200.0),
            lag_messages: Some(1),
            lag_seconds: Some(0.4),
            ..StreamFigures::default()
        };
        let progress = |percent, eta_seconds| CatchUp { percent, remaining_messages: Some(4_500), eta_seconds };
        let line = |state, why, figures: &StreamFigures, progress: Option<CatchUp>| {
            headline("orders", &condition(state, why), figures, progress.as_ref())
        };
        assert_eq!(
            line(RunState::CatchingUp, None, &figures, Some(progress(Some(61.9), Some(8.2)))),
            "orders running · catching up  ████████████░░░░░░░░  61 %   58,200/s   8.2 s left"
        );
        assert_eq!(
            line(RunState::CatchingUp, None, &figures, Some(progress(None, None))),
            "orders running · catching up  58,200/s   4,500 messages left"
        );
        assert_eq!(
            line(RunState::Running, None, &figures, None),
            "orders running  58,200/s   1 message behind (0.4 s)"
        );
        assert_eq!(line(RunState::Blocked, Some("no route"), &figures, None), "orders blocked: no route");
        figures.copied_messages_per_second = None;
        assert_eq!(
            line(RunState::CatchingUp, None, &figures, Some(progress(Some(100.0), None))),
            "orders running · catching up  ████████████████████  100 %   4,500 messages left"
        );
    }

    #[test]
    fn where_nobody_looks_a_lag_is_a_least() {
        for away in [RunState::Blocked, RunState::Faulted, RunState::Paused, RunState::Pausing] {
            assert_eq!(at_least(away, true, "0".to_owned()), "≥ 0");
            let figures = StreamFigures {
                lag_messages: Some(53),
                lag_seconds: Some(0.0),
                rpo_seconds: Some(42.0),
                ..StreamFigures::default()
            };
            assert_eq!(behind_by(away, &figures), "≥ 53 messages, 42 s");
            assert_eq!(behind_by(away, &StreamFigures::default()), UNKNOWN);
        }
        assert_eq!(at_least(RunState::Blocked, false, UNKNOWN.to_owned()), UNKNOWN);
        assert_eq!(at_least(RunState::Running, true, "0".to_owned()), "0");
        assert_eq!(behind(RunState::Faulted, Some(0.0), Some(42.0)), "42 s");
        assert_eq!(behind(RunState::Running, Some(0.0), Some(42.0)), "0 ms");
    }

    #[test]
    fn a_stream_says_by_which_paths_it_is_read() {
        let mut figures = StreamFigures::default();
        assert_eq!(paths(&figures), "");
        figures.direct_partitions = 1;
        assert_eq!(paths(&figures), "1 partition directly");
        figures.relayed_partitions = [("node-2", 2), ("node-3", 1)]
            .map(|(node, count)| (causeway_core::name::Name::new(node).unwrap(), count))
            .into();
        assert_eq!(paths(&figures), "1 partition directly, 2 partitions through node-2, 1 partition through node-3");
    }

    #[test]
    fn a_plan_reads_as_a_list_of_effects() {
        let answer = json!({
            "stream": { "name": "orders", "source": { "instance": "qingdao", "topic": "orders", "start": "earliest" },
                        "target": { "instance": "hohhot", "topic": "orders" } },
            "would_copy": { "queues": [], "retained_messages": 1_204_331, "retained_since": 1_795_161_600_000_i64,
                            "messages_to_copy": 1_204_331 },
            "would_create": { "instance": "hohhot", "topic": "orders", "queues": 8 }, "findings": [],
        });
        let mut found: StreamPlan = serde_json::from_value(answer).expect("a plan");
        assert_eq!(
            plan(&found),
            [
                "  would copy    0 queues, 1,204,331 messages retained since 2026-11-20 08:00:00 UTC",
                "  from          earliest: 1,204,331 messages to copy before new ones",
                "  would create  hohhot/orders with 8 queues on each broker",
            ]
        );
        (found.would_copy.retained_messages, found.would_copy.messages_to_copy) = (None, None);
        found.would_create = found.would_create.map(|topic| TopicPlan { queues: None, ..topic });
        assert_eq!(
            plan(&found),
            [
                "  would copy    cannot be told until qingdao/orders is there",
                "  from          earliest",
                "  would create  hohhot/orders; how many queues cannot be told until qingdao/orders is there",
            ]
        );
    }
}
