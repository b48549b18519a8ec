//! One read of the source that is fit to be copied: contiguous, undamaged, of the life of the queue that was copied.
//!
//! ```text
//!   read --sound--> records
//!     |--empty at the end--> nothing yet
//!     |--failed--> wait, look at the boundary, read again ... until the patience ends: SourceLost
//!     |--another connection, master or slave--> look at the boundary, read again
//!     '--anomaly--> read again, singly, several times; still there: a fault with the exact range
//! ```
//!
//! Never follows a broker to another offset: what it suggests is not looked at.

use std::sync::Arc;
use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_rocketmq::wire::record::Record;
use tokio::time::{Instant, sleep};

use super::boundary::{self, Boundary};
use super::condition::Condition;
use super::exit::PartitionExit;
use super::ports::{Bounds, Source};
use super::retry::Retry;
use super::settings::ReplicateSettings;
use super::trouble::Trouble;
use super::vet::{Flaw, vet};

/// How many offsets behind a hole are asked for one by one to find its end.
const PROBES: i64 = 256;

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
}

/// What was read.
#[derive(Debug)]
pub(super) struct Fetched {
    /// Contiguous from the old place on; empty at the end of the queue.
    pub(super) records: Vec<Record>,
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

/// Reads once, as long as that takes. At the end of the queue it answers with no record after the poll.
pub(super) async fn fetch<S: Source>(reading: Arc<Reading<S>>, mut place: Place) -> Result<Fetched, PartitionExit> {
    let settings = &reading.settings;
    let mut retry = Retry::new(settings, reading.seed);
    let mut suspicion: (Option<ErrorCode>, u32) = (None, 0);
    loop {
        let trouble = match attempt(&reading, &mut place).await {
            Ok(fetched) => return Ok(fetched),
            Err(Setback::Suspect(fault)) => {
                retry.succeeded();
                let code = Some(fault.code());
                suspicion = (code, if suspicion.0 == code { suspicion.1.saturating_add(1) } else { 1 });
                if suspicion.1 >= settings.confirmations {
                    return Err(PartitionExit::Fault(fault));
                }
                sleep(settings.confirmation_wait).await;
                continue;
            }
            Err(Setback::Flipped) => {
                Trouble::new(ErrorCode::Unreachable, "the source answers over ever new connections")
            }
            Err(Setback::Trouble(trouble)) => {
                reading.condition.blocked(&trouble);
                trouble
            }
        };
        suspicion = (None, 0);
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
            let (fault, answered) = boundary::check(source, boundary).await?;
            if let Some(fault) = fault {
                return Err(Setback::Suspect(fault));
            }
            // Who vouched for the boundary has to be who answers the read: anybody else may have another life of the queue.
            place.answered = Some(answered);
        }
        place.trusted = true;
    }
    let asked = Instant::now();
    let read = match source.read(place.next, settings.pull_messages, settings.poll_wait).await {
        Err(trouble) if trouble.code == ErrorCode::Malformed => {
            let records = single(reading, place.next).await?;
            let bounds = source.bounds().await?;
            return Ok(found(records, *place, bounds));
        }
        read => read?,
    };
    let answered = read.answered();
    if place.answered.replace(answered).is_some_and(|before| before != answered) {
        return Err(Setback::Flipped);
    }
    let Bounds { minimum, maximum } = read.bounds;
    let (sound, flaw) = vet(&read.records, place.next);
    if sound > 0 {
        let mut records = read.records;
        records.truncate(sound);
        return Ok(found(records, *place, read.bounds));
    }
    if let Some(flaw) = flaw {
        let records = again(reading, place.next, flaw).await?;
        return Ok(found(records, *place, read.bounds));
    }
    if place.next < minimum {
        return Err(Setback::Suspect(Fault::RetentionWon { from: place.next, to: minimum }));
    }
    if place.next > maximum.max(minimum) {
        if read.from_slave {
            let why =
                format!("the slave that answers ends at offset {maximum}, before what was copied from its master");
            return Err(Trouble::new(ErrorCode::Unreachable, why).into());
        }
        return Err(Setback::Suspect(Fault::SourceRolledBack { copied: place.next, maximum }));
    }
    if place.next < maximum {
        let records = again(reading, place.next, Flaw::Hole(maximum)).await?;
        return Ok(found(records, *place, read.bounds));
    }
    if asked.elapsed() < NO_WAIT.min(settings.poll_wait) {
        sleep(settings.retry_first).await;
    }
    Ok(found(Vec::new(), *place, read.bounds))
}

fn found(records: Vec<Record>, mut place: Place, bounds: Bounds) -> Fetched {
    if let Some(last) = records.last() {
        place.next = last.queue_offset.saturating_add(1);
        place.boundary = Some(Boundary::of(last));
        place.older = None;
    }
    Fetched { records, place, bounds }
}

