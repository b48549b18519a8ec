//! The clock that permissions are measured by: it counts the time in which the machine was suspended, and heeds no
//! change of the wall clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A point of this machine's boot clock (`CLOCK_BOOTTIME`), in nanoseconds since it booted. That clock counts the time
/// in which the machine was suspended and heeds no change of the wall clock. Points of two machines, or of two boots,
/// say nothing about each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootInstant(u64);

impl BootInstant {
    /// So many nanoseconds after the boot.
    #[must_use]
    pub const fn from_nanos(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since the boot.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// So much later, or the end of all times.
    #[must_use]
    pub fn saturating_add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long after an earlier point this one is; zero where it is not after it.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What tells boot time: the machine, or a test.
#[derive(Clone)]
pub struct BootClock(Arc<dyn Fn() -> BootInstant + Send + Sync>);

impl BootClock {
    /// The machine's own clock. A guest whose clock its host stops does not notice that.
    #[must_use]
    pub fn system() -> Self {
        Self::driven_by(|| {
            // Neither part is ever negative: the clock began at the boot.
            let since_boot = Duration::try_from(clock_gettime(ClockId::Boottime)).unwrap_or(Duration::MAX);
            BootInstant::from_nanos(0).saturating_add(since_boot)
        })
    }

    /// A clock that shows what a function says. It must never go back.
    #[must_use]
    pub fn driven_by(now: impl Fn() -> BootInstant + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> BootInstant {
        (self.0)()
    }
}

impl fmt::Debug for BootClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("BootClock").field(&self.now()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_machines_clock_goes_on_as_fast_as_the_monotonic_one() {
        let clock = BootClock::system();
        let outer = Instant::now();
        let began = clock.now();
        let inner = Instant::now();
        std::thread::sleep(Duration::from_millis(20));
        let at_least = inner.elapsed();
        let told = clock.now().saturating_since(began);
        assert!((at_least..=outer.elapsed()).contains(&told), "{told:?}");
    }

    #[test]
    fn points_saturate_and_never_wrap() {
        let last = BootInstant::from_nanos(u64::MAX);
        assert_eq!(last.saturating_add(Duration::MAX), last);
        let early = BootInstant::from_nanos(5);
        assert_eq!(early.saturating_since(last), Duration::ZERO);
        assert_eq!(early.saturating_add(Duration::from_nanos(3)).saturating_since(early), Duration::from_nanos(3));
    }
}
