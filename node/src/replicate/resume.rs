//! Where copying goes on: what the target really holds decides, not what was remembered.
//!
//! ```text
//! settle ----> the last copy of the checkpoint still stands? --no--> search back --found--> TargetRewound
//!                    | yes                                                 '--not--> TargetLost
//!                    v
//!              read from target_next to the end, go on behind the greatest own copy found
//! ```
//!
//! The same path after a crash, a takeover, an unknown outcome and a new connection. Whatever the tail shows counts as
//! progress even though nothing is known of its acknowledgement: if a weaker master loses it later, the search back finds
//! that. Never sends anything.

use causeway_core::checkpoint::{Checkpoint, LastCopy};
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use tokio::time::{Instant, sleep};

use super::boundary::{Boundary, Witness};
use super::exit::PartitionExit;
use super::ports::Sink;
use super::settings::ReplicateSettings;
use super::tail::{Halt, OwnCopies, OwnCopy};
use super::trouble::Trouble;

/// Why the tail has to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The run begins: another owner's sends may still land.
    Start,
    /// It is not known whether the last send landed.
    Unknown,
    /// The connection is another one; every send was answered.
    Connection,
    /// The last batch was stored at this offset, below what the target had acknowledged before: it stands behind a hole.
    Stray(i64),
}

/// Where copying goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resumed {
    /// The next source offset.
    pub(super) source_next: i64,
    /// From where the next tail read has to look.
    pub(super) target_next: i64,
    /// The newest copy.
    pub(super) last_copy: Option<LastCopy>,
    /// The source record before `source_next`, and an older one.
    pub(super) boundaries: [Option<Boundary>; 2],
    /// The end of the target queue: where the next copy is expected.
    pub(super) end: i64,
    /// Copies that stand at the target twice.
    pub(super) doubled: u64,
    /// Whether somebody else writes to the target queue.
    pub(super) shared: bool,
}

/// Looks at the target and says where copying goes on behind a checkpoint.
pub(super) async fn resume<K: Sink>(
    sink: &K,
    own: &OwnCopies,
    checkpoint: &Checkpoint,
    cause: Cause,
    settings: &ReplicateSettings,
) -> Result<Resumed, Halt> {
    let end = settle(sink, checkpoint.target_next, cause, settings).await?;
    let minimum = sink.bounds().await?.minimum;
    if end < checkpoint.target_next {
        return Err(rewind(sink, own, checkpoint, minimum, end, settings).await?);
    }
    if minimum > checkpoint.target_next {
        return Err(Fault::TargetTailGone { from: checkpoint.target_next, to: minimum }.into());
    }
    let mut last = None;
    if let Some(expected) = checkpoint.last_copy.filter(|copy| copy.target_offset >= minimum) {
        last = own.at(sink, expected.target_offset).await?.filter(|found| found.place == expected);
        if last.is_none() {
            return Err(rewind(sink, own, checkpoint, minimum, end, settings).await?);
        }
    }
    let mut tail = Tail { cause, newest: None, doubled: 0, shared: false, source_next: checkpoint.source_next };
    own.scan(sink, checkpoint.target_next, end, |seen| tail.see(seen)).await?;
    Ok(tail.resumed(checkpoint, last, end))
}

/// What the tail shows.
struct Tail {
    cause: Cause,
    newest: Option<OwnCopy>,
    doubled: u64,
    shared: bool,
    source_next: i64,
}

impl Tail {
    fn see(&mut self, seen: Option<OwnCopy>) {
        let Some(copy) = seen else {
            self.shared = true;
            return;
        };
        let is_stray = matches!(self.cause, Cause::Stray(from) if copy.place.target_offset >= from);
        if is_stray || copy.place.source_offset < self.source_next {
            self.doubled = self.doubled.saturating_add(1);
        } else {
            self.source_next = copy.place.source_offset.saturating_add(1);
            self.newest = Some(copy);
        }
    }

