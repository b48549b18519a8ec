//! Finding brokers: several name servers, moves, slaves.

use std::time::Duration;

use bytes::Bytes;
use causeway_rocketmq::stub::{Fault, Stub, StubOptions};
use causeway_rocketmq::wire::code::request;
use causeway_rocketmq::{Client, ClientSettings, Error, Pull, PullRequest, Queue, SendOutcome, SlaveReads};
use serde_json::json;

use crate::{bodies, from, pair, queue, settings, single};

/// An address on which nobody listens.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn the_next_name_server_is_asked_when_one_is_down_or_does_not_know() {
    let (stub, _) = pair().await;
    let ignorant = Stub::start(StubOptions::default()).await.unwrap();
    let name_servers = vec![nobody().await, ignorant.address(), stub.address()];
    let client = Client::new(ClientSettings { name_servers, ..settings(&stub) }).unwrap();
    assert_eq!(client.route("t").await.unwrap().readable_queues().len(), 2);
    // The one that knew is asked first from now on.
    let before = ignorant.requests(request::GET_ROUTEINFO_BY_TOPIC);
    client.refresh_route("t").await.unwrap();
    assert_eq!(ignorant.requests(request::GET_ROUTEINFO_BY_TOPIC), before);
}

#[tokio::test]
async fn a_topic_that_nobody_knows_is_missing_even_if_some_are_down() {
    let (stub, _) = pair().await;
    let name_servers = vec![stub.address(), nobody().await];
    let client = Client::new(ClientSettings { name_servers, ..settings(&stub) }).unwrap();
    assert_eq!(client.route("unknown").await.unwrap_err(), Error::TopicMissing { topic: "unknown".into() });
}

#[tokio::test]
async fn all_name_servers_down_is_unreachable_and_garbage_is_malformed() {
    let (stub, _) = pair().await;
    let client = Client::new(ClientSettings { name_servers: vec![nobody().await], ..settings(&stub) }).unwrap();
    assert!(matches!(client.route("t").await, Err(Error::Unreachable { .. })));
    let client = Client::new(settings(&stub)).unwrap();
    stub.store().raw_routes.insert("t".into(), Bytes::from_static(b"{\"brokerDatas\":["));
    assert!(matches!(client.route("t").await, Err(Error::Malformed { .. })));
    stub.fault(request::GET_ROUTEINFO_BY_TOPIC, Fault::Announce(0x8000_0000));
    assert!(matches!(client.route("t").await, Err(Error::Malformed { .. })));
}

#[tokio::test]
async fn the_json_of_old_brokers_is_read() {
    let (stub, client) = pair().await;
    let text = format!(
        "{{\"brokerDatas\":[{{\"brokerAddrs\":{{0:\"{}\",1:\"h:1\"}},\"brokerName\":\"stub\",\"cluster\":\"c\"}}],\
         \"filterServerTable\":{{}},\"queueDatas\":[{{\"brokerName\":\"stub\",\"perm\":6,\"readQueueNums\":2,\
         \"topicSynFlag\":0,\"writeQueueNums\":2}}]}}",
        stub.address()
    );
    stub.store().raw_routes.insert("t".into(), text.into());
    let route = client.route("t").await.unwrap();
    assert_eq!(route.broker("stub").unwrap().broker.slaves.len(), 1);
    assert!(matches!(client.pull(&queue(0), &from(0)).await.unwrap(), Pull::AtTail { .. }));
}

#[tokio::test]
async fn a_static_topic_is_refused_in_words() {
    let (stub, client) = pair().await;
    let mut route = stub.store().own_route("t").unwrap();
    route["topicQueueMappingByBroker"] = json!({"stub": {"topic": "t", "totalQueues": 2}});
    stub.store().routes.insert("t".into(), route);
    assert!(matches!(client.route("t").await, Err(Error::Unsupported { .. })));
}

/// Routes topic `t` of `directory` to these addresses.
fn point(directory: &Stub, addresses: serde_json::Value, permission: u32) {
    let mut route = directory.store().own_route("t").unwrap();
    route["brokerDatas"][0]["brokerAddrs"] = addresses;
    route["brokerDatas"][0]["enableActingMaster"] = json!(true);
    route["queueDatas"][0]["perm"] = json!(permission);
    directory.store().routes.insert("t".into(), route);
}

