//! Where copying goes on: what the target really holds decides, not what was remembered.
//!
//! ```text
//! settle ----> the last copy of the checkpoint still stands? --no--> search back --found--> TargetRewound
//!                    | yes                                                 '--not--> TargetLost
//!                    v
//!              read from target_next to the end, go on behind the greatest own copy that no hole precedes
//! ```
//!
//! The same path after a crash, a takeover, an unknown outcome and a new connection. `last_copy` proves that nothing
//! acknowledged is lost; `target_next` only says where copies can stand that are not known yet. Whatever the tail shows
//! counts as progress even though nothing is known of its acknowledgement: if a weaker master loses it later, the
//! search back finds that. Over the connection that acknowledged everything, the newest copy is looked for instead of
//! the durable one, and only what is behind it is read: what waits for durability may be long. Never sends anything.

use std::mem::{Discriminant, discriminant};

use causeway_core::checkpoint::{Checkpoint, LastCopy};
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_core::ids::Epoch;
use tokio::time::sleep;

use super::boundary::{Boundary, Witness};
use super::exit::PartitionExit;
use super::fetch::PATTERNS;
use super::late::LateCopies;
use super::ports::Sink;
use super::settings::ReplicateSettings;
use super::settle::{SettleMode, settle};
use super::tail::{Halt, OwnCopies, OwnCopy, Standing};
use super::trouble::Trouble;

/// Why the tail has to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The run begins: another owner's sends may still land.
    Start,
    /// It is not known whether the last send landed.
    Unknown,
    /// The connection is another one, or it is time to look; every send was answered.
    Connection,
    /// The last batch was stored in this range, below what the target had acknowledged before or where the copy before
    /// it is gone: it may stand behind a hole.
    Stray {
        /// Where it begins.
        from: i64,
        /// Behind its end.
        to: i64,
        /// Whether it is as durable as the target is configured for.
        full: bool,
    },
}

/// What a run knows when the tail has to be read.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// What is durable.
    pub(super) durable: Checkpoint,
    /// What is copied, durable or not.
    pub(super) reached: Checkpoint,
    /// The connection over which it was acknowledged.
    pub(super) verified: Option<u64>,
    /// While every send is answered, the run knows every copy below this target offset, and has counted those that
    /// stand there twice.
    pub(super) complete_to: i64,
    /// Whether what stands behind that is looked through for a dead owner's copies.
    pub(super) watches: bool,
    /// Whether this run is not the first of its partition, so that an earlier one may have sent something.
    pub(super) had_owner: bool,
    /// How long that is waited out.
    pub(super) settle_mode: SettleMode,
    /// Source offsets of damaged records that somebody decided to pass over: they are compared with nothing.
    pub(super) passed_over: Vec<i64>,
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
    /// Copies that stand at the target twice, or will, or were written by an earlier owner behind where the tail ended
    /// when it was read; and that were not counted before.
    pub(super) late: LateCopies,
    /// Whether somebody else writes to the target queue.
    pub(super) shared: bool,
}

impl Resumed {
    /// The source offset behind the newest copy: everything from there on the next copy accounts for.
    pub(super) fn behind_last_copy(&self) -> i64 {
        self.last_copy.map_or(self.source_next, |copy| copy.source_offset.saturating_add(1))
    }
}

/// A look at the target's tail, over as many attempts as it takes. What an attempt has seen holds for the next one over
/// the same connection; behind another one there may be another master.
pub(super) struct Look {
    cause: Cause,
    known: Known,
    connection: Option<u64>,
    waited: bool,
    /// Whether the run knows every copy below `complete_to`, so that only what is behind has to be read.
    complete: bool,
    tail: Tail,
    /// Copies behind what was lost, which a rewind leaves where they stand and copies again.
    left_behind: u64,
}

impl Look {
    pub(super) fn new(cause: Cause, known: Known) -> Self {
        let tail = Tail::behind(&known.durable, 0, None);
        Self { cause, known, connection: None, waited: false, complete: false, tail, left_behind: 0 }
    }

    /// Copies that will stand at the target twice after the rewind that the last attempt asked for.
    pub(super) fn left_behind(&self) -> u64 {
        self.left_behind
    }

    /// How far the target was read: an attempt that failed further on got somewhere.
    pub(super) fn read_to(&self) -> i64 {
        self.tail.next
    }

