//! How the transport runs.

use std::time::Duration;

use super::error::Error;
use crate::SettingsFault;

/// The largest [`Settings::maximum_frame_bytes`]. The first bytes of a TLS record, read as a length, lie above it.
const LARGEST_FRAME_BYTES: usize = 256 * 1024 * 1024;
/// What a frame holds beside its body, at most.
pub(crate) const FRAME_OVERHEAD_BYTES: usize = 32;

/// How the transport runs. The default suits almost everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Longest time for TCP, TLS and the first frames together. Above `dead_after`, so that a node that was started
    /// again can wait until the connection of its former process is known to be dead.
    pub handshake_timeout: Duration,
    /// A side that sent nothing for this long sends a ping.
    pub ping_every: Duration,
    /// A connection on which nothing was heard, or nothing could be sent, for this long is dead.
    pub dead_after: Duration,
    /// The wait before the second attempt to connect; it doubles.
    pub first_backoff: Duration,
    /// The longest wait between two attempts to connect.
    pub longest_backoff: Duration,
    /// The largest frame, in bytes.
    pub maximum_frame_bytes: usize,
    /// The largest Raft message, in bytes; also what all messages that are being put together from pieces may hold.
    pub maximum_message_bytes: usize,
    /// A Raft message above this size, in bytes, travels in pieces, which let other frames pass between them.
    pub whole_message_bytes: usize,
    /// The size of a piece, in bytes.
    pub piece_bytes: usize,
    /// How long a message in pieces may take.
    pub message_time_limit: Duration,
    /// Raft messages that may wait for one peer, not counting those in pieces.
    pub buffered_messages: usize,
    /// Bytes of those messages.
    pub buffered_bytes: usize,
    /// Requests that may be unanswered at once: sent to one peer, and in progress for one connection. So many answers
    /// of the largest size are what one connection may hold in memory.
    pub requests: usize,
    /// Bytes of those requests.
    pub request_bytes: usize,
    /// Connections for byte streams that this node opens to each peer, when they are needed.
    pub stripes: usize,
    /// Byte streams that may be open at once on one of them.
    pub streams: usize,
    /// The largest message of a byte stream, in bytes.
    pub stream_message_bytes: usize,
    /// Bytes of messages that may wait to be sent on one connection for byte streams, beyond the largest one.
    pub stream_buffer_bytes: usize,
    /// Connections of other nodes that may be open at once. The largest cluster has 64 nodes.
    pub connections: usize,
    /// Connections that may be in their handshake at once.
    pub handshakes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            handshake_timeout: Duration::from_secs(10),
            ping_every: Duration::from_millis(750),
            dead_after: Duration::from_secs(3),
            first_backoff: Duration::from_millis(50),
            longest_backoff: Duration::from_secs(2),
            maximum_frame_bytes: 8 * MIB,
            maximum_message_bytes: 256 * MIB,
            whole_message_bytes: 2 * MIB,
            piece_bytes: MIB / 4,
            message_time_limit: Duration::from_secs(300),
            buffered_messages: 4096,
            buffered_bytes: 32 * MIB,
            requests: 64,
            request_bytes: 32 * MIB,
            stripes: 4,
            streams: 1024,
            // RocketMQ's largest frame is 16 MiB.
            stream_message_bytes: 20 * MIB,
            stream_buffer_bytes: MIB,
            connections: 512,
            handshakes: 64,
        }
    }
}

impl Settings {
    /// The largest body of a request or an answer, in bytes.
    #[must_use]
    pub fn maximum_body_bytes(&self) -> usize {
        self.maximum_frame_bytes.saturating_sub(FRAME_OVERHEAD_BYTES)
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`Error::Settings`] with all faults at once.
    pub fn validate(&self) -> Result<(), Error> {
        let body = self.maximum_body_bytes();
        let stream_frame = self.stream_message_bytes.saturating_add(FRAME_OVERHEAD_BYTES);
        let rules = [
            ("ping_every", self.ping_every.is_zero(), "must not be 0"),
            ("dead_after", self.dead_after < self.ping_every.saturating_mul(2), "must be at least twice ping_every"),
            ("handshake_timeout", self.handshake_timeout <= self.dead_after, "must be above dead_after"),
            ("first_backoff", self.first_backoff.is_zero(), "must not be 0"),
            ("longest_backoff", self.longest_backoff < self.first_backoff, "must be at least first_backoff"),
            ("maximum_frame_bytes", body < 1024, "must be at least 1056"),
            ("maximum_frame_bytes", self.maximum_frame_bytes > LARGEST_FRAME_BYTES, "must be at most 256 MiB"),
            ("whole_message_bytes", self.whole_message_bytes > body, "must fit into a frame"),
            ("maximum_message_bytes", self.maximum_message_bytes < self.whole_message_bytes, "must hold a whole one"),
            ("piece_bytes", self.piece_bytes == 0, "must be at least 1"),
            ("piece_bytes", self.piece_bytes > body, "must fit into a frame"),
            ("message_time_limit", self.message_time_limit.is_zero(), "must not be 0"),
            ("buffered_messages", self.buffered_messages == 0, "must be at least 1"),
            ("buffered_bytes", self.buffered_bytes < self.whole_message_bytes, "must hold one whole message"),
            ("requests", self.requests == 0, "must be at least 1"),
            ("request_bytes", self.request_bytes < body, "must hold one largest request"),
            ("stripes", self.stripes == 0, "must be at least 1"),
            ("streams", self.streams == 0, "must be at least 1"),
            ("stream_message_bytes", self.stream_message_bytes == 0, "must be at least 1"),
            ("stream_message_bytes", stream_frame > LARGEST_FRAME_BYTES, "must be at most 255 MiB"),
            ("stream_buffer_bytes", self.stream_buffer_bytes == 0, "must be at least 1"),
            ("connections", self.connections == 0, "must be at least 1"),
            ("handshakes", self.handshakes == 0, "must be at least 1"),
        ];
        let faults: Vec<_> = rules
            .into_iter()
            .filter(|(_, wrong, _)| *wrong)
            .map(|(setting, _, reason)| SettingsFault { setting, reason })
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::Settings { faults }) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Error, Settings};

    #[test]
    fn the_defaults_are_sound_and_all_faults_are_named_at_once() {
        Settings::default().validate().unwrap();
        let settings = Settings { dead_after: Duration::from_millis(1), requests: 0, ..Settings::default() };
        let Err(Error::Settings { faults }) = settings.validate() else { panic!("accepted") };
        assert_eq!(faults.iter().map(|fault| fault.setting).collect::<Vec<_>>(), ["dead_after", "requests"]);
    }
}
