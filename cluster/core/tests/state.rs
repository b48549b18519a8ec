//! The state machine, command by command, and the laws that hold for any log.

#![allow(clippy::unwrap_used, clippy::panic)] // A helper of a test fails the test.

use causeway_core::checkpoint::{Checkpoint, LastCopy};
use causeway_core::codec;
use causeway_core::command::{CURRENT_VERSION, Command, Envelope, NewPartition, Progress};
use causeway_core::fault::{Fault, Resolution};
use causeway_core::ids::{ClusterId, Epoch, Incarnation, InstanceIdentity, NodeId, RuleVersion, StreamId, Timestamp};
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::outcome::{Outcome, Refusal};
use causeway_core::partition::{PartitionId, QueueId, RaisedFault};
use causeway_core::state::State;
use causeway_core::stream::{Endpoint, RunOptions, StartPosition, StreamSpec};
use proptest::prelude::*;

const ME: NodeId = NodeId(1);

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn queue(number: u32) -> QueueId {
    QueueId { broker: "broker-a".into(), queue: number }
}

fn instance(text: &str) -> Command {
    let spec = InstanceSpec {
        name: name(text),
        region: name(text),
        name_servers: vec!["127.0.0.1:9876".into()],
        credentials: None,
        tls: None,
    };
    let identity = InstanceIdentity(u64::try_from(text.len()).unwrap());
    Command::PutInstance { spec, identity, expected: None }
}

fn stream(text: &str, start: StartPosition) -> Command {
    let end = |instance: &str| Endpoint { instance: name(instance), topic: text.into() };
    Command::CreateStream {
        spec: StreamSpec {
            name: name(text),
            source: end("qingdao"),
            target: end("hohhot"),
            start,
            tag_expression: "*".into(),
            run: RunOptions::default(),
        },
    }
}

fn checkpoint(epoch: u64, source_next: i64) -> Checkpoint {
    Checkpoint {
        epoch: Epoch(epoch),
        rule_version: RuleVersion(0),
        source_next,
        target_next: source_next,
        source_incarnation: Incarnation(0),
        target_incarnation: Incarnation(0),
        fingerprint: Some(1),
        last_copy: Some(LastCopy { source_offset: source_next - 1, target_offset: source_next - 1 }),
    }
}

/// A log that is applied as it grows.
#[derive(Default)]
struct Replica {
    state: State,
    index: u64,
}

impl Replica {
    fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let at = Timestamp(i64::try_from(self.index).unwrap());
        self.state.apply(self.index, &Envelope { version: CURRENT_VERSION, request: 0, at, command })
    }

    /// A replica with stream `orders` and one partition, owned by this node at epoch 1.
    fn with_partition() -> (Self, PartitionId) {
        let mut replica = Self::default();
        replica.apply(Command::Initialise { cluster: ClusterId(9) });
        replica.apply(instance("qingdao"));
        replica.apply(instance("hohhot"));
        let Outcome::StreamCreated(id) = replica.apply(stream("orders", StartPosition::Latest)) else {
            panic!("the stream is created");
        };
        let partitions = vec![NewPartition { source: queue(0), target: queue(0) }];
        assert_eq!(replica.apply(Command::AddPartitions { stream: id, partitions }), Outcome::Done);
        let partition = PartitionId { stream: id, source: queue(0) };
        let assigned = replica.apply(Command::Assign { partition: partition.clone(), node: ME, epoch: Epoch(1) });
        assert_eq!(assigned, Outcome::NewEpoch(Epoch(1)));
        (replica, partition)
    }

    fn record(&mut self, partition: &PartitionId, checkpoint: Checkpoint) -> Outcome {
        let progress = vec![Progress { partition: partition.clone(), checkpoint }];
        self.apply(Command::RecordProgress { node: ME, progress })
    }
}