    /// Looks once, and says over which connection and where copying goes on.
    pub(super) async fn attempt<K: Sink>(
        &mut self,
        sink: &K,
        own: &OwnCopies,
        settings: &ReplicateSettings,
    ) -> Result<(u64, Resumed), Halt> {
        self.left_behind = 0;
        // Connected first, so that whatever is sent over a later connection is noticed.
        let connection = sink.connect().await?;
        if self.connection.replace(connection) != Some(connection) {
            // Behind another connection there may be a master that lacks what waits for durability.
            let is_same = self.known.verified == Some(connection) || self.known.reached == self.known.durable;
            self.begin(self.cause == Cause::Connection && is_same);
            self.waited = false;
        }
        let end = self.settled_end(sink, connection, settings).await?;
        let minimum = sink.bounds().await?.minimum;
        let went_back_to = if let Cause::Stray { from, .. } = self.cause { from.min(end) } else { end };
        let last = loop {
            let base = self.base();
            let standing = match base.last_copy {
                Some(copy) => Some(own.standing(sink, copy).await?),
                None => None,
            };
            if let (Some(Standing::Unreadable), Some(copy)) = (standing, base.last_copy) {
                let (from, to) = (copy.target_offset, copy.target_offset.saturating_add(1));
                return Err(Halt::Unreadable(Fault::TargetTailGone { from, to }));
            }
            let is_gone = matches!(standing, Some(Standing::Gone | Standing::NotShown));
            if (is_gone || went_back_to < base.target_next) && *base != self.known.durable {
                // Some of what waits for durability is lost: what is durable says how much.
                self.begin(false);
                continue;
            }
            match base.last_copy.filter(|_| !is_gone) {
                Some(copy) if went_back_to < base.target_next => {
                    return Err(others_lost(base, copy.target_offset.saturating_add(1).max(minimum).min(end)));
                }
                None if is_gone || went_back_to < base.target_next => {
                    let (halt, left_behind) = rewind(sink, own, base, minimum, end, settings).await?;
                    self.left_behind = left_behind;
                    return Err(halt);
                }
                _ => {}
            }
            break if let Some(Standing::Stands(found)) = standing { Some(found) } else { None };
        };
        if let Some(complete_to) = self.complete_to() {
            self.tail.next =
                self.tail.next.max(if self.known.watches { complete_to } else { end }).max(minimum).min(end);
        }
        if minimum > self.tail.next {
            return Err(Fault::TargetTailGone { from: self.tail.next, to: minimum }.into());
        }
        let tail = &mut self.tail;
        own.scan(sink, tail.next, end, |seen| tail.see(seen)).await?;
        Ok((connection, self.resumed(last, end)))
    }

    /// Begins to read, behind what the run knows to be there.
    fn begin(&mut self, complete: bool) {
        self.complete = complete;
        let counted_to = match self.cause {
            Cause::Stray { from, .. } => self.known.complete_to.min(from),
            _ => self.known.complete_to,
        };
        // At its start a run reads what earlier ones wrote in their time.
        let late_from = (self.cause != Cause::Start).then_some(counted_to);
        self.tail = Tail::behind(self.base(), counted_to, late_from);
    }

    /// What is taken for granted where it stands.
    fn base(&self) -> &Checkpoint {
        if self.complete { &self.known.reached } else { &self.known.durable }
    }

    /// Waits until whatever was sent before either stands at the target or never will.
    async fn settled_end<K: Sink>(
        &mut self,
        sink: &K,
        connection: u64,
        settings: &ReplicateSettings,
    ) -> Result<i64, Trouble> {
        let quiet = match self.cause {
            Cause::Start if self.known.had_owner => self.known.settle_mode.quiet(settings),
            Cause::Unknown => Some(settings.settle_own),
            Cause::Start | Cause::Connection | Cause::Stray { .. } => None,
        };
        if let Some(quiet) = quiet.filter(|_| !self.waited) {
            // The wait begins when the broker answers: one that was frozen answers first and then executes what it has.
            sink.bounds().await?;
            sleep(quiet).await;
        }
        self.waited = true;
        let expected = match self.cause {
            Cause::Start => self.known.durable.target_next,
            Cause::Unknown | Cause::Connection => self.known.reached.target_next,
            Cause::Stray { to, .. } => to,
        };
        let end = sink.bounds().await?.maximum;
        let is_covered = match self.cause {
            Cause::Start => self.known.settle_mode == SettleMode::Covered,
            Cause::Connection => true,
            Cause::Unknown | Cause::Stray { .. } => false,
        };
        if is_covered && end >= expected {
            // There is nothing but what was acknowledged, and that is shown.
            return Ok(end);
        }
        settle(sink, expected, self.known.verified == Some(connection), settings).await
    }

    fn complete_to(&self) -> Option<i64> {
        self.complete.then_some(self.known.complete_to)
    }

    fn resumed(&self, last: Option<OwnCopy>, end: i64) -> Resumed {
        let (base, tail) = (self.base(), &self.tail);
        let before = base.source_next.saturating_sub(1);
        let remembered =
            base.fingerprint.map(|fingerprint| Boundary { offset: before, witness: Witness::Fingerprint(fingerprint) });
        // Without a fingerprint the copy itself says what its source record was, also where that stands further back.
        let is_compared = |copy: &Boundary| !self.known.passed_over.contains(&copy.offset);
        let known = remembered.or_else(|| last.map(boundary).filter(is_compared));
        let behind = tail
            .newest
            .map(|copy| copy.place.target_offset.saturating_add(1))
            .or(self.complete_to().map(|offset| offset.min(end)));
        Resumed {
            source_next: tail.source_next,
            target_next: behind.map_or(base.target_next, |behind| behind.max(base.target_next)),
            last_copy: tail.newest.map(|copy| copy.place).or(base.last_copy),
            boundaries: match tail.newest {
                Some(newest) => [Some(boundary(newest)), known],
                None => [known, None],
            },
            end,
            late: tail.late,
            shared: tail.shared,
        }
    }
}

