//! The wall clock, read in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use causeway_core::ids::Timestamp;

/// Milliseconds since 1970, by this machine's wall clock. For display and reports; never for fencing.
#[must_use]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}
