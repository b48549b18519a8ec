//! Many seeds, all sound; and every defect, found.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use causeway_cluster::sim::{Random, number, run_seeds};
use causeway_core::ids::NodeId;
use futures::FutureExt as _;

use super::broker::{Brokers, CALM};
use super::driver::{Defect, Driver, Report, Setup};
use super::link::{Fault, Link, Target};
use crate::replicate::conformance::Questions;

/// At least so many seeds in one test run, and more for so much time of each processor; simulated seconds of faults in
/// each.
const SEEDS: u64 = 24;
const BUDGET: Duration = Duration::from_secs(240);
const SECONDS: u64 = 60;
/// Seeds within which every defect is found.
const SEEDS_OF_A_DEFECT: u64 = 200;

fn setup(seed: u64) -> Setup {
    Setup { seed, seconds: number("CAUSEWAY_SIMULATION_SECONDS", SECONDS), defect: None }
}

fn run(setup: Setup, traced: bool) -> (Result<Report, String>, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut driver = Driver::new(setup, traced);
        // A panic is raft-rs's word for a broken promise.
        let found = AssertUnwindSafe(driver.run()).catch_unwind().await;
        (found.unwrap_or_else(|_| Err("S9: a panic".to_owned())), driver.trace())
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
        ("asked to end", one.asked_to_end),
        ("ended well", one.ended_well),
    ] {
        *sum.entry(what).or_default() += times;
    }
    *sum.entry("strict").or_default() += u64::from(one.strict);
    let longest = if one.strict { "longest strict recovery" } else { "longest recovery" };
    let longest = sum.entry(longest).or_default();
    *longest = one.recovery.max(*longest);
}

#[test]
fn nothing_breaks_an_invariant() {
    let judge = |seed| {
        run(setup(seed), false).0.map_err(|violation| {
            let trace = run(setup(seed), true).1;
            format!(
                "{trace}seed {seed}: {violation}\nalone: CAUSEWAY_SIMULATION_FIRST={seed} \
                 CAUSEWAY_SIMULATION_SEEDS=1 cargo test -p causeway --lib simulation::tests::nothing_breaks"
            )
        })
    };
    let (mut sum, mut seen) = (BTreeMap::new(), 0);
    let done = run_seeds(SEEDS, BUDGET, judge, |report| {
        add(&mut sum, &report);
        seen += 1;
        if u64::is_multiple_of(seen, 100) {
            println!("{seen} seeds: {sum:?}");
        }
    });
    let done = done.unwrap_or_else(|violation| panic!("{violation}"));
    println!("{done} seeds: {sum:?}");
    if done >= SEEDS {
        // What never happens is not tested.
        for what in [
            "takeovers",
            "zombies",
            "stalls",
            "rewinds",
            "snapshots installed",
            "member changes",
            "duplicates",
            "ended well",
            "strict",
        ] {
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
    // From a seed on that is known to find it, so that it takes seconds; any other finds it sooner or later.
    for (defect, first, broken) in [
        (Defect::NoSettling, 93, ["P2"].as_slice()),
        (Defect::NoTailRead, 1, &["P2"]),
        (Defect::OldCheckpoint, 19, &["P5"]),
        (Defect::NoBarrier, 1, &["S2", "S3", "P5"]),
        (Defect::NoPermit, 13, &["P4"]),
        (Defect::LeaseFromArrival, 8, &["P4"]),
        (Defect::NoReports, 1, &["P6"]),
        (Defect::NotStrict, 31, &["P2"]),
    ] {
        let violation = find(defect, first);
        assert!(broken.iter().any(|invariant| violation.starts_with(invariant)), "{defect:?}: {violation}");
    }
}

/// What these brokers do wrong is on purpose; what they promise they keep as Apache's do.
#[test]
fn the_brokers_conform_to_what_apaches_do() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let brokers = Arc::new(Brokers::new(2, Random::new(1), CALM));
        let (link, hides_from) = (Link::new(NodeId(1), Arc::clone(&brokers)), Arc::default());
        let sink = Target { link, number: 1, fault: Fault::None, hides_from };
        let source = brokers.targets[1].clone();
        let questions = Questions { source, sink, queue: 1 };
        questions.ask(&mut || brokers.restart(Duration::from_millis(300), false)).await.unwrap();
    });
}
