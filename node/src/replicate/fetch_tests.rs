//! Reading over a source that answers as stock brokers do where it cannot read its own messages.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_core::ids::{Epoch, Timestamp};
use causeway_rocketmq::wire::record::Record;
use tokio::time::{Duration, Instant, sleep, timeout};

use super::boundary::Boundary;
use super::condition::Condition;
use super::exit::PartitionExit;
use super::fetch::{Fetched, LONGEST_SEARCH, PROBES, Place, Reading, fetch};
use super::memory::{MemoryQueue, message};
use super::ports::{Bounds, Queue, Read, Source};
use super::settings::ReplicateSettings;
use super::trouble::Trouble;
use crate::status::{PartitionGauge, RunState};

/// How many offsets one file of the broker's log holds.
const FILE: i64 = 5_000;

/// How many offsets an answer looks at.
const SCAN: i64 = 800;

/// What all answers during one look are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    AsItIs,
    /// Nothing is missing, but bodies do not match their checksums.
    Damaged,
    /// The queue ends at this offset.
    Shorter(i64),
    Unreachable,
}

/// A source that answers inside a hole as stock brokers do: where a record cannot be read, everything up to the next
/// file of the log is passed over untried.
#[derive(Clone)]
struct Broker {
    records: Arc<Vec<Record>>,
    missing: Vec<Range<i64>>,
    undecodable: Option<i64>,
    /// The beginning of the queue, which answers with messages do not show yet.
    minimum: i64,
    /// How long a read takes.
    takes: Duration,
    look: fn(u64) -> Look,
    looks: Arc<AtomicU64>,
}

impl Broker {
    fn new(messages: u64) -> Self {
        let queue = MemoryQueue::default();
        queue.append_all((0..messages).map(message));
        Self {
            records: Arc::new(queue.records()),
            missing: Vec::new(),
            undecodable: None,
            minimum: 0,
            takes: Duration::ZERO,
            look: |_| Look::AsItIs,
            looks: Arc::default(),
        }
    }

    fn without(mut self, offsets: Range<i64>) -> Self {
        self.missing.push(offsets);
        self
    }

    fn is_missing(&self, offset: i64) -> bool {
        self.missing.iter().any(|range| range.contains(&offset))
    }

    /// Reads from an offset on until the end of the run.
    async fn ends(self, place: Place) -> PartitionExit {
        let gauge = Arc::new(PartitionGauge::new(Epoch(1), Timestamp(0)));
        let condition = Arc::new(Condition::new(gauge));
        let settings = Arc::new(ReplicateSettings::default());
        let reading = Arc::new(Reading { source: self, settings, condition, seed: 7 });
        let fetched = timeout(Duration::from_secs(3_600), fetch(reading, place)).await;
        fetched.expect("it ends").expect_err("nothing there may be copied")
    }
}

impl Queue for Broker {
    async fn read(&self, offset: i64, maximum_messages: u32, _: Duration) -> Result<Read, Trouble> {
        sleep(self.takes).await;
        // A look begins with a read of many messages; what is asked for singly then belongs to it.
        if maximum_messages > 1 {
            self.looks.fetch_add(1, Ordering::Relaxed);
        }
        let look = (self.look)(self.looks.load(Ordering::Relaxed));
        let mut maximum = i64::try_from(self.records.len()).unwrap();
        match look {
            Look::Unreachable => return Err(Trouble::new(ErrorCode::Unreachable, "the broker does not answer")),
            Look::Shorter(end) => maximum = end,
            Look::AsItIs | Look::Damaged => {}
        }
        let (mut records, mut passed_over) = (Vec::new(), offset);
        for each in offset..maximum.min(offset + SCAN) {
            if records.len() >= usize::try_from(maximum_messages.min(32)).unwrap() {
                break;
            }
            if each < passed_over {
                continue;
            }
            if look != Look::Damaged && self.is_missing(each) {
                passed_over = (each / FILE + 1) * FILE;
                continue;
            }
            if self.undecodable == Some(each) {
                return Err(Trouble::new(ErrorCode::Malformed, "record at byte 0 has a bad size"));
            }
            let mut record = self.records[usize::try_from(each).unwrap()].clone();
            record.body_crc ^= u32::from(look == Look::Damaged);
            records.push(record);
        }
        Ok(Read { records, left_out: None, bounds: Bounds { minimum: 0, maximum }, from_slave: false, connection: 1 })
    }

