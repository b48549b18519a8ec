//! The properties of `plan.rs`, over random clusters.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::command::{CURRENT_VERSION, Envelope, NewPartition};
use crate::ids::{ClusterId, Epoch, InstanceIdentity, StreamId, Timestamp};
use crate::instance::InstanceSpec;
use crate::name::Name;
use crate::node::{JoinToken, MemberRole, NodeSpec, ProcessId};
use crate::outcome::Outcome;
use crate::partition::QueueId;
use crate::stream::{Endpoint, RunOptions, StartPosition, StreamSpec};

const LIMITS: Limits = Limits { placements: 16, moves: 4, balances: true };

const REGIONS: [&str; 3] = ["qingdao", "hohhot", "singapore"];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

#[derive(Debug, Clone)]
struct Cluster {
    state: State,
    index: u64,
}

impl Cluster {
    fn new(regions: &[usize]) -> Self {
        let mut cluster = Self { state: State::default(), index: 0 };
        cluster.apply(Command::Initialise { cluster: ClusterId(1) });
        for (number, region) in (1..).zip(regions) {
            let address = Some(format!("10.0.0.{number}:7501"));
            let region = name(REGIONS[*region]);
            let spec = NodeSpec { name: name(&format!("node-{number}")), region, address, supports: CURRENT_VERSION };
            let id = if number == 1 {
                NodeId(1)
            } else {
                let token = JoinToken { role: MemberRole::Learner, expires_at: Timestamp(i64::MAX) };
                cluster.apply(Command::IssueJoinToken { hash: [number; 32], token });
                let admitted = cluster.apply(Command::AdmitNode { token: [number; 32], spec: spec.clone() });
                let Outcome::NodeAdmitted(id) = admitted else { panic!("{admitted:?}") };
                id
            };
            cluster.apply(Command::StartNode { node: id, spec, process: ProcessId(1) });
        }
        for (number, region) in (0_u64..).zip(REGIONS) {
            let spec = InstanceSpec {
                name: name(region),
                region: name(region),
                name_servers: vec!["127.0.0.1:9876".into()],
                credentials: None,
                tls: None,
            };
            cluster.apply(Command::PutInstance { spec, identity: InstanceIdentity(number), expected: None });
        }
        cluster
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let envelope = Envelope { version: CURRENT_VERSION, request: 0, at: Timestamp(0), command };
        let outcome = self.state.apply(self.index, &envelope);
        assert!(!matches!(outcome, Outcome::Refused(_)), "{:?}: {outcome:?}", envelope.command);
        outcome
    }

    fn stream(&mut self, text: &str, target: usize, queues: u32) -> StreamId {
        let end = |region: &str| Endpoint { instance: name(region), topic: text.into() };
        let spec = StreamSpec {
            name: name(text),
            source: end(REGIONS[(target + 1) % REGIONS.len()]),
            target: end(REGIONS[target]),
            start: StartPosition::Earliest,
            tag_expression: "*".into(),
            run: RunOptions::default(),
        };
        let Outcome::StreamCreated(stream) = self.apply(Command::CreateStream { spec }) else { panic!("{text}") };
        let queue = |queue| QueueId { broker: "b".into(), queue };
        let new = |number| NewPartition { source: queue(number), target: queue(number) };
        self.apply(Command::AddPartitions { stream, partitions: (0..queues).map(new).collect() });
        stream
    }

    /// Carries out one plan. The nodes that `lets_go` names let go of what they are asked for.
    fn carry_out(&mut self, commands: Vec<Command>, lets_go: &BTreeSet<NodeId>) {
        for command in commands {
            self.apply(command);
        }
        for (partition, is) in self.state.partitions.clone() {
            if let (Some(node), Some(_)) = (is.owner.filter(|owner| lets_go.contains(owner)), is.moving_to) {
                self.apply(Command::Release { partition, node, epoch: is.epoch, checkpoint: None, settled: true });
            }
        }
    }

    /// Plans, and lets go of what is asked for, until there is nothing to do.
    fn settle(&mut self, conditions: &Conditions) {
        let up: BTreeSet<_> = up(conditions).collect();
        for _ in 0..10_000 {
            let commands = checked_plan(&self.state, conditions);
            let before = self.index;
            self.carry_out(commands, &up);
            if self.index == before {
                return;
            }
        }
        panic!("plans come to no end");
    }

