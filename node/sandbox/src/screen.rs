//! The one screen of the sandbox: who runs where, the stream, the verdict, what to try.

use std::io::{IsTerminal as _, Write as _};

use causeway::admin::model::status::StreamStatus;

use crate::ledger::Verdict;
use crate::report::grouped;

/// What stays the same while the sandbox runs.
pub(crate) struct Header {
    /// The regions: name and broker address.
    pub(crate) regions: [(String, String); 2],
    /// Orders a second.
    pub(crate) rate: u64,
    /// Queues of the topic.
    pub(crate) queues: u32,
    /// Where page, API and metrics are.
    pub(crate) address: String,
    /// The API token.
    pub(crate) token: String,
    /// Where the token's file is.
    pub(crate) token_file: String,
}

/// What changes.
pub(crate) struct Live<'a> {
    /// The stream, when the node answered.
    pub(crate) stream: Option<&'a StreamStatus>,
    /// Orders sent.
    pub(crate) sent: u64,
    /// What the verifier found.
    pub(crate) verdict: &'a Verdict,
    /// A line about what the person asked for last.
    pub(crate) note: &'a str,
}

/// Draws in place on a terminal, and one line every few seconds elsewhere.
pub(crate) struct Screen {
    header: Header,
    terminal: bool,
    drawn_lines: usize,
    frames: u64,
}

/// Off a terminal, one of this many frames is printed.
const QUIET_EVERY: u64 = 5;

impl Screen {
    /// Prints what stays the same.
    pub(crate) fn open(header: Header) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let mut screen = Self { header, terminal, drawn_lines: 0, frames: 0 };
        screen.introduce();
        screen
    }

    fn introduce(&mut self) {
        let Header { regions: [source, target], rate, queues, address, token, token_file } = &self.header;
        say(&format!(
            "Causeway sandbox · two regions in this process, nothing leaves this machine\n\n  \
             {:<8} RocketMQ {}   topic orders, {queues} queues, {} orders/s\n  \
             {:<8} RocketMQ {}   topic orders\n  \
             page     {address}/#token={token}\n  \
             metrics  {address}/metrics    API {address}/v1    token in {token_file}\n",
            source.0,
            source.1,
            grouped(*rate),
            target.0,
            target.1,
        ));
    }

    /// Shows the present.
    pub(crate) fn draw(&mut self, live: &Live<'_>) {
        self.frames += 1;
        let (head, row) = table(live);
        let verdict = verdict(live.verdict);
        if !self.terminal {
            if self.frames % QUIET_EVERY == 1 {
                say(&format!("{row}\n{verdict}"));
            }
            return;
        }
        let Header { address, token_file, .. } = &self.header;
        let lines = [
            head,
            row,
            String::new(),
            verdict,
            String::new(),
            "Try   b and Enter: stop or start the target region's broker · Ctrl-C: end".to_owned(),
            format!(
                "      cargo run -q -p causeway -- --address {address} --token-file {token_file} stream pause orders"
            ),
            live.note.to_owned(),
        ];
        let mut out = std::io::stdout().lock();
        if self.drawn_lines > 0 {
            let _ = write!(out, "\u{1b}[{}A", self.drawn_lines);
        }
        for line in &lines {
            let _ = writeln!(out, "\u{1b}[2K{line}");
        }
        let _ = out.flush();
        self.drawn_lines = lines.len();
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

fn table(live: &Live<'_>) -> (String, String) {
    let unknown = || "unknown".to_owned();
    let (state, rate, lag, behind, copied) = match live.stream {
        None => ("no answer".to_owned(), unknown(), unknown(), unknown(), unknown()),
        Some(stream) => {
            let figures = &stream.figures;
            let state = serde_json::to_value(stream.condition.state).ok();
            (
                state.and_then(|value| value.as_str().map(|text| text.replace('_', " "))).unwrap_or_else(unknown),
                figures.copied_messages_per_second.map_or_else(unknown, |rate| format!("{rate:.0}/s")),
                figures.lag_messages.map_or_else(unknown, |lag| format!("{} messages", grouped(lag))),
                figures.lag_seconds.map_or_else(unknown, |seconds| format!("{seconds:.1} s")),
                grouped(figures.copied_messages),
            )
        }
    };
    let head =
        format!("  {:<8} {:<12} {:<10} {:<18} {:<9} {:<11} COPIED", "STREAM", "STATE", "RATE", "LAG", "BEHIND", "SENT");
    let row =
        format!("  {:<8} {state:<12} {rate:<10} {lag:<18} {behind:<9} {:<11} {copied}", "orders", grouped(live.sent),);
    (head, row)
}

fn verdict(verdict: &Verdict) -> String {
    let Verdict { verified, missing, doubled, out_of_order, altered, .. } = verdict;
    let mark = if verdict.is_clean() { "right so far" } else { "DIFFERENCES" };
    format!(
        "  verdict  {mark}: {} copies compared byte by byte, {missing} missing, {doubled} doubled, {out_of_order} out of order, \
         {altered} altered",
        grouped(*verified),
    )
}
