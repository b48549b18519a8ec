//! Fills in how messages cross the distance to another region.

use crate::config::RelaySection;
use crate::config::resolve::Values;
use crate::relay::{Compression, RelaySettings};

/// The section `[relay]`.
pub(super) fn resolve(values: &mut Values<'_>) -> RelaySection {
    let fixed = RelaySettings::default();
    let window_bytes = values.size("relay.window_bytes");
    RelaySection {
        enabled: values.switch("relay.enabled"),
        settings: RelaySettings {
            compression: match values.text("relay.compression").as_str() {
                "none" => Compression::Off,
                "zstd" => Compression::Zstd,
                _ => Compression::Lz4,
            },
            first_window_bytes: fixed.first_window_bytes.min(window_bytes),
            window_bytes,
            node_window_bytes: values.size("relay.node_window_bytes"),
            served_streams: values.size("relay.served_streams"),
            ..fixed
        },
        stream_connections: values.size("relay.stream_connections"),
    }
}