/// What the tail shows.
struct Tail {
    /// The target offset to be read next.
    next: i64,
    newest: Option<OwnCopy>,
    /// Those that stand twice below this target offset were counted before.
    counted_to: i64,
    /// From this target offset on, what an earlier epoch than `epoch` wrote came late. None where it may stand
    /// anywhere.
    late_from: Option<i64>,
    epoch: Epoch,
    late: LateCopies,
    shared: bool,
    source_next: i64,
}

impl Tail {
    fn behind(base: &Checkpoint, counted_to: i64, late_from: Option<i64>) -> Self {
        let &Checkpoint { target_next: next, source_next, epoch, .. } = base;
        let late = LateCopies::default();
        Self { next, newest: None, counted_to, late_from, epoch, late, shared: false, source_next }
    }

    fn see(&mut self, seen: Option<OwnCopy>) {
        self.next = self.next.saturating_add(1);
        let Some(copy) = seen else {
            self.shared = true;
            return;
        };
        // The copy before it is missing: the target lost that one and stored this one later.
        let behind_a_hole = copy.accounts_from > self.source_next;
        let counts = if behind_a_hole || copy.place.source_offset < self.source_next {
            copy.place.target_offset >= self.counted_to
        } else {
            self.source_next = copy.place.source_offset.saturating_add(1);
            self.newest = Some(copy);
            copy.epoch < self.epoch && self.late_from.is_some_and(|from| copy.place.target_offset >= from)
        };
        if counts {
            self.late.see(copy);
        }
    }
}

fn boundary(copy: OwnCopy) -> Boundary {
    Boundary { offset: copy.place.source_offset, witness: copy.witness }
}

/// The target went back, but not behind our last copy: nothing of ours is lost, and only its offsets have to be taken
/// back, because new copies will stand below those of the checkpoint.
fn others_lost(durable: &Checkpoint, target_next: i64) -> Halt {
    Halt::Exit(PartitionExit::TargetRewound { checkpoint: Checkpoint { target_next, ..durable.clone() }, lost: 0 })
}

/// The copies that the checkpoint counts on are gone: finds the newest that is left, and counts those that are not gone
/// on from. Copies at and behind the checkpoint's source offset are among them: they stand behind the hole.
async fn rewind<K: Sink>(
    sink: &K,
    own: &OwnCopies,
    durable: &Checkpoint,
    minimum: i64,
    end: i64,
    settings: &ReplicateSettings,
) -> Result<(Halt, u64), Trouble> {
    let low = end.saturating_sub(i64::from(settings.search_back_messages)).max(minimum);
    let mut seen = Vec::new();
    let wanted = |copy: &OwnCopy| {
        seen.push(copy.place.source_offset);
        copy.place.source_offset < durable.source_next
    };
    let found = own.newest(sink, low, end, settings.batch_messages, wanted).await?;
    let source_next = match found {
        Some(copy) => copy.place.source_offset.saturating_add(1),
        // Nothing of ours was acknowledged before, so nothing of ours is lost.
        None if durable.last_copy.is_none() => durable.source_next,
        None => {
            let fault = Fault::TargetLost { queue: own.source.to_string(), below: end };
            return Ok((fault.into(), 0));
        }
    };
    let left_behind = seen.into_iter().filter(|offset| *offset >= source_next).count();
    let lost = u64::try_from(durable.source_next.saturating_sub(source_next)).unwrap_or(0);
    let checkpoint = Checkpoint {
        source_next,
        target_next: end,
        fingerprint: durable.fingerprint.filter(|_| source_next == durable.source_next),
        last_copy: found.map(|copy| copy.place),
        ..durable.clone()
    };
    let halt = Halt::Exit(PartitionExit::TargetRewound { checkpoint, lost });
    Ok((halt, u64::try_from(left_behind).unwrap_or(u64::MAX)))
}

/// What was found at the target, look after look. One look is enough for no rewind and no fault: a rewind copies again
/// what may still be there, and a fault stops the partition.
#[derive(Debug, Default)]
pub(super) struct Findings {
    last: Option<(Discriminant<PartitionExit>, Option<ErrorCode>)>,
    alike: u32,
    all: u32,
}

impl Findings {
    /// Another look found this. Says whether that was so often enough in a row, or one thing after another for long
    /// enough.
    pub(super) fn confirm(&mut self, exit: &PartitionExit, confirmations: u32) -> bool {
        let code = if let PartitionExit::Fault(fault) = exit { Some(fault.code()) } else { None };
        let kind = Some((discriminant(exit), code));
        self.alike = if self.last == kind { self.alike.saturating_add(1) } else { 1 };
        self.last = kind;
        self.all = self.all.saturating_add(1);
        self.alike >= confirmations || self.all >= confirmations.saturating_mul(PATTERNS)
    }
}
