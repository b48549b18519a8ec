//! A dump in memory: a few numbers per message, in the order of the dump.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::dump::{Header, Line, Lines, Message};
use super::report::{Difference, Kind, Place};
use super::rules::Rules;

/// Which dump a message is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Target,
}

/// What is remembered of one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Hash of everything that a copy must keep.
    pub(super) content: u128,
    /// Hash of its id and keys: enough to recognise an altered copy.
    pub(super) identity: u64,
    /// Hash of its body: recognises a copy whose properties were altered.
    pub(super) body: u64,
    pub(super) offset: i64,
    /// Where its line starts in the dump.
    pub(super) position: u64,
    /// Index into [`Index::queues`].
    pub(super) queue: u32,
}

/// All messages of a dump.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) queues: Vec<(String, u32)>,
    pub(super) entries: Vec<Entry>,
}

impl Index {
    pub(super) fn place(&self, entry: usize) -> Place {
        let entry = &self.entries[entry];
        let (broker, queue) = &self.queues[usize::try_from(entry.queue).unwrap()];
        Place { broker: broker.clone(), queue: *queue, offset: entry.offset }
    }
}

/// Reads a dump; faults of single messages, whatever the other dump holds, go to `faults`.
pub(super) fn read(path: &Path, rules: &Rules, side: Side, faults: &mut Vec<Difference>) -> io::Result<Index> {
    let mut index = Index::default();
    let mut current: Option<(Header, i64)> = None;
    let mut seen = BTreeMap::new();
    for line in Lines::open(path)? {
        match line? {
            (position, Line::Header(header)) => {
                let queue = (header.broker.clone(), header.queue);
                if seen.insert(queue.clone(), ()).is_some() {
                    return Err(invalid(path, position, "a queue that was there before"));
                }
                index.queues.push(queue);
                let before = header.minimum - 1;
                current = Some((header, before));
            }
            (position, Line::Message(message)) => {
                let Some((header, last)) = current.as_mut() else {
                    return Err(invalid(path, position, "a message before any queue"));
                };
                if (&message.broker, message.queue) != (&header.broker, header.queue)
                    || message.offset <= *last
                    || message.offset >= header.maximum
                {
                    return Err(invalid(path, position, "a message out of place"));
                }
                *last = message.offset;
                judge(&message, rules, side, faults);
                if side == Side::Target || wanted(&message, rules) {
                    index.entries.push(entry(&message, rules, position, index.queues.len() - 1));
                }
            }
        }
    }
    if index.queues.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} names no queue", path.display())));
    }
    Ok(index)
}

fn wanted(message: &Message, rules: &Rules) -> bool {
    let first = rules.first_offsets.get(&(message.broker.clone(), message.queue));
    first.is_none_or(|first| message.offset >= *first)
}

fn judge(message: &Message, rules: &Rules, side: Side, faults: &mut Vec<Difference>) {
    let place = Place { broker: message.broker.clone(), queue: message.queue, offset: message.offset };
    let (source, target) = match side {
        Side::Source => (Some(place), None),
        Side::Target => (None, Some(place)),
    };
    if !message.crc_valid {
        let detail = vec!["the stored checksum does not fit the body".to_owned()];
        faults.push(Difference { kind: Kind::Corrupt, source: source.clone(), target: target.clone(), detail });
    }
    if side == Side::Target {
        let detail = rules.target_faults(message);
        if !detail.is_empty() {
            faults.push(Difference { kind: Kind::Altered, source, target, detail });
        }
    }
}

fn entry(message: &Message, rules: &Rules, position: u64, queue: usize) -> Entry {
    let property = |name: &str| message.properties.get(name).map_or("", String::as_str);
    Entry {
        content: rules.content(message),
        identity: short_hash(&[property("UNIQ_KEY"), property("KEYS")]),
        body: short_hash(&[&message.body_sha256]),
        offset: message.offset,
        position,
        queue: u32::try_from(queue).unwrap(),
    }
}

fn short_hash(parts: &[&str]) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    u64::from_le_bytes(hash.finalize()[..8].try_into().unwrap())
}

fn invalid(path: &Path, position: u64, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} holds {what} at byte {position}", path.display()))
}
