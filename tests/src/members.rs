//! A Causeway cluster of several nodes as processes, founded and joined with the command line as a user does it.
//!
//! Each node has a folder of its own with its configuration, its data and its log. Whatever is asked is asked of a node
//! that runs: one that is down or stands still is never waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use crate::scenario::node::{Node, NodeSettings};
use crate::scenario::view::{Member, Partition, Queue, decoded};

/// The longest wait for nodes to agree on something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a node.
const LOOK: Duration = Duration::from_millis(50);

/// What a node's process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Runs,
    StandsStill,
    IsDown,
}

/// The nodes of one cluster. Places count from 0; node `place` is called `node-{place + 1}`.
#[derive(Debug)]
pub struct Members {
    nodes: Vec<Node>,
    standing: Vec<Standing>,
    folder: PathBuf,
}

impl Members {
    /// Founds a cluster and lets one node join for each further region, all of them voters. Returns when every node is
    /// a member and the leader has heard it.
    ///
    /// # Panics
    /// When a command fails or the nodes do not find each other in time.
    pub fn found(folder: &Path, regions: &[&str], settings: &NodeSettings) -> Self {
        Self::found_each(folder, regions, |_, _| settings.clone())
    }

    /// The same, with settings of each node by its place and the address where it listens to the others.
    ///
    /// # Panics
    /// As [`Members::found`].
    pub fn found_each(folder: &Path, regions: &[&str], mut settings: impl FnMut(usize, &str) -> NodeSettings) -> Self {
        let mut nodes = Vec::new();
        for (place, region) in regions.iter().enumerate() {
            let name = name(place);
            nodes.push(Node::member_with(&folder.join(&name), &name, region, |listen| settings(place, listen)));
        }
        let standing = vec![Standing::IsDown; nodes.len()];
        let mut members = Self { nodes, standing, folder: folder.to_owned() };
        let config = members.nodes[0].config();
        succeeded(&members.nodes[0].command(&["cluster", "init", "--config", text(&config)]));
        members.nodes[0].start_first();
        members.standing[0] = Standing::Runs;
        for place in 1..members.nodes.len() {
            members.join(place);
        }
        members.wait_whole();
        members
    }

    fn join(&mut self, place: usize) {
        let file = self.join_token(0, place);
        let (at, config) = (self.nodes[0].peer_address(), self.nodes[place].config());
        let arguments = ["cluster", "join", "--at", &at, "--join-token-file", text(&file), "--config", text(&config)];
        succeeded(&self.nodes[place].command(&arguments));
        let administrator = self.nodes[0].token().to_owned();
        self.nodes[place].set_token(&administrator);
        self.start(place);
    }

    /// A file with a new token for the node at `place`, drawn at another one.
    /// A token for a node that is to join, drawn at a node, in a file.
    #[must_use]
    pub fn join_token(&self, at: usize, place: usize) -> PathBuf {
        let printed = succeeded(&self.nodes[at].command(&["--output", "json", "cluster", "token"]));
        let answer: Value = serde_json::from_str(&printed).expect("cluster token prints JSON when it is asked to");
        let token = answer["token"].as_str().expect("the answer has a token");
        let file = self.folder.join(format!("join-token-{}", place + 1));
        std::fs::write(&file, token).unwrap();
        file
    }

    /// How many nodes there are.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// A node.
    pub fn node(&self, place: usize) -> &Node {
        &self.nodes[place]
    }

    /// A node, to change how its process is started.
    pub fn node_mut(&mut self, place: usize) -> &mut Node {
        &mut self.nodes[place]
    }

