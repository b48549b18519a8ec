//! The keys of the node itself.

use super::{Form, Key, integer, optional, text};

/// The keys.
pub(super) const KEYS: &[Key] = &[
    integer(
        "node.id",
        1,
        1,
        i64::MAX,
        "The node's number in its cluster. A number is never used again: a node that lost its data comes back under a \
         new one, in a new data directory.",
    ),
    text("node.name", Form::Name, "node-1", "The node's name in tables, logs and metrics."),
    text("node.region", Form::Name, "default", "The label of the region that the node stands in."),
    text(
        "node.data_directory",
        Form::Path,
        "causeway-data",
        "Holds everything the node must not lose: checkpoints, streams, the key that seals secrets. A relative path is \
         relative to the directory that the node is started in.",
    ),
    optional(
        "cluster.listen",
        Form::Address,
        "\"10.0.0.5:7501\"",
        "Address and port where other nodes reach this one. Beyond loopback it needs the three files below. Not set: \
         the node is alone, and founds its cluster at its first start.",
    ),
    optional(
        "cluster.advertise",
        Form::HostAndPort,
        "\"node-1.example:7501\"",
        "How other nodes reach cluster.listen, when it is not the address itself: behind a translation of addresses, \
         or by a name.",
    ),
    optional(
        "cluster.certificate_authority_file",
        Form::Path,
        "\"/etc/causeway/ca.pem\"",
        "PEM file of the certificate authorities that may sign the nodes' certificates. causeway certs init makes one.",
    ),
    optional(
        "cluster.certificate_file",
        Form::Path,
        "\"/etc/causeway/node-1.pem\"",
        "PEM file of this node's certificate chain. Its name has to be NODE.node.causeway, with node.name for NODE. A \
         file that is replaced is read again while the node runs.",
    ),
    optional(
        "cluster.key_file",
        Form::Path,
        "\"/etc/causeway/node-1-key.pem\"",
        "PEM file of the key of certificate_file, readable by its owner only.",
    ),
    text(
        "http.listen",
        Form::Address,
        "127.0.0.1:7500",
        "Address and port of the HTTP interface. Only loopback addresses are accepted until the interface has TLS. \
         Port 0 picks a free port.",
    ),
    integer(
        "connection.connect_timeout_ms",
        3_000,
        10,
        600_000,
        "Longest time for a TCP connection and its TLS handshake.",
    ),
    integer(
        "connection.request_timeout_ms",
        10_000,
        100,
        600_000,
        "Longest time for one answer of a name server or broker, beyond what a long poll adds.",
    ),
    integer(
        "connection.unacknowledged_ms",
        1_300,
        100,
        600_000,
        "How long the kernel keeps bytes that a broker's machine has not taken: then the connection is lost. What a \
         dead owner sent can arrive for so long, so replication.settle_ms has to be longer.",
    ),
    integer(
        "connection.send_connections",
        4,
        1,
        64,
        "Sending connections per broker and thread that copies. The thread's target queues are spread over them, so \
         that one lost connection disturbs few of them.",
    ),
    integer(
        "schedule.checkpoint_interval_ms",
        400,
        100,
        60_000,
        "Time between two checkpoints. One checkpoint covers all partitions that made progress and costs one disk \
         barrier on every voter, for each node that copies; so shorter means less to read again after a crash and \
         more writes.",
    ),
    integer(
        "schedule.discovery_interval_ms",
        30_000,
        100,
        3_600_000,
        "Time between two looks at each source topic for queues that were added.",
    ),
    integer(
        "schedule.shutdown_grace_ms",
        15_000,
        0,
        600_000,
        "How long a node that stops waits for the answers to sends in flight.",
    ),
    text(
        "log.level",
        Form::LogFilter,
        "info",
        "A level (error, warn, info, debug, trace), or one for each module as in \"info,causeway::replicate=debug\".",
    ),
    text(
        "log.format",
        Form::Choice(&["text", "json"]),
        "text",
        "How a line looks: text for people, json for collectors (one object a line).",
    ),
];

#[cfg(test)]
mod tests {
    use super::{Form, KEYS};
    use crate::supervisor::checkpoint_keeper::SHORTEST_INTERVAL;

    #[test]
    fn no_checkpoint_interval_is_accepted_that_the_keeper_would_not_keep() {
        let key = KEYS.iter().find(|key| key.path == "schedule.checkpoint_interval_ms").unwrap();
        let Form::Integer { minimum, .. } = key.form else { panic!("{:?}", key.form) };
        assert_eq!(u128::try_from(minimum).unwrap(), SHORTEST_INTERVAL.as_millis());
    }
}
