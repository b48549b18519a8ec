//! How messages are relayed.

use std::time::Duration;

use super::packing::Compression;

/// The settings of the relay. Sizes are bytes in memory, or on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelaySettings {
    /// How batches are compressed, where that pays.
    pub compression: Compression,
    /// The window of a stream when it is opened: it fills a line of 40 Mbit/s with a delay of 200 ms.
    pub first_window_bytes: usize,
    /// The largest window of one stream, to which it grows by doubling while its reader waits for the network:
    /// bandwidth times delay of a line of 1 Gbit/s with a delay of 200 ms is 25 MB.
    pub window_bytes: usize,
    /// What the windows of all streams of the node that reads may hold together before none grows any more.
    pub node_window_bytes: usize,
    /// A batch is sent when it holds so many bytes before compression, or what one pull brought.
    pub batch_bytes: usize,
    /// Streams that this node serves at once, for all others. Each holds about one batch and one answer of a broker.
    pub served_streams: usize,
    /// How long an answer of a relay may take beyond what it was asked to wait. Longer than a broker's answer may take.
    pub answer_limit: Duration,
    /// The wait before a failed relay is asked again; it doubles with each further failure in a row.
    pub retry_first: Duration,
    /// How long a source is read directly after its relays have failed; it doubles.
    pub direct_first: Duration,
    /// The longest such time.
    pub direct_longest: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            compression: Compression::default(),
            first_window_bytes: MIB,
            window_bytes: 32 * MIB,
            node_window_bytes: 128 * MIB,
            batch_bytes: MIB / 4,
            served_streams: 512,
            answer_limit: Duration::from_secs(15),
            retry_first: Duration::from_millis(100),
            direct_first: Duration::from_secs(10),
            direct_longest: Duration::from_secs(300),
        }
    }
}