#[test]
fn progress_is_refused_from_another_epoch_node_or_incarnation_and_never_goes_back() {
    let (mut replica, partition) = Replica::with_partition();
    assert_eq!(replica.record(&partition, checkpoint(1, 10)), Outcome::Recorded { refused: 0 });
    for stale in [checkpoint(0, 20), checkpoint(2, 20), checkpoint(1, 9)] {
        assert_eq!(replica.record(&partition, stale), Outcome::Recorded { refused: 1 });
    }
    let other_life = Checkpoint { source_incarnation: Incarnation(1), ..checkpoint(1, 20) };
    assert_eq!(replica.record(&partition, other_life), Outcome::Recorded { refused: 1 });
    let other_node = Command::RecordProgress {
        node: NodeId(2),
        progress: vec![Progress { partition: partition.clone(), checkpoint: checkpoint(1, 20) }],
    };
    assert_eq!(replica.apply(other_node), Outcome::Recorded { refused: 1 });
    assert_eq!(replica.state.partitions[&partition].checkpoint, Some(checkpoint(1, 10)));
}

#[test]
fn a_restarted_node_gets_a_new_epoch_for_what_it_owns() {
    let (mut replica, partition) = Replica::with_partition();
    replica.apply(Command::NodeStarted { node: ME, name: name("node-1"), region: name("hohhot") });
    assert_eq!(replica.state.partitions[&partition].epoch, Epoch(2));
    assert_eq!(replica.record(&partition, checkpoint(1, 10)), Outcome::Recorded { refused: 1 });
    assert_eq!(replica.record(&partition, checkpoint(2, 10)), Outcome::Recorded { refused: 0 });
}

#[test]
fn an_assignment_takes_exactly_the_next_epoch() {
    let (mut replica, partition) = Replica::with_partition();
    for epoch in [0, 1, 3] {
        let refused = replica.apply(Command::Assign { partition: partition.clone(), node: ME, epoch: Epoch(epoch) });
        assert!(matches!(refused, Outcome::Refused(Refusal::StaleEpoch { .. })), "{epoch}");
    }
}

#[test]
fn a_fault_stops_progress_until_it_is_resolved_behind_the_range() {
    let (mut replica, partition) = Replica::with_partition();
    replica.record(&partition, checkpoint(1, 10));
    let fault = Fault::SourceGap { from: 10, to: 15 };
    replica.apply(Command::RaiseFault { partition: partition.clone(), epoch: Epoch(1), fault });
    assert_eq!(replica.record(&partition, checkpoint(1, 11)), Outcome::Recorded { refused: 1 });
    let resolved = replica.apply(Command::ResolveFault { partition: partition.clone(), resolution: Resolution::Skip });
    assert_eq!(resolved, Outcome::NewEpoch(Epoch(2)));
    let now = &replica.state.partitions[&partition];
    assert_eq!(now.fault, None);
    assert_eq!(now.checkpoint.as_ref().map(|c| (c.source_next, c.fingerprint)), Some((15, None)));
    assert_eq!(now.resolved.len(), 1);
}

#[test]
fn a_decision_is_about_the_fault_that_was_judged_and_no_other() {
    let (mut replica, partition) = Replica::with_partition();
    replica.record(&partition, checkpoint(1, 10));
    let raise = |replica: &mut Replica, epoch, from, to| {
        let fault = Fault::SourceGap { from, to };
        replica.apply(Command::RaiseFault { partition: partition.clone(), epoch: Epoch(epoch), fault });
        replica.state.partitions[&partition].fault.clone().unwrap()
    };
    let decide = |replica: &mut Replica, raised: &RaisedFault, resolution| {
        replica.apply(Command::DecideFault { partition: partition.clone(), raised: raised.clone(), resolution })
    };
    let first = raise(&mut replica, 1, 10, 15);
    assert_eq!(decide(&mut replica, &first, Resolution::Retry), Outcome::NewEpoch(Epoch(2)));
    let second = raise(&mut replica, 2, 10, 99);
    let late = decide(&mut replica, &first, Resolution::Skip);
    assert_eq!(late, Outcome::Refused(Refusal::FaultChanged(second.fault.clone())));
    // The same range, raised again: what was decided about the earlier one may not hold for it.
    assert_eq!(decide(&mut replica, &second, Resolution::Retry), Outcome::NewEpoch(Epoch(3)));
    let third = raise(&mut replica, 3, 10, 99);
    assert!(matches!(decide(&mut replica, &second, Resolution::Skip), Outcome::Refused(Refusal::FaultChanged(_))));
    assert_eq!(decide(&mut replica, &third, Resolution::Skip), Outcome::NewEpoch(Epoch(4)));
    assert!(matches!(decide(&mut replica, &third, Resolution::Skip), Outcome::Refused(Refusal::NotFaulted(_))));
}

