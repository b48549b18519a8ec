//! Measures proposals and disk barriers per second of one voter: one caller, then many at once.
//!
//! `cargo run --release -p causeway-cluster --example proposals -- [directory] [proposals]`

#![allow(clippy::unwrap_used)]

use std::time::Instant;

use causeway_cluster::{Handle, Settings, start};
use causeway_core::command::Command;
use causeway_core::ids::NodeId;
use causeway_core::name::Name;
use tokio::task::JoinSet;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next();
    let proposals: u32 = arguments.next().map_or(2000, |text| text.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let directory = directory.map_or_else(|| temporary.path().to_path_buf(), Into::into);
    let handle = start(Settings::new(directory, NodeId(1))).await.unwrap();
    println!("{:>8} {:>10} {:>12} {:>12} {:>16}", "callers", "proposals", "proposals/s", "barriers/s", "per barrier");
    for callers in [1, 8, 64, 1000] {
        measure(&handle, callers, if callers == 1 { proposals } else { proposals * 10 }).await;
    }
    handle.stop().await.unwrap();
}

async fn measure(handle: &Handle, callers: u32, proposals: u32) {
    let before = handle.status().barriers;
    let begin = Instant::now();
    let mut calls = JoinSet::new();
    for caller in 0..callers {
        let handle = handle.clone();
        calls.spawn(async move {
            let name = Name::new(format!("token-{}", caller % 16)).unwrap();
            for number in 0..proposals / callers {
                let [one, two, three, four] = number.to_le_bytes();
                let mut hash = [0; 32];
                hash[..4].copy_from_slice(&[one, two, three, four]);
                handle.propose(Command::PutToken { name: name.clone(), hash }).await.unwrap();
            }
        });
    }
    calls.join_all().await;
    let seconds = begin.elapsed().as_secs_f64();
    let after = handle.status().barriers;
    let barriers = u32::try_from(after.count - before.count).unwrap();
    let done = proposals / callers * callers;
    println!(
        "{callers:>8} {done:>10} {:>12.0} {:>12.0} {:>16.1}",
        f64::from(done) / seconds,
        f64::from(barriers) / seconds,
        f64::from(done) / f64::from(barriers)
    );
}