#[tokio::test]
async fn a_moved_master_is_followed_and_changes_the_generation() {
    let (directory, client) = pair().await;
    let (moved, _) = pair().await;
    let first = client.connect_for_send(&queue(0)).await.unwrap();
    point(&directory, json!({"0": moved.address()}), 6);
    client.refresh_route("t").await.unwrap();
    assert_ne!(client.connection_generation(&queue(0)), first);
    assert!(matches!(client.send(&queue(0), single("a")).await, SendOutcome::Stored { offset: 0, .. }));
    assert_eq!((directory.store().stored("t", 0).len(), moved.store().stored("t", 0).len()), (0, 1));
}

#[tokio::test]
async fn a_master_that_moved_while_nobody_used_its_routes_is_found_in_the_cluster_list() {
    let (directory, client) = pair().await;
    let (old, _) = pair().await;
    let (promoted, _) = pair().await;
    point(&directory, json!({"0": old.address(), "1": promoted.address()}), 6);
    client.route("t").await.unwrap();
    client.broker_limits("stub").await.unwrap();
    assert_eq!(old.requests(request::GET_BROKER_CONFIG), 1);

    drop(old);
    point(&directory, json!({"1": promoted.address()}), 6);
    directory.store().listed = Some(json!({"1": promoted.address()}));
    client.refresh_route("t").await.unwrap();
    assert!(client.broker_limits("stub").await.unwrap_err().is_connection());
    let missing = Error::BrokerMissing { broker: "stub".into(), role: "master" };
    assert_eq!(client.broker_limits("stub").await, Err(missing), "the list names no master yet");

    directory.store().listed = Some(json!({"0": promoted.address()}));
    client.broker_limits("stub").await.unwrap();
    client.broker_runtime("stub").await.unwrap();
    client.dispatched("stub").await.unwrap();
    assert_eq!(promoted.requests(request::GET_BROKER_RUNTIME_INFO), 2);
}

#[tokio::test]
async fn where_no_list_is_to_be_had_a_lost_master_is_tried_on() {
    let proxy = Stub::start(StubOptions { is_proxy: true, ..StubOptions::default() }).await.unwrap();
    proxy.store().create_topic("t", 1);
    let proxied = Client::new(settings(&proxy)).unwrap();
    proxied.route("t").await.unwrap();
    proxy.fault(request::GET_BROKER_CONFIG, Fault::Close);
    assert!(proxied.broker_limits("stub").await.unwrap_err().is_connection());
    assert_eq!(proxied.broker_limits("stub").await, Ok(None));
}

