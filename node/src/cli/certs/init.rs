//! `causeway certs init`: a new authority.

use causeway_core::error_code::ErrorCode;
use causeway_core::ids::Timestamp;
use serde_json::json;

use super::{Faults, failed, list_files, nothing_changed, typed};
use crate::certs::authority;
use crate::certs::files::{self, Folder, PairNames};
use crate::certs::{AUTHORITY_FILE, AUTHORITY_KEY_FILE};
use crate::cli::args::Format;
use crate::cli::args::certs::InitArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::human::time;
use crate::cli::screen::Screen;

/// The longest name of an organisation that a certificate can carry, in characters.
const MAXIMUM_ORGANISATION: usize = 64;

/// Makes an authority where there is none.
pub(super) fn init(
    arguments: &InitArguments,
    now: Timestamp,
    format: Format,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let (directory, organisation) = (&arguments.place.directory, &arguments.organisation);
    let (path, key_path) = (directory.join(AUTHORITY_FILE), directory.join(AUTHORITY_KEY_FILE));
    let mut faults = Faults::default();
    let span = faults.span("--valid-for", &arguments.valid_for);
    faults.option("--organisation", organisation, check_organisation(organisation));
    faults.file(files::check_target(directory));
    faults.file(files::check_absent(&path));
    faults.file(files::check_absent(&key_path));
    let span = faults.or(span).map_err(|failure| {
        let another = "an authority is never overwritten; make another one in a --directory of its own";
        if failure.has(ErrorCode::NameTaken) { failure.advise(another) } else { failure }
    })?;

    let made = authority::make(organisation, span, now).map_err(|error| failed(&error))?;
    if !arguments.change.dry_run {
        let names = PairNames { certificate: AUTHORITY_FILE.to_owned(), key: AUTHORITY_KEY_FILE.to_owned() };
        let written = Folder::open_or_make(directory).and_then(|folder| folder.create(&names, &made.pair));
        written.map_err(|error| failed(&error))?;
    }
    let certificate = &made.certificate;
    let until = format!("valid until {} ({span})", time(certificate.not_after));
    if format == Format::Json {
        screen.json(&json!({
            "dry_run": arguments.change.dry_run, "subject": certificate.subject, "organisation": organisation,
            "certificate_file": path, "key_file": key_path, "not_before": certificate.not_before,
            "not_after": certificate.not_after,
        }));
    } else if arguments.change.dry_run {
        screen.line(format!("an authority of {organisation} would be made, {until}"));
        nothing_changed(screen);
    } else {
        screen.line(format!("authority {} of {organisation}, {until}", certificate.subject));
        let certificate = (path, "its certificate: copy it to every node".to_owned());
        let key = (key_path, "its key: copy it to no node, keep it where no network reaches it".to_owned());
        list_files(&[certificate, key], screen);
        screen.line(format!("  next: causeway certs issue --name NODE{}", typed(directory)));
    }
    Ok(Exit::Done)
}

fn check_organisation(text: &str) -> Result<(), &'static str> {
    let blank = text.trim().is_empty();
    if blank || text.chars().count() > MAXIMUM_ORGANISATION || text.chars().any(char::is_control) {
        return Err("write 1 to 64 characters");
    }
    Ok(())
}