    fn resumed(self, checkpoint: &Checkpoint, last: Option<OwnCopy>, end: i64) -> Resumed {
        let before = checkpoint.source_next.saturating_sub(1);
        let remembered = checkpoint
            .fingerprint
            .map(|fingerprint| Boundary { offset: before, witness: Witness::Fingerprint(fingerprint) });
        // Without a fingerprint the copy itself says what its source record was.
        let known = remembered.or_else(|| last.map(boundary).filter(|last| last.offset == before));
        let behind = self.newest.map_or(checkpoint.target_next, |copy| copy.place.target_offset.saturating_add(1));
        Resumed {
            source_next: self.source_next,
            // What stands behind a hole is sent again, so later tail reads must not take it for landed.
            target_next: if matches!(self.cause, Cause::Stray(_)) { end } else { behind },
            last_copy: self.newest.map(|copy| copy.place).or(checkpoint.last_copy),
            boundaries: match self.newest {
                Some(newest) => [Some(boundary(newest)), known],
                None => [known, None],
            },
            end,
            doubled: self.doubled,
            shared: self.shared,
        }
    }
}

fn boundary(copy: OwnCopy) -> Boundary {
    Boundary { offset: copy.place.source_offset, witness: copy.witness }
}

/// Waits until the end of the target queue stands still and everything stored can be read; returns that end.
///
/// On a queue that others write to the end never stands still: then it is enough that the broker shows nearly everything
/// it stored, or, where it does not tell, that the waiting has taken as long as settling does.
async fn settle<K: Sink>(sink: &K, expected: i64, cause: Cause, settings: &ReplicateSettings) -> Result<i64, Trouble> {
    const NEARLY_NOTHING: u64 = 1024 * 1024;
    let began = Instant::now();
    let mut before = None;
    loop {
        let end = sink.bounds().await?.maximum;
        if cause == Cause::Connection && end >= expected {
            return Ok(end);
        }
        let hidden = sink.hidden_bytes().await?;
        let stands_still = before == Some(end) && hidden.is_none_or(|bytes| bytes == 0);
        let waited_enough = began.elapsed() >= settings.settle_own;
        if stands_still && (end >= expected || waited_enough) {
            return Ok(end);
        }
        if waited_enough && end >= expected && hidden.is_none_or(|bytes| bytes < NEARLY_NOTHING) {
            return Ok(end);
        }
        if began.elapsed() >= settings.settle_own.saturating_add(settings.patience) {
            let why = format!("the broker has stored {} bytes that it does not show yet", hidden.unwrap_or(0));
            return Err(Trouble::new(ErrorCode::Busy, why));
        }
        // Only an end that was read while nothing was hidden proves anything.
        before = hidden.is_none_or(|bytes| bytes == 0).then_some(end);
        sleep(settings.settle_poll).await;
    }
}

/// The copies that the checkpoint counts on are gone: finds the newest that is left. Copies at and behind the
/// checkpoint's source offset are not looked at: they stand behind the hole.
async fn rewind<K: Sink>(
    sink: &K,
    own: &OwnCopies,
    checkpoint: &Checkpoint,
    minimum: i64,
    end: i64,
    settings: &ReplicateSettings,
) -> Result<Halt, Trouble> {
    let low = end.saturating_sub(i64::from(settings.search_back_messages)).max(minimum);
    let found = own.newest(sink, low, end, |copy| copy.place.source_offset < checkpoint.source_next).await?;
    let source_next = match found {
        Some(copy) => copy.place.source_offset.saturating_add(1),
        // Nothing of ours was acknowledged before, so nothing of ours is lost.
        None if checkpoint.last_copy.is_none() => checkpoint.source_next,
        None => {
            let fault = Fault::TargetLost { queue: own.source.to_string(), below: end };
            return Ok(fault.into());
        }
    };
    let lost = u64::try_from(checkpoint.source_next.saturating_sub(source_next)).unwrap_or(0);
    let checkpoint = Checkpoint {
        source_next,
        target_next: end,
        fingerprint: checkpoint.fingerprint.filter(|_| source_next == checkpoint.source_next),
        last_copy: found.map(|copy| copy.place),
        ..checkpoint.clone()
    };
    Ok(Halt::Exit(PartitionExit::TargetRewound { checkpoint, lost }))
}
