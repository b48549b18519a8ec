//! What other nodes and their partitions do, so that every node can show the whole cluster.
//!
//! Each node asks each other one, once a second, and none waits for the answer of another. What was told is shown until
//! the node has told nothing for a while; nothing is ever decided by it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Arc, Weak};
use std::time::Duration;

use causeway_cluster::{Figures, Group};
use causeway_core::ids::{NodeId, Timestamp};
use causeway_core::partition::PartitionId;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use crate::clock;
use crate::status::node::{NodeBoard, NodeReport};
use crate::status::{PartitionFigures, Silence, StatusBoard};

/// Between two questions to one node.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long old figures are better than none. A question follows an answer by [`INTERVAL`] and may take [`PATIENCE`],
/// so one answer that comes late changes nothing that is shown, and two that are missing do.
const STALE: Duration = Duration::from_secs(3);

/// What a node tells. The names of figures travel with them, so nodes of two releases understand each other.
#[derive(Serialize, Deserialize)]
struct Told {
    node: NodeReport,
    partitions: Vec<(PartitionId, PartitionFigures)>,
}

/// What this node tells. Whoever answers other nodes keeps none alive, so it holds the board of nodes weakly.
pub(super) fn told(board: Arc<StatusBoard>, nodes: Weak<NodeBoard>) -> Figures {
    Arc::new(move || {
        let Some(nodes) = nodes.upgrade() else { return Vec::new() };
        let told = Told { node: nodes.own(), partitions: board.partitions().into_iter().collect() };
        serde_json::to_vec(&told).unwrap_or_default()
    })
}

/// Asks until it is dropped.
pub(super) async fn ask(cluster: Group, overview: Arc<StatusBoard>, nodes: Arc<NodeBoard>) {
    let others = || cluster.peers().into_keys().collect();
    let figures_of = |node| cluster.figures_of(node, PATIENCE);
    Neighbours { overview, nodes, heard: BTreeMap::new() }.ask(others, figures_of).await;
}

/// Other nodes, and where it is shown what they tell.
struct Neighbours {
    overview: Arc<StatusBoard>,
    nodes: Arc<NodeBoard>,
    heard: BTreeMap<NodeId, Heard>,
}

/// One other node.
struct Heard {
    /// When it was heard last, or else asked first.
    at: Instant,
    since: Timestamp,
    /// Whether it is being asked.
    asked: bool,
    /// Whether it is shown to tell nothing.
    silent: bool,
}

impl Heard {
    fn now(asked: bool) -> Self {
        Self { at: Instant::now(), since: clock::now(), asked, silent: false }
    }

    /// When what it told is too old; none where that is shown already.
    fn stale_at(&self) -> Option<Instant> {
        (!self.silent).then(|| self.at + STALE)
    }
}

