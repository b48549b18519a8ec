//! Writing: what became of a send, whatever happened to it.

use std::time::Duration;

use bytes::Bytes;
use causeway_rocketmq::stub::Fault;
use causeway_rocketmq::wire::code::request::{SEND_BATCH_MESSAGE, SEND_MESSAGE_V2};
use causeway_rocketmq::{Content, Durability, Error, OutgoingBatch, Refusal, SendOutcome};

use crate::{batch, bodies, from, impatient_pair, pair, queue, single};

#[tokio::test]
async fn batches_and_single_messages_are_stored_as_given() {
    let (_stub, client) = pair().await;
    let outcome = client.send(&queue(1), batch(&["a", "", "c"])).await;
    assert_eq!(outcome, SendOutcome::Stored { queue_id: 1, offset: 0, durability: Durability::Full });
    let alone = OutgoingBatch { reconsume_times: 3, ..single("d") };
    let outcome = client.send(&queue(1), alone).await;
    assert_eq!(outcome, SendOutcome::Stored { queue_id: 1, offset: 3, durability: Durability::Full });
    let pulled = client.pull(&queue(1), &from(0)).await.unwrap();
    assert_eq!(bodies(&pulled), ["a", "", "c", "d"]);
    let causeway_rocketmq::Pull::Found { records, .. } = pulled else { panic!() };
    assert_eq!((records[3].flag, records[3].reconsume_times, records[3].born_timestamp), (7, 3, 1_700_000_000_000));
    assert_eq!(records[0].property("KEYS"), Some(&b"k"[..]));
}

#[tokio::test]
async fn a_large_batch_arrives_whole() {
    let (_stub, client) = pair().await;
    let body = "x".repeat(100_000);
    let outcome = client.send(&queue(0), batch(&[&*body; 10])).await;
    assert!(matches!(outcome, SendOutcome::Stored { offset: 0, .. }), "{outcome:?}");
    let mut offset = 0;
    while offset < 10 {
        let pulled = client.pull(&queue(0), &from(offset)).await.unwrap();
        let found = bodies(&pulled);
        assert!(!found.is_empty() && found.iter().all(|found| *found == body));
        offset += i64::try_from(found.len()).unwrap();
    }
    assert_eq!(offset, 10);
}

#[tokio::test]
async fn what_may_have_been_stored_is_unknown() {
    type Check = fn(&Error) -> bool;
    let cases: [(Fault, bool, Check); 8] = [
        (Fault::ExecuteThenClose, true, |e| matches!(e, Error::ConnectionLost { .. })),
        (Fault::CloseMidFrame, true, |e| matches!(e, Error::ConnectionLost { .. })),
        (Fault::Close, false, |e| matches!(e, Error::ConnectionLost { .. })),
        (Fault::Announce(0x7fff_ffff), false, |e| matches!(e, Error::Malformed { .. })),
        (Fault::Garbage(Bytes::from_static(b"\0\0\0\x04\x09\0\0\0")), false, |e| matches!(e, Error::Malformed { .. })),
        (Fault::Silence, false, |e| matches!(e, Error::Timeout { .. })),
        (Fault::Answer(14, "not now".into()), false, |e| matches!(e, Error::Refused { code: 14, .. })),
        (Fault::Answer(1, "in-sync replicas not enough".into()), false, |e| {
            matches!(e, Error::Refused { code: 1, .. })
        }),
    ];
    for (fault, stored, expected) in cases {
        let (stub, client) = impatient_pair().await;
        let shown = format!("{fault:?}");
        stub.fault(SEND_BATCH_MESSAGE, fault);
        match client.send(&queue(0), batch(&["a"])).await {
            SendOutcome::Unknown(error) => assert!(expected(&error), "{shown}: {error:?}"),
            other => panic!("{shown}: {other:?}"),
        }
        assert_eq!(!stub.store().stored("t", 0).is_empty(), stored, "{shown}");
        assert_eq!(stub.requests(SEND_BATCH_MESSAGE), 1, "{shown}: sent twice");
    }
}

