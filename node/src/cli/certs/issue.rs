//! `causeway certs issue`: a certificate and a key for a node.

use std::path::Path;

use causeway_cluster::transport::certificate_name;
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::Timestamp;
use serde_json::json;

use super::{
    Faults, advice_without_authority, advised, failed, item, list_files, nothing_changed, pair_names, places, tell_cut,
    until,
};
use crate::certs::AUTHORITY_FILE;
use crate::certs::authority::{Authority, Made};
use crate::certs::files::{self, Folder};
use crate::certs::span::Span;
use crate::certs::subject::{self, Host, MAXIMUM_HOSTS, Subject, certificate_file, key_file};
use crate::cli::args::Format;
use crate::cli::args::certs::IssueArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::screen::Screen;

/// What is to be made, when nothing is wrong.
struct Request {
    subject: Subject,
    span: Span,
    authority: Authority,
}

/// Makes the two files of a node.
pub(super) fn issue(
    arguments: &IssueArguments,
    now: Timestamp,
    format: Format,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let out = arguments.out.as_ref().unwrap_or(&arguments.place.directory);
    let Request { subject, span, authority } = check(arguments, out, now)?;
    let made = authority.sign(&subject, span, now).map_err(|error| failed(&error))?;
    if !arguments.change.dry_run {
        let names = pair_names(&subject.node);
        let folder = Folder::open_or_make(out).map_err(|error| failed(&error))?;
        let written =
            if arguments.replace { folder.replace(&names, &made.pair) } else { folder.create(&names, &made.pair) };
        written.map_err(|error| failed(&error))?;
    }
    if format == Format::Json {
        let items = [item(out, &subject, &made)];
        screen.json(&json!({ "dry_run": arguments.change.dry_run, "items": items }));
        return Ok(Exit::Done);
    }
    let cut = authority.cuts(span, now);
    let until = until(&made, span, cut);
    if arguments.change.dry_run {
        screen.line(format!("node {} would get a certificate, {until}", subject.node));
        tell_cut(span, cut, screen);
        screen.line(format!("  names: {}", names(&subject)));
        nothing_changed(screen);
    } else {
        screen.line(format!("node {} has a certificate, {until}", subject.node));
        tell_cut(span, cut, screen);
        tell(arguments, out, &subject, &made, screen);
    }
    Ok(Exit::Done)
}

fn tell(arguments: &IssueArguments, out: &Path, subject: &Subject, made: &Made, screen: &mut Screen) {
    let authority = arguments.place.directory.join(AUTHORITY_FILE);
    let files = [
        (out.join(certificate_file(&subject.node)), format!("its certificate, signed by {}", made.certificate.issuer)),
        (out.join(key_file(&subject.node)), "its key, for this node alone".to_owned()),
        (authority, "the authority, which every node has to know".to_owned()),
    ];
    list_files(&files, screen);
    screen.line(format!("  names: {}", names(subject)));
    screen.line(format!("  next: copy these three files to node {}, and none other", subject.node));
}

fn names(subject: &Subject) -> String {
    let hosts = subject.hosts.iter().map(ToString::to_string);
    std::iter::once(certificate_name(&subject.node)).chain(hosts).collect::<Vec<_>>().join(", ")
}

/// Reads everything that was typed and everything that is needed, and tells all faults at once.
fn check(arguments: &IssueArguments, out: &Path, now: Timestamp) -> Result<Request, Failure> {
    let directory = &arguments.place.directory;
    let mut faults = Faults::default();
    let node = faults.option("--name", &arguments.name, subject::node(&arguments.name));
    let hosts = hosts(&arguments.hosts, &mut faults);
    let span = faults.span("--valid-for", &arguments.valid_for);
    let authority = faults.authority(directory, now);
    // What is wrong with the authority's own directory was told with it.
    if out != directory || authority.is_some() {
        faults.file(files::check_target(out));
    }
    if let Some(node) = node.as_ref().filter(|_| !arguments.replace) {
        faults.file(files::check_absent(&out.join(certificate_file(node))));
        faults.file(files::check_absent(&out.join(key_file(node))));
    }
    let read = node.zip(span).zip(authority);
    let ((node, span), authority) = faults.or(read).map_err(|failure| {
        let renew = || format!("causeway certs renew --name {}{}", arguments.name, places(directory, out));
        let kept = || format!("to make it anew with its names: {}; with other names: --replace", renew());
        let advice = advice_without_authority(directory).or_else(|| failure.has(ErrorCode::NameTaken).then(kept));
        advised(failure, advice)
    })?;
    Ok(Request { subject: Subject::new(node, hosts), span, authority })
}

fn hosts(given: &[String], faults: &mut Faults) -> Vec<Host> {
    let read = given.iter().filter_map(|text| faults.option("--host", text, Host::new(text)));
    let hosts: Vec<Host> = read.collect();
    if given.len() > MAXIMUM_HOSTS {
        let many = Err::<(), _>(format!("a certificate carries {MAXIMUM_HOSTS} at most"));
        faults.option("--host", &format!("{} hosts", given.len()), many);
    }
    hosts
}
