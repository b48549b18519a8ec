//! Every metric, once: its name, kind, unit, labels and meaning. `docs/specs/telemetry.md` lists the same in MUST
//! words, and a test compares the two.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations by size.
    Histogram,
}

impl Kind {
    /// The word that the exposition format uses.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What one step of it is.
    pub unit: &'static str,
    /// The labels of every series besides `node`.
    pub labels: &'static [&'static str],
    /// What it tells, in one sentence.
    pub help: &'static str,
}

/// The labels of a stream.
const STREAM: &[&str] = &["stream", "source", "target"];

/// The labels that a series of one queue has in addition, when somebody asks for queues.
pub const QUEUE_LABELS: &[&str] = &["broker", "queue"];

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal, $unit:literal, $labels:expr, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Metric =
                Metric { name: $name, kind: Kind::$kind, unit: $unit, labels: $labels, help: $help };
        )*

        /// Every metric, in the order in which they are answered.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    BUILD_INFORMATION = Gauge "causeway_build_info", "1", &["version"],
        "Always 1; the label tells which version runs.";
    STREAM_LAG_MESSAGES = Gauge "causeway_stream_lag_messages", "messages", STREAM,
        "Messages that the source holds and the target does not.";
    STREAM_LAG_SECONDS = Gauge "causeway_stream_lag_seconds", "seconds", STREAM,
        "How far the target is behind the source, of the partition that is furthest.";
    STREAM_RPO_SECONDS = Gauge "causeway_stream_rpo_seconds", "seconds", STREAM,
        "Upper bound of the age of what would be lost if the source were gone now, of the worst partition.";
    STREAM_READ_MESSAGES = Counter "causeway_stream_read_messages_total", "messages", STREAM,
        "Messages read from the source.";
    STREAM_WRITTEN_MESSAGES = Counter "causeway_stream_written_messages_total", "messages", STREAM,
        "Messages written to the target.";
    STREAM_READ_BYTES = Counter "causeway_stream_read_bytes_total", "bytes", STREAM,
        "Bytes of stored records read from the source.";
    STREAM_SLAVE_READ_MESSAGES = Counter "causeway_stream_slave_read_messages_total", "messages", STREAM,
        "Messages among those read that a slave of the source answered.";
    STREAM_WRITTEN_BYTES = Counter "causeway_stream_written_bytes_total", "bytes", STREAM,
        "Bytes of encoded messages written to the target.";
    STREAM_FILTERED_MESSAGES = Counter "causeway_stream_filtered_messages_total", "messages", STREAM,
        "Messages left out by the filter.";
    STREAM_LOOPED_MESSAGES = Counter "causeway_stream_looped_messages_total", "messages", STREAM,
        "Messages left out because they had passed the target already.";
    INFLIGHT_BYTES = Gauge "causeway_inflight_bytes", "bytes", STREAM,
        "Bytes read ahead and not yet acknowledged by the target.";
    PARTITION_STATE = Gauge "causeway_partition_state", "partitions", &["stream", "source", "target", "state"],
        "How many partitions of the stream are in this state; 0 where none is.";
    STREAM_STATE = Gauge "causeway_stream_state", "1", &["stream", "source", "target", "state"],
        "1 for the state that the stream is in, also where it has no partition yet; 0 for the others.";
    CHECKPOINT_AGE = Gauge "causeway_checkpoint_age_seconds", "seconds", STREAM,
        "Age of the last committed checkpoint, of the partition whose checkpoint is oldest.";
    ZOMBIE_WRITES = Counter "causeway_zombie_writes_total", "messages", STREAM,
        "Copies found on the target that a dead owner wrote after its time.";
    SOURCE_GAPS = Counter "causeway_source_gaps_total", "faults", STREAM,
        "Faults raised because messages were missing, removed or replaced in a source queue.";
    REWINDS = Counter "causeway_rewinds_total", "rewinds", STREAM,
        "Times that the target was found to have lost acknowledged messages, which were then copied again.";
    ERRORS = Counter "causeway_errors_total", "errors", &["class", "code"],
        "Times that a stream or partition began to be blocked or faulted for a reason of this code.";
    RAFT_TERM = Gauge "causeway_raft_term", "term", &[],
        "The current term of the Raft group.";
    RAFT_APPLIED_INDEX = Gauge "causeway_raft_applied_index", "entries", &[],
        "The last log entry that was applied to the state.";
    RAFT_APPLY_LAG = Gauge "causeway_raft_apply_lag_entries", "entries", &[],
        "Log entries that are known to be committed here and are not applied yet.";
    RAFT_LEADER = Gauge "causeway_raft_leader", "1", &[],
        "1 while this node leads the Raft group, otherwise 0.";
    MEMBER_CHANGES = Counter "causeway_member_changes_total", "changes", &[],
        "Nodes that entered or left the Raft group, or won or lost their vote.";
    DROPPED_MESSAGES = Counter "causeway_transport_dropped_messages_total", "messages", &["direction"],
        "Raft messages that were dropped for want of room or of a connection; they are sent again by themselves.";
    PEER_CONNECTED = Gauge "causeway_peer_connected", "1", &["peer"],
        "1 while this node has a connection to the other one, otherwise 0.";
    NODE_LIVENESS = Gauge "causeway_node_liveness", "1", &["peer", "region", "role", "liveness"],
        "By the leader only: 1 for what it knows of whether a node is up, 0 for the others.";
    NODE_BEHIND = Gauge "causeway_node_behind_entries", "entries", &["peer"],
        "By the leader only: log entries that a node lacks.";
    OWNED_PARTITIONS = Gauge "causeway_owned_partitions", "partitions", &[],
        "Partitions that this node owns.";
    LEAVING_PARTITIONS = Gauge "causeway_leaving_partitions", "partitions", &[],
        "Partitions among them that are on their way to another node.";
    TAKEOVERS = Counter "causeway_takeovers_total", "partitions", &[],
        "Partitions that this node was given because their owner was gone.";
    MOVES_IN = Counter "causeway_moves_in_total", "partitions", &[],
        "Partitions that their owner handed to this node.";
    LEASE_HELD = Gauge "causeway_lease_held", "1", &[],
        "1 while this node may write to targets, otherwise 0.";
    LEASE_REMAINING = Gauge "causeway_lease_remaining_seconds", "seconds", &[],
        "What is left of this node's lease; left out where it has none or needs none.";
    LEASE_LOSSES = Counter "causeway_lease_losses_total", "losses", &[],
        "Times that this node's lease ended because it was not renewed in time; not where it was given back.";
    CERTIFICATE_REMAINING = Gauge "causeway_certificate_remaining_seconds", "seconds", &["certificate"],
        "How long this node's certificate for other nodes is still valid, and the first of its authorities to end.";
    RELAY_SERVED_STREAMS = Gauge "causeway_relay_served_streams", "streams", &[],
        "Partitions of other nodes that this node reads for.";
    RELAY_RECEIVED_STREAMS = Gauge "causeway_relay_received_streams", "streams", &[],
        "Partitions of this node that other nodes read for.";
    RELAY_RAW_BYTES = Counter "causeway_relay_raw_bytes_total", "bytes", &[],
        "Bytes of records that this node relayed, before compression.";
    RELAY_SENT_BYTES = Counter "causeway_relay_sent_bytes_total", "bytes", &[],
        "Bytes that this node sent for them.";
    RELAY_RECEIVED_BYTES = Counter "causeway_relay_received_bytes_total", "bytes", &[],
        "Bytes that this node received from relays.";
    RELAY_LEFT_OUT = Counter "causeway_relay_left_out_messages_total", "messages", &[],
        "Messages that this node did not relay because the stream's filter leaves them out.";
    RELAY_CREDIT_WAITS = Counter "causeway_relay_credit_waits_total", "batches", &[],
        "Batches of this node that waited until their reader had taken enough of the ones before.";
    RELAY_FAILURES = Counter "causeway_relay_failures_total", "failures", &[],
        "Times that a relay failed this node: interruptions, refusals, missing answers.";
    RELAY_RESUMES = Counter "causeway_relay_resumes_total", "resumes", &[],
        "Times that a relay went on with a source after a failure.";
    RELAY_FALLBACKS = Counter "causeway_relay_fallbacks_total", "fallbacks", &[],
        "Times that this node turned to reading a source directly because its relays failed.";
    BARRIER = Histogram "causeway_barrier_seconds", "seconds", &[],
        "How long the disk took to make written entries durable.";
    PROCESS_RESIDENT_MEMORY = Gauge "causeway_process_resident_memory_bytes", "bytes", &[],
        "Physical memory that the process uses.";
    PROCESS_CPU = Counter "causeway_process_cpu_seconds_total", "seconds", &[],
        "Processor time that the process used, user and system.";
}

