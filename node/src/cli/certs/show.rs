//! `causeway certs show`: which certificates lie in a directory, when they end, and what is wrong with them.

use std::path::Path;

use causeway_core::ids::Timestamp;
use serde_json::{Value, json};

use super::{Faults, advice_without_authority, advised, typed};
use crate::certs::Error;
use crate::certs::certificate::Certificate;
use crate::certs::survey::{Entry, KeyState, SOON, survey};
use crate::certs::trial;
use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure};
use crate::cli::human::{grouped, time};
use crate::cli::screen::Screen;
use crate::cli::table::{Cell, Column, Table, Tone};

/// The length of a date without the time of day.
const DATE: usize = "2026-11-20".len();

const HOUR_MILLISECONDS: i64 = 3_600 * 1_000;

/// Shows everything; ends with a failure when something cannot be used as it is.
pub(super) fn show(directory: &Path, now: Timestamp, format: Format, screen: &mut Screen) -> Result<Exit, Failure> {
    let mut faults = Faults::default();
    let entries = faults.file(survey(directory, now).and_then(some));
    let mut entries = faults.or(entries).map_err(|failure| advised(failure, advice_without_authority(directory)))?;
    for entry in &mut entries {
        entry.problems.extend(trial::refusal(directory, entry));
    }
    let passed = entries.iter().all(|entry| entry.problems.is_empty());
    if format == Format::Json {
        let items: Vec<Value> = entries.iter().map(|entry| for_programs(entry, now)).collect();
        screen.json(&json!({ "directory": directory, "passed": passed, "items": items }));
    } else {
        screen.table(&table(&entries, format == Format::Wide, now));
        summary(directory, &entries, screen);
    }
    Ok(if passed { Exit::Done } else { Exit::Failed })
}

/// The entries, unless all that there is to say is that nothing is there.
fn some(mut entries: Vec<Entry>) -> Result<Vec<Entry>, Error> {
    match entries.pop() {
        Some(Entry { certificate: Err(error @ Error::Missing { .. }), .. }) if entries.is_empty() => Err(error),
        last => {
            entries.extend(last);
            Ok(entries)
        }
    }
}

fn table(entries: &[Entry], wide: bool, now: Timestamp) -> Table {
    let columns = vec![
        Column::left("FILE"),
        Column::left("OF"),
        Column::left("SIGNED BY"),
        Column::left("FROM").spare(1),
        Column::left("UNTIL"),
        Column::right("LEFT"),
        Column::left("KEY"),
    ];
    let mut table = Table::new(columns);
    for entry in entries {
        table.row(row(entry, wide, now));
        if let Some(hosts) = entry.certificate.as_ref().ok().map(hosts).filter(|hosts| !hosts.is_empty()) {
            table.note(format!("also {}", hosts.join(", ")), Tone::Quiet);
        }
        for problem in &entry.problems {
            table.note(problem, Tone::Bad);
        }
        if entry.ends_soon {
            table.note(warning(entry), Tone::Busy);
        }
    }
    table
}

fn warning(entry: &Entry) -> String {
    let all = ", and with it every certificate that it signed; read: causeway explain CWY-0205";
    format!("ends within {SOON}{}", if of_authority(entry) { all } else { "" })
}

fn of_authority(entry: &Entry) -> bool {
    entry.certificate.as_ref().is_ok_and(|certificate| certificate.is_authority)
}

fn row(entry: &Entry, wide: bool, now: Timestamp) -> Vec<Cell> {
    let Ok(certificate) = &entry.certificate else { return vec![entry.file.as_str().into()] };
    let at = |moment| if wide { time(moment) } else { time(moment).chars().take(DATE).collect() };
    let left = days_left(certificate, now);
    let tone = match () {
        () if left < 0 => Tone::Bad,
        () if entry.ends_soon => Tone::Busy,
        () => Tone::Plain,
    };
    vec![
        entry.file.as_str().into(),
        owner(certificate).into(),
        if entry.trusted {
            certificate.issuer.as_str().into()
        } else {
            Cell::toned(certificate.issuer.as_str(), Tone::Bad)
        },
        at(certificate.not_before).into(),
        at(certificate.not_after).into(),
        Cell::toned(left_text(certificate, now), tone),
        key(&entry.key),
    ]
}

