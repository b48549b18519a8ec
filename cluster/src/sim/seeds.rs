//! Which seeds a test run simulates, and on how many processors.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
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

/// Runs one seed after the other on every processor, and shows each report to `see`, in the order in which they end: as
/// many seeds as `CAUSEWAY_SIMULATION_SEEDS` asks for, otherwise at least so many, and more for as long as a thread has
/// not used so much processor time. `CAUSEWAY_SIMULATION_FIRST` is the first. Returns how many were run.
///
/// # Errors
/// What the first seed says that fails; no more are begun then.
pub fn run_seeds<T: Send>(
    at_least: u64,
    budget: Duration,
    run: impl Fn(u64) -> Result<T, String> + Sync,
    mut see: impl FnMut(T),
) -> Result<u64, String> {
    let first = number("CAUSEWAY_SIMULATION_FIRST", 1);
    let asked = number("CAUSEWAY_SIMULATION_SEEDS", 0);
    let (begun, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let (ended, reports) = mpsc::channel();
    let work = |ended: mpsc::Sender<_>| {
        let began = used();
        while !failed.load(Ordering::Relaxed) {
            let place = begun.fetch_add(1, Ordering::Relaxed);
            let is_wanted =
                if asked > 0 { place < asked } else { place < at_least || used().saturating_sub(began) < budget };
            if !is_wanted {
                break;
            }
            let report = run(first + place);
            failed.fetch_or(report.is_err(), Ordering::Relaxed);
            // Nobody listens any more behind a failure.
            let _ = ended.send(report);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            let (work, ended) = (&work, ended.clone());
            scope.spawn(move || work(ended));
        }
        drop(ended);
        reports.into_iter().try_fold(0, |done, report| {
            see(report?);
            Ok(done + 1)
        })
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
        let mut seen = Vec::new();
        assert_eq!(run_seeds(3, Duration::ZERO, Ok, |seed| seen.push(seed)), Ok(3));
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3]);
    }

    #[test]
    fn the_first_that_fails_ends_it() {
        let run = |seed| if seed == 40 { Err(format!("seed {seed}")) } else { Ok(()) };
        assert_eq!(run_seeds(0, Duration::from_secs(3_600), run, |()| ()), Err("seed 40".to_owned()));
    }
}
