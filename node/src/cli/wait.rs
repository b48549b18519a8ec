//! `--wait`: shows how far a stream is until it is where it should be.

use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_core::ids::StreamId;
use causeway_core::stream::DesiredState;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use crate::admin::model::{StatusAnswer, StreamStatus};
use crate::cli::Session;
use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure, known};
use crate::cli::human::counted;
use crate::cli::interrupt;
use crate::cli::status::PATH;
use crate::cli::stream_text::headline;
use crate::cli::table::cut;
use crate::cli::watch::Drawing;
use crate::status::RunState;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The stream runs at the end of its source.
    CaughtUp,
    /// The stream is paused and nothing is in flight.
    Paused,
    /// The stream that has this identifier is no more, and nothing of it is in flight.
    Gone(StreamId),
}

/// What one look at a stream means for the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Reached,
    NotYet,
    /// It will not get there by itself.
    Stuck,
}

/// What was told last of a stream that is waited for.
#[derive(Debug, Default)]
struct Told {
    line: String,
    /// The code of what the line says keeps it.
    code: Option<ErrorCode>,
}

/// Waits; Ctrl-C ends the wait, not what is waited for.
///
/// # Errors
/// [`Failure`] where the stream needs a decision first, the time is up, or the node cannot be asked.
pub fn wait(session: &mut Session, name: &str, goal: Goal, limit_seconds: Option<u64>) -> Result<Exit, Failure> {
    let runtime = interrupt::runtime()?;
    let mut drawing = Drawing::new();
    let deadline = limit_seconds.and_then(|limit| Instant::now().checked_add(Duration::from_secs(limit)));
    let ended = runtime.block_on(async {
        let mut signals = interrupt::signals()?;
        drawing.begin(&mut session.screen);
        let mut told = Told::default();
        loop {
            let next = Instant::now() + INTERVAL;
            if let Some(exit) = look(session, name, goal, &mut drawing, &mut told)? {
                return Ok(exit);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(too_late(name, &told));
            }
            if session.screen.closed() || timeout_at(next, signals.asked()).await.is_ok() {
                session.screen.remark(format!("no longer waiting; {name} goes on, see: causeway status"));
                return Ok(Exit::Done);
            }
        }
    });
    drawing.end(&mut session.screen);
    ended
}

fn too_late(name: &str, told: &Told) -> Failure {
    Failure::new(told.code.unwrap_or(ErrorCode::TimedOut), format!("not there in time: {}", told.line))
        .exit(Exit::TimedOut)
        .advise(format!("it goes on; why it is not there: causeway stream show {name}"))
}

fn look(
    session: &mut Session,
    name: &str,
    goal: Goal,
    drawing: &mut Drawing,
    told: &mut Told,
) -> Result<Option<Exit>, Failure> {
    let answer = session.api.get(PATH)?;
    let status: StatusAnswer = session.api.read(&answer)?;
    let stream = status.streams.iter().find(|stream| stream.name.as_str() == name);
    let sending = match goal {
        Goal::Gone(id) => status.deleting.iter().find(|deleting| deleting.id == id).map(|deleting| deleting.partitions),
        Goal::CaughtUp | Goal::Paused => None,
    };
    let line = match (stream, sending) {
        (None, Some(partitions)) => {
            let partitions = counted(u64::try_from(partitions).unwrap_or(u64::MAX), "partition");
            format!("{name} deleting: sends of {partitions} are under way")
        }
        (None, None) => format!("{name} is no more"),
        (Some(stream), _) => headline(name, &stream.condition, &stream.figures, stream.catch_up.as_ref()),
    };
    tell(session, drawing, &told.line, &line);
    *told = Told { line, code: stream.and_then(what_keeps) };
    match (judge(stream, sending.is_some(), goal), stream) {
        (Verdict::NotYet, _) => Ok(None),
        (Verdict::Reached, _) => {
            if session.format == Format::Json {
                session.screen.json(&stream.map_or_else(|| json!({ "deleted": name }), |stream| json!(stream)));
            }
            Ok(Some(Exit::Done))
        }
        (Verdict::Stuck, stream) => Err(stuck(name, stream)),
    }
}