#[test]
fn a_skip_of_a_record_that_was_copied_before_leaves_nothing_out_and_ends_the_comparison() {
    let (mut replica, partition) = Replica::with_partition();
    let last_copy = Some(LastCopy { source_offset: 9, target_offset: 9 });
    replica.record(&partition, Checkpoint { last_copy, fingerprint: Some(7), ..checkpoint(1, 10) });
    let fault = Fault::DamagedRecord { offset: 9, reason: "bad size".into() };
    replica.apply(Command::RaiseFault { partition: partition.clone(), epoch: Epoch(1), fault });
    replica.apply(Command::ResolveFault { partition: partition.clone(), resolution: Resolution::Skip });
    let now = replica.state.partitions[&partition].checkpoint.clone();
    assert_eq!(now.map(|c| (c.source_next, c.fingerprint, c.last_copy)), Some((10, None, last_copy)));
}

#[test]
fn a_skip_never_passes_over_what_is_not_agreed_to_have_landed() {
    let (mut replica, partition) = Replica::with_partition();
    replica.record(&partition, checkpoint(1, 10));
    let fault = Fault::BadRecord { offset: 15, reason: "too large".into() };
    replica.apply(Command::RaiseFault { partition: partition.clone(), epoch: Epoch(1), fault });
    let skip = replica.apply(Command::ResolveFault { partition, resolution: Resolution::Skip });
    assert_eq!(skip, Outcome::Refused(Refusal::ProgressBehindFault { agreed: 10, fault: 15 }));
}

#[test]
fn a_diverged_source_cannot_be_skipped_but_restarted_in_a_new_incarnation() {
    let (mut replica, partition) = Replica::with_partition();
    replica.record(&partition, checkpoint(1, 10));
    let fault = Fault::SourceDiverged { offset: 9 };
    replica.apply(Command::RaiseFault { partition: partition.clone(), epoch: Epoch(1), fault: fault.clone() });
    let skip = replica.apply(Command::ResolveFault { partition: partition.clone(), resolution: Resolution::Skip });
    assert_eq!(skip, Outcome::Refused(Refusal::CannotSkip(fault)));
    let start = StartPosition::Earliest;
    replica.apply(Command::ResolveFault { partition: partition.clone(), resolution: Resolution::Restart { start } });
    let now = &replica.state.partitions[&partition];
    assert_eq!((now.source_incarnation, now.start, now.checkpoint.clone()), (Incarnation(1), start, None));
}

#[test]
fn a_rewind_goes_back_under_a_new_epoch_and_target_incarnation() {
    let (mut replica, partition) = Replica::with_partition();
    replica.record(&partition, checkpoint(1, 10));
    let forward = Command::Rewind { partition: partition.clone(), epoch: Epoch(1), checkpoint: checkpoint(1, 11) };
    assert_eq!(replica.apply(forward), Outcome::Refused(Refusal::NotARewind));
    let back = Command::Rewind { partition: partition.clone(), epoch: Epoch(1), checkpoint: checkpoint(1, 6) };
    assert_eq!(replica.apply(back.clone()), Outcome::NewEpoch(Epoch(2)));
    assert!(matches!(replica.apply(back), Outcome::Refused(Refusal::StaleEpoch { .. })));
    let now = &replica.state.partitions[&partition];
    assert_eq!((now.target_incarnation, now.rewinds), (Incarnation(1), 1));
    assert_eq!(now.checkpoint.as_ref().map(|c| (c.epoch, c.source_next)), Some((Epoch(2), 6)));
}