/// Asks for one record that an answer with many gave in a flawed way.
async fn again<S: Source>(reading: &Reading<S>, offset: i64, flaw: Flaw) -> Result<Vec<Record>, Setback> {
    let damaged = |reason: String| Setback::Suspect(Fault::DamagedRecord { offset, reason });
    let read = reading.source.read(offset, 1, Duration::ZERO).await?;
    let (sound, second) = vet(&read.records, offset);
    if sound > 0 {
        let mut records = read.records;
        records.truncate(sound);
        return Ok(records);
    }
    Err(match second.unwrap_or(flaw) {
        Flaw::Hole(behind) => {
            Setback::Suspect(Fault::SourceGap { from: offset, to: end_of_hole(reading, offset, behind).await? })
        }
        Flaw::Misplaced(other) => damaged(format!("the broker gives the record of offset {other} in its place")),
        Flaw::Checksum => damaged("its body does not match its checksum".to_owned()),
        Flaw::InnerBatch => {
            let reason = "it is a batch inside one record, which is not supported".to_owned();
            Setback::Suspect(Fault::BadRecord { offset, reason })
        }
    })
}

/// Asks for one record after an answer could not be read. When the broker is well and the record alone cannot be read
/// either, it is damaged.
async fn single<S: Source>(reading: &Reading<S>, offset: i64) -> Result<Vec<Record>, Setback> {
    match again(reading, offset, Flaw::Hole(offset.saturating_add(1))).await {
        Err(Setback::Trouble(trouble)) if trouble.code == ErrorCode::Malformed => {
            reading.source.bounds().await?;
            Err(Setback::Suspect(Fault::DamagedRecord { offset, reason: trouble.why }))
        }
        answered => answered,
    }
}

/// The first offset behind a hole at `from`, asked for one by one. Where [`PROBES`] offsets show nothing, the hole is said
/// to end behind them: what lies further on may be there, and a decision must not pass over it.
async fn end_of_hole<S: Source>(reading: &Reading<S>, from: i64, behind: i64) -> Result<i64, Trouble> {
    let mut end = behind.min(from.saturating_add(PROBES).saturating_add(1));
    let mut probe = from.saturating_add(1);
    while probe < end {
        let read = reading.source.read(probe, 1, Duration::ZERO).await?;
        if let Some(record) = read.records.first().filter(|record| record.queue_offset >= probe) {
            end = end.min(record.queue_offset);
        }
        probe = probe.saturating_add(1);
    }
    Ok(end.max(from.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::{Epoch, Timestamp};
    use std::sync::Mutex;

    use super::*;
    use crate::replicate::memory::{MemoryQueue, message};
    use crate::replicate::ports::{Queue, Read};
    use crate::status::PartitionGauge;

    /// Somebody else answers each read.
    #[derive(Clone)]
    struct Turns {
        master: MemoryQueue,
        slave: MemoryQueue,
        masters_turn: Arc<Mutex<bool>>,
    }

    impl Queue for Turns {
        async fn read(&self, offset: i64, maximum_messages: u32, wait: Duration) -> Result<Read, Trouble> {
            let masters_turn = {
                let mut turn = self.masters_turn.lock().unwrap();
                *turn = !*turn;
                *turn
            };
            let queue = if masters_turn { &self.master } else { &self.slave };
            queue.read(offset, maximum_messages, wait).await
        }

        async fn bounds(&self) -> Result<Bounds, Trouble> {
            self.master.bounds().await
        }
    }

    impl Source for Turns {
        async fn offset_at(&self, timestamp: i64) -> Result<i64, Trouble> {
            self.master.offset_at(timestamp).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_master_that_vouches_for_the_boundary_does_not_vouch_for_a_slave() {
        let (master, slave) = (MemoryQueue::default(), MemoryQueue::default());
        master.append_all((0..20).map(message));
        slave.append_all((500..520).map(message));
        slave.serve_as_slave(true);
        let boundary = Some(Boundary::of(&master.record(9)));
        let gauge = Arc::new(PartitionGauge::new(Epoch(1), Timestamp(0)));
        let reading = Reading {
            source: Turns { master, slave, masters_turn: Arc::default() },
            settings: Arc::new(ReplicateSettings::default()),
            condition: Arc::new(Condition::new(gauge)),
            seed: 7,
        };
        let place = Place { next: 10, boundary, older: None, trusted: false, answered: None };
        let fetched = fetch(Arc::new(reading), place).await;
        assert!(matches!(fetched, Err(PartitionExit::SourceLost { .. })), "{fetched:?}");
    }
}
