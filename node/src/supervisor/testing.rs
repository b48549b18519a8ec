//! A replica of the state for the supervisor's tests: real commands through the real state machine, no Raft.

use causeway_core::checkpoint::Checkpoint;
use causeway_core::command::{CURRENT_VERSION, Command, Envelope, NewPartition};
use causeway_core::ids::{ClusterId, Epoch, Incarnation, InstanceIdentity, NodeId, RuleVersion, StreamId, Timestamp};
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::outcome::Outcome;
use causeway_core::partition::{PartitionId, QueueId};
use causeway_core::state::State;
use causeway_core::stream::{Endpoint, RunOptions, StartPosition, StreamSpec};

/// The node under test.
pub(crate) const ME: NodeId = NodeId(1);

/// Another node of the cluster.
pub(crate) const OTHER: NodeId = NodeId(2);

/// A name that is known to be good.
pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A queue of broker `broker-a`.
pub(crate) fn queue(number: u32) -> QueueId {
    QueueId { broker: "broker-a".into(), queue: number }
}

/// Progress of an ownership whose target holds exactly what its source does.
pub(crate) fn checkpoint(epoch: u64, source_next: i64) -> Checkpoint {
    Checkpoint {
        epoch: Epoch(epoch),
        rule_version: RuleVersion(0),
        source_next,
        target_next: source_next,
        source_incarnation: Incarnation(0),
        target_incarnation: Incarnation(0),
        fingerprint: None,
        last_copy: None,
    }
}

/// What an operator says of an instance.
pub(crate) fn instance(text: &str) -> InstanceSpec {
    InstanceSpec {
        name: name(text),
        region: name(text),
        name_servers: vec!["127.0.0.1:9876".into()],
        credentials: None,
        tls: None,
    }
}

/// What an operator says of stream `orders`, from `qingdao` to `hohhot`.
pub(crate) fn stream() -> StreamSpec {
    let end = |instance: &str| Endpoint { instance: name(instance), topic: "orders".into() };
    StreamSpec {
        name: name("orders"),
        source: end("qingdao"),
        target: end("hohhot"),
        start: StartPosition::Earliest,
        tag_expression: "*".into(),
        run: RunOptions::default(),
    }
}

/// A log that is applied as it grows.
#[derive(Default)]
pub(crate) struct Replica {
    /// What was agreed.
    pub(crate) state: State,
    index: u64,
}

impl Replica {
    /// Stream `orders` with so many partitions, all owned by [`ME`] at epoch 1.
    pub(crate) fn with_partitions(count: u32) -> Self {
        let mut replica = Self::default();
        replica.apply(Command::Initialise { cluster: ClusterId(9) });
        replica.node_started(ME);
        for text in ["qingdao", "hohhot"] {
            replica.put_instance(text, None);
        }
        let Outcome::StreamCreated(stream) = replica.apply(Command::CreateStream { spec: stream() }) else {
            panic!("the stream is created");
        };
        assert_eq!(stream, replica.stream());
        replica.add_partitions(0..count);
        for partition in replica.state.partitions.keys().cloned().collect::<Vec<_>>() {
            replica.assign(partition, ME);
        }
        replica
    }

    /// Applies one command.
    pub(crate) fn apply(&mut self, command: Command) -> Outcome {
        self.index += 1;
        let at = Timestamp(i64::try_from(self.index).unwrap());
        self.state.apply(self.index, &Envelope { version: CURRENT_VERSION, request: 0, at, command })
    }

    /// The stream's identifier.
    pub(crate) fn stream(&self) -> StreamId {
        self.state.streams[&name("orders")].id
    }

    /// The identifier of the partition of a source queue.
    pub(crate) fn partition(&self, number: usize) -> PartitionId {
        let stream = self.state.streams.values().next().map_or(StreamId(0), |stream| stream.id);
        PartitionId { stream, source: queue(u32::try_from(number).unwrap()) }
    }

    /// Makes a node the owner.
    pub(crate) fn assign(&mut self, partition: PartitionId, node: NodeId) {
        let epoch = self.state.partitions[&partition].epoch.next();
        self.apply(Command::Assign { partition, node, epoch });
    }

    /// More source queues are found.
    pub(crate) fn add_partitions(&mut self, numbers: std::ops::Range<u32>) {
        let new = |number| NewPartition { source: queue(number), target: queue(number) };
        let stream = self.stream();
        self.apply(Command::AddPartitions { stream, partitions: numbers.map(new).collect() });
    }

    /// Asks the owner to let go in favour of a node, which joins if it is not there yet.
    pub(crate) fn wish(&mut self, partition: PartitionId, to: NodeId) {
        if !self.state.nodes.contains_key(&to) {
            self.node_started(to);
        }
        let epoch = self.state.partitions[&partition].epoch;
        self.apply(Command::Move { partition, epoch, to });
    }

    /// A node's process started.
    pub(crate) fn node_started(&mut self, node: NodeId) {
        self.apply(Command::NodeStarted { node, name: name("node"), region: name("here") });
    }

    /// An operator pauses the stream.
    pub(crate) fn pause(&mut self) {
        self.apply(Command::PauseStream { name: name("orders") });
    }

    /// An operator resumes the stream.
    pub(crate) fn resume(&mut self) {
        self.apply(Command::ResumeStream { name: name("orders") });
    }

    /// An operator deletes the stream.
    pub(crate) fn delete_stream(&mut self) {
        self.apply(Command::DeleteStream { name: name("orders") });
    }

    /// An operator changes an instance.
    pub(crate) fn change_instance(&mut self, text: &str) {
        let version = self.state.instances[&name(text)].version;
        self.put_instance(text, Some(version));
    }

    fn put_instance(&mut self, text: &str, expected: Option<u64>) {
        let identity = InstanceIdentity(u64::try_from(text.len()).unwrap());
        self.apply(Command::PutInstance { spec: instance(text), identity, expected });
    }
}
