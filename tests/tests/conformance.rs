//! Apache's brokers keep what the data path relies on; the brokers of the simulation are asked the same beside it.

use causeway::replicate::conformance;
use causeway_tests::brokers::{Cluster, ClusterSettings, Version};

fn conforms(version: Version) {
    let mut cluster = Cluster::start(ClusterSettings::new(version));
    cluster.admin().create_topic("orders", 2);
    let (name_servers, broker) = (cluster.name_servers(), cluster.brokers[0].name().to_owned());
    let restart = || {
        cluster.brokers[0].kill9();
        cluster.brokers[0].start();
    };
    if let Err(broken) = conformance::of_broker(name_servers, "orders", &broker, 1, restart) {
        panic!("{version:?}: {broken}");
    }
}

#[test]
fn brokers_of_4_9_7_conform() {
    conforms(Version::V4_9_7);
}

#[test]
fn brokers_of_5_5_0_conform() {
    conforms(Version::V5_5_0);
}
