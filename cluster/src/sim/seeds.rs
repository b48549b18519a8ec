//! Which seeds a test run simulates.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A number that the environment may give.
///
/// # Panics
/// It gives something else.
#[must_use]
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// Seeds one after the other: as many as `CAUSEWAY_SIMULATION_SEEDS` asks for, otherwise at least so many, and more for
/// as long as this thread has not used so much processor time. `CAUSEWAY_SIMULATION_FIRST` is the first.
pub fn seeds(at_least: u64, budget: Duration) -> impl Iterator<Item = u64> {
    let first = number("CAUSEWAY_SIMULATION_FIRST", 1);
    let asked = number("CAUSEWAY_SIMULATION_SEEDS", 0);
    let began = used();
    (first..).take_while(move |seed| {
        let done = seed - first;
        if asked > 0 { done < asked } else { done < at_least || used().saturating_sub(began) < budget }
    })
}

/// Processor time of this thread.
fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_have_to_be_and_no_more_when_the_time_is_used() {
        assert_eq!(seeds(3, Duration::ZERO).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(seeds(0, Duration::from_secs(3_600)).take(5).count(), 5);
    }
}
