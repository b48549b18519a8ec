//! `causeway status --watch`: the status, drawn anew each second until Ctrl-C.
//!
//! On a terminal the lines are drawn over the last ones; elsewhere each stream is one plain line a second, and with
//! `-o json` one object a line. The terminal is left as it was found, however the command ends.

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::admin::model::StatusAnswer;
use crate::cli::Session;
use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure};
use crate::cli::human::{seconds, time};
use crate::cli::interrupt;
use crate::cli::nodes::{about, removal};
use crate::cli::screen::Screen;
use crate::cli::status::{PATH, nothing, table, title};
use crate::cli::stream_text::headline;
use crate::cli::table::cut;
use crate::clock;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a node may take to answer one look.
const PATIENCE: Duration = Duration::from_secs(3);

/// Watches until Ctrl-C, or until nobody reads the output any more.
///
/// # Errors
/// [`Failure`] where the first look fails for a reason that time does not heal.
pub fn watch(session: &mut Session) -> Result<Exit, Failure> {
    let runtime = interrupt::runtime()?;
    let mut drawing = Drawing::new();
    let mut seen = None;
    let ended = runtime.block_on(async {
        let mut signals = interrupt::signals()?;
        drawing.begin(&mut session.screen);
        loop {
            let next = Instant::now() + INTERVAL;
            look(session, &mut drawing, &mut seen)?;
            if session.screen.closed() || timeout_at(next, signals.asked()).await.is_ok() {
                return Ok(Exit::Done);
            }
        }
    });
    drawing.end(&mut session.screen);
    ended
}

/// One look; a node that does not answer is told and asked again.
fn look(session: &mut Session, drawing: &mut Drawing, seen: &mut Option<Instant>) -> Result<(), Failure> {
    let answer = session.api.get_within(PATH, PATIENCE).and_then(|answer| {
        let status: StatusAnswer = session.api.read(&answer)?;
        Ok((answer, status))
    });
    match answer {
        Ok((answer, status)) => {
            *seen = Some(Instant::now());
            show(session, drawing, &answer, &status);
        }
        Err(failure) if matches!(failure.exit, Exit::Unavailable | Exit::TimedOut) => {
            let since = seen.map_or(String::new(), |seen| format!(" for {}", seconds(seen.elapsed().as_secs_f64())));
            let reason = failure.faults.first().map_or("", |fault| fault.message.as_str());
            let line = format!("no answer{since}: {reason}; asking again each second");
            match session.format {
                Format::Json => session.screen.remark(line),
                _ if session.screen.live => drawing.draw(&mut session.screen, vec![line]),
                _ => session.screen.line(format!("{}  {line}", time(clock::now()))),
            }
        }
        Err(failure) => return Err(failure),
    }
    Ok(())
}

fn show(session: &mut Session, drawing: &mut Drawing, answer: &Value, status: &StatusAnswer) {
    let screen = &mut session.screen;
    if session.format == Format::Json {
        screen.line(answer.to_string());
    } else if screen.live {
        screen.measure();
        let lines = frame(status, session.format == Format::Wide, screen);
        drawing.draw(screen, lines);
    } else {
        let at = time(status.at);
        for stream in &status.streams {
            let line = headline(stream.name.as_str(), &stream.condition, &stream.figures, stream.catch_up.as_ref());
            screen.line(format!("{at}  {line}"));
        }
    }
}

/// The lines of one drawing.
fn frame(status: &StatusAnswer, wide: bool, screen: &Screen) -> Vec<String> {
    let mut lines = vec![cut(&title(status), screen.width)];
    let whole = about(status).into_iter().chain(removal(status.raft.removed.as_deref()));
    lines.extend(whole.map(|line| cut(&line, screen.width)));
    lines.push(String::new());
    if status.streams.is_empty() {
        lines.push(cut(nothing(status), screen.width));
    } else {
        lines.extend(table(status, wide).lines(screen.width, screen.colour));
    }
    lines.push(String::new());
    lines.push(cut(&format!("  {}   Ctrl-C to end", time(status.at)), screen.width));
    lines
}

/// Draws lines over the lines drawn before.
pub struct Drawing {
    drawn: usize,
    hidden: bool,
}

impl Default for Drawing {
    fn default() -> Self {
        Self::new()
    }
}

impl Drawing {
    /// Nothing drawn yet.
    #[must_use]
    pub fn new() -> Self {
        Self { drawn: 0, hidden: false }
    }

    /// Hides the cursor on a terminal.
    pub fn begin(&mut self, screen: &mut Screen) {
        if screen.live {
            screen.raw("\u{1b}[?25l");
            self.hidden = true;
        }
    }

    /// Replaces what was drawn before.
    pub fn draw(&mut self, screen: &mut Screen, lines: Vec<String>) {
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\u{1b}[{}A", self.drawn));
        }
        for line in &lines {
            text.push_str("\r\u{1b}[2K");
            text.push_str(line);
            text.push('\n');
        }
        // What was drawn before may have been longer.
        text.push_str("\u{1b}[J");
        screen.raw(&text);
        self.drawn = lines.len();
    }

    /// Shows the cursor again.
    pub fn end(&mut self, screen: &mut Screen) {
        if std::mem::take(&mut self.hidden) {
            screen.raw("\u{1b}[?25h");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::captured;

    #[test]
    fn a_drawing_replaces_the_one_before_and_gives_the_cursor_back() {
        let (mut screen, out, _) = captured(80);
        screen.live = true;
        let mut drawing = Drawing::new();
        drawing.begin(&mut screen);
        drawing.draw(&mut screen, vec!["one".to_owned(), "two".to_owned()]);
        drawing.draw(&mut screen, vec!["three".to_owned()]);
        drawing.end(&mut screen);
        drawing.end(&mut screen);
        let expected =
            "\u{1b}[?25l\r\u{1b}[2Kone\n\r\u{1b}[2Ktwo\n\u{1b}[J\u{1b}[2A\r\u{1b}[2Kthree\n\u{1b}[J\u{1b}[?25h";
        assert_eq!(out.text(), expected);
    }
}
