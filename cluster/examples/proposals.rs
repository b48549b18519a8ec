//! Measures proposals and disk barriers per second: one caller, then many at once, of one voter and of three.
//!
//! The three are members of one cluster in this process, each with a directory, threads and connections of its own.
//! Both clusters are measured in turn, round by round.
//!
//! `cargo run --release -p causeway-cluster --example proposals -- [directory] [proposals]`

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, clippy::as_conversions)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway_cluster::transport::{self, Identity, Security};
use causeway_cluster::{Group, Network, Settings, Start, Welcome};
use causeway_core::command::{CURRENT_VERSION, Command};
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::name::Name;
use causeway_core::node::ProcessId;
use tokio::task::JoinSet;
use tokio::time::sleep;

const ROUNDS: usize = 3;

const CALLERS: [u32; 4] = [1, 8, 64, 1000];

/// One measurement.
#[derive(Clone, Copy)]
struct Sample {
    proposals: f64,
    barriers: f64,
    per_barrier: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().filter(|text| !text.is_empty());
    let proposals: u32 = arguments.next().map_or(1000, |text| text.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let directory = directory.map_or_else(|| temporary.path().to_path_buf(), Into::into);
    let (one, three) = (found(&directory, 1).await, found(&directory, 3).await);
    let mut samples: BTreeMap<(u32, usize), Vec<Sample>> = BTreeMap::new();
    for round in 0..ROUNDS {
        for callers in CALLERS {
            for members in [&one, &three] {
                let number = if callers == 1 { proposals } else { proposals * 10 };
                let sample = measure(leader(members).await, callers, number).await;
                eprintln!("round {round}: {callers} callers, {} members: {:.0}/s", members.len(), sample.proposals);
                samples.entry((callers, members.len())).or_default().push(sample);
            }
        }
    }
    print(&samples);
    for member in one.iter().chain(&three) {
        member.stop().await.unwrap();
    }
}

/// Starts a cluster of so many voters and waits until one of them leads.
async fn found(directory: &Path, count: u8) -> Vec<Group> {
    let voters: Vec<NodeId> = (1..=count).map(|number| NodeId(number.into())).collect();
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses: BTreeMap<NodeId, SocketAddr> = voters.iter().map(|node| (*node, free())).collect();
    let mut members = Vec::new();
    for node in &voters {
        let directory: PathBuf = directory.join(format!("{}-of-{count}", node.0));
        let start = Start::Found { voters: voters.clone() };
        let settings = Settings { start, ..Settings::new(directory, *node) };
        let group = Group::start(settings, ProcessId(u128::from(node.0))).await.unwrap();
        if count > 1 {
            group.connect(network(*node, &addresses)).await.unwrap();
        }
        members.push(group);
    }
    leader(&members).await;
    members
}

fn network(me: NodeId, addresses: &BTreeMap<NodeId, SocketAddr>) -> Network {
    let name = |node: &NodeId| Name::new(format!("node-{}", node.0)).unwrap();
    let others = addresses.iter().filter(|(node, _)| **node != me);
    Network {
        listen: addresses.get(&me).copied().unwrap(),
        security: Security::Plain,
        identity: Identity {
            cluster: Some(ClusterId(1)),
            node: me,
            name: name(&me),
            region: Name::new("region".to_owned()).unwrap(),
            command_version: CURRENT_VERSION,
        },
        others: others.map(|(node, address)| (*node, name(node), address.to_string())).collect(),
        welcome: Welcome(Vec::new()),
        figures: Arc::new(Vec::new),
        settings: transport::Settings::default(),
    }
}

async fn leader(members: &[Group]) -> &Group {
    loop {
        if let Some(leader) = members.iter().find(|member| member.status().ready) {
            return leader;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn measure(leader: &Group, callers: u32, proposals: u32) -> Sample {
    let before = leader.status().barriers;
    let begin = Instant::now();
    let mut calls = JoinSet::new();
    for caller in 0..callers {
        let leader = leader.clone();
        calls.spawn(async move {
            let name = Name::new(format!("token-{}", caller % 16)).unwrap();
            for number in 0..proposals / callers {
                let [one, two, three, four] = number.to_le_bytes();
                let mut hash = [0; 32];
                hash[..4].copy_from_slice(&[one, two, three, four]);
                leader.propose(Command::PutToken { name: name.clone(), hash }).await.unwrap();
            }
        });
    }
    calls.join_all().await;
    let seconds = begin.elapsed().as_secs_f64();
    let barriers = u32::try_from(leader.status().barriers.count - before.count).unwrap();
    let done = f64::from(proposals / callers * callers);
    let barriers = f64::from(barriers);
    Sample { proposals: done / seconds, barriers: barriers / seconds, per_barrier: done / barriers }
}

fn median(samples: &[Sample], figure: fn(&Sample) -> f64) -> f64 {
    let mut sorted: Vec<f64> = samples.iter().map(figure).collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap()
}

fn print(samples: &BTreeMap<(u32, usize), Vec<Sample>>) {
    println!(
        "| callers | members | proposals/s | against one member | the leader's disk barriers/s | proposals per barrier |"
    );
    println!("|---|---|---|---|---|---|");
    for ((callers, members), measured) in samples {
        let alone = samples.get(&(*callers, 1)).unwrap();
        let ratios = measured
            .iter()
            .zip(alone)
            .map(|(sample, alone)| Sample { proposals: sample.proposals / alone.proposals, ..*sample });
        println!(
            "| {callers} | {members} | {:.0} | {:.2} x | {:.0} | {:.1} |",
            median(measured, |sample| sample.proposals),
            median(&ratios.collect::<Vec<_>>(), |sample| sample.proposals),
            median(measured, |sample| sample.barriers),
            median(measured, |sample| sample.per_barrier),
        );
    }
}
