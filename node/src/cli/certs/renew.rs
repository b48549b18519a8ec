//! `causeway certs renew`: certificates made anew before they end, with new keys and the names that they have.

use std::path::Path;

use causeway_core::ids::Timestamp;
use serde_json::{Value, json};

use super::{
    Faults, advice_without_authority, advised, failed, item, nothing_changed, pair_names, places, tell_cut, until,
};
use crate::certs::authority::{Authority, Made};
use crate::certs::certificate::Certificate;
use crate::certs::files::{self, Folder};
use crate::certs::span::Span;
use crate::certs::subject::{self, CERTIFICATE_END, Subject, certificate_file};
use crate::certs::survey::{Entry, renewable, survey};
use crate::certs::{AUTHORITY_FILE, Error};
use crate::cli::args::Format;
use crate::cli::args::certs::RenewArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::human::time;
use crate::cli::screen::Screen;

/// One that is to be made anew.
struct Due {
    subject: Subject,
    /// When the present one ends.
    end: Timestamp,
}

/// What is to be done.
struct Plan {
    due: Vec<Due>,
    /// The first that ends later.
    next: Option<(String, Timestamp)>,
    span: Span,
    within: Span,
    authority: Authority,
    /// What is due and cannot be made anew; it keeps none of the others from it.
    left: Faults,
}

/// Makes the certificate of one node anew, or all that end soon.
pub(super) fn renew(
    arguments: &RenewArguments,
    now: Timestamp,
    format: Format,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let out = arguments.out.as_ref().unwrap_or(&arguments.place.directory);
    let mut plan = plan(arguments, out, now)?;
    let writes = !arguments.change.dry_run && !plan.due.is_empty();
    let folder = writes.then(|| Folder::open_or_make(out)).transpose().map_err(|error| failed(&error))?;
    let mut done = Vec::new();
    for due in &plan.due {
        let made = plan.authority.sign(&due.subject, plan.span, now);
        let made = made.and_then(|made| match &folder {
            Some(folder) => folder.replace(&pair_names(&due.subject.node), &made.pair).map(|()| made),
            None => Ok(made),
        });
        done.extend(plan.left.file(made).map(|made| (due, made)));
    }
    if format == Format::Json {
        let items: Vec<Value> = done.iter().map(|(due, made)| item(out, &due.subject, made)).collect();
        screen.json(&json!({ "dry_run": arguments.change.dry_run, "items": items }));
    } else {
        tell(arguments, out, &plan, &done, now, screen);
    }
    plan.left.or(Some(Exit::Done))
}

fn tell(
    arguments: &RenewArguments,
    out: &Path,
    plan: &Plan,
    done: &[(&Due, Made)],
    now: Timestamp,
    screen: &mut Screen,
) {
    let has = if arguments.change.dry_run { "would get" } else { "has" };
    let cut = plan.authority.cuts(plan.span, now);
    for (due, made) in done {
        screen.line(format!("node {} {has} a new certificate, {}", due.subject.node, until(made, plan.span, cut)));
        let before = if due.end < now { "ended at" } else { "is valid until" };
        screen.line(format!("  the one before {before} {}", time(due.end)));
        tell_cut(plan.span, cut, screen);
    }
    match &plan.next {
        _ if !done.is_empty() => {}
        Some((file, end)) => {
            screen.line(format!("nothing ends within {}; the first to end is {file}, at {}", plan.within, time(*end)));
        }
        None => screen.line("there is no certificate of a node to be made anew"),
    }
    match done {
        _ if arguments.change.dry_run => nothing_changed(screen),
        [] => {}
        [(due, _)] => {
            let names = pair_names(&due.subject.node);
            let (certificate, key) = (out.join(names.certificate), out.join(names.key));
            let files = format!("{} and {}", certificate.display(), key.display());
            screen.line(format!("  next: copy {files} to it;"));
            screen.line("        it takes them without a restart");
        }
        _ => {
            screen.line("  next: copy NODE.pem and NODE-key.pem of each to its node;");
            screen.line("        it takes them without a restart");
        }
    }
}

/// Reads everything that was typed and everything that is needed, and tells all faults at once.
fn plan(arguments: &RenewArguments, out: &Path, now: Timestamp) -> Result<Plan, Failure> {
    let directory = &arguments.place.directory;
    let mut faults = Faults::default();
    let node = arguments.which.name.as_ref().map(|name| faults.option("--name", name, subject::node(name)));
    let span = faults.span("--valid-for", &arguments.valid_for);
    let within = faults.span("--within", &arguments.within);
    let authority = faults.authority(directory, now);
    // What is wrong with the authority's own directory was told with it.
    let there = (out == directory && authority.is_none()) || faults.file(files::check_target(out)).is_some();
    let places = places(directory, out);
    let mut left = Faults::default();
    let planned = match (node, &authority) {
        (Some(node), authority) => node.filter(|_| there).and_then(|node| {
            let path = out.join(certificate_file(&node));
            let first = Certificate::read_all(&path).and_then(|found| {
                found.and_then(|found| found.into_iter().next()).ok_or_else(|| Error::missing(&path))
            });
            let present = faults.file(first)?;
            let subject = faults.file(renewable(out, &node, &present, authority.as_ref()?, &places))?;
            Some((vec![Due { subject, end: present.not_after }], None))
        }),
        (None, Some(authority)) if there => {
            let entries = faults.file(survey(out, now));
            let until = within.map(|within| within.after(now));
            entries.zip(until).map(|(entries, until)| all((out, &places), entries, until, authority, &mut left))
        }
        (None, _) => None,
    };
    let read = planned.zip(span).zip(within).zip(authority);
    let ((((due, next), span), within), authority) = faults.or(read).map_err(|failure| {
        let advice = advice_without_authority(directory).or_else(|| advice_without_certificate(arguments, out));
        advised(failure, advice)
    })?;
    Ok(Plan { due, next, span, within, authority, left })
}

/// How to make a certificate, where a node has none.
fn advice_without_certificate(arguments: &RenewArguments, out: &Path) -> Option<String> {
    let node = subject::node(arguments.which.name.as_ref()?).ok()?;
    let missing = !out.join(certificate_file(&node)).exists();
    let places = places(&arguments.place.directory, out);
    missing.then(|| format!("make one with: causeway certs issue --name {node}{places}"))
}

/// The certificates of nodes that end until then, and the first that ends later.
fn all(
    (out, places): (&Path, &str),
    entries: Vec<Entry>,
    until: Timestamp,
    authority: &Authority,
    left: &mut Faults,
) -> (Vec<Due>, Option<(String, Timestamp)>) {
    let (mut due, mut next) = (Vec::new(), None);
    for entry in entries.into_iter().filter(|entry| entry.file != AUTHORITY_FILE) {
        // Nobody knows whether one that cannot be read is due.
        let Some(certificate) = left.file(entry.certificate) else { continue };
        let stem = entry.file.strip_suffix(CERTIFICATE_END).unwrap_or(&entry.file);
        let Ok(node) = subject::node(stem) else { continue };
        if certificate.is_authority || certificate.nodes.is_empty() {
            continue;
        }
        if certificate.not_after > until {
            let later = (entry.file.clone(), certificate.not_after);
            next = next.filter(|(_, end)| *end <= later.1).or(Some(later));
            continue;
        }
        let subject = left.file(renewable(out, &node, &certificate, authority, places));
        due.extend(subject.map(|subject| Due { subject, end: certificate.not_after }));
    }
    (due, next)
}
