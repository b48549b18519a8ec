//! What befalls nodes, links and clocks.

use std::collections::BTreeSet;

use causeway_core::ids::NodeId;

use super::disk::look;
use super::network::Letter;
use super::node::SPEEDS;
use super::residents::News;
use super::world::{Event, World};
use crate::status::Role;

impl World {
    /// One fault, which ends by itself, and when the next one comes.
    pub(super) fn fault(&mut self) {
        if self.is_calm() {
            return;
        }
        // Some groups hardly get a leader, others have one for long enough to give out what dead nodes owned.
        let most = match self.setup.seed % 3 {
            0 => 800,
            1 => 3_000,
            _ => 7_000,
        };
        // A partition that is given away has to wait before it is copied on: it shall get that far now and then.
        let rarer = if self.setup.has_residents { 4 } else { 1 };
        let next = self.faults.within(20..most * rarer);
        self.schedule(next, Event::Fault);
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        let leads = |node: &NodeId| self.life(*node).is_some_and(|(life, _)| life.status.role == Role::Leader);
        let leader = nodes.iter().copied().find(leads).filter(|_| self.faults.chance(400));
        let Some(node) = leader.or_else(|| self.faults.pick(&nodes)) else { return };
        let long = self.faults.within(50..9_000);
        match self.faults.within(0..100) {
            0..8 => self.crash_if_running(node, long / 2),
            8..16 => self.crash_if_running(node, long / 100),
            16..28 => {
                let steps = self.faults.within(0..12);
                look(&self.nodes[&node].medium).light_fuse(Some(steps));
            }
            28..32 => {
                for node in nodes {
                    let restart = self.faults.within(10..3_000);
                    self.crash_if_running(node, restart);
                }
            }
            32..48 => self.pause(node, long),
            48..58 => {
                if let Some(other) = self.faults.pick(&nodes) {
                    self.cut(node, other, long);
                }
            }
            58..72 => self.split(&[node], &nodes, long),
            72..84 => {
                let half: Vec<NodeId> = nodes.iter().copied().filter(|_| self.faults.chance(500)).collect();
                self.split(&half, &nodes, long);
            }
            84..92 => {
                self.network.loss = self.faults.within(0..200);
                self.network.repetition = self.faults.within(0..200);
                self.network.lateness = self.faults.within(0..300);
                self.network.slow_entries = self.faults.chance(200);
            }
            92..96 => {
                if let Some((node, speed)) = self.nodes.get_mut(&node).zip(self.faults.pick(&SPEEDS)) {
                    node.clock.per_mille = speed;
                }
            }
            _ => self.network.calm(),
        }
    }

    fn crash_if_running(&mut self, node: NodeId, restart: u64) {
        if self.life(node).is_some() {
            self.crash(node, restart);
        }
    }

    /// The power fails at the worst moment: right after a vote has left. It is back at once.
    pub(super) fn crash_behind_a_promise(&mut self, node: NodeId, letters: &[Letter]) {
        if !self.is_calm() && letters.iter().any(Letter::is_promise) && self.faults.chance(250) {
            let restart = self.faults.within(1..40);
            self.crash(node, restart);
        }
    }

    /// The process is stopped as by SIGSTOP; its clock goes on.
    pub(super) fn pause(&mut self, id: NodeId, long: u64) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.life.is_some() && node.stopped.is_none()) else {
            return;
        };
        node.stopped = Some(Vec::new());
        self.stats.pauses += 1;
        self.occurs(News::Stopped { node: id });
        self.schedule(long, Event::Continue(id));
    }

    /// The process is stopped while its question is on its way.
    pub(super) fn pause_behind_a_question(&mut self, id: NodeId) {
        if !self.is_calm() && self.faults.chance(20) {
            let long = self.faults.within(500..6_000);
            self.pause(id, long);
        }
    }

    /// Whoever loses something comes back just then.
    pub(super) fn wake(&mut self, losers: &BTreeSet<NodeId>) {
        self.network.slow_entries |= !losers.is_empty() && !self.is_calm() && self.faults.chance(500);
        for loser in losers {
            if self.faults.chance(500) {
                let delay = self.faults.within(0..10);
                self.schedule(delay, Event::Continue(*loser));
                for other in self.nodes.keys().copied().collect::<Vec<_>>() {
                    self.schedule(delay, Event::Heal(*loser, other));
                    self.schedule(delay, Event::Heal(other, *loser));
                }
            }
        }
    }

    /// Nothing goes between a part and the rest, or only one way.
    fn split(&mut self, part: &[NodeId], nodes: &[NodeId], long: u64) {
        let ways = self.faults.within(0..5);
        let rest: Vec<NodeId> = nodes.iter().copied().filter(|node| !part.contains(node)).collect();
        for (inside, outside) in part.iter().flat_map(|inside| rest.iter().map(move |outside| (*inside, *outside))) {
            if ways != 0 {
                self.cut(inside, outside, long);
            }
            if ways != 1 {
                self.cut(outside, inside, long);
            }
        }
    }

    fn cut(&mut self, from: NodeId, to: NodeId, long: u64) {
        self.stats.cuts += 1;
        self.network.cut(from, to);
        self.schedule(long, Event::Heal(from, to));
    }
}
