//! `causeway cluster backup`: what is agreed on, as a file, and how new it is.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use causeway_core::ids::Timestamp;
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

/// Writes the file.
///
/// # Errors
/// [`Failure`]; also when the file exists.
pub fn backup(session: &mut Session, path: &Path, stale: bool) -> Result<Exit, Failure> {
    let query = if stale { "?stale=true" } else { "" };
    let (head, content) = session.api.download(&format!("/v1/cluster/backup{query}"))?;
    let age = Age::read(&head);
    let written = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = written.and_then(|mut file| file.write_all(&content).and_then(|()| file.sync_all()));
    written.map_err(|error| Failure::usage(format!("{} cannot be written: {error}", path.display())))?;
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

#[cfg(test)]
mod tests {
    use super::*;

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