#[tokio::test]
async fn a_slave_is_read_only_while_the_master_is_gone_and_says_so() {
    let (directory, _) = pair().await;
    let (slave, _) = pair().await;
    slave.store().append("t", 0, b"from the slave", b"").unwrap();
    for addresses in [json!({"0": nobody().await, "1": slave.address()}), json!({"1": slave.address()})] {
        point(&directory, addresses.clone(), 6);
        let client = Client::new(settings(&directory)).unwrap();
        let pulled = client.pull(&queue(0), &from(0)).await.unwrap();
        assert!(matches!(pulled, Pull::Found { from_slave: true, .. }), "{addresses}: {pulled:?}");
        assert_eq!(bodies(&pulled), ["from the slave"]);
        let never = ClientSettings { slave_reads: SlaveReads::Never, ..settings(&directory) };
        let error = Client::new(never).unwrap().pull(&queue(0), &from(0)).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. } | Error::BrokerMissing { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_slave_that_lacks_the_offset_is_no_incident_of_the_queue() {
    let (directory, _) = pair().await;
    let (slave, _) = pair().await;
    for _ in 0..4 {
        slave.store().append("t", 0, b"x", b"").unwrap();
    }
    slave.store().expire("t", 0, 2);
    point(&directory, json!({"1": slave.address()}), 6);
    let client = Client::new(settings(&directory)).unwrap();
    for offset in [0, 100] {
        let error = client.pull(&queue(0), &from(offset)).await.unwrap_err();
        let expected = matches!(error, Error::SlaveCannotServe { minimum_offset: 2, maximum_offset: 4, .. });
        assert!(expected, "{error:?}");
    }
    // A slave is not asked to hold the pull: this one would outlast the test.
    let patient = PullRequest { wait: Duration::from_secs(3600), ..from(4) };
    assert!(matches!(client.pull(&queue(0), &patient).await.unwrap(), Pull::AtTail { from_slave: true, .. }));
}

/// A master with three messages and its slave with the first two, told apart by their bodies; the master wants the
/// slave read.
async fn cold_master_and_slave() -> (Stub, Stub) {
    let (master, _) = pair().await;
    let (slave, _) = pair().await;
    for (stub, body, count) in [(&master, "master", 3), (&slave, "slave", 2)] {
        for _ in 0..count {
            stub.store().append("t", 0, body.as_bytes(), b"").unwrap();
        }
    }
    master.store().suggested = 1;
    slave.store().suggested = 1;
    point(&master, json!({"0": master.address(), "1": slave.address()}), 6);
    (master, slave)
}

fn one(offset: i64) -> PullRequest {
    PullRequest { maximum_messages: 1, ..from(offset) }
}

#[tokio::test]
async fn a_living_master_s_slave_is_read_only_with_leave() {
    let (master, slave) = cold_master_and_slave().await;
    for (slave_reads, expected) in [
        (SlaveReads::Never, ["master", "master"]),
        (SlaveReads::WhenMasterIsGone, ["master", "master"]),
        (SlaveReads::ColdCatchUp, ["master", "slave"]),
    ] {
        let client = Client::new(ClientSettings { slave_reads, ..settings(&master) }).unwrap();
        for (offset, body) in [(0, expected[0]), (1, expected[1])] {
            assert_eq!(bodies(&client.pull(&queue(0), &one(offset)).await.unwrap()), [body], "{slave_reads:?}");
        }
    }
    assert_eq!(slave.requests(request::PULL_MESSAGE), 1);
}

#[tokio::test]
async fn what_a_suggested_slave_lacks_its_living_master_answers() {
    let (master, slave) = cold_master_and_slave().await;
    let cold = ClientSettings { slave_reads: SlaveReads::ColdCatchUp, ..settings(&master) };
    let client = Client::new(cold.clone()).unwrap();
    let mut read = Vec::new();
    for offset in 0..3 {
        // The slave's end is not waited at: this pull would outlast the test.
        let patient = PullRequest { wait: Duration::from_secs(3600), ..one(offset) };
        read.extend(bodies(&client.pull(&queue(0), &patient).await.unwrap()));
    }
    assert_eq!(read, ["master", "slave", "master"]);
    let asked = slave.requests(request::PULL_MESSAGE);
    assert_eq!(bodies(&client.pull(&queue(0), &one(1)).await.unwrap()), ["master"], "the slave is left alone");
    assert_eq!(slave.requests(request::PULL_MESSAGE), asked);

    // A slave that sends the reader back, and one that is gone.
    slave.store().suggested = 0;
    let client = Client::new(cold.clone()).unwrap();
    let mut read = Vec::new();
    for _ in 0..3 {
        read.extend(bodies(&client.pull(&queue(0), &one(0)).await.unwrap()));
    }
    assert_eq!(read, ["master", "slave", "master"]);
    drop(slave);
    let client = Client::new(cold).unwrap();
    for _ in 0..2 {
        assert_eq!(bodies(&client.pull(&queue(0), &one(0)).await.unwrap()), ["master"]);
    }
}

#[tokio::test]
async fn a_slave_is_left_on_demand_and_its_bytes_are_no_evidence() {
    let (master, slave) = cold_master_and_slave().await;
    let cold = ClientSettings { slave_reads: SlaveReads::ColdCatchUp, ..settings(&master) };
    let client = Client::new(cold.clone()).unwrap();
    client.pull(&queue(0), &one(0)).await.unwrap();
    assert_eq!(bodies(&client.pull(&queue(0), &one(0)).await.unwrap()), ["slave"]);
    client.leave_slave(&queue(0));
    for _ in 0..2 {
        assert_eq!(bodies(&client.pull(&queue(0), &one(0)).await.unwrap()), ["master"]);
    }

    point(&master, json!({"1": slave.address()}), 6);
    let client = Client::new(cold).unwrap();
    for fault in [Fault::Answer(0, "no fields".into()), Fault::Announce(0x8000_0000)] {
        slave.fault(request::PULL_MESSAGE, fault);
        let error = client.pull(&queue(0), &one(0)).await.unwrap_err();
        assert!(matches!(error, Error::SlaveUnreadable { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn another_connection_to_a_slave_has_another_number() {
    let (directory, _) = pair().await;
    let (slave, _) = pair().await;
    slave.store().append("t", 0, b"x", b"").unwrap();
    point(&directory, json!({"1": slave.address()}), 6);
    let client = Client::new(settings(&directory)).unwrap();
    let (_, first) = client.pull_with_connection(&queue(0), &from(0)).await.unwrap();
    assert_eq!(client.pull_with_connection(&queue(0), &from(0)).await.unwrap().1, first);
    slave.drop_connections();
    // Until the loss is noticed the old connection is tried.
    while client.pull_with_connection(&queue(0), &from(0)).await.is_ok_and(|(_, connection)| connection == first) {}
    assert_ne!(client.pull_with_connection(&queue(0), &from(0)).await.unwrap().1, first);
}

#[tokio::test]
async fn an_acting_master_is_read_as_a_slave_and_never_written() {
    let (directory, client) = pair().await;
    let (acting, _) = pair().await;
    acting.store().append("t", 0, b"x", b"").unwrap();
    point(&directory, json!({"0": acting.address()}), 4);
    assert!(matches!(client.pull(&queue(0), &from(0)).await.unwrap(), Pull::Found { from_slave: true, .. }));
    let outcome = client.send(&queue(0), single("a")).await;
    assert!(matches!(outcome, SendOutcome::NotStored(_)), "{outcome:?}");
    assert_eq!(acting.store().stored("t", 0).len(), 1);
}

#[tokio::test]
async fn a_slave_that_refuses_leaves_the_master_s_error() {
    let (directory, _) = pair().await;
    let refusing = Stub::start(StubOptions { refuses_pulls: true, ..StubOptions::default() }).await.unwrap();
    refusing.store().create_topic("t", 2);
    point(&directory, json!({"0": nobody().await, "1": refusing.address()}), 6);
    let client = Client::new(settings(&directory)).unwrap();
    for _ in 0..2 {
        let error = client.pull(&queue(0), &from(0)).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("slaveReadEnable"), "{error}");
    }
    point(&directory, json!({"1": refusing.address()}), 6);
    let error = Client::new(settings(&directory)).unwrap().pull(&queue(0), &from(0)).await.unwrap_err();
    assert!(matches!(error, Error::SlaveRefuses { .. }), "{error:?}");
}

#[tokio::test]
async fn a_broker_that_the_route_does_not_name_is_missing() {
    let (_stub, client) = pair().await;
    let elsewhere = Queue { broker: "other".into(), ..queue(0) };
    let error = client.pull(&elsewhere, &from(0)).await.unwrap_err();
    assert_eq!(error, Error::BrokerMissing { broker: "other".into(), role: "entry" });
}

#[tokio::test]
async fn an_old_route_serves_while_all_name_servers_are_down() {
    let (broker, _) = pair().await;
    let directory = Stub::start(StubOptions::default()).await.unwrap();
    let route = broker.store().own_route("t").unwrap();
    directory.store().routes.insert("t".into(), route);
    broker.store().append("t", 0, b"x", b"").unwrap();
    let client =
        Client::new(ClientSettings { request_timeout: Duration::from_secs(5), ..settings(&directory) }).unwrap();
    client.route("t").await.unwrap();
    drop(directory);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    assert_eq!(bodies(&client.pull(&queue(0), &from(0)).await.unwrap()), ["x"]);
}
