//! The second judge: the provenance on copies, read from its documented text form with code of the tests' own.
//!
//! The checker recognises copies by content and never looks at provenance; this one trusts only provenance: every
//! source position exactly once, in order, each naming the copy before it, under epochs that never go back, with the
//! original born timestamp, and with the marks that were taken off remembered.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::path::Path;

use crate::checker::dump::{Line, Lines, Message};

/// The property that holds it.
pub const PROPERTY: &str = "CAUSEWAY";

/// The property that holds what was taken off.
pub const ORIGINAL: &str = "CAUSEWAY_ORIGINAL";

/// Where the copy of a source message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    epoch: u64,
    offset: i64,
}

/// What is remembered of a source message.
#[derive(Debug)]
struct Source {
    born_timestamp: i64,
    marks: Vec<String>,
    copied: bool,
}

/// A place in the source: broker, queue, offset.
type Position = (String, u32, i64);

/// What a look at provenance found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Copies that were looked at.
    pub copies: usize,
    /// Different epochs that made them.
    pub epochs: usize,
    /// Copies with remembered marks.
    pub with_original: usize,
    /// Everything that is wrong, the first hundred.
    pub problems: Vec<String>,
}

/// Judges the copies of a topic from the dumps of both sides. `hops` is how many instances they passed.
///
/// # Errors
/// When a dump cannot be read.
pub fn check(source: &Path, target: &Path, topic: &str, hops: usize) -> io::Result<Findings> {
    let mut origin = read_source(source)?;
    let mut last: BTreeMap<(String, u32), Seen> = BTreeMap::new();
    let mut last_source: BTreeMap<(String, u32), i64> = BTreeMap::new();
    let mut epochs = BTreeMap::new();
    let mut findings = Findings::default();
    for line in Lines::open(target)? {
        let (_, Line::Message(copy)) = line? else { continue };
        findings.copies += 1;
        let place = format!("{}/{}@{}", copy.broker, copy.queue, copy.offset);
        let mut problems = Vec::new();
        match parse(&copy, topic, hops) {
            Err(problem) => problems.push(problem),
            Ok(Told { position, accounts_from, epoch, born }) => {
                epochs.insert(epoch, ());
                let queue = (position.0.clone(), position.1);
                match last_source.insert(queue.clone(), position.2) {
                    Some(before) if before >= position.2 => {
                        problems.push(format!("source offset {} stands behind {before}", position.2));
                    }
                    Some(before) if before + 1 != accounts_from => problems.push(format!(
                        "source offset {} accounts for those from {accounts_from} on, but stands behind {before}",
                        position.2
                    )),
                    _ => {}
                }
                if let Some(before) = last.insert(queue, Seen { epoch, offset: copy.offset })
                    && before.epoch > epoch
                {
                    problems.push(format!(
                        "epoch {epoch} stands behind epoch {} of offset {}",
                        before.epoch, before.offset
                    ));
                }
                match origin.get_mut(&position) {
                    None => problems.push(format!("no source message at {position:?}")),
                    Some(message) => {
                        if std::mem::replace(&mut message.copied, true) {
                            problems.push(format!("a second copy of {position:?}"));
                        }
                        if message.born_timestamp != born {
                            problems.push(format!("born {born}, but the source message at {}", message.born_timestamp));
                        }
                        let original = copy.properties.get(ORIGINAL).map_or("", String::as_str);
                        findings.with_original += usize::from(!original.is_empty());
                        for mark in message.marks.iter().filter(|mark| !original.split(';').any(|part| part == **mark))
                        {
                            problems.push(format!("{ORIGINAL} does not keep {mark:?}: {original:?}"));
                        }
                    }
                }
            }
        }
        findings.problems.extend(problems.into_iter().map(|problem| format!("{place}: {problem}")));
    }
    let missing =
        origin.iter().filter(|(_, message)| !message.copied).map(|(position, _)| format!("no copy of {position:?}"));
    findings.problems.extend(missing);
    findings.problems.truncate(100);
    findings.epochs = epochs.len();
    Ok(findings)
}

fn read_source(path: &Path) -> io::Result<BTreeMap<Position, Source>> {
    let mut origin = BTreeMap::new();
    for line in Lines::open(path)? {
        if let (_, Line::Message(message)) = line? {
            let source = Source { born_timestamp: message.born_timestamp, marks: marks(&message), copied: false };
            origin.insert((message.broker, message.queue, message.offset), source);
        }
    }
    Ok(origin)
}

/// The properties that have to be kept in [`ORIGINAL`], in its form.
fn marks(message: &Message) -> Vec<String> {
    let kept = |name: &str, value: &str| match name {
        "DELAY" | "TRAN_MSG" | "REAL_TOPIC" | "REAL_QID" | "PGROUP" => true,
        "WAIT" => value != "true",
        _ => name.starts_with("TIMER_"),
    };
    let marks = message.properties.iter().filter(|(name, value)| kept(name, value));
    marks.map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect()
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'%' | b'=' | b';' => write!(out, "%{byte:02X}").unwrap(),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").unwrap(),
        }
    }
    out
}

