//! One read of the source that is fit to be copied: contiguous, undamaged, of the life of the queue that was copied.
//!
//! ```text
//!   read --sound--> records
//!     |--empty at the end--> nothing yet
//!     |--failed--> wait, look at the boundary, read again ... until the patience ends: SourceLost
//!     |--another connection, master or slave--> look at the boundary, read again
//!     '--anomaly--> read again, singly, several times; still there, or another each time: a fault with the exact range
//! ```
//!
//! Only a master's answer becomes a fault: what a slave shows is an outage of the master until that has answered
//! itself. Never follows a broker to another offset: what it suggests is not looked at.

use std::sync::Arc;
use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_rocketmq::wire::record::Record;
use tokio::time::{Instant, sleep};

use super::boundary::{self, Boundary};
use super::condition::Condition;
use super::exit::PartitionExit;
use super::ports::{Bounds, LeftOut, Read, Source};
use super::retry::Retry;
use super::settings::ReplicateSettings;
use super::trouble::Trouble;
use super::vet::{Flaw, vet};

/// How many offsets behind a hole are asked for one by one to find its end.
pub(super) const PROBES: i64 = 4_096;

/// How long that may take. A source that is near answers all of them in less.
pub(super) const LONGEST_SEARCH: Duration = Duration::from_secs(10);

/// So many times the confirmations are awaited while one anomaly follows another and none stays.
pub(super) const PATTERNS: u32 = 4;

/// An answer "nothing yet" that comes sooner than this was not waited for by the broker.
const NO_WAIT: Duration = Duration::from_millis(50);

/// What reading needs beside its place.
pub(super) struct Reading<S> {
    pub(super) source: S,
    pub(super) settings: Arc<ReplicateSettings>,
    pub(super) condition: Arc<Condition>,
    /// Seed of the waits' jitter.
    pub(super) seed: u64,
}

/// Where reading goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The next offset.
    pub(super) next: i64,
    /// The last record before it; none before the first was read.
    pub(super) boundary: Option<Boundary>,
    /// An older one, which is known better.
    pub(super) older: Option<Boundary>,
    /// Whether the boundary was looked at since the last failure.
    pub(super) trusted: bool,
    /// Who answered last: whether it is a slave, and over which connection.
    pub(super) answered: Option<(bool, u64)>,
    /// How many messages are asked for at most. One after an answer that could not be read, and twice as many after
    /// each that can: an answer that breaks its frame takes the connection with it, and over the next one it would come
    /// again.
    pub(super) at_most: u32,
}

impl Place {
    /// At an offset, with the records before it as they are known.
    pub(super) fn new(next: i64, boundary: Option<Boundary>, older: Option<Boundary>) -> Self {
        Self { next, boundary, older, trusted: false, answered: None, at_most: u32::MAX }
    }

    /// Everything up to a record was sound.
    fn passed(&mut self, boundary: Boundary) {
        self.at_most = self.at_most.saturating_mul(2);
        self.next = boundary.offset.saturating_add(1);
        self.boundary = Some(boundary);
        self.older = None;
    }

    /// Notes who answered. An answer of anybody but the one before is not used: the boundary was not looked at there.
    fn heard(&mut self, read: &Read) -> Result<(), Setback> {
        let answered = read.answered();
        let is_flipped = self.answered.replace(answered).is_some_and(|before| before != answered);
        if is_flipped { Err(Setback::Flipped) } else { Ok(()) }
    }
}

/// What was read.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Contiguous from the old place on; empty at the end of the queue.
    pub(super) records: Vec<Record>,
    /// What was left out from the old place on; then there are no records.
    pub(super) left_out: Option<LeftOut>,
    /// Where reading goes on.
    pub(super) place: Place,
    /// The ends of the queue.
    pub(super) bounds: Bounds,
}

/// Why an attempt brought nothing.
enum Setback {
    /// The request failed; it is tried again.
    Trouble(Trouble),
    /// Somebody else answers now.
    Flipped,
    /// An anomaly; it is looked at again before it counts.
    Suspect(Fault),
}