    fn may_own(&self, conditions: &Conditions) -> Vec<NodeId> {
        up(conditions).filter(|node| self.state.nodes.get(node).is_some_and(|node| !node.draining)).collect()
    }

    fn target_region(&self, stream: StreamId) -> &Name {
        let stream = self.state.stream_by_id(stream).unwrap();
        &self.state.instances[&stream.spec.target.instance].spec.region
    }
}

fn up(conditions: &Conditions) -> impl Iterator<Item = NodeId> {
    conditions.nodes.iter().filter(|(_, is)| **is == Liveness::Up).map(|(node, _)| *node)
}

/// P7 and P8 hold for every single plan.
fn checked_plan(view: &State, conditions: &Conditions) -> Vec<Command> {
    let commands = plan(view, conditions, LIMITS);
    let mut seen = BTreeSet::new();
    let mut moving: BTreeSet<_> =
        view.partitions.iter().filter(|(_, is)| is.moving_to.is_some()).map(|(id, _)| id).collect();
    let before = moving.len();
    for command in &commands {
        match command {
            Command::Assign { partition, .. } => {
                assert!(seen.insert(partition), "P7: {partition} twice");
                let owner = view.partitions[partition].owner;
                let may_live = owner.is_some_and(|owner| conditions.nodes.get(&owner) != Some(&Liveness::Down));
                assert!(!may_live, "P8: {partition} is taken from {owner:?}");
            }
            Command::Move { partition, .. } => {
                assert!(seen.insert(partition), "P7: {partition} twice");
                moving.insert(partition);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(moving.len() <= before.max(LIMITS.moves), "P7: {} are moving", moving.len());
    commands
}

fn conditions(liveness: &[Liveness], loads: &BTreeMap<PartitionId, u64>) -> Conditions {
    let nodes = (1..).map(NodeId).zip(liveness.iter().copied()).collect();
    Conditions { nodes, bytes_per_second: loads.clone() }
}

fn any_liveness() -> impl Strategy<Value = Liveness> {
    prop_oneof![4 => Just(Liveness::Up), 1 => Just(Liveness::Silent), 2 => Just(Liveness::Down)]
}

fn assert_settled(cluster: &Cluster, conditions: &Conditions) {
    let may_own = cluster.may_own(conditions);
    let nodes = &cluster.state.nodes;
    let weight = |id: &PartitionId| BASE_BURDEN + conditions.bytes_per_second.get(id).copied().unwrap_or(0);
    let mut carried: BTreeMap<NodeId, u64> = may_own.iter().map(|node| (*node, 0)).collect();
    // A silent node may still let go of what it was asked for, so that counts where it goes.
    for (id, partition) in &cluster.state.partitions {
        if let Some(carried) = partition.moving_to.or(partition.owner).and_then(|node| carried.get_mut(&node)) {
            *carried += weight(id);
        }
    }
    // Moves that wait for silent nodes take the room of all others until it is known what those are.
    let on_their_way = cluster.state.partitions.values().filter(|is| is.moving_to.is_some()).count();
    let no_room = on_their_way >= LIMITS.moves;
    for (id, partition) in &cluster.state.partitions {
        let owner = partition.owner;
        if owner.is_some_and(|owner| conditions.nodes.get(&owner) == Some(&Liveness::Silent)) || may_own.is_empty() {
            continue;
        }
        let owner = owner.unwrap_or_else(|| panic!("P1: nobody owns {id}"));
        assert_eq!(conditions.nodes.get(&owner), Some(&Liveness::Up), "P1: {id}");
        if no_room {
            continue;
        }
        assert!(!nodes[&owner].draining, "P6: {id} stays on a node that drains");
        let wanted = cluster.target_region(id.stream);
        let beside: Vec<_> = may_own.iter().filter(|node| nodes[node].region == *wanted).collect();
        assert!(beside.is_empty() || beside.contains(&&owner), "P5: {id} is not beside its target");
        let others = if beside.is_empty() { may_own.iter().collect() } else { beside };
        let lightest = others.iter().map(|node| carried[node]).min().unwrap();
        let difference = carried[&owner].saturating_sub(lightest);
        let bound = (2 * BASE_BURDEN).max(carried[&owner] / 5).max(weight(id) * 4 / 3);
        assert!(difference <= bound, "P3: {id} stays on {owner}, {difference} above the lightest");
    }
}

proptest! {
    #[test]
    fn every_settled_cluster_has_p1_to_p8(
        regions in proptest::collection::vec(0_usize..3, 1..6),
        streams in proptest::collection::vec((0_usize..3, 0_u32..12), 1..5),
        history in proptest::collection::vec(proptest::collection::vec((any_liveness(), any::<bool>()), 6), 1..5),
        loads in proptest::collection::vec(0_u64..2_000_000, 48),
    ) {
        let mut cluster = Cluster::new(&regions);
        for (number, (target, queues)) in streams.iter().enumerate() {
            cluster.stream(&format!("s{number}"), *target, *queues);
        }
        let loads: BTreeMap<_, _> = cluster.state.partitions.keys().cloned().zip(loads).collect();
        for moment in history {
            for (node, (_, draining)) in (1..=u64::try_from(regions.len()).unwrap()).map(NodeId).zip(&moment) {
                cluster.apply(Command::SetDraining { node, draining: *draining });
            }
            let liveness: Vec<_> = moment.iter().map(|(liveness, _)| *liveness).take(regions.len()).collect();
            let conditions = conditions(&liveness, &loads);
            // A cluster that is cut off in the middle is what the next moment begins with.
            let first = checked_plan(&cluster.state, &conditions);
            cluster.carry_out(first, &BTreeSet::new());
            let mut settled = cluster.clone();
            settled.settle(&conditions);
            assert_settled(&settled, &conditions);
            prop_assert!(checked_plan(&settled.state, &conditions).is_empty(), "P4");
        }
    }

    #[test]
    fn p9_another_stream_moves_nothing_that_is_even(
        queues in 1_u32..20, more in 1_u32..20, nodes in 1_usize..5,
    ) {
        let mut cluster = Cluster::new(&vec![1; nodes]);
        let first = cluster.stream("first", 1, queues);
        let conditions = conditions(&vec![Liveness::Up; nodes], &BTreeMap::new());
        cluster.settle(&conditions);
        let before: Vec<_> = cluster.state.partitions_of(first).map(|(_, is)| (is.owner, is.epoch)).collect();
        cluster.stream("second", 1, more);
        cluster.settle(&conditions);
        let after: Vec<_> = cluster.state.partitions_of(first).map(|(_, is)| (is.owner, is.epoch)).collect();
        prop_assert_eq!(before, after);
    }

    #[test]
    fn p2_a_node_that_comes_and_goes_moves_no_more_than_its_share(queues in 8_u32..40) {
        let mut cluster = Cluster::new(&[1, 1, 1]);
        cluster.stream("orders", 1, queues);
        let none = BTreeMap::new();
        cluster.settle(&conditions(&[Liveness::Up; 3], &none));
        let owners = |cluster: &Cluster| -> Vec<_> { cluster.state.partitions.values().map(|is| is.owner).collect() };
        let before = owners(&cluster);
        cluster.settle(&conditions(&[Liveness::Up, Liveness::Silent, Liveness::Up], &none));
        prop_assert_eq!(&owners(&cluster), &before, "a silent node keeps what it has");
        cluster.settle(&conditions(&[Liveness::Up, Liveness::Down, Liveness::Up], &none));
        let moved = before.iter().zip(owners(&cluster)).filter(|(old, new)| **old != *new).map(|(old, _)| *old);
        prop_assert!(moved.into_iter().all(|old| old == Some(NodeId(2))), "only the dead node's partitions moved");
    }
}

#[test]
fn a_partition_on_its_way_to_a_node_that_died_stays_or_goes_elsewhere() {
    let mut cluster = Cluster::new(&[1, 1]);
    cluster.stream("orders", 1, 1);
    let both = conditions(&[Liveness::Up, Liveness::Up], &BTreeMap::new());
    cluster.settle(&both);
    let (partition, is) = cluster.state.partitions.first_key_value().map(|(id, is)| (id.clone(), is.clone())).unwrap();
    let owner = is.owner.unwrap();
    let other = NodeId(3 - owner.0);
    cluster.apply(Command::Move { partition: partition.clone(), epoch: is.epoch, to: other });
    let mut liveness = both.clone();
    liveness.nodes.insert(other, Liveness::Down);
    let commands = checked_plan(&cluster.state, &liveness);
    assert_eq!(commands, [Command::Move { partition, epoch: Epoch(1), to: owner }]);
    cluster.carry_out(commands, &BTreeSet::new());
    assert_eq!(cluster.state.partitions.values().next().unwrap().moving_to, None);
}

#[test]
fn load_counts_by_bytes_and_not_only_by_number() {
    let mut cluster = Cluster::new(&[1, 1]);
    cluster.stream("orders", 1, 9);
    let ids: Vec<_> = cluster.state.partitions.keys().cloned().collect();
    let loads = BTreeMap::from([(ids[0].clone(), 8_000_000)]);
    cluster.settle(&conditions(&[Liveness::Up, Liveness::Up], &loads));
    let heavy = cluster.state.partitions[&ids[0]].owner;
    let beside = ids.iter().filter(|id| cluster.state.partitions[*id].owner == heavy).count();
    assert_eq!(beside, 1, "the busy partition has a node of its own");
}

#[test]
fn the_membership_follows_the_wish_one_step_at_a_time() {
    let mut cluster = Cluster::new(&[0, 0, 1]);
    for node in [2, 3] {
        cluster.apply(Command::SetRole { node: NodeId(node), role: MemberRole::Voter });
    }
    let mut members = Members { voters: BTreeSet::from([NodeId(1)]), leader: NodeId(1), ..Members::default() };
    let mut steps = Vec::new();
    let mut follow = |cluster: &Cluster, members: &mut Members| {
        while let Some(change) = next_member_change(&cluster.state, members) {
            assert!(change.is_wanted(&cluster.state, members), "{change:?}");
            match change {
                MemberChange::AddLearner(node) => members.learners.insert(node),
                MemberChange::Promote(node) => members.learners.remove(&node) && members.voters.insert(node),
                MemberChange::Demote(node) => members.voters.remove(&node) && members.learners.insert(node),
                MemberChange::Remove(node) => members.voters.remove(&node) || members.learners.remove(&node),
            };
            assert!(!change.is_wanted(&cluster.state, members), "{change:?} was made");
            steps.push(change);
            assert!(steps.len() < 50, "{steps:?}");
        }
        std::mem::take(&mut steps)
    };
    assert_eq!(follow(&cluster, &mut members), [2, 3].map(|node| MemberChange::AddLearner(NodeId(node))));
    members.caught_up = BTreeSet::from([NodeId(1), NodeId(2), NodeId(3)]);
    members.changing = true;
    assert_eq!(follow(&cluster, &mut members), [], "one change at a time");
    members.changing = false;
    assert_eq!(follow(&cluster, &mut members), [2, 3].map(|node| MemberChange::Promote(NodeId(node))));
    cluster.apply(Command::SetRole { node: NodeId(1), role: MemberRole::Learner });
    cluster.apply(Command::RemoveNode { node: NodeId(2) });
    assert_eq!(follow(&cluster, &mut members), [MemberChange::Remove(NodeId(2))], "the leader does not demote itself");
    members.leader = NodeId(3);
    assert_eq!(follow(&cluster, &mut members), [MemberChange::Demote(NodeId(1))]);
}

#[test]
fn a_node_becomes_a_member_when_its_first_start_is_agreed_on_and_holds_up_nobody_before() {
    let mut cluster = Cluster::new(&[0, 0]);
    let hash = [3; 32];
    let token = JoinToken { role: MemberRole::Voter, expires_at: Timestamp(i64::MAX) };
    cluster.apply(Command::IssueJoinToken { hash, token });
    let (region, address) = (name(REGIONS[0]), Some("10.0.0.3:7501".to_owned()));
    let spec = NodeSpec { name: name("late"), region, address, supports: CURRENT_VERSION };
    let admitted = cluster.apply(Command::AdmitNode { token: hash, spec: spec.clone() });
    let Outcome::NodeAdmitted(late) = admitted else { panic!("{admitted:?}") };
    cluster.apply(Command::RemoveNode { node: NodeId(2) });
    let next = |cluster: &Cluster| {
        let [leader, removed] = [1, 2].map(NodeId);
        let mut members = Members { voters: BTreeSet::from([leader, removed]), leader, ..Members::default() };
        members.caught_up.insert(leader);
        next_member_change(&cluster.state, &members)
    };
    assert_eq!(next(&cluster), Some(MemberChange::Remove(NodeId(2))));
    let again = cluster.apply(Command::AdmitNode { token: hash, spec: spec.clone() });
    assert_eq!(again, Outcome::NodeAdmitted(late), "its data were lost, and it joins again");
    cluster.apply(Command::StartNode { node: late, spec, process: ProcessId(7) });
    assert_eq!(next(&cluster), Some(MemberChange::AddLearner(late)));
}