#[test]
fn queues_that_are_found_later_lose_no_new_message_and_do_not_copy_what_the_stream_left_out() {
    let minutes = |minutes: i64| minutes * 60_000;
    for (start, late) in [
        (StartPosition::Earliest, StartPosition::Earliest),
        (StartPosition::Latest, StartPosition::Timestamp(minutes(1_000) - minutes(10))),
        (StartPosition::Timestamp(77), StartPosition::Timestamp(77)),
        (StartPosition::Offset(9), StartPosition::Earliest),
    ] {
        let mut state = State::default();
        let mut index = 0;
        let mut apply = |command, at| {
            index += 1;
            state.apply(index, &Envelope { version: CURRENT_VERSION, request: 0, at: Timestamp(at), command })
        };
        apply(instance("qingdao"), 0);
        apply(instance("hohhot"), 0);
        let Outcome::StreamCreated(id) = apply(stream("orders", start), minutes(1_000)) else { panic!("created") };
        let found = |queues: &[(u32, u32)]| Command::AddPartitions {
            stream: id,
            partitions: queues.iter().map(|(s, t)| NewPartition { source: queue(*s), target: queue(*t) }).collect(),
        };
        apply(found(&[(0, 0)]), minutes(1_001));
        apply(found(&[(0, 5), (1, 1)]), minutes(9_000));
        let partition = |number| &state.partitions[&PartitionId { stream: id, source: queue(number) }];
        assert_eq!((partition(0).start, &partition(0).target), (start, &queue(0)), "a known queue is left as it is");
        assert_eq!((partition(1).start, &partition(1).target), (late, &queue(1)), "{start:?}");
    }
}

#[test]
fn the_partitions_of_a_stream_are_all_of_its_own_and_no_others() {
    let (mut replica, _) = Replica::with_partition();
    let mut expected = Vec::new();
    for text in ["before", "between", "behind"] {
        let Outcome::StreamCreated(id) = replica.apply(stream(text, StartPosition::Earliest)) else { panic!("{text}") };
        let queues = [("", 0), ("broker-a", 0), ("broker-a", u32::MAX), ("broker-b", 0)]
            .map(|(broker, queue)| QueueId { broker: broker.into(), queue });
        let partitions = queues.iter().map(|it| NewPartition { source: it.clone(), target: it.clone() }).collect();
        assert_eq!(replica.apply(Command::AddPartitions { stream: id, partitions }), Outcome::Done);
        expected.push((id, queues));
    }
    for (id, queues) in expected {
        let found: Vec<_> = replica.state.partitions_of(id).map(|(partition, _)| partition.clone()).collect();
        assert_eq!(found, queues.map(|source| PartitionId { stream: id, source }));
    }
    assert_eq!(replica.state.partitions_of(StreamId(u64::MAX)).count(), 0);
}

#[test]
fn a_recreated_stream_is_another_stream() {
    let (mut replica, partition) = Replica::with_partition();
    assert_eq!(replica.apply(Command::DeleteStream { name: name("orders") }), Outcome::Done);
    assert!(replica.state.partitions.is_empty());
    let Outcome::StreamCreated(again) = replica.apply(stream("orders", StartPosition::Earliest)) else {
        panic!("the stream is created again");
    };
    assert!(again > partition.stream);
    let late = Command::RaiseFault { partition, epoch: Epoch(1), fault: Fault::SourceGap { from: 0, to: 1 } };
    assert!(matches!(replica.apply(late), Outcome::Refused(Refusal::NoSuchPartition(_))));
}

#[test]
fn what_is_created_again_under_its_name_never_has_a_version_that_it_had() {
    let mut replica = Replica::default();
    let changed =
        |outcome: Outcome| if let Outcome::Changed(version) = outcome { version } else { panic!("{outcome:?}") };
    let first = changed(replica.apply(instance("qingdao")));
    let Command::PutInstance { spec, identity, .. } = instance("qingdao") else { panic!("an instance") };
    let second = changed(replica.apply(Command::PutInstance { spec, identity, expected: Some(first) }));
    assert!(second > first);
    replica.apply(Command::DeleteInstance { name: name("qingdao") });
    assert!(changed(replica.apply(instance("qingdao"))) > second);

    replica.apply(instance("hohhot"));
    replica.apply(stream("orders", StartPosition::Latest));
    let before = changed(replica.apply(Command::PauseStream { name: name("orders") }));
    replica.apply(Command::DeleteStream { name: name("orders") });
    replica.apply(stream("orders", StartPosition::Latest));
    assert!(replica.state.streams[&name("orders")].version > before);
}