    /// The places of the nodes that run.
    pub fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|place| self.standing[*place] == Standing::Runs).collect()
    }

    /// A node that runs.
    ///
    /// # Panics
    /// When none does.
    pub fn any(&self) -> &Node {
        let place = self.running().into_iter().next().expect("a node runs");
        &self.nodes[place]
    }

    /// Starts a node that is down and waits until its API answers, which it does without a quorum too.
    pub fn start(&mut self, place: usize) {
        self.nodes[place].start_again();
        self.standing[place] = Standing::Runs;
    }

    /// Starts a node that is down and waits until it ends by itself; answers how, and what it printed since.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn start_in_vain(&mut self, place: usize) -> (ExitStatus, String) {
        let log = self.nodes[place].log();
        let before = std::fs::read_to_string(&log).unwrap_or_default().len();
        self.nodes[place].launch();
        let status = self.nodes[place].process().wait(PATIENCE);
        (status, std::fs::read_to_string(&log).unwrap_or_default().split_off(before))
    }

    /// Waits until a node that runs ends by itself.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait_ended(&mut self, place: usize) -> ExitStatus {
        self.standing[place] = Standing::IsDown;
        self.nodes[place].process().wait(PATIENCE)
    }

    /// Kills a node (SIGKILL).
    pub fn kill9(&mut self, place: usize) {
        self.nodes[place].kill9();
        self.standing[place] = Standing::IsDown;
    }

    /// Asks a node to end (SIGTERM) and waits for it.
    pub fn stop(&mut self, place: usize) -> ExitStatus {
        self.standing[place] = Standing::IsDown;
        self.nodes[place].stop()
    }

    /// Lets a node stand still (SIGSTOP): its connections stay open and silent.
    pub fn pause(&mut self, place: usize) {
        self.nodes[place].process().pause();
        self.standing[place] = Standing::StandsStill;
    }

    /// Lets a node that stands still go on (SIGCONT).
    pub fn resume(&mut self, place: usize) {
        self.nodes[place].process().resume();
        self.standing[place] = Standing::Runs;
    }

    /// Runs `causeway cluster ...` against a node that runs, another one than `but` where there is one.
    pub fn command(&self, arguments: &[&str], but: Option<usize>) -> Output {
        let running = self.running();
        let place = running.iter().find(|place| Some(**place) != but).or(running.first()).expect("a node runs");
        let arguments: Vec<&str> = std::iter::once("cluster").chain(arguments.iter().copied()).collect();
        self.nodes[*place].command(&arguments)
    }

    /// Waits until the nodes that run agree on a new instance of this name, which is how a test sees that they can.
    ///
    /// # Panics
    /// When they do not in time.
    pub fn carry_on(&self, instance: &str) {
        let added = ["instance", "add", instance, "--region", "nowhere", "--name-server", "127.0.0.1:9"];
        // The last moment of an election may still refuse it, or not say that it is there.
        self.wait("a change to be agreed on", |members| {
            let output = members.any().command(&added);
            let is_there = String::from_utf8_lossy(&output.stderr).contains("CWY-0103");
            (output.status.success() || is_there).then_some(())
        });
    }

    /// Gives a node that is down and lost its data a new number, and starts it.
    ///
    /// # Panics
    /// When the command fails or the node does not start.
    pub fn rejoin(&mut self, place: usize) {
        let other = self.running().into_iter().next().expect("a node runs");
        // Nodes of one machine have no certificates, so it is the token that proves who asks.
        let file = self.join_token(other, place);
        let (at, config) = (self.nodes[other].peer_address(), self.nodes[place].config());
        let arguments = ["cluster", "rejoin", "--at", &at, "--join-token-file", text(&file), "--config", text(&config)];
        succeeded(&self.nodes[place].command(&arguments));
        self.start(place);
    }

    /// The node that says of itself that it leads.
    pub fn leader(&self) -> Option<usize> {
        let leads = |place: &usize| {
            self.look(*place).is_some_and(|members| members.iter().any(|member| member.answers && member.leader))
        };
        self.running().into_iter().find(leads)
    }

    /// Waits until a running node leads.
    ///
    /// # Panics
    /// When none does in time.
    pub fn wait_leader(&self) -> usize {
        self.wait("a leader", |members| members.leader())
    }

    /// Waits until every running node is the member that it shall be, voter or learner, and the leader hears it;
    /// returns the leader.
    ///
    /// # Panics
    /// When they are not in time.
    pub fn wait_whole(&self) -> usize {
        let wanted: BTreeSet<String> = self.running().into_iter().map(name).collect();
        self.wait("every running node to be a member that is up", |members| {
            let leader = members.leader()?;
            let seen = members.look(leader)?;
            let is_up = |member: &&Member| {
                member.liveness.as_deref() == Some("up") && member.member.as_deref() == Some(member.role.as_str())
            };
            let up: BTreeSet<String> = seen.iter().filter(is_up).map(|member| member.name.clone()).collect();
            up.is_superset(&wanted).then_some(leader)
        })
    }

    /// Every node as one that runs knows it.
    pub fn look(&self, place: usize) -> Option<Vec<Member>> {
        #[derive(Deserialize)]
        struct Items {
            items: Vec<Member>,
        }
        self.nodes[place].look("/v1/nodes").map(|answer| decoded::<Items>(&answer).items)
    }

    /// The place of the owner of each source queue of a stream, as the running nodes know it: the latest epoch wins,
    /// because a node may lag.
    pub fn owners(&self, stream: &str) -> BTreeMap<Queue, Option<usize>> {
        self.partitions(stream).into_iter().map(|(queue, partition)| (queue, self.place_of(partition.owner))).collect()
    }

    /// The partitions of a stream, each as the running node that knows its latest epoch shows it; where several do, as
    /// its owner does, which knows its figures.
    pub fn partitions(&self, stream: &str) -> BTreeMap<Queue, Partition> {
        let mut latest: BTreeMap<Queue, Partition> = BTreeMap::new();
        for place in self.running() {
            for partition in self.nodes[place].partitions(stream) {
                let is_owner = self.place_of(partition.owner) == Some(place);
                let is_newer = latest
                    .get(&partition.source)
                    .is_none_or(|known| known.epoch < partition.epoch || known.epoch == partition.epoch && is_owner);
                if is_newer {
                    latest.insert(partition.source.clone(), partition);
                }
            }
        }
        latest
    }

    /// The place of the node with a number: numbers are given out in the order of joining.
    pub fn place_of(&self, id: Option<u64>) -> Option<usize> {
        let place = usize::try_from(id?.checked_sub(1)?).ok()?;
        (place < self.nodes.len()).then_some(place)
    }

    /// Waits until something is as wanted.
    ///
    /// # Panics
    /// When it is not in time; the message says what each running node knows of the others.
    pub fn wait<T>(&self, what: &str, wanted: impl Fn(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = wanted(self) {
                return found;
            }
            if Instant::now() > deadline {
                let seen: Vec<_> = self.running().into_iter().map(|place| (name(place), self.look(place))).collect();
                panic!("waited {PATIENCE:?} for {what}: {seen:#?}");
            }
            sleep(LOOK);
        }
    }
}

/// The name of the node at a place.
pub fn name(place: usize) -> String {
    format!("node-{}", place + 1)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the test's folders have names that are text")
}

/// What a command printed.
///
/// # Panics
/// When it failed.
pub fn succeeded(output: &Output) -> String {
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "a command failed with {}:\n{printed}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed
}
