//! What a replica says of itself; read by the status page, metrics and tests.

use std::time::Duration;

use causeway_core::ids::NodeId;

/// What a replica is in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks for votes.
    Candidate,
    /// Decides.
    Leader,
}

/// What a member is in its group. Others than the first two exist only while a change of several members is under
/// way, which needs a majority of the voters before and of the voters after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// Votes and counts.
    Voter,
    /// Follows only.
    Learner,
    /// Counts among the voters after the change only.
    IncomingVoter,
    /// Counts among the voters before the change only, and leaves.
    OutgoingVoter,
    /// Counts among the voters before the change only, and stays as a learner.
    VoterBecomingLearner,
}

/// What the leader knows of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberProgress {
    /// The last log index that it is known to hold durably.
    pub matched: u64,
    /// Whether it was heard from within the last election timeout.
    pub active: bool,
    /// The log index of the snapshot that it is sent and has not installed yet.
    pub pending_snapshot: Option<u64>,
}

/// One member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberStatus {
    /// The node.
    pub node: NodeId,
    /// What it is.
    pub role: MemberState,
    /// How far it is; known to the leader only.
    pub progress: Option<MemberProgress>,
}

impl MemberStatus {
    /// Whether its word counts now.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        self.role != MemberState::Learner
    }
}

/// One look at a replica.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RaftStatus {
    /// What it is.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// Who leads, as far as it knows; none where it has heard no leader for some election timeouts.
    pub leader: Option<NodeId>,
    /// Leads, and has applied everything that any earlier leader committed: its view is complete.
    pub ready: bool,
    /// Whether this node takes part, as far as it knows: not before it was added, and not after it was removed.
    pub member: bool,
    /// Everybody who takes part as far as this node applied it, in the order of their numbers.
    pub members: Vec<MemberStatus>,
    /// The last log index known to be committed.
    pub committed: u64,
    /// The last log index that its view includes.
    pub applied: u64,
    /// The last log index that the newest snapshot includes.
    pub snapshot: u64,
    /// The last log index.
    pub last_index: u64,
    /// Entries in the log.
    pub log_entries: u64,
    /// Stored bytes of the log.
    pub log_bytes: u64,
    /// Proposals and changes of members that wait for their outcome.
    pub waiting: usize,
    /// Calls that wait until the view is known to be current.
    pub waiting_reads: usize,
    /// Messages of other members since the start that found no room here and were dropped, as a network may.
    pub dropped_messages: u64,
    /// Messages of other nodes since the start that no member sends, or that came in the name of another one.
    pub refused_messages: u64,
    /// Proposals accepted into the log since the start.
    pub proposals: u64,
    /// Disk barriers since the start.
    pub barriers: BarrierStats,
}

/// Upper bounds of the buckets of [`BarrierStats`], in microseconds; a last bucket has none.
pub const BARRIER_BUCKETS_MICROSECONDS: [u64; 11] =
    [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 250_000, 1_000_000];

/// How many disk barriers there were and how long they took.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BarrierStats {
    /// How many.
    pub count: u64,
    /// All of them together.
    pub total: Duration,
    /// The longest.
    pub longest: Duration,
    /// How many took at most the bound of the same place in [`BARRIER_BUCKETS_MICROSECONDS`] and more than the one
    /// before; the last counts all longer ones.
    pub buckets: [u64; BARRIER_BUCKETS_MICROSECONDS.len() + 1],
}

impl BarrierStats {
    pub(crate) fn record(&mut self, took: Duration) {
        self.count = self.count.saturating_add(1);
        self.total = self.total.saturating_add(took);
        self.longest = self.longest.max(took);
        let place = BARRIER_BUCKETS_MICROSECONDS.partition_point(|bound| Duration::from_micros(*bound) < took);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket = bucket.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::BarrierStats;

    #[test]
    fn every_barrier_falls_into_exactly_one_bucket() {
        let mut stats = BarrierStats::default();
        for microseconds in [1, 250, 251, 1_000_000, 1_000_001] {
            stats.record(Duration::from_micros(microseconds));
        }
        assert_eq!(stats.buckets, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!((stats.count, stats.longest), (5, Duration::from_micros(1_000_001)));
    }
}
