//! Nothing is written behind the end of a lease, and the next owner goes on with nothing lost or doubled.
//!
//! The last test runs one owner after the other. Some let go; the others are never stopped, and what keeps those from
//! writing is their lease alone. The judge reads the target: when each copy was stored, and under which epoch.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use causeway_core::ids::{Epoch, NodeId};
use causeway_core::node::Predecessor;
use causeway_core::partition::Partition;
use causeway_core::provenance::Provenance;
use proptest::prelude::*;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use super::exit::PartitionExit;
use super::in_flight::{InFlight, OnItsWay};
use super::memory::{MemoryQueue, message};
use super::memory_sink::{MemorySink, Step};
use super::pipeline::{Run, run};
use super::pipeline_tests::{Scene, a_run};
use super::progress::ProgressCell;
use super::settings::ReplicateSettings;
use super::stop::StopSignal;
use crate::lease::LeaseKeeper;

const MARGIN: Duration = Duration::from_millis(500);

/// How long a lease lasts.
const LEASE: Duration = Duration::from_secs(3);

/// A send is given up after this.
const SEND_TIMEOUT: Duration = Duration::from_secs(4);

/// A scene under a lease of so many seconds, that sends ten messages at a time. The lease began now.
fn under_a_lease(messages: u64, seconds: u64) -> (Scene, LeaseKeeper) {
    let clock = crate::clock::of_runtime();
    let mut keeper = LeaseKeeper::new(clock.clone(), MARGIN);
    keeper.renew(clock.now().saturating_add(Duration::from_secs(seconds)));
    let mut scene = Scene::new(messages);
    scene.run.lease = keeper.lease().tenure().unwrap();
    scene.run.settings = Arc::new(ReplicateSettings { batch_messages: 10, ..ReplicateSettings::default() });
    (scene, keeper)
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_ends_in_the_middle_stops_all_writes_and_the_next_owner_goes_on() {
    // How long a send takes, and whether one is under way at the end.
    for (milliseconds, is_cut) in [(300, false), (1_100, true), (4_000, true)] {
        let (scene, _keeper) = under_a_lease(500, 5);
        let began = Instant::now();
        scene.sink.play([Step::Slow(milliseconds); 1_000].into_iter().flat_map(|slow| [slow, Step::Store]));
        assert_eq!(scene.play().await, PartitionExit::LeaseLost);
        let end = began + Duration::from_secs(5);
        let last = scene.sink.stored_at().pop().unwrap();
        assert!(last < end && last + Duration::from_millis(milliseconds) + MARGIN > end - MARGIN, "{milliseconds}");
        assert_eq!(Instant::now() >= end, is_cut, "{milliseconds}");
        let copied = scene.copied().len();
        assert!(copied > 0 && copied < 500);
        scene.sink.calm();
        let next = scene.again();
        assert_eq!(next.play().await, PartitionExit::Stopped);
        assert_eq!(next.copied(), next.bodies(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_goes_on_while_its_lease_is_renewed() {
    let (scene, mut keeper) = under_a_lease(500, 5);
    let clock = crate::clock::of_runtime();
    scene.sink.play([Step::Slow(700); 50].into_iter().flat_map(|slow| [slow, Step::Store]));
    let renews = async {
        loop {
            sleep(Duration::from_secs(1)).await;
            keeper.renew(clock.now().saturating_add(Duration::from_secs(5)));
        }
    };
    tokio::select! {
        exit = scene.play() => assert_eq!(exit, PartitionExit::Stopped),
        () = renews => unreachable!(),
    }
    assert_eq!(scene.copied(), scene.bodies(0));
}

#[tokio::test(start_paused = true)]
async fn a_run_of_an_earlier_tenure_never_writes_though_the_lease_is_valid_again() {
    let (scene, mut keeper) = under_a_lease(100, 5);
    let clock = crate::clock::of_runtime();
    let renews = async {
        sleep(Duration::from_secs(6)).await;
        assert_eq!(scene.copied().len(), 100);
        keeper.renew(clock.now().saturating_add(Duration::from_secs(1_000)));
        scene.source.append_all((100..110).map(message));
    };
    let (exit, ()) = tokio::join!(scene.play(), renews);
    assert_eq!((exit, scene.copied().len()), (PartitionExit::LeaseLost, 100));
}

#[tokio::test(start_paused = true)]
async fn an_idle_run_ends_soon_after_its_lease_and_the_tail_is_read_without_one() {
    let (scene, _keeper) = under_a_lease(0, 5);
    let began = Instant::now();
    assert_eq!(scene.play().await, PartitionExit::LeaseLost);
    assert!(began.elapsed() <= Duration::from_secs(5) + scene.run.settings.poll_wait, "{:?}", began.elapsed());

    let (scene, _keeper) = under_a_lease(100, 5);
    scene.play().await;
    let mut scene = scene.again();
    scene.sink.lose_tail(30);
    scene.run.lease = under_a_lease(0, 1).0.run.lease;
    assert!(matches!(scene.play().await, PartitionExit::TargetRewound { lost: 30, .. }), "a finding needs no lease");
}

/// One ownership.
#[derive(Debug, Clone)]
struct Ownership {
    /// How many seconds its lease is renewed for.
    seconds: u64,
    /// Whether it is let go of then, instead of ending with its lease.
    lets_go: bool,
    /// Messages that arrive meanwhile, each second.
    arriving: u64,
    /// What the target does meanwhile.
    steps: Vec<Step>,
}

fn ownership() -> impl Strategy<Value = Ownership> {
    let step = prop_oneof![
        4 => Just(Step::Store),
        4 => (1_u64..4_000).prop_map(Step::Slow),
        1 => Just(Step::Busy),
        1 => Just(Step::Reconnect),
        2 => (0_usize..15).prop_map(Step::Unknown),
    ];
    (0_u64..30, any::<bool>(), 0_u64..25, prop::collection::vec(step, 0..20))
        .prop_map(|(seconds, lets_go, arriving, steps)| Ownership { seconds, lets_go, arriving, steps })
}

/// Carries progress to what is agreed as long as it is the current ownership's.
async fn keep(cell: Arc<ProgressCell>, agreed: Arc<Mutex<Partition>>) {
    loop {
        sleep(Duration::from_millis(100)).await;
        let Some(new) = cell.take_changed() else { continue };
        let mut agreed = agreed.lock().unwrap();
        if new.epoch == agreed.epoch {
            agreed.checkpoint = Some(new.clone());
            cell.committed(&new);
        }
    }
}

struct World {
    source: MemoryQueue,
    sink: MemorySink,
    agreed: Arc<Mutex<Partition>>,
    /// When the permission of each epoch ended.
    ends: Vec<(Epoch, Instant)>,
    runs: Vec<JoinHandle<PartitionExit>>,
    /// How the last ownership ended.
    predecessor: Predecessor,
    numbers: std::ops::RangeFrom<u64>,
}

impl World {
    /// Answers what the run leaves on its way.
    fn start(&mut self, template: &Run, stop: &StopSignal) -> Arc<InFlight> {
        let progress = Arc::new(ProgressCell::default());
        spawn_local(keep(Arc::clone(&progress), Arc::clone(&self.agreed)));
        let in_flight = Arc::new(InFlight::after(self.predecessor));
        let (partition, stop) = (self.agreed.lock().unwrap().clone(), stop.clone());
        let this = Run { partition, progress, stop, in_flight: Arc::clone(&in_flight), ..template.clone() };
        self.runs.push(spawn_local(run(this, self.source.clone(), self.sink.clone())));
        in_flight
    }

    async fn own(&mut self, template: &Run, ownership: &Ownership) {
        let epoch = {
            let mut agreed = self.agreed.lock().unwrap();
            agreed.epoch = agreed.epoch.next();
            agreed.epoch
        };
        self.sink.calm();
        self.sink.play(ownership.steps.iter().copied());
        let clock = crate::clock::of_runtime();
        let mut keeper = LeaseKeeper::new(clock.clone(), MARGIN);
        keeper.renew(clock.now().saturating_add(LEASE));
        let stop = StopSignal::default();
        let in_flight = self.start(&Run { lease: keeper.lease().tenure().unwrap(), ..template.clone() }, &stop);
        for _ in 0..ownership.seconds {
            let arriving = usize::try_from(ownership.arriving).unwrap();
            self.source.append_all(self.numbers.by_ref().take(arriving).map(message));
            sleep(Duration::from_secs(1)).await;
            keeper.renew(clock.now().saturating_add(LEASE));
        }
        if ownership.lets_go {
            stop.stop();
            let exit = self.runs.pop().unwrap().await.unwrap();
            assert!(matches!(exit, PartitionExit::LeaseLost | PartitionExit::Stopped), "{exit:?}");
            self.ends.push((epoch, Instant::now() + Duration::from_nanos(1)));
            let is_settled = in_flight.now() == OnItsWay::Nothing;
            self.predecessor =
                if is_settled { Predecessor::Released(NodeId(1)) } else { Predecessor::Ended(NodeId(1)) };
            return;
        }
        self.predecessor = Predecessor::Ended(NodeId(1));
        let end = Instant::now() + LEASE;
        self.ends.push((epoch, end));
        sleep_until(end + SEND_TIMEOUT + MARGIN).await;
    }

    fn copies(&self) -> usize {
        self.sink.queue.records().len()
    }
}

async fn survive(ownerships: Vec<Ownership>) {
    let mut template = a_run();
    template.settings = Arc::new(ReplicateSettings {
        batch_messages: 10,
        settle: SEND_TIMEOUT + MARGIN,
        ..ReplicateSettings::default()
    });
    let mut world = World {
        source: MemoryQueue::default(),
        sink: MemorySink::default(),
        agreed: Arc::new(Mutex::new(template.partition.clone())),
        predecessor: Predecessor::Nobody,
        ends: Vec::new(),
        runs: Vec::new(),
        numbers: 0_u64..,
    };
    for ownership in &ownerships {
        world.own(&template, ownership).await;
    }
    // The last owner's lease does not end.
    world.sink.calm();
    world.agreed.lock().unwrap().epoch = Epoch(1_000);
    world.source.append_all(world.numbers.by_ref().take(20).map(message));
    let stop = StopSignal::default();
    world.start(&template, &stop);
    let all_copied = async {
        while world.copies() < world.source.records().len() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1_000), all_copied).await.expect("it copies no further");
    // An old owner that is still there has its chance.
    sleep(Duration::from_secs(60)).await;
    stop.stop();
    for ended in world.runs {
        let exit = ended.await.unwrap();
        assert!(matches!(exit, PartitionExit::LeaseLost | PartitionExit::Stopped), "{exit:?}");
    }
    assert!(!world.sink.overlapped(), "two sends at once");
    let bodies = |queue: &MemoryQueue| queue.records().into_iter().map(|record| record.body).collect::<Vec<_>>();
    assert_eq!(bodies(&world.sink.queue), bodies(&world.source));
    for (stored_at, record) in world.sink.stored_at().into_iter().zip(world.sink.queue.records()) {
        let epoch = Provenance::parse(record.property("CAUSEWAY").unwrap()).unwrap().epoch;
        let end = world.ends.iter().find(|(ended, _)| *ended == epoch).map(|(_, end)| *end);
        assert!(end.is_none_or(|end| stored_at < end), "{epoch} wrote after its lease");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn owners_follow_each_other_and_none_writes_behind_the_end_of_its_lease(
        ownerships in prop::collection::vec(ownership(), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        LocalSet::new().block_on(&runtime, survive(ownerships));
    }
}