#[test]
fn two_streams_never_copy_one_message_between_the_same_topics() {
    let (mut replica, _) = Replica::with_partition();
    let Command::CreateStream { spec } = stream("orders", StartPosition::Earliest) else { panic!("a stream") };
    let mut create = |text: &str, tags: &str, topic: &str| {
        let mut spec = StreamSpec { name: name(text), tag_expression: tags.into(), ..spec.clone() };
        spec.target.topic = topic.into();
        replica.apply(Command::CreateStream { spec })
    };
    let twin_of = |text| Outcome::Refused(Refusal::CopiedAlready(name(text)));
    assert_eq!(create("again", "*", "orders"), twin_of("orders"));
    assert_eq!(create("again", "paid", "orders"), twin_of("orders"));
    assert!(matches!(create("aside", "paid || sent", "aside"), Outcome::StreamCreated(_)));
    assert_eq!(create("again", "sent||lost", "aside"), twin_of("aside"));
    assert_eq!(create("again", "", "aside"), twin_of("aside"));
    assert!(matches!(create("rest", "lost || late", "aside"), Outcome::StreamCreated(_)));
}

#[test]
fn two_instances_never_have_one_identity() {
    let mut replica = Replica::default();
    replica.apply(instance("qingdao"));
    let Command::PutInstance { spec, .. } = instance("hohhot") else { panic!("an instance") };
    let put =
        |identity| Command::PutInstance { spec: spec.clone(), identity: InstanceIdentity(identity), expected: None };
    let taken = replica.state.instances[&name("qingdao")].identity.0;
    assert_eq!(replica.apply(put(taken)), Outcome::Refused(Refusal::IdentityTaken(name("qingdao"))));
    assert!(matches!(replica.apply(put(taken + 1)), Outcome::Changed(_)));
}

#[test]
fn a_log_of_the_first_version_gives_the_state_that_it_gave() {
    let mut state = State::default();
    let mut apply =
        |index, command| state.apply(index, &Envelope { version: 1, request: 0, at: Timestamp(0), command });
    assert_eq!(apply(7, instance("qingdao")), Outcome::Changed(1));
    apply(8, instance("hohhot"));
    apply(9, stream("orders", StartPosition::Latest));
    assert_eq!(state.streams[&name("orders")].version, 1);
}

#[test]
fn an_instance_in_use_is_not_removed() {
    let (mut replica, _) = Replica::with_partition();
    let refused = replica.apply(Command::DeleteInstance { name: name("hohhot") });
    assert!(matches!(refused, Outcome::Refused(Refusal::InstanceInUse { .. })));
}

/// The stored form of version 1 must stay readable: these bytes were written by the first release.
#[test]
fn a_last_copy_that_the_target_does_not_show_is_not_looked_for_after_a_skip() {
    for (from, to, last_copy, target_next) in [(9, 10, None, 20), (15, 30, Some(9), 30), (20, 25, Some(9), 25)] {
        let (mut replica, partition) = Replica::with_partition();
        let last = LastCopy { source_offset: 9, target_offset: 9 };
        let known = Checkpoint { target_next: 20, last_copy: Some(last), ..checkpoint(1, 10) };
        let progress = vec![Progress { partition: partition.clone(), checkpoint: known }];
        replica.apply(Command::RecordProgress { node: ME, progress });
        let fault = Fault::TargetTailGone { from, to };
        replica.apply(Command::RaiseFault { partition: partition.clone(), epoch: Epoch(1), fault });
        replica.apply(Command::ResolveFault { partition: partition.clone(), resolution: Resolution::Skip });
        let now = replica.state.partitions[&partition].checkpoint.clone().unwrap();
        assert_eq!((now.last_copy.map(|copy| copy.target_offset), now.target_next), (last_copy, target_next));
        assert_eq!(now.source_next, 10);
    }
}

