//! `causeway certs ...`: a certificate authority of one's own, in files. Asks no node.
//!
//! Parts: [`init`], [`issue`], [`renew`], [`show`]. Everything that is wrong with what was typed or with a file that is
//! needed is told at once, and then nothing is changed. Never shows a key.

mod init;
mod issue;
mod renew;
mod show;

use std::fmt::Display;
use std::path::{Path, PathBuf};

use causeway_cluster::transport::certificate_name;
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::Timestamp;
use causeway_core::name::Name;
use serde_json::{Value, json};

use crate::admin::model::error::ErrorBody;
use crate::certs::authority::{Authority, Made};
use crate::certs::files::{PairNames, check_directory};
use crate::certs::span::Span;
use crate::certs::subject::{Subject, certificate_file, key_file};
use crate::certs::{AUTHORITY_FILE, AUTHORITY_KEY_FILE, Error};
use crate::cli::args::Format;
use crate::cli::args::certs::{CertsCommand, DIRECTORY};
use crate::cli::exit::{Exit, Failure, known};
use crate::cli::human::{time, word};
use crate::cli::screen::Screen;
use crate::cli::table::count;
use crate::clock;

/// Does what was typed.
pub fn execute(command: CertsCommand, format: Format, screen: &mut Screen) -> Exit {
    let now = clock::now();
    let done = match command {
        CertsCommand::Init(arguments) => init::init(&arguments, now, format, screen),
        CertsCommand::Issue(arguments) => issue::issue(&arguments, now, format, screen),
        CertsCommand::Renew(arguments) => renew::renew(&arguments, now, format, screen),
        CertsCommand::Show(place) => show::show(&place.directory, now, format, screen),
    };
    done.unwrap_or_else(|failure| super::complain(&failure, format, screen))
}

/// Everything that is wrong so far.
#[derive(Default)]
struct Faults(Vec<ErrorBody>);

impl Faults {
    /// What an option was given, or one fault more.
    fn option<T, E: Display>(&mut self, option: &str, given: &str, read: Result<T, E>) -> Option<T> {
        let refusal = |error| {
            let message = format!("{given:?} is refused: {error}");
            self.0.push(ErrorBody::new(ErrorCode::InvalidRequest, message, Some(option)));
        };
        read.map_err(refusal).ok()
    }

    /// How long a certificate shall be valid.
    fn span(&mut self, option: &str, given: &str) -> Option<Span> {
        self.option(option, given, given.parse())
    }

    /// What a file or directory gave, or one fault more.
    fn file<T>(&mut self, found: Result<T, Error>) -> Option<T> {
        found.map_err(|error| self.push(&error)).ok()
    }

    fn push(&mut self, error: &Error) {
        self.0.push(ErrorBody::new(error.code(), error.to_string(), None));
    }

    /// The authority of a directory, or its faults and those of the directory.
    fn authority(&mut self, directory: &Path, now: Timestamp) -> Option<Authority> {
        // Where nothing is, the files that are missing say more.
        if directory.exists() {
            self.file(check_directory(directory));
            if !directory.is_dir() {
                return None;
            }
        }
        Authority::open(directory, now).map_err(|errors| errors.iter().for_each(|error| self.push(error))).ok()
    }

    /// What was read, if nothing is wrong.
    fn or<T>(self, read: Option<T>) -> Result<T, Failure> {
        let Some(first) = self.0.first().and_then(|fault| known(&fault.code)) else {
            return read.ok_or_else(|| Failure::new(ErrorCode::Internal, "something was not read and nobody said why"));
        };
        let invalid = ErrorCode::InvalidRequest.to_string();
        let exit = if self.0.iter().any(|fault| fault.code == invalid) { Exit::Usage } else { Exit::of(first) };
        Err(Failure { exit, faults: self.0, advice: None })
    }
}

/// What went wrong with files after everything was found well.
fn failed(error: &Error) -> Failure {
    Failure::new(error.code(), error.to_string())
}

/// How to make an authority, where a directory has nothing of one.
fn advice_without_authority(directory: &Path) -> Option<String> {
    let possible = directory.is_dir() || !directory.exists();
    let nothing = [AUTHORITY_FILE, AUTHORITY_KEY_FILE].iter().all(|file| !directory.join(file).exists());
    (possible && nothing).then(|| format!("make an authority first: causeway certs init{}", typed(directory)))
}

/// The failure with what to do about it, if there is something.
fn advised(failure: Failure, advice: Option<String>) -> Failure {
    match advice {
        Some(advice) => failure.advise(advice),
        None => failure,
    }
}

/// The option that names a directory, where it has to be typed.
fn typed(directory: &Path) -> String {
    if directory == Path::new(DIRECTORY) { String::new() } else { format!(" --directory {}", word(directory)) }
}

/// The options that name the directory of the authority and that of the nodes' files, where they have to be typed.
fn places(directory: &Path, out: &Path) -> String {
    let elsewhere = if out == directory { String::new() } else { format!(" --out {}", word(out)) };
    typed(directory) + &elsewhere
}

fn pair_names(node: &Name) -> PairNames {
    PairNames { certificate: certificate_file(node), key: key_file(node) }
}

/// When a new certificate ends, in words.
fn until(made: &Made, span: Span, cut: bool) -> String {
    let end = time(made.certificate.not_after);
    if cut { format!("valid until {end}") } else { format!("valid until {end} ({span})") }
}

/// Why it ends earlier than was asked for, if it does.
fn tell_cut(span: Span, cut: bool, screen: &mut Screen) {
    if cut {
        screen.line(format!("  it ends with its authority, which has less than {span} left"));
    }
}

/// A new certificate for programs.
fn item(directory: &Path, subject: &Subject, made: &Made) -> Value {
    json!({
        "node": subject.node, "server_name": certificate_name(&subject.node),
        "hosts": subject.hosts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "certificate_file": directory.join(certificate_file(&subject.node)),
        "key_file": directory.join(key_file(&subject.node)), "issuer": made.certificate.issuer,
        "not_before": made.certificate.not_before, "not_after": made.certificate.not_after,
    })
}

/// Files, and what each is for.
fn list_files(files: &[(PathBuf, String)], screen: &mut Screen) {
    let names: Vec<String> = files.iter().map(|(path, _)| path.display().to_string()).collect();
    let width = names.iter().map(|name| count(name)).max().unwrap_or(0);
    for (name, (_, what)) in names.iter().zip(files) {
        screen.line(format!("  {name:width$}  {what}"));
    }
}

/// The end of what was only tried.
fn nothing_changed(screen: &mut Screen) {
    screen.line("nothing was changed (--dry-run)");
}
