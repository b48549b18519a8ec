//! Kills a proposing process with SIGKILL again and again: every acknowledged proposal must be there, in order.
//!
//! The program is its own child: with arguments it proposes to the directory they name, four callers at once, and
//! prints each proposal that was answered. It has a `main` of its own because a test harness cannot be that child.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command as Process, ExitCode, Stdio};
use std::time::Duration;

use causeway_cluster::{Handle, Settings, start};
use causeway_core::command::Command;
use causeway_core::ids::{InstanceIdentity, NodeId, StreamId};
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::outcome::{Outcome, Refusal};
use causeway_core::state::State;
use causeway_core::stream::{Endpoint, RunOptions, StartPosition, StreamSpec};

const ROUNDS: u64 = 20;
const CALLERS: usize = 4;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [mode, directory] if mode == "propose" => propose_until_killed(Path::new(directory)).await,
        _ => kill_again_and_again().await,
    }
    ExitCode::SUCCESS
}

async fn open(directory: &Path) -> Handle {
    let settings = Settings { snapshot_every_entries: 40, ..Settings::new(directory, NodeId(1)) };
    start(settings).await.unwrap()
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn stream(caller: usize, number: u64) -> Name {
    name(&format!("caller-{caller}-{number}"))
}

/// How many streams of a caller exist: all from 1 to that number, each created after the one before.
fn count(state: &State, caller: usize) -> u64 {
    let mut last = StreamId(0);
    let mut number = 0;
    while let Some(found) = state.streams.get(&stream(caller, number + 1)) {
        assert!(found.id > last, "caller {caller}: {} out of order", number + 1);
        last = found.id;
        number += 1;
    }
    number
}

async fn propose_until_killed(directory: &Path) {
    let handle = open(directory).await;
    for (identity, text) in [(1, "one"), (2, "two")] {
        let spec = InstanceSpec {
            name: name(text),
            region: name("region"),
            name_servers: vec!["127.0.0.1:9876".to_owned()],
            credentials: None,
            tls: None,
        };
        let put = Command::PutInstance { spec, identity: InstanceIdentity(identity), expected: None };
        let outcome = handle.propose(put).await.unwrap();
        assert!(matches!(outcome, Outcome::Changed(_) | Outcome::Refused(Refusal::InstanceExists(_))), "{outcome:?}");
    }
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(propose_in_order(handle.clone(), caller));
    }
    callers.join_all().await;
}

async fn propose_in_order(handle: Handle, caller: usize) {
    let mut number = count(&handle.view(), caller);
    loop {
        number += 1;
        let topic = stream(caller, number).to_string();
        let end = |instance: &str| Endpoint { instance: name(instance), topic: topic.clone() };
        let spec = StreamSpec {
            name: stream(caller, number),
            source: end("one"),
            target: end("two"),
            start: StartPosition::Earliest,
            tag_expression: "*".repeat(usize::try_from(number * 997 % 9000).unwrap()),
            run: RunOptions::default(),
        };
        let outcome = handle.propose(Command::CreateStream { spec }).await.unwrap();
        assert!(matches!(outcome, Outcome::StreamCreated(_)), "{outcome:?}");
        println!("{caller} {number}");
    }
}

fn note(line: &str, acknowledged: &mut [u64; CALLERS]) -> Option<()> {
    let (caller, number) = line.split_once(' ')?;
    acknowledged[caller.parse::<usize>().ok()?] = number.parse().ok()?;
    Some(())
}

async fn kill_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = [0; CALLERS];
    for round in 0..ROUNDS {
        let mut child = Process::new(std::env::current_exe().unwrap())
            .arg("propose")
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..=round * 13 % 90 {
            note(&lines.next().unwrap().unwrap(), &mut acknowledged).unwrap();
        }
        // One turn takes a few milliseconds: the pause spreads the kills over all of its parts.
        std::thread::sleep(Duration::from_micros(round * 311 % 4100));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died counts as well.
        for line in lines.map_while(Result::ok) {
            let _ = note(&line, &mut acknowledged);
        }
        let handle = open(directory.path()).await;
        let state = handle.view();
        for (caller, acknowledged) in acknowledged.iter().enumerate() {
            let found = count(&state, caller);
            // One more may have been applied without being acknowledged: each caller has one in flight.
            assert!(
                (*acknowledged..=acknowledged + 1).contains(&found),
                "round {round}, caller {caller}: {acknowledged} acknowledged, {found} found"
            );
        }
        handle.stop().await.unwrap();
    }
    println!("{ROUNDS} kills, {} proposals acknowledged, none lost", acknowledged.iter().sum::<u64>());
}
