//! A broker whose connections break in the middle of frames, announce 2 GiB, or carry garbage, in both directions,
//! while messages are copied through them.

use std::time::{Duration, Instant};

use causeway_tests::brokers::{Cluster, ClusterSettings, Version};
use causeway_tests::proxy::{Direction, FaultProxy};
use causeway_tests::scenario::PATIENCE;

use super::{assert_copied, assert_unharmed, create, fill, node, topic};

/// A bandwidth at which copying takes longer than all faults.
const SLOW: u64 = 300_000;

#[test]
fn frames_that_break_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // The broker is known at another loopback address, where the proxy stands: reads and writes both pass it.
    let announced = Some("127.0.0.2".parse().unwrap());
    let cluster = Cluster::start(ClusterSettings { announced, ..ClusterSettings::new(Version::V5_5_0) });
    let broker = &cluster.brokers[0];
    let proxy = FaultProxy::start(&broker.announced(), &broker.address());
    fill(&cluster, "orders", 12_000);
    cluster.admin().create_topic("copy", super::QUEUES);
    for direction in [Direction::ToClient, Direction::ToServer] {
        proxy.set_bandwidth(direction, Some(SLOW));
    }
    let mut node = node(folder.path());
    node.register("here", &cluster.access());
    create(&node, ("here", "orders"), ("here", "copy"));
    let copied = || causeway_tests::scenario::total(topic(&cluster, "copy"));
    for round in 0..2 {
        for direction in [Direction::ToClient, Direction::ToServer] {
            // Each fault meets connections on which messages flow.
            let before = copied();
            until("copying goes on", || copied() > before);
            proxy.close_mid_frame(direction, 40 + round * 2_000);
            until("the fault strikes", || !proxy.is_armed(direction));
            proxy.inject(direction, &[0x7f, 0xff, 0xff, 0xff]);
            until("the fault strikes", || !proxy.is_armed(direction));
            proxy.inject(direction, b"\x00\x00\x00\x20\xffgarbage in the place of a frame");
            until("the fault strikes", || !proxy.is_armed(direction));
            proxy.cut();
        }
    }
    assert!(copied() < 12_000, "everything was copied before the last fault: the test proves too little");
    proxy.heal();
    assert_copied(&node, topic(&cluster, "orders"), topic(&cluster, "copy"), folder.path());
    assert_unharmed(&mut node);
}

fn until(what: &str, reached: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