    async fn bounds(&self) -> Result<Bounds, Trouble> {
        Ok(Bounds { minimum: self.minimum, maximum: i64::try_from(self.records.len()).unwrap() })
    }
}

impl Source for Broker {
    async fn offset_at(&self, _: i64) -> Result<i64, Trouble> {
        Ok(0)
    }
}

fn at(next: i64) -> Place {
    Place::new(next, None, None)
}

#[tokio::test(start_paused = true)]
async fn a_hole_ends_exactly_where_a_record_is_though_the_broker_passes_over_it() {
    let islands = [
        (40, [40..44, 46..60], 44),
        (40, [40..700, 701..900], 700),
        (40, [40..3_000, 3_500..5_100], 3_000),
        // Every answer jumps to the next file.
        (4_900, [4_900..4_950, 4_951..4_990], 4_950),
    ];
    for (from, [first, second], to) in islands {
        let exit = Broker::new(10_000).without(first).without(second).ends(at(from)).await;
        assert_eq!(exit, PartitionExit::Fault(Fault::SourceGap { from, to }));
    }
    let to_the_end = Broker::new(2_000).without(1_000..2_000).ends(at(1_000)).await;
    assert_eq!(to_the_end, PartitionExit::Fault(Fault::SourceGap { from: 1_000, to: 2_000 }));
}

#[tokio::test(start_paused = true)]
async fn a_hole_is_never_said_to_hold_what_was_not_asked_for() {
    let long = Broker::new(10_000).without(40..9_000).ends(at(40)).await;
    assert_eq!(long, PartitionExit::Fault(Fault::SourceGap { from: 40, to: 41 + PROBES }));

    let far = Broker { takes: Duration::from_millis(100), ..Broker::new(10_000).without(40..9_000) };
    let began = Instant::now();
    let PartitionExit::Fault(Fault::SourceGap { from: 40, to }) = far.ends(at(40)).await else { panic!() };
    assert!((130..=141).contains(&to), "{to}");
    assert!(began.elapsed() < 4 * LONGEST_SEARCH);
}

#[tokio::test(start_paused = true)]
async fn an_undecodable_record_ends_a_hole() {
    let broker = Broker { undecodable: Some(700), ..Broker::new(10_000).without(40..700) };
    assert_eq!(broker.ends(at(40)).await, PartitionExit::Fault(Fault::SourceGap { from: 40, to: 700 }));
}

#[tokio::test(start_paused = true)]
async fn a_hole_that_retention_made_is_told_as_such_with_its_exact_range() {
    for minimum in [45, 60, 90] {
        let broker = Broker { minimum, ..Broker::new(100).without(0..60) };
        assert_eq!(broker.ends(at(40)).await, PartitionExit::Fault(Fault::RetentionWon { from: 40, to: minimum }));
    }
    let nonsense = Broker { minimum: 101, ..Broker::new(100).without(0..60) };
    assert_eq!(nonsense.ends(at(40)).await, PartitionExit::Fault(Fault::SourceGap { from: 40, to: 60 }));
}

#[tokio::test(start_paused = true)]
async fn a_boundary_that_cannot_be_decoded_is_a_damaged_record_and_no_outage() {
    let broker = Broker { undecodable: Some(39), ..Broker::new(100) };
    let boundary = Some(Boundary::of(&broker.records[39]));
    let exit = broker.ends(Place { boundary, ..at(40) }).await;
    assert!(matches!(exit, PartitionExit::Fault(Fault::DamagedRecord { offset: 39, .. })), "{exit:?}");
}