/// Whom a certificate is about.
fn owner(certificate: &Certificate) -> String {
    match certificate.nodes.as_slice() {
        _ if certificate.is_authority => "authority".to_owned(),
        [] => certificate.subject.clone(),
        nodes => nodes.iter().map(|node| format!("node {node}")).collect::<Vec<_>>().join(", "),
    }
}

fn hosts(certificate: &Certificate) -> Vec<String> {
    certificate.hosts.iter().map(ToString::to_string).collect()
}

/// Whole days until it ends; negative when it has ended.
fn days_left(certificate: &Certificate, now: Timestamp) -> i64 {
    certificate.not_after.0.saturating_sub(now.0).div_euclid(24 * HOUR_MILLISECONDS)
}

/// The same as people read it, and in hours on the last day.
fn left_text(certificate: &Certificate, now: Timestamp) -> String {
    let hours = certificate.not_after.0.saturating_sub(now.0).div_euclid(HOUR_MILLISECONDS);
    match u64::try_from(hours) {
        Err(_) => "ended".to_owned(),
        Ok(hours) if hours < 24 => format!("{hours} h"),
        Ok(hours) => format!("{} d", grouped(hours / 24)),
    }
}

fn key(state: &KeyState) -> Cell {
    match state {
        KeyState::Here => Cell::toned("here", Tone::Good),
        KeyState::Elsewhere => Cell::toned("elsewhere", Tone::Quiet),
        KeyState::Open(mode) => Cell::toned(format!("mode {mode:o}"), Tone::Bad),
        KeyState::Other => Cell::toned("another's", Tone::Bad),
        KeyState::Unusable(_) => Cell::toned("unusable", Tone::Bad),
    }
}

fn summary(directory: &Path, entries: &[Entry], screen: &mut Screen) {
    match entries.iter().filter(|entry| !entry.problems.is_empty()).count() {
        0 => {}
        1 => screen.line("1 of them cannot be used as it is"),
        bad => screen.line(format!("{bad} of them cannot be used as they are")),
    }
    let place = typed(directory);
    match entries.iter().filter(|entry| entry.ends_soon && !of_authority(entry)).count() {
        0 => {}
        1 => screen.line(format!("1 node certificate ends within {SOON}: causeway certs renew --all{place}")),
        soon => screen.line(format!("{soon} node certificates end within {SOON}: causeway certs renew --all{place}")),
    }
}

fn for_programs(entry: &Entry, now: Timestamp) -> Value {
    let key = match &entry.key {
        KeyState::Here => "here",
        KeyState::Elsewhere => "elsewhere",
        KeyState::Open(_) => "open",
        KeyState::Other => "other",
        KeyState::Unusable(_) => "unusable",
    };
    let mut item = json!({ "file": entry.file, "key": key, "problems": entry.problems, "ends_soon": entry.ends_soon });
    if let (Ok(certificate), Some(item)) = (&entry.certificate, item.as_object_mut()) {
        let more = [
            ("authority", json!(certificate.is_authority)),
            ("nodes", json!(certificate.nodes)),
            ("hosts", json!(hosts(certificate))),
            ("subject", json!(certificate.subject)),
            ("issuer", json!(certificate.issuer)),
            ("trusted", json!(entry.trusted)),
            ("not_before", json!(certificate.not_before)),
            ("not_after", json!(certificate.not_after)),
            ("days_left", json!(days_left(certificate, now))),
        ];
        item.extend(more.map(|(name, value)| (name.to_owned(), value)));
    }
    item
}
