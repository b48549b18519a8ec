//! The keys of `[replication]`. Their defaults are those of
//! [`ReplicateSettings`](crate::replicate::settings::ReplicateSettings); a test compares them.

use super::{Form, Key, integer, text};

const HOUR_MS: i64 = 3_600_000;

/// The keys.
pub(super) const KEYS: &[Key] = &[
    integer(
        "replication.batch_bytes",
        1_048_576,
        65_536,
        4_194_304,
        "A batch is sent when its messages reach this size. A larger message is sent alone.",
    ),
    integer("replication.batch_messages", 2_048, 1, 65_535, "A batch is sent when it holds so many messages."),
    integer(
        "replication.read_ahead_bytes",
        4_194_304,
        65_536,
        268_435_456,
        "What one partition reads ahead of what its target has acknowledged, at most one pull more.",
    ),
    integer(
        "replication.node_read_ahead_bytes",
        16_777_216,
        1_048_576,
        17_179_869_184,
        "What all partitions of the node read ahead together. It bounds the node's memory; when it is used up, each \
         partition still reads one pull at a time.",
    ),
    integer(
        "replication.pull_messages",
        1_024,
        1,
        65_535,
        "How many messages a pull asks for. Stock brokers return at most 32, and 8 from disk, unless \
         maxTransferCountOnMessageInMemory and its kin were raised.",
    ),
    integer(
        "replication.poll_wait_ms",
        15_000,
        100,
        25_000,
        "How long a source broker may hold a pull at the end of a queue until a message arrives.",
    ),
    integer(
        "replication.settle_ms",
        1_800,
        100,
        HOUR_MS,
        "How long a partition waits at its start before it reads the target's tail, so that whatever was sent before has \
         either landed or never will; not at all where every send is known to be answered. Has to be longer than \
         connection.unacknowledged_ms.",
    ),
    integer(
        "replication.settle_own_ms",
        2_000,
        10,
        HOUR_MS,
        "The same after a send of its own whose outcome is not known.",
    ),
    integer(
        "replication.settle_poll_ms",
        100,
        10,
        10_000,
        "Time between two looks at the end of the target queue while it has to stand still.",
    ),
    text(
        "replication.takeover",
        Form::Choice(&["usual", "strict"]),
        "usual",
        "What a start waits for that follows an owner which ended without a word. usual: settle_ms. strict: also the \
         120 s after which brokers close idle connections, so that an owner which stood still for longer than its lease \
         finds none to go on with. Set it to the same on every node; a planned move and the first start wait for \
         neither.",
    ),
    integer(
        "replication.watch_ms",
        120_000,
        0,
        HOUR_MS,
        "How long after a start, or after an unknown outcome, the target is watched for copies that a dead owner wrote \
         after its time. Brokers close idle connections after 120 s.",
    ),
    integer(
        "replication.search_back_messages",
        100_000,
        1,
        1_000_000_000,
        "How far back a target queue that lost acknowledged messages is searched for the last copy.",
    ),
    integer(
        "replication.first_search_messages",
        10_000,
        0,
        1_000_000_000,
        "How far back a target queue is searched for copies at the very first start of a partition.",
    ),
    integer(
        "replication.retry_first_ms",
        100,
        1,
        HOUR_MS,
        "The wait after a failed request; each further one doubles it, up to retry_longest_ms.",
    ),
    integer("replication.retry_longest_ms", 5_000, 1, HOUR_MS, "The longest wait between two attempts."),
    integer(
        "replication.patience_ms",
        30_000,
        0,
        HOUR_MS,
        "How long a partition repeats failed requests before it is built anew, with fresh routes and connections.",
    ),
    integer(
        "replication.confirmation_count",
        3,
        1,
        1_000,
        "How many times in a row an anomaly of the source has to be seen before a partition is stopped by it.",
    ),
    integer("replication.confirmation_wait_ms", 500, 0, HOUR_MS, "Time between two looks at such an anomaly."),
];

#[cfg(test)]
mod tests {
    use crate::replicate::settings::ReplicateSettings;

    #[test]
    fn the_defaults_are_those_of_the_data_path() {
        let config = crate::config::parse("version = 1", "defaults", []).expect("valid").config;
        assert_eq!(config.replication, ReplicateSettings::default());
    }
}
