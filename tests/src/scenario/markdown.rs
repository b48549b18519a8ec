//! Reports as Markdown: a table, a date, and nothing that names this machine's folders.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use super::node::causeway;

/// A table with a head.
#[derive(Debug, Clone)]
pub struct Table {
    columns: usize,
    text: String,
}

impl Table {
    /// A table of these columns.
    pub fn new(head: &[&str]) -> Self {
        let mut text = format!("| {} |\n|", head.join(" | "));
        head.iter().for_each(|_| text.push_str("---|"));
        text.push('\n');
        Self { columns: head.len(), text }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: &[String]) {
        assert_eq!(cells.len(), self.columns, "a row has as many cells as the head");
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        writeln!(self.text, "| {} |", cells.join(" | ")).unwrap();
    }

    /// The Markdown text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// How a report begins: what ran, when, with which build, on how many processor cores, and whether it passed.
pub fn heading(title: &str, command: &str, passed: bool) -> String {
    let printed = causeway(&["--version"]).stdout;
    let version = String::from_utf8_lossy(&printed);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!(
        "# {title}\n\n{}, `{command}`, {} ({build} build), {cores} processor cores. {}\n\n",
        today(),
        version.trim(),
        if passed { "**Everything passed.**" } else { "**The run failed.**" }
    )
}

/// A number with its thousands apart.
pub fn grouped(number: impl TryInto<i64>) -> String {
    let number: i64 = number.try_into().unwrap_or(i64::MAX);
    let digits = number.unsigned_abs().to_string();
    let mut out = if number < 0 { "-".to_owned() } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Today in UTC as `2026-11-22`.
pub fn today() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    date(since.as_secs() / 86_400)
}

/// The date of a day counted from 1970-01-01, by walking years and months.
fn date(mut days: u64) -> String {
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let mut month = 1;
    for length in [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_numbers_read_as_people_write_them() {
        assert_eq!([0, 59, 11_016, 20_779].map(date), ["1970-01-01", "1970-03-01", "2000-02-29", "2026-11-22"]);
        assert_eq!([0_i64, 999, 1_000, -1_234_567].map(grouped), ["0", "999", "1,000", "-1,234,567"]);
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0_u64, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_table_keeps_its_columns() {
        let mut table = Table::new(&["a", "b"]);
        table.row(&["1|2".to_owned(), "x\ny".to_owned()]);
        assert_eq!(table.text(), "| a | b |\n|---|---|\n| 1\\|2 | x y |\n");
    }
}
