//! Kills a writing process with SIGKILL again and again: whatever it said to be behind the barrier must be there.
//!
//! The program is its own child: with arguments it writes to the directory they name and prints each index that the
//! barrier covered. It has a `main` of its own because a test harness cannot be that child.

#![allow(clippy::unwrap_used, clippy::as_conversions)]

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use causeway_core::ids::NodeId;
use causeway_storage::db::{DEFAULT_CACHE_BYTES, Db, Settings};
use causeway_storage::raft_log::{EntryKind, LogEntry, Position};
use causeway_storage::raft_meta::HardState;
use causeway_storage::raft_store::Write;

const ROUNDS: u64 = 20;

fn main() -> ExitCode {
    match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [mode, directory] if mode == "write" => write_until_killed(Path::new(directory)),
        _ => kill_again_and_again(),
    }
    ExitCode::SUCCESS
}

fn open(directory: &Path) -> Db {
    Db::open(&Settings { directory: directory.into(), node: NodeId(1), cache_bytes: DEFAULT_CACHE_BYTES }).unwrap()
}

/// Sizes from one row to many fragments, all different, all a function of the index.
fn entry(index: u64) -> LogEntry {
    let length = if index.is_multiple_of(7) { 9000 + index % 5000 } else { 40 + index % 300 };
    let data = (0..length).map(|at| ((at + index) % 251) as u8).collect();
    LogEntry { position: Position { index, term: 1 + index / 100 }, kind: EntryKind::Normal, data }
}

fn write_until_killed(directory: &Path) {
    let mut db = open(directory);
    let mut out = std::io::stdout();
    loop {
        let next = db.raft.last_index() + 1;
        let entries: Vec<_> = (next..next + 1 + next % 4).map(entry).collect();
        let last = entries.last().unwrap().position;
        let hard_state = Some(HardState { term: last.term, vote: NodeId(1), commit: last.index });
        db.raft.write(&Write { entries, hard_state, ..Write::default() }).unwrap();
        db.barrier.wait().unwrap();
        writeln!(out, "{}", last.index).unwrap();
        if last.index.is_multiple_of(97) {
            db.raft.compact(last.index - 60).unwrap();
        }
    }
}

fn kill_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg("write")
            .arg(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..=round * 13 % 70 {
            acknowledged = lines.next().unwrap().unwrap().parse().unwrap();
        }
        // One write with its barrier takes about a millisecond: the pause spreads the kills over all of its parts.
        std::thread::sleep(Duration::from_micros(round * 157 % 2100));
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died counts as well; a torn last line does not.
        acknowledged = lines.map_while(Result::ok).filter_map(|line| line.parse().ok()).fold(acknowledged, u64::max);

        let db = open(directory.path());
        assert!(db.raft.last_index() >= acknowledged, "round {round}: {acknowledged} is lost");
        assert!(db.raft.hard_state().unwrap().commit >= acknowledged, "round {round}: promises are lost");
        for index in db.raft.compacted().index + 1..=db.raft.last_index() {
            assert_eq!(db.raft.read(index).unwrap().unwrap(), entry(index), "round {round}");
        }
    }
    println!("{ROUNDS} kills, {acknowledged} entries acknowledged, none lost");
}
