//! The clocks, read in one place: the wall clock for people, the boot clock for permissions.

use std::time::{SystemTime, UNIX_EPOCH};

pub use causeway_cluster::clock::{BootClock, BootInstant};
use causeway_core::ids::Timestamp;

/// Milliseconds since 1970, by this machine's wall clock. For display and reports; never for fencing.
#[must_use]
pub fn now() -> Timestamp {
    timestamp(SystemTime::now())
}

/// The same of another time; 1970 of one before.
#[must_use]
pub fn timestamp(at: SystemTime) -> Timestamp {
    let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// Boot time that passes as tokio's does, which tests pause.
#[cfg(test)]
pub(crate) fn of_runtime() -> BootClock {
    let began = tokio::time::Instant::now();
    BootClock::driven_by(move || BootInstant::from_nanos(1).saturating_add(began.elapsed()))
}