#[test]
fn the_stored_form_of_a_command_does_not_change() {
    let envelope = Envelope {
        version: 1,
        request: 5,
        at: Timestamp(1_763_800_000_123),
        command: Command::RecordProgress {
            node: ME,
            progress: vec![Progress {
                partition: PartitionId { stream: StreamId(4), source: queue(3) },
                checkpoint: checkpoint(2, 1000),
            }],
        },
    };
    let bytes = codec::encode(&envelope).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, include_str!("../src/testdata/record_progress_v1.txt").trim());
    assert_eq!(codec::decode::<Envelope>(&bytes).unwrap(), envelope);
}

fn any_command() -> impl Strategy<Value = Command> {
    let id = || (0_u64..12, 0_u32..3).prop_map(|(s, q)| PartitionId { stream: StreamId(s), source: queue(q) });
    let names = prop_oneof![Just("a"), Just("b")];
    let fault = prop_oneof![
        (0_i64..20, 0_i64..20).prop_map(|(from, to)| Fault::SourceGap { from, to }),
        (0_i64..20).prop_map(|offset| Fault::SourceDiverged { offset }),
        (0_i64..20, 0_i64..20).prop_map(|(from, to)| Fault::TargetTailGone { from, to }),
    ];
    let resolution = prop_oneof![
        Just(Resolution::Retry),
        Just(Resolution::Skip),
        Just(Resolution::Restart { start: StartPosition::Earliest }),
    ];
    prop_oneof![
        prop_oneof![Just("qingdao"), Just("hohhot")].prop_map(instance),
        names.prop_map(|text| stream(text, StartPosition::Latest)),
        prop_oneof![Just("a"), Just("b")].prop_map(|text| Command::DeleteStream { name: name(text) }),
        (0_u64..12, 0_u32..3).prop_map(|(s, q)| Command::AddPartitions {
            stream: StreamId(s),
            partitions: vec![NewPartition { source: queue(q), target: queue(q) }],
        }),
        (id(), 1_u64..3, 0_u64..6).prop_map(|(partition, node, epoch)| Command::Assign {
            partition,
            node: NodeId(node),
            epoch: Epoch(epoch),
        }),
        (id(), 1_u64..3, 0_u64..6, 0_i64..20).prop_map(|(partition, node, epoch, next)| Command::RecordProgress {
            node: NodeId(node),
            progress: vec![Progress { partition, checkpoint: checkpoint(epoch, next) }],
        }),
        (id(), 0_u64..6, 0_i64..20).prop_map(|(partition, epoch, next)| Command::Rewind {
            partition,
            epoch: Epoch(epoch),
            checkpoint: checkpoint(epoch, next),
        }),
        (id(), 0_u64..6, fault).prop_map(|(partition, epoch, fault)| Command::RaiseFault {
            partition,
            epoch: Epoch(epoch),
            fault,
        }),
        (id(), resolution).prop_map(|(partition, resolution)| Command::ResolveFault { partition, resolution }),
        Just(Command::NodeStarted { node: ME, name: name("node-1"), region: name("hohhot") }),
    ]
}

proptest! {
    #[test]
    fn any_log_is_deterministic_survives_a_snapshot_and_never_reuses_an_epoch(
        log in proptest::collection::vec(any_command(), 1..80), cut in 0_usize..80,
    ) {
        let mut straight = Replica::default();
        let mut interrupted = Replica::default();
        for (position, command) in log.into_iter().enumerate() {
            let before = straight.state.clone();
            let outcome = straight.apply(command.clone());
            if let Outcome::Refused(_) = outcome {
                prop_assert_eq!(&before, &straight.state, "a refusal changes nothing");
            }
            if position == cut {
                let stored = codec::encode(&interrupted.state).unwrap();
                interrupted.state = codec::decode(&stored).unwrap();
            }
            prop_assert_eq!(outcome, interrupted.apply(command));
            for (id, old) in &before.partitions {
                let Some(new) = straight.state.partitions.get(id) else { continue };
                prop_assert!(new.epoch >= old.epoch);
                prop_assert!(new.owner == old.owner || new.epoch > old.epoch);
                let went_back = matches!((&old.checkpoint, &new.checkpoint), (Some(o), Some(n)) if n.source_next < o.source_next);
                prop_assert!(!went_back || new.epoch > old.epoch, "progress goes back only under a new epoch");
            }
        }
        prop_assert_eq!(straight.state, interrupted.state);
    }
}
