//! One node: what survives its crashes, and one life of its process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use causeway_core::ids::NodeId;
use causeway_core::node::ProcessId;
use causeway_core::outcome::Outcome;
use tokio::sync::oneshot::Receiver;

use super::disk::{Medium, SharedMedium, SimulatedDisk, look};
use super::leases::{Holder, Question};
use super::network::Mouth;
use super::random::Random;
use super::residents::{Answered, Asker};
use super::world::Happening;
use super::{Defect, world::Setup};
use crate::clock::{BootClock, BootInstant};
use crate::error::{Error, Fatal};
use crate::group::leadership::Leadership;
use crate::liveness::LeaseTerms;
use crate::raft::membership::ChangeMember;
use crate::raft::reads::Read;
use crate::raft::replica::{Proposal, Replica};
use crate::raft::settings::{Settings, Start};
use crate::raft::transfer::Transfer;
use crate::status::RaftStatus;

const NANOSECONDS_OF_A_MILLISECOND: u64 = 1_000_000;

/// A clock that goes at a speed of its own.
#[derive(Debug)]
pub(super) struct Clock {
    own: Arc<AtomicU64>,
    /// Its milliseconds in a thousand real ones.
    pub(super) per_mille: u64,
}

impl Clock {
    fn pass(&self, milliseconds: u64) {
        let own = milliseconds * self.per_mille * (NANOSECONDS_OF_A_MILLISECOND / 1000);
        self.own.fetch_add(own, Ordering::Relaxed);
    }

    /// Nanoseconds of its own.
    pub(super) fn now(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }

    /// How many real milliseconds pass in so many of its own; at least one.
    pub(super) fn real(&self, own: u64) -> u64 {
        (own * 1000 / self.per_mille).max(1)
    }

    pub(super) fn shown(&self) -> BootClock {
        let own = Arc::clone(&self.own);
        BootClock::driven_by(move || BootInstant::from_nanos(own.load(Ordering::Relaxed)))
    }
}

/// What a replica is asked for with its next turn.
pub(super) enum Call {
    Propose(Proposal),
    Step(Box<::raft::eraftpb::Message>),
    Read(Read),
    Change(ChangeMember),
    Transfer(Transfer),
    Unreachable(NodeId),
    SnapshotSent(NodeId, bool),
}

/// Somebody who waits for the replica's answer.
pub(super) enum Awaited {
    /// Of a proposal or a change of members; `taking` while a node gets no lease because of it.
    Outcome {
        request: u128,
        taking: bool,
        /// Who gets the answer.
        asker: Option<Asker>,
        answer: Receiver<Result<Outcome, Error>>,
    },
    /// `floor` is what had been answered when it was asked; a lease hangs on it, or nothing.
    Read {
        floor: u64,
        answer: Receiver<Result<u64, Error>>,
        lease: Option<(Question, u64)>,
    },
    Transfer {
        answer: Receiver<Result<(), Error>>,
    },
}

/// One process.
pub(super) struct Life {
    pub(super) number: u64,
    pub(super) replica: Replica<SimulatedDisk>,
    pub(super) status: RaftStatus,
    pub(super) leadership: Leadership,
    pub(super) arrived: Vec<Call>,
    pub(super) waiting: Vec<(u64, Awaited)>,
    pub(super) holder: Holder,
    /// Answers that wait until their effect is visible here.
    pub(super) answered: Vec<Answered>,
    /// What its residents know: the index that is applied, and the end of the lease.
    pub(super) told: (u64, u64),
    /// What was applied when it was last judged.
    pub(super) judged: u64,
    /// The newest term that it was seen to lead.
    pub(super) led: u64,
}

impl Life {
    pub(super) fn process(&self) -> ProcessId {
        ProcessId::new(self.number, 0)
    }
}

/// A machine.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) medium: SharedMedium,
    pub(super) mouth: Mouth,
    pub(super) clock: Clock,
    pub(super) life: Option<Life>,
    /// What happens when its process goes on; none while it is not stopped.
    pub(super) stopped: Option<Vec<Happening>>,
    start: Start,
    snapshot_every_entries: u64,
}

impl Node {
    pub(super) fn new(id: NodeId, founders: &BTreeSet<NodeId>, defect: Option<Defect>, random: &mut Random) -> Self {
        let medium: SharedMedium = Arc::new(std::sync::Mutex::new(Medium::new(defect)));
        let voters = founders.iter().copied().collect();
        let own = Arc::new(AtomicU64::new(random.within(1..1_000_000) * NANOSECONDS_OF_A_MILLISECOND));
        Self {
            id,
            mouth: Mouth::new(id, Arc::clone(&medium)),
            medium,
            clock: Clock { own, per_mille: random.pick(&SPEEDS).unwrap() },
            life: None,
            stopped: None,
            start: if founders.contains(&id) { Start::Found { voters } } else { Start::Join },
            snapshot_every_entries: random.within(6..40),
        }
    }

    /// Starts a process.
    pub(super) fn start(&mut self, number: u64, setup: &Setup) -> Result<(), Fatal> {
        let settings = Settings {
            start: self.start.clone(),
            snapshot_every_entries: self.snapshot_every_entries,
            ..self.usual_settings()
        };
        let disk = SimulatedDisk(Arc::clone(&self.medium));
        let mut replica = Replica::load(&settings, disk, Box::new(self.mouth.clone()))?;
        replica.pin_election_timeout(self.election_timeout(setup, number, 0));
        replica.begin()?;
        let mut terms = LeaseTerms::default();
        if setup.defect == Some(Defect::LeaseWithoutMargin) {
            terms.margin = std::time::Duration::ZERO;
        }
        self.life = Some(Life {
            number,
            status: replica.status(),
            replica,
            leadership: Leadership::new(terms, self.clock.shown()),
            arrived: Vec::new(),
            waiting: Vec::new(),
            holder: Holder::default(),
            answered: Vec::new(),
            told: (0, 0),
            judged: 0,
            led: 0,
        });
        Ok(())
    }

    /// The process is gone, and with it what its machine had not written.
    pub(super) fn crash(&mut self, random: &mut Random) -> u64 {
        (self.life, self.stopped) = (None, None);
        look(&self.medium).crash(random)
    }

    pub(super) fn pass(&self, milliseconds: u64) {
        self.clock.pass(milliseconds);
    }

    /// Publishes what a call changed, as the actor does, and pins what raft-rs would draw by itself.
    pub(super) fn publish(&mut self, setup: &Setup) {
        let Some(life) = self.life.as_mut() else { return };
        life.replica.take_view();
        life.status = life.replica.status();
        life.replica.answer();
        let (number, term) = (life.number, life.status.term);
        let timeout = self.election_timeout(setup, number, term);
        if let Some(life) = self.life.as_mut() {
            life.replica.pin_election_timeout(timeout);
        }
    }

    fn usual_settings(&self) -> Settings {
        Settings::new("simulated", self.id)
    }

    fn election_timeout(&self, setup: &Setup, life: u64, term: u64) -> usize {
        let seed = [self.id.0, life, term].into_iter().fold(setup.seed, |seed, part| Random::new(seed ^ part).draw());
        let shortest = u64::from(self.usual_settings().election_ticks);
        let spread = if setup.campaigns_meet() { shortest..shortest + 1 } else { shortest..2 * shortest };
        usize::try_from(Random::new(seed).within(spread)).unwrap()
    }
}

/// Speeds of clocks: two of them differ by less than the margin of a lease allows.
pub(super) const SPEEDS: [u64; 5] = [925, 925, 1000, 1080, 1080];