/// The class of an error code: the first digits of its number, as a word.
#[must_use]
pub fn class(code: causeway_core::error_code::ErrorCode) -> &'static str {
    match code.number() / 100 {
        1 => "input",
        2 => "access",
        3 => "instance",
        4 => "decision",
        _ => "node",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../docs/specs/telemetry.md");

    fn row(metric: &Metric) -> String {
        let mut labels = vec!["`node`".to_owned()];
        labels.extend(metric.labels.iter().map(|label| format!("`{label}`")));
        let Metric { name, kind, unit, help, .. } = metric;
        format!("| `{name}` | {} | {unit} | {} | {help} |", kind.word(), labels.join(" "))
    }

    #[test]
    fn the_page_lists_exactly_these_metrics() {
        let rows: Vec<&str> =
            PAGE.lines().filter(|line| line.starts_with("| `causeway_") && line.split(" | ").count() == 5).collect();
        let expected: Vec<String> = ALL.iter().map(row).collect();
        assert_eq!(rows.join("\n"), expected.join("\n"));
    }

    #[test]
    fn names_follow_the_rules_of_the_page() {
        for metric in ALL {
            let name = metric.name;
            assert!(name.starts_with("causeway_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            let base = name.trim_end_matches("_total");
            if ["seconds", "bytes"].contains(&metric.unit) {
                assert!(base.ends_with(metric.unit), "{name}");
            }
            assert!(metric.help.ends_with('.'), "{name}");
        }
    }
}
