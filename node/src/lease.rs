//! The node's permission to write, until a time on its own boot clock.
//!
//! ```text
//! the cluster --renew, revoke--> LeaseKeeper ==> Lease (all see it) --tenure--> Tenure (a run writes under it)
//! ```
//!
//! Parts: [`LeaseKeeper`], the one that may change it; [`Lease`], an atomic cell; [`Tenure`], an unbroken stretch of
//! it. A run writes under the tenure that it began in and never under a later one: while the lease was not valid, its
//! partition may have been given to another node. A tenure that is over never comes back. A check says what was true a
//! few instructions ago: a process that is stopped right after it, or a guest whose clock stands still, is not seen.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{BootClock, BootInstant};

/// The last part of a node's lease, in which no batch is begun: one that is under way by then is usually answered
/// before the end. What is not is cut off there.
pub const MARGIN: Duration = Duration::from_millis(200);

/// The point in time that never comes.
const NEVER: u64 = u64::MAX;

/// The permission to write is over, or was never given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has no valid lease")]
pub struct LeaseLost;

/// Asked directly before bytes leave.
pub type Permit = Arc<dyn Fn() -> bool + Send + Sync>;

/// Whether, and how long, this node may write. Clones are the same lease.
#[derive(Debug, Clone)]
pub struct Lease {
    cell: Arc<Cell>,
}

/// Changes a lease. There is one for each.
#[derive(Debug)]
pub struct LeaseKeeper {
    lease: Lease,
}

/// A stretch of time in which a lease was valid without a break. Clones are the same tenure.
#[derive(Debug, Clone)]
pub struct Tenure {
    lease: Lease,
    number: u64,
}

struct Cell {
    clock: BootClock,
    /// Nothing is begun in the last part of a lease.
    margin: Duration,
    /// In nanoseconds of the boot clock; zero before the first and after a revocation.
    until: AtomicU64,
    /// How many times the lease began. Written before `until`, so that whoever sees a new end sees a new number.
    tenures: AtomicU64,
    /// How many times it was seen to have ended without being given up. Written behind `until`, so that whoever sees a
    /// new number sees a new end, and counts no end twice.
    lost: AtomicU64,
    /// The highest number of losses that was shown.
    shown: AtomicU64,
    /// Told whenever the end moves.
    moved: watch::Sender<()>,
}

impl LeaseKeeper {
    /// A lease that is not valid yet. No batch is begun in its last `margin`, so that those under way are answered
    /// before its end; it has to be shorter than a lease.
    #[must_use]
    pub fn new(clock: BootClock, margin: Duration) -> Self {
        Self { lease: Lease::with(clock, margin, 0) }
    }

    /// The lease that this one keeps.
    #[must_use]
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// The node may write until then. An end that has passed, or is before the one that is known, changes nothing.
    ///
    /// Whoever renews a lease that was not valid sees to it that everything which was agreed when it was granted is
    /// visible on this node: runs are built from that.
    pub fn renew(&mut self, until: BootInstant) {
        let cell = &self.lease.cell;
        let (known, now) = (cell.until.load(Ordering::Relaxed), cell.clock.now().as_nanos());
        if until.as_nanos() <= known.max(now) {
            return;
        }
        if known <= now {
            cell.tenures.fetch_add(1, Ordering::Relaxed);
        }
        cell.set(until.as_nanos(), now);
    }

    /// As [`Self::renew`], but only without a break: answers whether the lease was valid until now.
    pub fn extend(&mut self, until: BootInstant) -> bool {
        let cell = &self.lease.cell;
        let known = cell.until.load(Ordering::Relaxed);
        if known <= cell.clock.now().as_nanos() {
            return false;
        }
        if until.as_nanos() > known {
            cell.until.store(until.as_nanos(), Ordering::Release);
            cell.moved.send_replace(());
        }
        true
    }

    /// The node must not write any more, from now on. That is no loss.
    pub fn revoke(&mut self) {
        let cell = &self.lease.cell;
        cell.set(0, cell.clock.now().as_nanos());
    }
}

