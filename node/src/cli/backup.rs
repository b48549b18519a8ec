//! `causeway cluster backup`: what is agreed on, as a file, and how new it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use causeway_core::error_code::ErrorCode;
use causeway_core::ids::Timestamp;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde_json::json;
use ureq::http::HeaderMap;

use crate::admin::nodes::{APPLIED_INDEX, MAY_BE_STALE, TAKEN_AT};
use crate::cli::Session;
use crate::cli::args::Format;
use crate::cli::exit::{Exit, Failure};
use crate::cli::human::{UNKNOWN, bytes, grouped, time};

/// How new a backup is, as the node that made it says.
#[derive(Debug, PartialEq, Eq)]
struct Age {
    applied_index: Option<u64>,
    taken_at: Option<Timestamp>,
    may_be_stale: bool,
}

impl Age {
    /// What a node does not say may be old.
    fn read(head: &HeaderMap) -> Self {
        let said = |name: &str| head.get(name).and_then(|value| value.to_str().ok());
        Self {
            applied_index: said(APPLIED_INDEX).and_then(|text| text.parse().ok()),
            taken_at: said(TAKEN_AT).and_then(|text| text.parse().ok()).map(Timestamp),
            may_be_stale: said(MAY_BE_STALE) != Some("false"),
        }
    }

    fn lines(&self, path: &Path, length: usize) -> Vec<String> {
        let what = if self.may_be_stale { "what one node had applied" } else { "everything that was agreed on" };
        let at = self.taken_at.map_or_else(|| UNKNOWN.to_owned(), time);
        let index = self.applied_index.map_or_else(|| UNKNOWN.to_owned(), grouped);
        let size = bytes(u64::try_from(length).unwrap_or(u64::MAX));
        let mut lines = vec![format!("{} holds {what} at {at}, up to log entry {index}; {size}", path.display())];
        if self.may_be_stale {
            lines.push("  it may be old: no majority confirmed that nothing newer is agreed on".to_owned());
        }
        lines
    }
}

/// Writes the file: it has its name when it is whole and durable.
///
/// # Errors
/// [`Failure`]; also when the file exists.
pub fn backup(session: &mut Session, path: &Path, stale: bool) -> Result<Exit, Failure> {
    let unwritable = |error: io::Error| unwritable(path, &error);
    // Before anything is asked for; looked at again when the file gets its name.
    verify_absent(path).map_err(unwritable)?;
    let query = if stale { "?stale=true" } else { "" };
    let (head, content) = session.api.download(&format!("/v1/cluster/backup{query}"))?;
    let age = Age::read(&head);
    write(path, &content).map_err(unwritable)?;
    if session.format == Format::Json {
        session.screen.json(&json!({
            "file": path, "bytes": content.len(), "applied_index": age.applied_index, "taken_at": age.taken_at,
            "may_be_stale": age.may_be_stale,
        }));
        return Ok(Exit::Done);
    }
    for line in age.lines(path, content.len()) {
        session.screen.line(line);
    }
    session.screen.line("  keep secret.key of any node's data directory apart from it: sealed secrets need it");
    Ok(Exit::Done)
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    if error.kind() == ErrorKind::AlreadyExists {
        let taken = format!("{path} exists already, and a backup takes the place of no file");
        return Failure::new(ErrorCode::NameTaken, taken).advise("name another file, or move that one away");
    }
    Failure::new(ErrorCode::FileUnusable, format!("{path} cannot be written: {error}"))
}

/// Writes a new file beside its place, makes it durable, and gives it its name, which nothing may have.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Another container may have the same process number.
    let random = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
    let unfinished = path.with_file_name(format!(".{name}.{random:016x}.unfinished"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| rename(&unfinished, path));
    if written.is_err() {
        // It has a name of its own: where it cannot be removed it is in nobody's way.
        let _ = fs::remove_file(&unfinished);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    written.and_then(|()| File::open(parent)?.sync_all())
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot refuse to replace when it renames can when it links.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// A link that leads nowhere is something, too.
fn verify_absent(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Errno::EXIST.into()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::cli::tests::run_against;

    #[test]
    fn why_there_is_no_backup_has_its_own_code() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        fs::write(&taken, "kept").unwrap();
        let (missing, new) = (folder.path().join("missing/backup"), folder.path().join("new"));
        let answer = || vec![(200, "the agreed state".to_owned())];
        for (path, answers, exit, code) in [
            (&taken, Vec::new(), Exit::Conflict, "CWY-0103"),
            (&missing, answer(), Exit::Failed, "CWY-0119"),
            (&new, Vec::new(), Exit::Unavailable, "CWY-0502"),
        ] {
            let (ended, _, err, _) = run_against(answers, &["cluster", "backup", &path.display().to_string()]);
            assert_eq!(ended, exit, "{err}");
            assert!(err.contains(code), "{err}");
        }
        assert_eq!(fs::read(&taken).unwrap(), b"kept");
    }

    #[test]
    fn a_file_gets_its_name_whole_and_takes_the_place_of_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let listed =
            || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        let path = folder.path().join("backup");
        write(&path, b"whole").unwrap();
        assert_eq!((fs::read(&path).unwrap(), listed()), (b"whole".to_vec(), vec!["backup".into()]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let dangling = folder.path().join("dangling");
        symlink("nowhere", &dangling).unwrap();
        for taken in [&path, &dangling] {
            assert_eq!(verify_absent(taken).unwrap_err().kind(), ErrorKind::AlreadyExists);
            assert_eq!(write(taken, b"another").unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
        assert_eq!((fs::read(&path).unwrap(), listed().len()), (b"whole".to_vec(), 2), "nothing is left behind");
        let nowhere = folder.path().join("missing/backup");
        assert_eq!(write(&nowhere, b"").unwrap_err().kind(), ErrorKind::NotFound);
    }

    fn head(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_backup_says_up_to_where_and_whether_it_may_be_old() {
        let confirmed = head(&[(APPLIED_INDEX, "1204"), (TAKEN_AT, "0"), (MAY_BE_STALE, "false")]);
        let lines = Age::read(&confirmed).lines(Path::new("b"), 2_048);
        assert_eq!(
            lines,
            ["b holds everything that was agreed on at 1970-01-01 00:00:00 UTC, up to log entry 1,204; 2 KiB"]
        );
        for head in [head(&[(APPLIED_INDEX, "7"), (MAY_BE_STALE, "true")]), head(&[])] {
            let lines = Age::read(&head).lines(Path::new("b"), 1);
            assert!(lines[0].contains("what one node had applied") && lines[1].contains("may be old"), "{lines:?}");
        }
    }
}
