//! Copies that stand at the target more than once: how tests make them, and how they judge them.

use std::collections::BTreeSet;

use bytes::Bytes;
use causeway_rocketmq::wire::record::Record;

use super::memory::{MemoryQueue, Message};

/// Stores records once more, as they are.
pub(super) fn append_again(queue: &MemoryQueue, records: &[Record]) {
    let again = |record: &Record| Message {
        flag: record.flag,
        body: record.body.clone(),
        properties: record.properties.clone(),
        sys_flag: record.sys_flag,
        born_timestamp: record.born_timestamp,
        reconsume_times: record.reconsume_times,
    };
    queue.append_all(records.iter().map(again));
}

/// What copies are when of each message only the last one counts.
pub(super) fn last_of_each(copies: Vec<Bytes>) -> Vec<Bytes> {
    let mut seen = BTreeSet::new();
    let mut last: Vec<_> = copies.into_iter().rev().filter(|body| seen.insert(body.clone())).collect();
    last.reverse();
    last
}

/// What of the copies is read by whoever takes each message once, in order, and passes over what is out of turn: all
/// that is wanted, where nothing is missing.
pub(super) fn in_turn(copies: Vec<Bytes>, wanted: &[Bytes]) -> Vec<Bytes> {
    let mut due = wanted.iter();
    let mut next = due.next();
    let taken = copies.into_iter().filter(|copy| {
        let is_due = next == Some(copy);
        if is_due {
            next = due.next();
        }
        is_due
    });
    taken.collect()
}