#[tokio::test(start_paused = true)]
async fn anomalies_that_differ_each_time_end_in_a_fault_that_leaves_out_one_record_at_most() {
    let alternating = |look| Broker { look, ..Broker::new(100).without(40..44) };
    let damaged_now_and_then = |look| if look % 2 == 0 { Look::AsItIs } else { Look::Damaged };
    let exit = alternating(damaged_now_and_then).ends(at(40)).await;
    let PartitionExit::Fault(Fault::DamagedRecord { offset: 40, reason }) = exit else { panic!("{exit:?}") };
    assert!(reason.contains("differently"), "{reason}");

    let shorter_now_and_then = |look| if look % 2 == 0 { Look::AsItIs } else { Look::Shorter(20) };
    let exit = alternating(shorter_now_and_then).ends(at(40)).await;
    assert_eq!(exit, PartitionExit::Fault(Fault::SourceRolledBack { copied: 40, maximum: 20 }));
}

#[tokio::test(start_paused = true)]
async fn an_anomaly_between_outages_is_an_outage() {
    let look = |look| if look % 2 == 0 { Look::AsItIs } else { Look::Unreachable };
    let exit = Broker { look, ..Broker::new(100).without(40..44) }.ends(at(40)).await;
    assert!(matches!(exit, PartitionExit::SourceLost { code: ErrorCode::Unreachable, .. }), "{exit:?}");
}

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
        condition: Arc::new(Condition::new(Arc::clone(&gauge))),
        seed: 7,
    };
    let fetched = fetch(Arc::new(reading), Place::new(10, boundary, None)).await;
    assert!(matches!(fetched, Err(PartitionExit::SourceLost { .. })), "{fetched:?}");
    assert_eq!(gauge.condition().state, RunState::Blocked, "people see it");
}

/// Makes a queue show what another does not.
type Spoil = fn(&MemoryQueue);

/// Reads from offset 10 on, behind a boundary that the last answer vouched for.
async fn goes_on<S: Source>(source: S, boundary: &Record, trusted: bool) -> Result<Fetched, PartitionExit> {
    let gauge = Arc::new(PartitionGauge::new(Epoch(1), Timestamp(0)));
    let condition = Arc::new(Condition::new(gauge));
    let reading = Reading { source, settings: Arc::new(ReplicateSettings::default()), condition, seed: 7 };
    let answered = trusted.then_some((false, 0));
    let place = Place { trusted, answered, ..Place::new(10, Some(Boundary::of(boundary)), None) };
    timeout(Duration::from_secs(3_600), fetch(Arc::new(reading), place)).await.expect("it ends")
}

/// A slave answers in its master's place: until it is left, or as long as the master is gone.
#[derive(Clone)]
struct Beside {
    master: MemoryQueue,
    slave: MemoryQueue,
    is_left: Arc<AtomicBool>,
    master_lives: bool,
}

impl Queue for Beside {
    async fn read(&self, offset: i64, maximum_messages: u32, wait: Duration) -> Result<Read, Trouble> {
        let reads_master = self.master_lives && self.is_left.load(Ordering::Relaxed);
        let queue = if reads_master { &self.master } else { &self.slave };
        queue.read(offset, maximum_messages, wait).await
    }

    async fn bounds(&self) -> Result<Bounds, Trouble> {
        self.master.bounds().await
    }
}

impl Source for Beside {
    async fn offset_at(&self, timestamp: i64) -> Result<i64, Trouble> {
        self.master.offset_at(timestamp).await
    }

