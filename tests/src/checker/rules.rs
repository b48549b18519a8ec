//! What a copy must keep and what may differ. Everything not named here must be equal.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::dump::Message;

/// Properties that brokers overwrite or add on each send, and those of finished transactions and consumption that a
/// copy may carry or leave.
const OVERWRITTEN: [&str; 10] = [
    "MSG_REGION",
    "TRACE_ON",
    "CLUSTER",
    "WAIT",
    "__CRC32#",
    "PGROUP",
    "__transactionId__",
    "TRANSACTION_CHECK_TIMES",
    "CHECK_IMMUNITY_TIME_IN_SECONDS",
    "TRAN_PREPARED_QUEUE_OFFSET",
];

/// Properties that would make the next broker delay, hide or redirect the copy.
const STRIPPED: [&str; 19] = [
    "DELAY",
    "TIMER_DELIVER_MS",
    "TIMER_DELAY_SEC",
    "TIMER_DELAY_MS",
    "TIMER_ENQUEUE_MS",
    "TIMER_DEQUEUE_MS",
    "TIMER_ROLL_TIMES",
    "TIMER_OUT_MS",
    "TIMER_DEL_UNIQKEY",
    "TIMER_DELAY_LEVEL",
    "REAL_TOPIC",
    "REAL_QID",
    "TRAN_MSG",
    "POP_CK",
    "POP_CK_OFFSET",
    "MIN_OFFSET",
    "MAX_OFFSET",
    "INNER_NUM",
    "INNER_MULTI_QUEUE_OFFSET",
];

/// The compressed bit and the compression type: what a copy keeps of the system flag.
const COMPRESSION: i32 = 0x701;

/// Which form of a body must be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyRule {
    /// The stored bytes: a compressed body is copied as it is.
    Stored,
    /// What a consumer sees after decompression.
    Decoded,
}

/// Where the messages of a source queue belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueRule {
    /// The queue with the same id, at the broker with the same rank by name.
    Same,
    /// One target queue per source queue, whichever it is.
    One,
}

/// How to compare two dumps.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Which bodies must be equal.
    pub body: BodyRule,
    /// Where messages belong.
    pub queues: QueueRule,
    /// Bits of the system flag that must be equal.
    pub sys_flag_mask: i32,
    /// Whether born timestamps must be equal.
    pub born_timestamp: bool,
    /// Whether born hosts and prepared transaction offsets must be equal.
    pub origin: bool,
    /// Properties that are compared on neither side.
    pub overwritten: BTreeSet<String>,
    /// Properties that no target message may have.
    pub stripped: BTreeSet<String>,
    /// Properties that every target message must have, compared with nothing.
    pub added: BTreeSet<String>,
    /// Source messages below these offsets are not expected at the target.
    pub first_offsets: BTreeMap<(String, u32), i64>,
    /// Whether target messages that come from elsewhere are no difference.
    pub allow_foreign: bool,
    /// How many differences a report shows.
    pub examples: usize,
}

impl Rules {
    /// Everything equal, for two dumps of one topic.
    pub fn exact() -> Self {
        Self {
            body: BodyRule::Stored,
            queues: QueueRule::Same,
            sys_flag_mask: -1,
            born_timestamp: true,
            origin: true,
            overwritten: BTreeSet::new(),
            stripped: BTreeSet::new(),
            added: BTreeSet::new(),
            first_offsets: BTreeMap::new(),
            allow_foreign: false,
            examples: 20,
        }
    }

    /// A copy in another cluster, on whose messages the copier put the properties `added`.
    pub fn copy(added: &[&str]) -> Self {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            sys_flag_mask: COMPRESSION,
            origin: false,
            overwritten: set(&OVERWRITTEN),
            stripped: set(&STRIPPED),
            added: set(added),
            ..Self::exact()
        }
    }

    /// Whether a property takes part in the comparison.
    fn compared(&self, name: &str) -> bool {
        !self.overwritten.contains(name) && !self.stripped.contains(name) && !self.added.contains(name)
    }

    /// A hash of everything that a copy must keep.
    pub(super) fn content(&self, message: &Message) -> u128 {
        let mut hash = Sha256::new();
        for (name, value) in self.fields(message) {
            for part in [name, &value] {
                hash.update(part.len().to_le_bytes());
                hash.update(part);
            }
        }
        u128::from_le_bytes(hash.finalize()[..16].try_into().unwrap())
    }

    /// What differs between a message and its copy, one line per field.
    pub(super) fn differences(&self, source: &Message, target: &Message) -> Vec<String> {
        let (source, target) = (self.fields(source), self.fields(target));
        let names: BTreeSet<&str> = source.keys().chain(target.keys()).copied().collect();
        let show = |value: Option<&String>| value.map_or_else(|| "absent".to_owned(), |value| shorten(value));
        names
            .into_iter()
            .filter(|name| source.get(name) != target.get(name))
            .map(|name| format!("{name}: {} became {}", show(source.get(name)), show(target.get(name))))
            .collect()
    }

    /// What is wrong with a target message whatever its source is.
    pub(super) fn target_faults(&self, message: &Message) -> Vec<String> {
        let left = self.stripped.iter().filter(|name| message.properties.contains_key(*name));
        let missing = self.added.iter().filter(|name| !message.properties.contains_key(*name));
        left.map(|name| format!("property {name} was not stripped"))
            .chain(missing.map(|name| format!("property {name} is missing")))
            .collect()
    }

    fn fields<'a>(&self, message: &'a Message) -> BTreeMap<&'a str, String> {
        let (length, hash) = match self.body {
            BodyRule::Stored => (message.stored_length, &message.stored_sha256),
            BodyRule::Decoded => (message.body_length, &message.body_sha256),
        };
        let mask = if self.body == BodyRule::Decoded { self.sys_flag_mask & !COMPRESSION } else { self.sys_flag_mask };
        let mut fields = BTreeMap::from([
            ("body length", length.to_string()),
            ("body", hash.clone()),
            ("flag", message.flag.to_string()),
            ("system flag", format!("{:#x}", message.sys_flag & mask)),
            ("reconsume times", message.reconsume_times.to_string()),
        ]);
        if self.born_timestamp {
            fields.insert("born timestamp", message.born_timestamp.to_string());
        }
        if self.origin {
            fields.insert("born host", message.born_host.clone());
            fields.insert("prepared transaction offset", message.prepared_transaction_offset.to_string());
        }
        // A property's name cannot hold what the names above hold, a space before a word of ours, so they never
        // collide.
        for (name, value) in &message.properties {
            if self.compared(name) {
                fields.insert(name, value.clone());
            }
        }
        fields
    }
}

fn shorten(value: &str) -> String {
    if value.chars().count() <= 80 {
        return format!("{value:?}");
    }
    let start: String = value.chars().take(60).collect();
    format!("{start:?}... ({} bytes)", value.len())
}