impl Neighbours {
    async fn ask<E: Display>(
        mut self,
        others: impl Fn() -> Vec<NodeId>,
        figures_of: impl AsyncFn(NodeId) -> Result<Vec<u8>, E>,
    ) {
        let one = async |node| (node, figures_of(node).await);
        let mut asking = FuturesUnordered::new();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let stale = self.heard.values().filter_map(Heard::stale_at).min();
            tokio::select! {
                _ = ticks.tick() => asking.extend(self.due(others()).into_iter().map(&one)),
                Some((node, answer)) = asking.next() => self.note(node, answer),
                () = sleep_until(stale.unwrap_or_else(Instant::now)), if stale.is_some() => self.drop_stale(),
            }
        }
    }

    /// Whom to ask now: everybody but those who have not answered the question before. Forgets who is no node any more.
    fn due(&mut self, others: Vec<NodeId>) -> Vec<NodeId> {
        let Self { overview, nodes, heard } = self;
        heard.retain(|node, _| {
            let keep = others.contains(node);
            if !keep {
                overview.forget(*node);
                nodes.set(*node, None);
            }
            keep
        });
        let is_due = |node: &NodeId| {
            let known = heard.entry(*node).or_insert_with(|| Heard::now(false));
            !std::mem::replace(&mut known.asked, true)
        };
        others.into_iter().filter(is_due).collect()
    }

    fn note<E: Display>(&mut self, node: NodeId, answer: Result<Vec<u8>, E>) {
        let Some(heard) = self.heard.get_mut(&node) else { return };
        heard.asked = false;
        match answer.map(|bytes| serde_json::from_slice::<Told>(&bytes)) {
            Ok(Ok(told)) => {
                *heard = Heard::now(false);
                self.overview.heard(node, told.partitions.into_iter().collect());
                self.nodes.set(node, Some(told.node));
            }
            Ok(Err(error)) => tracing::debug!(%node, %error, "its figures are not understood"),
            Err(error) => tracing::debug!(%node, %error, "its figures are not known"),
        }
    }

    fn drop_stale(&mut self) {
        let now = Instant::now();
        for (node, heard) in &mut self.heard {
            if heard.stale_at().is_some_and(|stale| stale <= now) {
                heard.silent = true;
                self.overview.unheard(*node, Silence { since: heard.since, at: heard.at });
                self.nodes.set(*node, None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use tokio::time::{sleep, timeout};

    use super::*;

    const TALKS: NodeId = NodeId(2);
    const STANDS_STILL: NodeId = NodeId(3);

    fn figures(term: u64) -> Vec<u8> {
        let mut node = NodeReport::default();
        node.figures.term = term;
        serde_json::to_vec(&Told { node, partitions: Vec::new() }).unwrap()
    }

    fn boards() -> (Arc<StatusBoard>, Arc<NodeBoard>) {
        let nodes = NodeBoard::new(NodeId(1), Box::new(NodeReport::default));
        (Arc::new(Arc::new(StatusBoard::default()).overview()), Arc::new(nodes))
    }

    fn neighbours((overview, nodes): &(Arc<StatusBoard>, Arc<NodeBoard>)) -> Neighbours {
        Neighbours { overview: Arc::clone(overview), nodes: Arc::clone(nodes), heard: BTreeMap::new() }
    }

    async fn late() -> Result<Vec<u8>, &'static str> {
        sleep(PATIENCE).await;
        Err("no answer")
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_stands_still_is_silent_after_three_seconds_and_ages_nobody_else() {
        let boards = boards();
        let (began, asked) = (Instant::now(), Cell::new(0));
        let answers = async |node: NodeId| {
            if node == STANDS_STILL && began.elapsed() >= INTERVAL * 10 {
                return late().await;
            }
            asked.set(asked.get() + u64::from(node == TALKS));
            Ok(figures(asked.get()))
        };
        let asking = neighbours(&boards).ask(|| vec![TALKS, STANDS_STILL], answers);
        let (overview, nodes) = &boards;
        let silent = |node| overview.silence(node).is_some();
        let looking = async {
            // Heard for the last time at 9 s.
            sleep(INTERVAL * 12 - Duration::from_millis(1)).await;
            assert!(!silent(STANDS_STILL) && nodes.all().contains_key(&STANDS_STILL));
            sleep(Duration::from_millis(2)).await;
            assert!(silent(STANDS_STILL) && !nodes.all().contains_key(&STANDS_STILL));
            let silence = overview.silence(STANDS_STILL).unwrap();
            assert_eq!(silence.at - began, INTERVAL * 9);
            for _ in 0..10 {
                let before = nodes.all()[&TALKS].figures.term;
                sleep(INTERVAL).await;
                assert_eq!((nodes.all()[&TALKS].figures.term, silent(TALKS)), (before + 1, false));
            }
        };
        tokio::select! {
            () = asking => unreachable!("it asks for ever"),
            () = looking => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_late_answer_makes_nobody_silent_and_who_talks_again_is_shown_again() {
        let boards = boards();
        let asked = Cell::new(0_u32);
        let answers = async |_: NodeId| -> Result<Vec<u8>, Infallible> {
            asked.set(asked.get() + 1);
            match asked.get() {
                3 => sleep(PATIENCE - Duration::from_millis(10)).await,
                6 => sleep(INTERVAL * 20).await,
                _ => {}
            }
            Ok(figures(1))
        };
        let others = Cell::new(vec![TALKS]);
        let all = || {
            let now = others.take();
            others.set(now.clone());
            now
        };
        let asking = neighbours(&boards).ask(all, answers);
        let (overview, nodes) = &boards;
        let looking = async {
            while asked.get() < 6 {
                sleep(Duration::from_millis(5)).await;
                assert_eq!(overview.silence(TALKS), None, "after {} questions", asked.get());
            }
            let silence = async |is: bool| {
                while overview.silence(TALKS).is_some() != is {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(STALE, silence(true)).await.expect("it says nothing for long");
            timeout(INTERVAL * 20, silence(false)).await.expect("it talks again");
            assert!(nodes.all().contains_key(&TALKS));
            others.set(Vec::new());
            sleep(INTERVAL * 2).await;
            assert!(overview.silence(TALKS).is_none() && !nodes.all().contains_key(&TALKS), "it is no node any more");
        };
        tokio::select! {
            () = asking => unreachable!("it asks for ever"),
            () = looking => {}
        }
    }
}
