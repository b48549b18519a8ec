//! Topics, offsets, groups and brokers.

use causeway_rocketmq::stub::{Fault, Stub, StubOptions};
use causeway_rocketmq::wire::code::request;
use causeway_rocketmq::{Class, Client, Error, Queue, TopicSettings};

use crate::{pair, queue, settings};

#[tokio::test]
async fn a_topic_is_created_with_its_attributes_and_found_again() {
    let (_stub, client) = pair().await;
    assert_eq!(client.topic_settings("new").await.unwrap(), None);
    let mut wanted = TopicSettings::with_queues(6);
    wanted.attributes.insert("message.type".into(), "FIFO".into());
    client.create_topic("new", &wanted).await.unwrap();
    let found = client.topic_settings("new").await.unwrap().unwrap();
    assert_eq!((found.len(), &found[0].settings), (1, &wanted));
    assert_eq!(client.topics().await.unwrap(), ["new", "t"]);
    assert_eq!(client.route("new").await.unwrap().writable_queues().len(), 6);
}

#[tokio::test]
async fn offsets_are_those_of_the_queue() {
    let (stub, client) = pair().await;
    for _ in 0..5 {
        stub.store().append("t", 1, b"x", b"").unwrap();
    }
    stub.store().expire("t", 1, 2);
    assert_eq!(client.minimum_offset(&queue(1)).await.unwrap(), 2);
    assert_eq!(client.maximum_offset(&queue(1)).await.unwrap(), 5);
    assert_eq!(client.offset_at(&queue(1), 0).await.unwrap(), 5);
}

#[tokio::test]
async fn a_group_offset_is_read_back() {
    let (stub, client) = pair().await;
    assert_eq!(client.group_offset(&queue(0), "g").await.unwrap(), None);
    client.set_group_offset(&queue(0), "g", 17).await.unwrap();
    assert_eq!(client.group_offset(&queue(0), "g").await.unwrap(), Some(17));
    stub.fault(request::UPDATE_CONSUMER_OFFSET, Fault::Answer(0, "Offset has been previously reset".into()));
    let error = client.set_group_offset(&queue(0), "g", 18).await.unwrap_err();
    assert_eq!(error, Error::NotApplied { written: 18, found: Some(17) });
    stub.fault(request::UPDATE_CONSUMER_OFFSET, Fault::Answer(26, "Group g not exist!".into()));
    let error = client.set_group_offset(&queue(0), "g", 18).await.unwrap_err();
    assert_eq!(error.class(), Some(Class::GroupMissing));
}

#[tokio::test]
async fn brokers_tell_their_limits_and_a_proxy_does_not() {
    let (_stub, client) = pair().await;
    assert_eq!(client.brokers().await.unwrap().len(), 1);
    assert_eq!(client.broker_limits("stub").await.unwrap().unwrap().maximum_message_bytes, Some(4_194_304));
    let runtime = client.broker_runtime("stub").await.unwrap().unwrap();
    assert_eq!((runtime.dispatch_behind_bytes, runtime.version.as_deref()), (Some(0), Some("V5_3_3")));
    let proxy = Stub::start(StubOptions { is_proxy: true, ..StubOptions::default() }).await.unwrap();
    proxy.store().create_topic("t", 1);
    let client = Client::new(settings(&proxy)).unwrap();
    client.route("t").await.unwrap();
    assert_eq!(client.broker_limits("stub").await.unwrap(), None);
    assert_eq!(client.dispatched("stub").await.unwrap(), None);
    assert_eq!(client.broker_runtime("stub").await.unwrap(), None);
    assert_eq!(client.topic_settings("t").await.unwrap_err().class(), Some(Class::NotSupported));
}

#[tokio::test]
async fn another_cluster_s_brokers_are_left_alone() {
    let (stub, _) = pair().await;
    let elsewhere = causeway_rocketmq::ClientSettings { cluster: Some("other".into()), ..settings(&stub) };
    let client = Client::new(elsewhere).unwrap();
    assert!(client.brokers().await.unwrap().is_empty());
    let created = client.create_topic("new", &TopicSettings::with_queues(1)).await;
    assert!(matches!(created, Err(Error::BrokerMissing { .. })));
    assert_eq!(stub.requests(request::UPDATE_AND_CREATE_TOPIC), 0);
}

#[tokio::test]
async fn an_offset_that_is_no_number_is_malformed() {
    let (stub, client) = pair().await;
    stub.fault(request::GET_MAX_OFFSET, Fault::Answer(0, String::new()));
    assert!(matches!(client.maximum_offset(&queue(0)).await, Err(Error::Malformed { .. })));
    let unknown = Queue { topic: "unknown".into(), ..queue(0) };
    assert!(matches!(client.maximum_offset(&unknown).await, Err(Error::TopicMissing { .. })));
}