    fn leave_slave(&self) {
        self.is_left.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_a_slave_shows_is_judged_by_its_master_and_is_an_outage_without_it() {
    let spoils: [Spoil; 5] = [
        // It does not show the last copied record.
        |slave| slave.hide([9]),
        |slave| slave.retain_from(10),
        |slave| slave.corrupt(10),
        |slave| slave.hide(10..13),
        |slave| {
            slave.truncate(9);
            slave.append_all((500..520).map(message));
        },
    ];
    for (spoil, master_lives) in spoils.into_iter().flat_map(|spoil| [(spoil, true), (spoil, false)]) {
        let (master, slave) = (MemoryQueue::default(), MemoryQueue::default());
        for queue in [&master, &slave] {
            queue.append_all((0..20).map(message));
        }
        slave.serve_as_slave(true);
        spoil(&slave);
        let (boundary, expected) = (master.record(9), master.record(10));
        let source = Beside { master, slave, is_left: Arc::default(), master_lives };
        match goes_on(source, &boundary, false).await {
            Ok(fetched) => {
                assert!(master_lives, "a slave's records were not sound");
                assert_eq!((fetched.records.first(), fetched.place.answered), (Some(&expected), Some((false, 0))));
            }
            Err(PartitionExit::SourceLost { code: ErrorCode::Unreachable, why }) => {
                assert!(!master_lives && why.contains("slave"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Whether a read of one record at an offset comes over the second connection.
type Switches = fn(i64) -> bool;

/// Some of the reads come over another connection, behind which is another life of the queue.
#[derive(Clone)]
struct Switching {
    first: MemoryQueue,
    second: MemoryQueue,
    switches: Switches,
}

impl Queue for Switching {
    async fn read(&self, offset: i64, maximum_messages: u32, wait: Duration) -> Result<Read, Trouble> {
        let switches = maximum_messages == 1 && (self.switches)(offset);
        let queue = if switches { &self.second } else { &self.first };
        queue.read(offset, maximum_messages, wait).await
    }

    async fn bounds(&self) -> Result<Bounds, Trouble> {
        self.first.bounds().await
    }
}

impl Source for Switching {
    async fn offset_at(&self, timestamp: i64) -> Result<i64, Trouble> {
        self.first.offset_at(timestamp).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_asked_for_alone_comes_from_whoever_vouched_for_the_boundary() {
    let cases: [(Spoil, Switches); 4] = [
        (|first| first.corrupt(10), |_| true),
        (|first| first.hide(10..13), |_| true),
        // Only the search for the end of the hole.
        (|first| first.hide(10..13), |offset| offset > 10),
        (|first| first.make_undecodable(15), |_| true),
    ];
    for (case, (spoil, switches)) in cases.into_iter().enumerate() {
        let (first, second) = (MemoryQueue::default(), MemoryQueue::default());
        first.append_all((0..20).map(message));
        second.append_all((500..520).map(message));
        second.hide(11..18);
        second.reconnect();
        let boundary = first.record(9);
        spoil(&first);
        let ended = goes_on(Switching { first, second, switches }, &boundary, true).await;
        let is_refused =
            matches!(ended, Err(PartitionExit::SourceLost { .. } | PartitionExit::Fault(Fault::SourceDiverged { .. })));
        assert!(is_refused, "case {case}: {ended:?}");
    }
}

/// An answer with more than so many messages breaks its frame, and with it the connection.
#[derive(Clone)]
struct Overlong {
    queue: MemoryQueue,
    longest: usize,
}

impl Queue for Overlong {
    async fn read(&self, offset: i64, maximum_messages: u32, wait: Duration) -> Result<Read, Trouble> {
        let read = self.queue.read(offset, maximum_messages, wait).await?;
        if read.records.len() > self.longest {
            self.queue.reconnect();
            return Err(Trouble::new(ErrorCode::Malformed, "a frame of 20000000 bytes"));
        }
        Ok(read)
    }

    async fn bounds(&self) -> Result<Bounds, Trouble> {
        self.queue.bounds().await
    }
}

impl Source for Overlong {
    async fn offset_at(&self, timestamp: i64) -> Result<i64, Trouble> {
        self.queue.offset_at(timestamp).await
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_break_the_connection_are_passed_in_smaller_ones() {
    for longest in [1, 5] {
        let queue = MemoryQueue::default();
        queue.append_all((0..100).map(message));
        let boundary = queue.record(9);
        let source = Overlong { queue: queue.clone(), longest };
        let mut fetched = goes_on(source.clone(), &boundary, true).await.unwrap();
        let gauge = Arc::new(PartitionGauge::new(Epoch(1), Timestamp(0)));
        let condition = Arc::new(Condition::new(gauge));
        let reading = Arc::new(Reading { source, settings: Arc::default(), condition, seed: 7 });
        let mut read = std::mem::take(&mut fetched.records);
        while fetched.place.next < 100 {
            fetched = fetch(Arc::clone(&reading), fetched.place).await.unwrap();
            read.append(&mut fetched.records);
        }
        assert_eq!(read, queue.records()[10..], "{longest}");
    }
}
