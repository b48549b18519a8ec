//! `causeway explain`: the page of an error code, or the list of all codes. Asks no node: the pages are in the program.

use causeway_core::error_code::ErrorCode;
use serde_json::json;

use crate::admin::error_pages::{page, title};
use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure};
use crate::cli::screen::Screen;
use crate::cli::table::{Column, Table, wrap};

/// The widest paragraph that still reads well, in characters.
const MAXIMUM_WIDTH: usize = 100;

/// What stands before each line of a paragraph.
const INDENT: usize = 2;

/// Shows one page, or every code with its title.
pub fn explain(code: Option<&str>, format: Format, screen: &mut Screen) -> Exit {
    let Some(text) = code else {
        list(format, screen);
        return Exit::Done;
    };
    let Some(code) = code_of(text) else {
        let missing = Failure::usage(format!("this release has no error code {text}")).exit(Exit::NotFound);
        return super::complain(&missing.advise("causeway explain lists every code"), format, screen);
    };
    if format == Format::Json {
        screen.json(&json!({ "code": code, "title": title(code), "page": page(code) }));
    } else {
        paragraphs(page(code), screen);
    }
    Exit::Done
}

fn list(format: Format, screen: &mut Screen) {
    if format == Format::Json {
        let items = ErrorCode::ALL.iter().map(|code| json!({ "code": code, "title": title(*code) }));
        return screen.json(&json!({ "items": items.collect::<Vec<_>>() }));
    }
    let mut table = Table::new(vec![Column::left("CODE"), Column::left("MEANS")]);
    for code in ErrorCode::ALL {
        table.row(vec![code.to_string().into(), title(*code).into()]);
    }
    screen.table(&table);
}

/// Reads `CWY-0301`, in any case and with as much of it as leaves the number.
fn code_of(text: &str) -> Option<ErrorCode> {
    let upper = text.trim().to_ascii_uppercase();
    let digits = upper.strip_prefix("CWY").unwrap_or(&upper).trim_start_matches('-');
    let number: u16 = digits.parse().ok()?;
    ErrorCode::ALL.iter().copied().find(|code| code.number() == number)
}

/// A page as it reads in a terminal: headings without their marks, paragraphs broken between words.
fn paragraphs(page: &str, screen: &mut Screen) {
    let width = screen.width.min(MAXIMUM_WIDTH);
    for line in page.lines().map(without_links) {
        if line.starts_with('#') {
            screen.line(line.trim_start_matches(['#', ' ']));
            continue;
        }
        for part in wrap(&line, width.saturating_sub(INDENT)) {
            screen.line(format!("{:INDENT$}{part}", "").trim_end());
        }
    }
}

/// A line with the text of each link only: a terminal follows none.
fn without_links(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, text, after)) = next_link(rest) {
        out.extend([before, text]);
        rest = after;
    }
    out.push_str(rest);
    out
}

/// What stands before the first `[text](target)`, its text, and what stands behind it.
fn next_link(line: &str) -> Option<(&str, &str, &str)> {
    let (before, target) = line.split_once("](")?;
    let (before, text) = before.rsplit_once('[')?;
    let (_, after) = target.split_once(')')?;
    Some((before, text, after))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::cli::execute;
    use crate::cli::tests::captured;

    fn explained(arguments: &[&str], width: usize) -> (Exit, String, String) {
        let (screen, out, err) = captured(width);
        let line = ["causeway", "explain"].iter().chain(arguments);
        (execute(line.map(OsString::from), screen), out.text(), err.text())
    }

    #[test]
    fn every_code_is_explained_in_the_width_of_the_terminal() {
        for code in ErrorCode::ALL {
            let (exit, out, _) = explained(&[&code.to_string()], 60);
            assert_eq!(exit, Exit::Done);
            assert!(out.starts_with(&format!("{code}: {}", title(*code))), "{out}");
            assert!(out.contains("\nWhat to do\n"), "{out}");
            assert_eq!(out.lines().skip(1).find(|line| line.chars().count() > 60), None);
            let words = |text: &str| text.split_whitespace().map(|word| word.replace('#', "")).collect::<String>();
            let page: String = page(*code).lines().map(|line| without_links(line) + "\n").collect();
            assert_eq!(words(&out), words(&page), "nothing is lost");
            assert!(!out.contains("]("), "{out}");
        }
    }

    #[test]
    fn of_a_link_only_its_text_is_shown() {
        for (line, shown) in [
            ("ends with [CWY-0505](CWY-0505.md), then ([Backup](../backup.md)).", "ends with CWY-0505, then (Backup)."),
            ("[a](b)[c](d)", "ac"),
            ("`list[0]` and [half](open", "`list[0]` and [half](open"),
            ("no link](here)", "no link](here)"),
        ] {
            assert_eq!(without_links(line), shown);
        }
    }

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for text in ["CWY-0301", "cwy-0301", "cwy301", "0301", " 301 "] {
            assert_eq!(code_of(text), Some(ErrorCode::Unreachable), "{text}");
        }
        for text in ["", "CWY-", "999", "CWY-0301x", "-301x"] {
            assert_eq!(code_of(text), None, "{text}");
        }
        let (exit, _, err) = explained(&["CWY-0999"], 80);
        assert_eq!(exit, Exit::NotFound);
        assert!(err.contains("no error code CWY-0999") && err.contains("causeway explain lists"), "{err}");
    }

    #[test]
    fn without_a_code_all_are_listed() {
        let (_, out, _) = explained(&[], 100);
        assert!(ErrorCode::ALL.iter().all(|code| out.contains(&format!("{code}  {}", title(*code)))), "{out}");
        let (_, out, _) = explained(&["-o", "json"], 100);
        let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(value["items"].as_array().map(Vec::len), Some(ErrorCode::ALL.len()));
        let (_, out, _) = explained(&["301", "-o", "json"], 100);
        let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!((&value["code"], value["page"].as_str()), (&"CWY-0301".into(), Some(page(ErrorCode::Unreachable))));
    }
}