#[tokio::test]
async fn what_was_provably_not_stored_is_said_so() {
    let (stub, client) = pair().await;
    stub.fault(SEND_MESSAGE_V2, Fault::Answer(2, "[REJECTREQUEST]system busy".into()));
    let outcome = client.send(&queue(0), single("a")).await;
    assert!(matches!(outcome, SendOutcome::NotStored(Refusal::Busy(_))), "{outcome:?}");
    let outcome = client.send(&queue(9), single("a")).await;
    assert!(matches!(outcome, SendOutcome::NotStored(Refusal::InvalidParameter(_))), "{outcome:?}");
    let huge = OutgoingBatch::new(Content::Batch(Bytes::from(vec![0; 17 << 20])), 0);
    let outcome = client.send(&queue(0), huge).await;
    assert!(matches!(outcome, SendOutcome::NotStored(Refusal::TooLarge(_))), "{outcome:?}");
    let missing = causeway_rocketmq::Queue { topic: "unknown".into(), ..queue(0) };
    let outcome = client.send(&missing, single("a")).await;
    assert!(
        matches!(outcome, SendOutcome::NotStored(Refusal::NotConnected(Error::TopicMissing { .. }))),
        "{outcome:?}"
    );
    drop(stub);
    crate::until(|| client.connection_generation(&queue(0)) == 0).await;
    let outcome = client.send(&queue(0), single("a")).await;
    assert!(matches!(outcome, SendOutcome::NotStored(Refusal::NotConnected(_))), "{outcome:?}");
}

#[tokio::test]
async fn the_generation_changes_with_every_new_connection() {
    let (stub, client) = pair().await;
    assert_eq!(client.connection_generation(&queue(0)), 0);
    let first = client.connect_for_send(&queue(0)).await.unwrap();
    assert_eq!(client.connection_generation(&queue(0)), first);
    client.send(&queue(0), single("a")).await;
    assert_eq!(client.connection_generation(&queue(0)), first);
    stub.drop_connections();
    crate::until(|| client.connection_generation(&queue(0)) == 0).await;
    let verified = OutgoingBatch { expected_generation: Some(first), ..single("b") };
    let SendOutcome::NotStored(Refusal::ConnectionChanged(second)) = client.send(&queue(0), verified).await else {
        panic!("sent over an unverified connection")
    };
    assert!(second != first && second == client.connection_generation(&queue(0)));
    let verified = OutgoingBatch { expected_generation: Some(second), ..single("b") };
    assert!(matches!(client.send(&queue(0), verified).await, SendOutcome::Stored { offset: 1, .. }));
}

#[tokio::test]
async fn a_cancelled_send_closes_its_connection() {
    let (stub, client) = pair().await;
    client.connect_for_send(&queue(0)).await.unwrap();
    stub.fault(SEND_MESSAGE_V2, Fault::Silence);
    let sending = {
        let client = client.clone();
        tokio::spawn(async move { client.send(&queue(0), single("a")).await })
    };
    crate::until(|| stub.requests(SEND_MESSAGE_V2) == 1).await;
    sending.abort();
    assert!(sending.await.unwrap_err().is_cancelled());
    assert_eq!(client.connection_generation(&queue(0)), 0);
    assert!(matches!(client.send(&queue(0), single("b")).await, SendOutcome::Stored { offset: 0, .. }));
}

#[tokio::test]
async fn closing_waits_for_the_answer_of_a_send() {
    let (stub, client) = pair().await;
    stub.fault(SEND_MESSAGE_V2, Fault::Delay(Duration::from_millis(100)));
    let sending = {
        let client = client.clone();
        tokio::spawn(async move { client.send(&queue(0), single("a")).await })
    };
    crate::until(|| stub.requests(SEND_MESSAGE_V2) == 1).await;
    client.close().await;
    assert!(matches!(sending.await.unwrap(), SendOutcome::Stored { .. }));
    let outcome = client.send(&queue(0), single("b")).await;
    assert!(matches!(outcome, SendOutcome::NotStored(Refusal::NotConnected(Error::Closed))), "{outcome:?}");
}

#[tokio::test]
async fn a_code_that_means_stored_proves_nothing_without_a_place() {
    let (stub, client) = pair().await;
    stub.fault(SEND_MESSAGE_V2, Fault::Answer(12, String::new()));
    assert!(matches!(client.send(&queue(0), single("a")).await, SendOutcome::Unknown(Error::Malformed { .. })));
}