impl From<Trouble> for Setback {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Anomalies that were seen in a row.
#[derive(Default)]
struct Doubts {
    last: Option<ErrorCode>,
    alike: u32,
    all: u32,
    /// One of them for which nothing can be left out.
    gravest: Option<Fault>,
}

impl Doubts {
    /// Another anomaly was seen at `offset`. Answers with the fault that it is when it was seen often enough.
    ///
    /// Where the anomalies differ from look to look, none of their ranges is certain: then it is the one that offers no
    /// skip, or else one that leaves out nothing but the record at the offset.
    fn add(&mut self, fault: Fault, offset: i64, confirmations: u32) -> Option<Fault> {
        let code = Some(fault.code());
        self.alike = if self.last == code { self.alike.saturating_add(1) } else { 1 };
        self.last = code;
        self.all = self.all.saturating_add(1);
        if self.alike >= confirmations {
            return Some(fault);
        }
        if self.all >= confirmations.saturating_mul(PATTERNS) {
            let reason = format!("the broker answers differently each time it is asked, at last: {fault}");
            return Some(self.gravest.take().unwrap_or(Fault::DamagedRecord { offset, reason }));
        }
        if fault.skip_to().is_none() {
            self.gravest = Some(fault);
        }
        None
    }
}

/// Reads once, as long as that takes. At the end of the queue it answers with no record after the poll.
pub(super) async fn fetch<S: Source>(reading: Arc<Reading<S>>, mut place: Place) -> Result<Fetched, PartitionExit> {
    let settings = &reading.settings;
    let mut retry = Retry::new(settings, reading.seed);
    let mut doubts = Doubts::default();
    let mut flips = 0_u32;
    loop {
        let trouble = match attempt(&reading, &mut place).await {
            Ok(fetched) => return Ok(fetched),
            Err(Setback::Suspect(fault)) => {
                if let Some(fault) = doubts.add(fault, place.next, settings.confirmations) {
                    return Err(PartitionExit::Fault(fault));
                }
                reading.source.leave_slave();
                // Not a success: outages that anomalies interrupt are outages, and their patience ends.
                sleep(settings.confirmation_wait).await;
                continue;
            }
            Err(Setback::Flipped) => {
                let trouble = Trouble::new(ErrorCode::Unreachable, "the source answers over ever new connections");
                // Once is a reconnection, which costs a look at the boundary and no more.
                flips = flips.saturating_add(1);
                if flips > 1 {
                    reading.condition.blocked(&trouble);
                }
                trouble
            }
            Err(Setback::Trouble(trouble)) => {
                reading.condition.blocked(&trouble);
                reading.source.leave_slave();
                trouble
            }
        };
        doubts = Doubts::default();
        place.trusted = false;
        if !retry.wait().await {
            return Err(PartitionExit::source_lost(trouble));
        }
    }
}

async fn attempt<S: Source>(reading: &Reading<S>, place: &mut Place) -> Result<Fetched, Setback> {
    let (source, settings) = (&reading.source, &reading.settings);
    if !place.trusted {
        for boundary in place.older.iter().chain(&place.boundary) {
            let (fault, answered) = match boundary::check(source, boundary).await {
                Err(trouble) if trouble.code == ErrorCode::Malformed => {
                    return Err(Setback::Suspect(damaged(source, boundary.offset, trouble).await?));
                }
                checked => checked?,
            };
            if let Some(fault) = fault {
                return Err(Setback::Suspect(fault));
            }
            // Who vouched for the boundary has to be who answers the read: anybody else may have another life of the
            // queue.
            place.answered = Some(answered);
        }
        place.trusted = true;
    }
    let asked = Instant::now();
    let read = if place.at_most == 1 {
        None
    } else {
        match source.read(place.next, settings.pull_messages.min(place.at_most), settings.poll_wait).await {
            Err(trouble) if trouble.code == ErrorCode::Malformed => None,
            read => Some(read?),
        }
    };
    let Some(read) = read else {
        place.at_most = 1;
        let records = single(reading, place).await?;
        let bounds = source.bounds().await?;
        return Ok(found(records, *place, bounds));
    };
    place.heard(&read)?;
    if let Some(left_out) = read.left_out.filter(|left_out| left_out.first == place.next) {
        let mut place = *place;
        place.passed(Boundary::behind(&left_out.last));
        return Ok(Fetched { records: Vec::new(), left_out: Some(left_out), place, bounds: read.bounds });
    }
    let Bounds { minimum, maximum } = read.bounds;
    let (sound, flaw) = vet(&read.records, place.next);
    if sound > 0 {
        let mut records = read.records;
        records.truncate(sound);
        return Ok(found(records, *place, read.bounds));
    }
    let is_at_end = flaw.is_none() && place.next >= minimum && place.next == maximum.max(minimum);
    if read.from_slave && !is_at_end {
        return Err(lacking(place.next, read.bounds).into());
    }
    if let Some(flaw) = flaw {
        let records = again(reading, place, flaw).await?;
        return Ok(found(records, *place, read.bounds));
    }
    if place.next < minimum {
        return Err(Setback::Suspect(Fault::RetentionWon { from: place.next, to: minimum }));
    }
    if place.next > maximum.max(minimum) {
        return Err(Setback::Suspect(Fault::SourceRolledBack { copied: place.next, maximum }));
    }
    if place.next < maximum {
        let records = again(reading, place, Flaw::Hole(maximum)).await?;
        return Ok(found(records, *place, read.bounds));
    }
    if asked.elapsed() < NO_WAIT.min(settings.poll_wait) {
        sleep(settings.retry_first).await;
    }
    Ok(found(Vec::new(), *place, read.bounds))
}

fn found(records: Vec<Record>, mut place: Place, bounds: Bounds) -> Fetched {
    if let Some(last) = records.last() {
        place.passed(Boundary::of(last));
    }
    Fetched { records, left_out: None, place, bounds }
}

/// A slave answers without what should be at `next`. Its master may hold it.
fn lacking(next: i64, bounds: Bounds) -> Trouble {
    let Bounds { minimum, maximum } = bounds;
    if next > maximum.max(minimum) {
        return boundary::slave_ends_at(maximum);
    }
    let why = format!(
        "the slave that answers has no sound record at offset {next}, with a queue from {minimum} to {maximum}: only its \
         master can tell what is there"
    );
    Trouble::new(ErrorCode::Unreachable, why)
}

/// Asks for one record of whoever answered before: of a slave only if its master is gone.
async fn one<S: Source>(source: &S, place: &mut Place, offset: i64) -> Result<Read, Setback> {
    source.leave_slave();
    let read = source.read(offset, 1, Duration::ZERO).await?;
    place.heard(&read)?;
    Ok(read)
}

/// Asks for one record that an answer with many gave in a flawed way.
async fn again<S: Source>(reading: &Reading<S>, place: &mut Place, flaw: Flaw) -> Result<Vec<Record>, Setback> {
    let offset = place.next;
    let damaged = |reason: String| Setback::Suspect(Fault::DamagedRecord { offset, reason });
    let read = one(&reading.source, place, offset).await?;
    let (sound, second) = vet(&read.records, offset);
    if sound > 0 {
        let mut records = read.records;
        records.truncate(sound);
        return Ok(records);
    }
    if read.from_slave {
        return Err(lacking(offset, read.bounds).into());
    }
    Err(match second.unwrap_or(flaw) {
        Flaw::Hole(behind) => Setback::Suspect(hole(&reading.source, place, behind).await?),
        Flaw::Misplaced(other) => damaged(format!("the broker gives the record of offset {other} in its place")),
        Flaw::Checksum => damaged("its body does not match its checksum".to_owned()),
        Flaw::InnerBatch => {
            let reason = "it is a batch inside one record, which is not supported".to_owned();
            Setback::Suspect(Fault::BadRecord { offset, reason })
        }
    })
}

/// Asks for one record after an answer could not be read. When the record alone cannot be read either, it is damaged.
async fn single<S: Source>(reading: &Reading<S>, place: &mut Place) -> Result<Vec<Record>, Setback> {
    match again(reading, place, Flaw::Hole(place.next.saturating_add(1))).await {
        Err(Setback::Trouble(trouble)) if trouble.code == ErrorCode::Malformed => {
            Err(Setback::Suspect(damaged(&reading.source, place.next, trouble).await?))
        }
        answered => answered,
    }
}

/// What it means that the answer with a single record could not be read: the record is damaged, if the broker is well.
async fn damaged<S: Source>(source: &S, offset: i64, trouble: Trouble) -> Result<Fault, Trouble> {
    source.bounds().await?;
    Ok(Fault::DamagedRecord { offset, reason: trouble.why })
}

/// What a hole is: messages that retention removed meanwhile, or a range that is missing. A broker removes messages
/// first and moves the beginning of its queues later, so the bounds that came with an answer may be older than the
/// hole.
async fn hole<S: Source>(source: &S, place: &mut Place, behind: i64) -> Result<Fault, Setback> {
    let from = place.next;
    let to = end_of_hole(source, place, behind).await?;
    let Bounds { minimum, maximum } = source.bounds().await?;
    if from < minimum && minimum <= maximum {
        return Ok(Fault::RetentionWon { from, to: minimum });
    }
    Ok(Fault::SourceGap { from, to })
}

/// The first offset behind a hole at the place; the record at `behind`, if there is one, is known to be there.
///
/// Only an offset that was asked for itself is known to be missing: a broker that cannot read a message passes over the
/// rest of its log file without trying, so the record that an answer jumps to says nothing about those before it. So
/// they are asked for one by one, and jumps only bound that from above. Where [`PROBES`] offsets or [`LONGEST_SEARCH`]
/// are not enough, the hole is said to end at the first that was not asked for: a decision must not pass over it.
async fn end_of_hole<S: Source>(source: &S, place: &mut Place, behind: i64) -> Result<i64, Setback> {
    let (began, from) = (Instant::now(), place.next);
    let first = from.saturating_add(1);
    let mut end = behind.max(first);
    let mut probe = first;
    while probe < end {
        if probe.saturating_sub(first) >= PROBES || began.elapsed() >= LONGEST_SEARCH {
            tracing::warn!(from, asked_to = probe, behind = end, "the end of a hole was not reached");
            return Ok(probe);
        }
        match one(source, place, probe).await {
            Ok(read) => {
                if let Some(record) = read.records.first().filter(|record| record.queue_offset >= probe) {
                    end = end.min(record.queue_offset);
                }
            }
            // Something is there, though it cannot be read.
            Err(Setback::Trouble(trouble)) if trouble.code == ErrorCode::Malformed => return Ok(probe),
            Err(setback) => return Err(setback),
        }
        probe = probe.saturating_add(1);
    }
    Ok(end)
}
