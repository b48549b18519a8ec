//! Where answers go: standard output for results, standard error for everything about them.
//!
//! A closed output (`| head`) ends nothing with an error; [`Screen::closed`] tells loops to stop.

use std::io::{IsTerminal, Write};

use crate::cli::table::Table;

/// Both outputs and what is known of the terminal.
pub struct Screen {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    /// How many characters fit a line; unlimited where there is no terminal.
    pub width: usize,
    /// Whether colour is wanted.
    pub colour: bool,
    /// Whether lines can be drawn over.
    pub live: bool,
    closed: bool,
}

impl Screen {
    /// This process's outputs.
    #[must_use]
    pub fn standard() -> Self {
        let live = std::io::stdout().is_terminal();
        let plain = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var("TERM").is_ok_and(|terminal| terminal == "dumb");
        Self {
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            width: if live { terminal_width() } else { usize::MAX },
            colour: live && !dumb && !plain("NO_COLOR"),
            live: live && !dumb,
            closed: false,
        }
    }

    /// Outputs of a caller's choice, without a terminal.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, width: usize) -> Self {
        Self { out, err, width, colour: false, live: false, closed: false }
    }

    /// A line of the result.
    pub fn line(&mut self, text: impl AsRef<str>) {
        self.raw(&format!("{}\n", text.as_ref()));
    }

    /// Bytes of the result, without a line end.
    pub fn raw(&mut self, text: &str) {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        self.closed |= written.is_err();
    }

    /// A line that is not part of the result.
    pub fn remark(&mut self, text: impl AsRef<str>) {
        // Where standard error is gone there is nobody left to tell.
        let _ = writeln!(self.err, "{}", text.as_ref());
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        for line in table.lines(self.width, self.colour) {
            self.line(line);
        }
    }

    /// A value for programs.
    pub fn json(&mut self, value: &serde_json::Value) {
        self.line(format!("{value:#}"));
    }

    /// Follows a terminal that was resized.
    pub fn measure(&mut self) {
        if self.live {
            self.width = terminal_width();
        }
    }

    /// Whether nobody reads the result any more.
    #[must_use]
    pub fn closed(&self) -> bool {
        self.closed
    }
}

fn terminal_width() -> usize {
    const USUAL: usize = 80;
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let asked = rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| usize::from(size.ws_col));
    asked.or(told).filter(|columns| *columns >= 20).unwrap_or(USUAL)
}
