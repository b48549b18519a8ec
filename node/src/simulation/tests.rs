//! Many seeds, all sound; and every defect, found.

use std::collections::BTreeMap;

use super::driver::{Defect, Driver, Report, Setup};

/// Seeds of one test run, and simulated seconds of faults in each.
const SEEDS: u64 = 12;
const SECONDS: u64 = 60;
/// Seeds within which every defect is found.
const SEEDS_OF_A_DEFECT: u64 = 200;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

fn setup(seed: u64) -> Setup {
    Setup { seed, seconds: number("CAUSEWAY_SIMULATION_SECONDS", SECONDS), defect: None }
}

fn run(setup: Setup, traced: bool) -> (Result<Report, String>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut driver = Driver::new(setup, traced);
        let found = driver.run().await;
        (found, driver.trace())
    })
}

/// What happened in all runs together.
fn add(sum: &mut BTreeMap<&'static str, u64>, one: &Report) {
    let (group, brokers) = (&one.group, &one.brokers);
    for (what, times) in [
        ("steps", group.steps),
        ("crashes", group.crashes),
        ("pauses", group.pauses),
        ("cuts", group.cuts),
        ("elections", group.elections),
        ("member changes", group.member_changes),
        ("snapshots installed", group.snapshots),
        ("takeovers", group.takeovers),
        ("sends", brokers.sends),
        ("zombies", brokers.zombies),
        ("broker restarts", brokers.restarts),
        ("losses", brokers.losses),
        ("freezes", brokers.freezes),
        ("stalls", brokers.stalls),
        ("rewinds", one.rewinds),
        ("messages", one.messages),
        ("duplicates", one.duplicates),
        ("reported", one.reported),
    ] {
        *sum.entry(what).or_default() += times;
    }
    let longest = sum.entry("longest recovery").or_default();
    *longest = one.recovery.max(*longest);
}

#[test]
fn nothing_breaks_an_invariant() {
    let first = number("CAUSEWAY_SIMULATION_FIRST", 1);
    let seeds = number("CAUSEWAY_SIMULATION_SEEDS", SEEDS);
    let mut sum = BTreeMap::new();
    for seed in first..first + seeds {
        match run(setup(seed), false).0 {
            Ok(report) => add(&mut sum, &report),
            Err(violation) => {
                let trace = run(setup(seed), true).1;
                panic!(
                    "{trace}seed {seed}: {violation}\nalone: CAUSEWAY_SIMULATION_FIRST={seed} \
                     CAUSEWAY_SIMULATION_SEEDS=1 cargo test -p causeway --lib simulation::tests::nothing_breaks"
                );
            }
        }
        if (seed - first + 1).is_multiple_of(100) {
            println!("{} seeds: {sum:?}", seed - first + 1);
        }
    }
    println!("{seeds} seeds: {sum:?}");
    if seeds >= SEEDS {
        // What never happens is not tested.
        for what in ["takeovers", "zombies", "rewinds", "snapshots installed", "member changes", "duplicates"] {
            assert!(sum[what] > 0, "no {what}: {sum:?}");
        }
    }
}

#[test]
fn a_seed_is_the_same_run_again() {
    for seed in [3, 4] {
        let setup = Setup { seconds: 15, ..setup(seed) };
        let [one, other] = [run(setup, false), run(setup, true)].map(|(found, _)| found.unwrap());
        assert_eq!(one, other);
    }
}

/// The first seed from one on that finds a defect, and what it finds.
fn find(defect: Defect, first: u64) -> String {
    let seeds = number("CAUSEWAY_SIMULATION_SEEDS", SEEDS_OF_A_DEFECT);
    let found = (first..first + seeds)
        .find_map(|seed| run(Setup { defect: Some(defect), ..setup(seed) }, false).0.err().map(|found| (seed, found)));
    let (seed, violation) = found.unwrap_or_else(|| panic!("{defect:?} is not found by {seeds} seeds"));
    println!("{defect:?}: seed {seed}, {violation}");
    violation
}

#[test]
fn every_defect_is_found() {
    for (defect, first) in
        [(Defect::NoSettling, 1), (Defect::NoTailRead, 1), (Defect::OldCheckpoint, 1), (Defect::NoBarrier, 1)]
    {
        find(defect, first);
    }
}
