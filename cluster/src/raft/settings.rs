//! How a replica runs.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use causeway_core::ids::NodeId;

use super::message::Incoming;
use super::reads;
use crate::error::Error;

const MAXIMUM_APPEND_BYTES: u64 = 1024 * 1024;
const MAXIMUM_APPLIED_AT_ONCE_BYTES: u64 = 4 * 1024 * 1024;
const MAXIMUM_APPENDS_IN_FLIGHT: usize = 64;

/// How a replica runs. [`Settings::new`] has values that suit almost everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The data directory; created when missing.
    pub directory: PathBuf,
    /// This node; never 0, never reused after its disk was lost.
    pub node: NodeId,
    /// How an empty data directory begins. Ignored once it holds promises.
    pub start: Start,
    /// The unit of Raft's time.
    pub tick: Duration,
    /// Ticks without a leader before a follower asks for votes, and without a quorum before a leader steps down.
    pub election_ticks: u16,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: u16,
    /// Applied entries between two snapshots.
    pub snapshot_every_entries: u64,
    /// Applied bytes between two snapshots, whichever comes first. The log holds up to twice as much.
    pub snapshot_every_bytes: u64,
    /// How long a proposal waits for its outcome.
    pub proposal_timeout: Duration,
    /// Bytes of proposals that may wait at once; each counts at least [`Settings::MINIMUM_PROPOSAL_BYTES`].
    pub queue_bytes: u32,
    /// The largest encoded command, in bytes.
    pub maximum_command_bytes: u32,
    /// How long [`crate::start`] waits for the only voter to lead.
    pub start_timeout: Duration,
    /// The database's page cache, in bytes.
    pub cache_bytes: u64,
}

/// How an empty data directory begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With a new cluster. Every voter of it is given the same voters.
    Found {
        /// The voters, this node among them.
        voters: Vec<NodeId>,
    },
    /// With nothing: the node waits until a leader of an existing cluster added it and sends it everything. It never
    /// asks for votes before.
    Join,
}

impl Start {
    fn voters(&self) -> &[NodeId] {
        match self {
            Self::Found { voters } => voters,
            Self::Join => &[],
        }
    }
}

/// One fault of the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {reason}")]
pub struct SettingsFault {
    /// The name of the setting.
    pub setting: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Settings {
    /// What every waiting proposal costs of `queue_bytes` at least, so that their number is bounded too.
    pub const MINIMUM_PROPOSAL_BYTES: u32 = 4096;

    /// A node that is the only voter of its cluster.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, node: NodeId) -> Self {
        Self {
            directory: directory.into(),
            node,
            start: Start::Found { voters: vec![node] },
            tick: Duration::from_millis(100),
            election_ticks: 7,
            heartbeat_ticks: 2,
            snapshot_every_entries: 10_000,
            snapshot_every_bytes: 4 * 1024 * 1024,
            proposal_timeout: Duration::from_secs(5),
            queue_bytes: 16 * 1024 * 1024,
            maximum_command_bytes: 4 * 1024 * 1024,
            start_timeout: Duration::from_secs(30),
            cache_bytes: causeway_storage::db::DEFAULT_CACHE_BYTES,
        }
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`Error::Settings`] with all faults at once.
    pub fn validate(&self) -> Result<(), Error> {
        let voters = self.start.voters();
        let unique: BTreeSet<NodeId> = voters.iter().copied().collect();
        let founds_without_itself = self.start != Start::Join && !voters.contains(&self.node);
        let rules = [
            ("node", self.node.0 == 0, "must not be 0"),
            ("start.voters", founds_without_itself, "must include this node"),
            ("start.voters", unique.contains(&NodeId(0)), "must not include node 0"),
            ("start.voters", unique.len() != voters.len(), "must not name a node twice"),
            ("tick", self.tick < Duration::from_millis(1), "must be at least 1 ms"),
            ("heartbeat_ticks", self.heartbeat_ticks == 0, "must be at least 1"),
            ("election_ticks", self.election_ticks <= self.heartbeat_ticks, "must be above heartbeat_ticks"),
            ("snapshot_every_entries", self.snapshot_every_entries == 0, "must be at least 1"),
            ("snapshot_every_bytes", self.snapshot_every_bytes == 0, "must be at least 1"),
            ("queue_bytes", self.queue_bytes < self.maximum_command_bytes, "must hold one largest command"),
            ("queue_bytes", self.queue_bytes < Self::MINIMUM_PROPOSAL_BYTES, "must be at least 4096"),
            ("maximum_command_bytes", self.maximum_command_bytes == 0, "must be at least 1"),
            (
                "maximum_command_bytes",
                usize::try_from(self.maximum_command_bytes)
                    .map_or(true, |bytes| bytes > causeway_storage::codec::MAXIMUM_VALUE_BYTES / 2),
                "must be at most 32 MiB",
            ),
            ("cache_bytes", self.cache_bytes < 1024 * 1024, "must be at least 1 MiB"),
        ];
        let faults: Vec<_> = rules
            .into_iter()
            .filter(|(_, wrong, _)| *wrong)
            .map(|(setting, _, reason)| SettingsFault { setting, reason })
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::Settings { faults }) }
    }

    /// How many proposals may wait at once, at most.
    pub(crate) fn queue_length(&self) -> usize {
        usize::try_from(self.queue_bytes / Self::MINIMUM_PROPOSAL_BYTES).unwrap_or(usize::MAX)
    }

    /// How many calls may wait in the mailbox at once, at most. Each kind is bounded by itself, so that many of one
    /// never keep out the others.
    pub(crate) fn mailbox_length(&self) -> usize {
        self.queue_length().saturating_add(Incoming::MAXIMUM_MESSAGES).saturating_add(reads::MAXIMUM_WAITING)
    }

    /// What raft-rs needs to know. Its own defaults let a leader without a quorum go on, let a node that comes back
    /// force an election, send one entry per message and accept proposals without a bound.
    pub(crate) fn raft(&self, applied: u64) -> ::raft::Config {
        let uncommitted = u64::from(self.queue_bytes).max(MAXIMUM_APPEND_BYTES);
        ::raft::Config {
            id: self.node.0,
            election_tick: usize::from(self.election_ticks),
            heartbeat_tick: usize::from(self.heartbeat_ticks),
            applied,
            max_size_per_msg: MAXIMUM_APPEND_BYTES,
            max_inflight_msgs: MAXIMUM_APPENDS_IN_FLIGHT,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: uncommitted,
            max_committed_size_per_ready: MAXIMUM_APPLIED_AT_ONCE_BYTES,
            ..::raft::Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::NodeId;

    use super::{Settings, Start};
    use crate::error::Error;

    #[test]
    fn the_defaults_are_sound_for_us_and_for_raft() {
        let settings = Settings::new("data", NodeId(1));
        settings.validate().unwrap();
        settings.raft(0).validate().unwrap();
    }

    #[test]
    fn names_all_faults_at_once() {
        let start = Start::Found { voters: vec![NodeId(2), NodeId(2)] };
        let settings = Settings { start, election_ticks: 2, ..Settings::new("data", NodeId(1)) };
        let Err(Error::Settings { faults }) = settings.validate() else { panic!("accepted") };
        let names: Vec<_> = faults.iter().map(|fault| fault.setting).collect();
        assert_eq!(names, ["start.voters", "start.voters", "election_ticks"]);
    }

    #[test]
    fn who_joins_names_no_voters() {
        Settings { start: Start::Join, ..Settings::new("data", NodeId(1)) }.validate().unwrap();
    }
}