/// What a copy tells.
struct Told {
    position: Position,
    /// The source offset behind the copy before.
    accounts_from: i64,
    epoch: u64,
    born: i64,
}

/// Reads `1;c;CLUSTER-STREAM.GENERATION;EPOCH;CHAIN;BROKER;TOPIC;QUEUE.LIFE;OFFSET[.LEFT_OUT];BORN`.
fn parse(copy: &Message, topic: &str, hops: usize) -> Result<Told, String> {
    let text = copy.properties.get(PROPERTY).ok_or("no provenance")?;
    let fields: Vec<&str> = text.split(';').collect();
    let malformed = || format!("malformed provenance {text:?}");
    let [version, kind, _, epoch, chain, broker, from, queue, offset, born] = fields[..] else {
        return Err(malformed());
    };
    let same_topic = from == topic.bytes().map(plain).collect::<String>();
    if (version, kind) != ("1", "c") || chain.split(',').count() != hops || !same_topic {
        return Err(malformed());
    }
    let queue = queue.split_once('.').and_then(|(queue, _)| queue.parse().ok()).ok_or_else(malformed)?;
    let (offset, left_out) = offset.split_once('.').unwrap_or((offset, "0"));
    let offset: i64 = offset.parse().map_err(|_| malformed())?;
    let left_out: i64 = left_out.parse().map_err(|_| malformed())?;
    let epoch = epoch.parse().map_err(|_| malformed())?;
    let born = born.parse().map_err(|_| malformed())?;
    Ok(Told { position: (broker.to_owned(), queue, offset), accounts_from: offset - left_out, epoch, born })
}

fn plain(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'%' | b'|' => char::from(byte).to_string(),
        _ => format!("~{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::{Value, json};

    use super::*;

    fn line(offset: i64, born: i64, properties: &Value) -> String {
        let message = json!({
            "broker": "broker-a", "queue": 3, "offset": offset, "stored_length": 1, "stored_sha256": "", "crc_valid": true,
            "body_length": 1, "body_sha256": "", "flag": 0, "sys_flag": 0, "born_timestamp": born, "born_host": "",
            "store_timestamp": 0, "reconsume_times": 0, "prepared_transaction_offset": 0, "keys": null, "tags": null,
            "properties": properties,
        });
        json!({ "message": message }).to_string()
    }

    fn copy(offset: i64, from: i64, epoch: u64, born: i64, original: &str) -> String {
        let provenance = format!("1;c;0000000000000001-2.0;{epoch};00000000000000aa;broker-a;orders;3.0;{from};{born}");
        line(offset, 0, &json!({ PROPERTY: provenance, ORIGINAL: original }))
    }

    fn judge(copies: &[String]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        let originals = [line(0, 50, &json!({})), line(1, 51, &json!({ "DELAY": "2" })), line(2, 52, &json!({}))];
        fs::write(&source, originals.join("\n") + "\n").unwrap();
        fs::write(&target, copies.join("\n") + "\n").unwrap();
        check(&source, &target, "orders", 1).unwrap().problems
    }

    fn good() -> Vec<String> {
        vec![copy(0, 0, 1, 50, ""), copy(1, 1, 1, 51, "DELAY=2;"), copy(2, 2, 4, 52, "")]
    }

    #[test]
    fn a_whole_copy_passes() {
        assert_eq!(judge(&good()), Vec::<String>::new());
    }

    /// Each fault is seen, and says what it is.
    #[test]
    fn seeded_faults_are_found() {
        let changed = |at: usize, with: String| {
            let mut copies = good();
            copies[at] = with;
            copies
        };
        let doubled = [good(), vec![copy(3, 2, 4, 52, "")]].concat();
        let faults = [
            (good()[..2].to_vec(), "no copy of"),
            (vec![good().remove(0), good().remove(2)], "accounts for those from 2 on, but stands behind 0"),
            (doubled, "a second copy of"),
            (vec![copy(0, 0, 1, 50, ""), copy(1, 2, 1, 52, ""), copy(2, 1, 1, 51, "DELAY=2;")], "stands behind"),
            (changed(2, copy(2, 2, 0, 52, "")), "epoch 0 stands behind epoch 1"),
            (changed(0, copy(0, 0, 1, 49, "")), "born 49"),
            (changed(1, copy(1, 1, 1, 51, "")), "does not keep"),
            (changed(0, line(0, 0, &json!({}))), "no provenance"),
            (changed(2, copy(2, 9, 1, 52, "")), "no source message"),
        ];
        for (copies, wanted) in faults {
            let problems = judge(&copies);
            assert!(problems.iter().any(|problem| problem.contains(wanted)), "{wanted}: {problems:?}");
        }
    }
}