impl Cell {
    /// Moves the end, and counts the one before as a loss where it has come by itself.
    fn set(&self, until: u64, now: u64) {
        let before = self.until.swap(until, Ordering::AcqRel);
        if is_lost(before, now) {
            self.lost.fetch_add(1, Ordering::Release);
        }
        self.moved.send_replace(());
    }
}

/// Whether a lease with this end was not renewed in time. One that was never given, or was given up, is not lost.
fn is_lost(until: u64, now: u64) -> bool {
    until != 0 && until <= now
}

impl Lease {
    /// The lease of a node that is the only voter of its cluster: nobody else can be given its partitions, and the lock
    /// of its data directory keeps other processes away.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::with(BootClock::system(), Duration::ZERO, NEVER)
    }

    fn with(clock: BootClock, margin: Duration, until: u64) -> Self {
        let (until, tenures, moved) = (AtomicU64::new(until), AtomicU64::new(0), watch::Sender::new(()));
        let (lost, shown) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { cell: Arc::new(Cell { clock, margin, until, tenures, lost, shown, moved }) }
    }

    /// Whether bytes of a batch that was begun may leave.
    #[must_use]
    pub fn is_valid_now(&self) -> bool {
        self.remaining() > Duration::ZERO
    }

    /// Whether a batch may be begun.
    ///
    /// # Errors
    /// Less than the margin is left.
    pub fn check(&self) -> Result<(), LeaseLost> {
        if self.remaining() > self.cell.margin { Ok(()) } else { Err(LeaseLost) }
    }

    /// What is left of it, margin included. [`Duration::MAX`] where it has no end.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.look().0
    }

    /// How often it ended because it was not renewed in time, from the moment on that it has. The number never goes
    /// back. The lease of a node that needs none never ends.
    #[must_use]
    pub fn losses(&self) -> u64 {
        let cell = &self.cell;
        // In this order: an end that has passed by then cannot be put off any more, and was counted only when it is not
        // found any more.
        let (now, lost) = (cell.clock.now().as_nanos(), cell.lost.load(Ordering::Acquire));
        let lost = lost.saturating_add(u64::from(is_lost(cell.until.load(Ordering::Acquire), now)));
        cell.shown.fetch_max(lost, Ordering::Relaxed).max(lost)
    }

    /// Whether it never ends.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.cell.until.load(Ordering::Relaxed) == NEVER
    }

    /// Returns when a batch may be begun. May be given up at any time.
    pub async fn wait_until_valid(&self) {
        let mut moved = self.cell.moved.subscribe();
        while self.check().is_err() {
            // Time alone makes no lease valid. The sender lives as long as `self`.
            let _moved = moved.changed().await;
        }
    }

    /// The present tenure.
    ///
    /// # Errors
    /// Less than the margin is left.
    pub fn tenure(&self) -> Result<Tenure, LeaseLost> {
        let (remaining, number) = self.look();
        if remaining > self.cell.margin { Ok(Tenure { lease: self.clone(), number }) } else { Err(LeaseLost) }
    }

    /// What is left, and of which tenure.
    fn look(&self) -> (Duration, u64) {
        // In this order: an end of a later tenure brings its number with it, and what the clock says at last has to lie
        // before an end that was known before.
        let until = self.cell.until.load(Ordering::Acquire);
        let number = self.cell.tenures.load(Ordering::Relaxed);
        let remaining = match until {
            NEVER => Duration::MAX,
            until => BootInstant::from_nanos(until).saturating_since(self.cell.clock.now()),
        };
        (remaining, number)
    }
}

impl Tenure {
    /// Whether bytes of a batch that was begun may leave.
    #[must_use]
    pub fn is_valid_now(&self) -> bool {
        self.remaining() > Duration::ZERO
    }

    /// Whether a batch may be begun.
    ///
    /// # Errors
    /// Less than the margin is left, or the tenure is over.
    pub fn check(&self) -> Result<(), LeaseLost> {
        if self.remaining() > self.lease.cell.margin { Ok(()) } else { Err(LeaseLost) }
    }

