//! The keys of `[relay]`. Their defaults are those of [`RelaySettings`](crate::relay::RelaySettings); a test compares
//! them.

use super::{Form, Key, integer, switch, text};

/// The keys.
pub(super) const KEYS: &[Key] = &[
    switch(
        "relay.enabled",
        true,
        "Whether this node reads sources of other regions through the nodes that stand there, and reads for nodes of other \
         regions. Without it, and where no node stands beside the source, partitions read their source directly.",
    ),
    text(
        "relay.compression",
        Form::Choice(&["lz4", "zstd", "none"]),
        "lz4",
        "How the nodes that read for this one compress batches, where that makes them smaller: lz4 costs little, zstd needs \
         more processor time on both sides for fewer bytes on a narrow line.",
    ),
    integer(
        "relay.window_bytes",
        33_554_432,
        65_536,
        1_073_741_824,
        "What may be on its way to one partition, or wait for it on this node. A stream of one partition reaches at most \
         this many bytes in each round trip, so it has to hold bandwidth x delay: 32 MiB fill 1 Gbit/s at 200 ms. It begins \
         with 1 MiB, and doubles while the network is waited for.",
    ),
    integer(
        "relay.node_window_bytes",
        134_217_728,
        1_048_576,
        17_179_869_184,
        "What the windows of all partitions of this node may have together; it bounds their memory. When it is used up, none \
         grows any more, and a further partition still begins with its first window.",
    ),
    integer(
        "relay.served_streams",
        512,
        1,
        4_096,
        "Streams that this node serves at once, one for each partition of other nodes that it reads for. Each holds about a \
         quarter of a MiB and one answer of a broker. Further ones are read through another node, or directly.",
    ),
    integer(
        "relay.stream_connections",
        4,
        1,
        // A node takes 512 connections: from each of 63 others these, and one for everything else.
        7,
        "Connections to each node that relays, over which partitions are spread: a packet that is lost holds up the \
         partitions of one of them only.",
    ),
];

#[cfg(test)]
mod tests {
    use causeway_cluster::transport::Settings;

    use super::{Form, KEYS};
    use crate::relay::RelaySettings;

    #[test]
    fn the_defaults_are_those_of_the_relay_and_the_transport() {
        let relay = crate::config::parse("version = 1", "defaults", []).expect("valid").config.relay;
        assert_eq!(relay.settings, RelaySettings::default());
        assert_eq!(relay.stream_connections, Settings::default().stripes);
        assert!(relay.enabled);
    }

    #[test]
    fn the_largest_cluster_has_connections_enough() {
        let key = KEYS.iter().find(|key| key.path == "relay.stream_connections").unwrap();
        let Form::Integer { maximum, .. } = key.form else { panic!("{:?}", key.form) };
        let taken = (causeway_core::node::MAXIMUM_NODES - 1) * (usize::try_from(maximum).unwrap() + 1);
        assert!(taken <= Settings::default().connections);
    }
}