/// On a terminal one line that changes; elsewhere a line when the words before the figures change.
fn tell(session: &mut Session, drawing: &mut Drawing, told: &str, line: &str) {
    let screen = &mut session.screen;
    if session.format != Format::Json {
        let words = |line: &str| line.split("  ").next().unwrap_or_default().to_owned();
        if screen.live {
            drawing.draw(screen, vec![cut(line, screen.width)]);
        } else if words(line) != words(told) {
            screen.line(line);
        }
    }
}

/// The code of what keeps a stream from going on; a stream that copies may have one that keeps it from nothing.
fn what_keeps(stream: &StreamStatus) -> Option<ErrorCode> {
    match stream.condition.state {
        RunState::CatchingUp | RunState::Running => None,
        _ => stream.condition.code.as_deref().and_then(known),
    }
}

fn judge(stream: Option<&StreamStatus>, sends: bool, goal: Goal) -> Verdict {
    let Some(stream) = stream else {
        return match goal {
            Goal::Gone(_) if sends => Verdict::NotYet,
            Goal::Gone(_) => Verdict::Reached,
            Goal::CaughtUp | Goal::Paused => Verdict::Stuck,
        };
    };
    match (goal, stream.condition.state) {
        (Goal::CaughtUp, RunState::Running) => Verdict::Reached,
        (Goal::Paused, RunState::Paused) if stream.figures.in_flight_bytes == 0 => Verdict::Reached,
        (Goal::CaughtUp, RunState::Faulted | RunState::Deleting) => Verdict::Stuck,
        // Partitions of a stream that was just resumed are still paused for a moment.
        (Goal::CaughtUp, RunState::Paused) if stream.desired == DesiredState::Paused => Verdict::Stuck,
        _ => Verdict::NotYet,
    }
}

fn stuck(name: &str, stream: Option<&StreamStatus>) -> Failure {
    let Some(stream) = stream else {
        return Failure::new(ErrorCode::NoSuchStream, format!("{name} was deleted in the meantime"));
    };
    let condition = &stream.condition;
    let why = condition.why.clone().unwrap_or_else(|| "it was paused or is being deleted".to_owned());
    let code = condition.code.as_deref().and_then(known).unwrap_or(ErrorCode::InvalidRequest);
    let mut failure = Failure::new(code, format!("{name} does not get there by itself: {why}")).exit(Exit::Failed);
    if condition.state == RunState::Faulted {
        failure = failure.advise(format!("decide: causeway partition list {name}"));
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::stream_in;

    #[test]
    fn each_goal_is_reached_in_its_state_only() {
        use RunState::{Blocked, CatchingUp, Faulted, Paused, Pausing, Ready, Running, Starting};
        let gone = Goal::Gone(StreamId(7));
        for (goal, state, expected) in [
            (Goal::CaughtUp, Running, Verdict::Reached),
            (Goal::CaughtUp, CatchingUp, Verdict::NotYet),
            (Goal::CaughtUp, Starting, Verdict::NotYet),
            (Goal::CaughtUp, Ready, Verdict::NotYet),
            (Goal::CaughtUp, Blocked, Verdict::NotYet),
            (Goal::CaughtUp, Faulted, Verdict::Stuck),
            (Goal::CaughtUp, Paused, Verdict::NotYet),
            (Goal::Paused, Running, Verdict::NotYet),
            (Goal::Paused, Pausing, Verdict::NotYet),
            (Goal::Paused, Paused, Verdict::Reached),
            (gone, Running, Verdict::NotYet),
        ] {
            assert_eq!(judge(Some(&stream_in(state)), false, goal), expected, "{goal:?} {state:?}");
        }
        assert_eq!(judge(None, true, gone), Verdict::NotYet, "its last sends may still land");
        assert_eq!(judge(None, false, gone), Verdict::Reached);
        assert_eq!(judge(None, false, Goal::CaughtUp), Verdict::Stuck);
        let mut draining = stream_in(Paused);
        draining.figures.in_flight_bytes = 1;
        assert_eq!(judge(Some(&draining), false, Goal::Paused), Verdict::NotYet);
        draining.desired = DesiredState::Paused;
        assert_eq!(judge(Some(&draining), false, Goal::CaughtUp), Verdict::Stuck);
    }
}