    /// What is left of it, margin included. [`Duration::MAX`] where it has no end.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        let (remaining, number) = self.lease.look();
        if number == self.number { remaining } else { Duration::ZERO }
    }

    /// Says before each write whether it may be done. None where that never ends.
    #[must_use]
    pub fn permit(&self) -> Option<Permit> {
        if self.lease.cell.until.load(Ordering::Relaxed) == NEVER {
            return None;
        }
        let tenure = self.clone();
        Some(Arc::new(move || tenure.is_valid_now()))
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let until = self.until.load(Ordering::Relaxed);
        formatter.debug_struct("Cell").field("until", &until).field("margin", &self.margin).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    const MARGIN: Duration = Duration::from_nanos(10);

    /// A keeper whose clock shows what the cell holds.
    fn kept(margin: Duration) -> (LeaseKeeper, Arc<AtomicU64>) {
        let time = Arc::new(AtomicU64::new(1_000));
        let shown = Arc::clone(&time);
        let clock = BootClock::driven_by(move || BootInstant::from_nanos(shown.load(Ordering::SeqCst)));
        (LeaseKeeper::new(clock, margin), time)
    }

    fn until(nanoseconds: u64) -> BootInstant {
        BootInstant::from_nanos(nanoseconds)
    }

    #[test]
    fn nothing_is_begun_in_the_margin_and_nothing_leaves_behind_the_end() {
        let (mut keeper, time) = kept(MARGIN);
        let lease = keeper.lease();
        assert_eq!((lease.check(), lease.is_valid_now()), (Err(LeaseLost), false), "none was given yet");
        keeper.renew(until(1_100));
        let tenure = lease.tenure().unwrap();
        for (now, begins, leaves) in
            [(1_000, true, true), (1_089, true, true), (1_090, false, true), (1_099, false, true)]
        {
            time.store(now, Ordering::SeqCst);
            assert_eq!((lease.check().is_ok(), lease.is_valid_now()), (begins, leaves), "at {now}");
            assert_eq!((tenure.check().is_ok(), tenure.is_valid_now()), (begins, leaves), "at {now}");
            assert_eq!(lease.tenure().is_ok(), begins, "at {now}");
            assert_eq!(lease.remaining(), Duration::from_nanos(1_100 - now));
        }
        time.store(1_100, Ordering::SeqCst);
        assert_eq!((lease.is_valid_now(), tenure.is_valid_now(), lease.remaining()), (false, false, Duration::ZERO));
    }

    #[test]
    fn a_tenure_goes_on_while_its_lease_is_renewed_in_time_and_is_over_for_ever_after_a_break() {
        let (mut keeper, time) = kept(Duration::ZERO);
        keeper.renew(until(1_100));
        let first = keeper.lease().tenure().unwrap();
        let permit = first.permit().unwrap();
        time.store(1_099, Ordering::SeqCst);
        keeper.renew(until(1_200));
        time.store(1_150, Ordering::SeqCst);
        assert!(first.check().is_ok() && permit());
        time.store(1_200, Ordering::SeqCst);
        keeper.renew(until(1_300));
        assert!(keeper.lease().check().is_ok());
        assert!(first.check().is_err() && !permit(), "what was agreed about its partition may have changed");
        assert!(keeper.extend(until(1_350)));
        time.store(1_350, Ordering::SeqCst);
        assert!(!keeper.extend(until(1_360)) && keeper.lease().check().is_err(), "that would hide a break");
        keeper.renew(until(1_390));
        let second = keeper.lease().tenure().unwrap();
        keeper.revoke();
        assert!(second.check().is_err() && !keeper.extend(until(1_395)));
        keeper.renew(until(1_400));
        assert!(second.check().is_err() && keeper.lease().tenure().unwrap().check().is_ok());
    }

    #[test]
    fn a_lease_that_ends_is_lost_when_it_ends_and_not_where_it_is_given_up() {
        let (mut keeper, time) = kept(Duration::ZERO);
        let lease = keeper.lease();
        keeper.revoke();
        assert_eq!(lease.losses(), 0, "there was none");
        keeper.renew(until(1_100));
        keeper.renew(until(1_200));
        time.store(1_199, Ordering::SeqCst);
        assert_eq!(lease.losses(), 0);
        time.store(1_200, Ordering::SeqCst);
        assert_eq!(lease.losses(), 1, "before the next one begins");
        keeper.renew(until(1_300));
        assert_eq!(lease.losses(), 1);
        keeper.revoke();
        keeper.revoke();
        assert_eq!(lease.losses(), 1, "it was given up");
        keeper.renew(until(1_300));
        time.store(1_300, Ordering::SeqCst);
        keeper.revoke();
        assert_eq!(lease.losses(), 2, "it was over before");
        assert_eq!(Lease::unlimited().losses(), 0);
        keeper.renew(until(1_400));
        time.store(1_400, Ordering::SeqCst);
        assert_eq!(lease.losses(), 3);
        // As it is found between the two steps of a renewal.
        lease.cell.until.store(1_500, Ordering::SeqCst);
        assert_eq!(lease.losses(), 3, "it does not go back");
        lease.cell.lost.fetch_add(1, Ordering::SeqCst);
        assert_eq!(lease.losses(), 3, "it was counted once");
    }

    #[test]
    fn an_unlimited_lease_asks_no_clock() {
        let lease = Lease::unlimited();
        let tenure = lease.tenure().unwrap();
        assert_eq!((lease.remaining(), tenure.remaining(), tenure.check()), (Duration::MAX, Duration::MAX, Ok(())));
        assert!(tenure.permit().is_none());
    }

    #[tokio::test]
    async fn who_waits_is_told_when_a_batch_may_be_begun() {
        let (mut keeper, _time) = kept(MARGIN);
        let lease = keeper.lease();
        let waiting = tokio::spawn(async move { lease.wait_until_valid().await });
        tokio::task::yield_now().await;
        keeper.renew(until(1_005));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "what is left of it is margin");
        keeper.renew(until(1_500));
        waiting.await.unwrap();
        assert!(keeper.lease().wait_until_valid().now_or_never().is_some());
        drop(keeper);
    }

    #[derive(Debug, Clone)]
    enum Event {
        Renew(u64),
        Revoke,
        Pass(u64),
        Begin,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0_u64..400).prop_map(Event::Renew),
            1 => Just(Event::Revoke),
            5 => (0_u64..150).prop_map(Event::Pass),
            2 => Just(Event::Begin),
        ]
    }

    proptest! {
        /// Against a model that remembers every moment without a permission.
        #[test]
        fn a_tenure_is_valid_exactly_while_no_moment_since_its_begin_was_without_a_lease(
            events in prop::collection::vec(event(), 0..60),
        ) {
            let (mut keeper, time) = kept(MARGIN);
            let lease = keeper.lease();
            let (mut now, mut end) = (1_000_u64, 0_u64);
            // Each tenure that was begun, and whether it is unbroken.
            let mut begun: Vec<(Tenure, bool)> = Vec::new();
            for event in events {
                match event {
                    Event::Renew(ahead) => {
                        let wanted = (now + ahead).saturating_sub(100);
                        keeper.renew(until(wanted));
                        if wanted > now {
                            end = end.max(wanted);
                        }
                    }
                    Event::Revoke => {
                        keeper.revoke();
                        end = 0;
                    }
                    Event::Pass(passed) => {
                        now += passed;
                        time.store(now, Ordering::SeqCst);
                    }
                    Event::Begin => begun.extend(lease.tenure().ok().map(|tenure| (tenure, true))),
                }
                begun.iter_mut().for_each(|(_, unbroken)| *unbroken &= now < end);
                prop_assert_eq!(lease.is_valid_now(), now < end);
                prop_assert_eq!(lease.check().is_ok(), now + 10 < end);
                for (tenure, unbroken) in &begun {
                    prop_assert_eq!(tenure.is_valid_now(), *unbroken);
                    prop_assert_eq!(tenure.check().is_ok(), *unbroken && now + 10 < end);
                    prop_assert_eq!(tenure.permit().unwrap()(), *unbroken);
                }
            }
        }
    }
}
