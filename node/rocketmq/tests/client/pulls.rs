//! Reading, and what a misbehaving peer can do to it.

use std::time::Duration;

use bytes::Bytes;
use causeway_rocketmq::stub::{Fault, Stub, StubOptions};
use causeway_rocketmq::wire::code::request;
use causeway_rocketmq::{Class, Client, ClientSettings, Error, Pull, PullReason, PullRequest};

use crate::{bodies, from, impatient_pair, pair, queue, settings};

#[tokio::test]
async fn messages_are_read_with_their_place_and_the_queue_s_ends() {
    let (stub, client) = pair().await;
    for body in ["a", "b", "c"] {
        stub.store().append("t", 0, body.as_bytes(), b"KEYS\x01k\x02").unwrap();
    }
    let pulled = client.pull(&queue(0), &from(1)).await.unwrap();
    assert_eq!(bodies(&pulled), ["b", "c"]);
    let Pull::Found { records, next_offset, minimum_offset, maximum_offset, from_slave, bytes } = pulled else {
        panic!()
    };
    assert_eq!((next_offset, minimum_offset, maximum_offset, from_slave), (3, 0, 3, false));
    assert_eq!((records[0].queue_offset, records[0].property("KEYS")), (1, Some(&b"k"[..])));
    assert!(bytes > 0 && records.iter().all(|record| record.verify_crc()));
}

#[tokio::test]
async fn the_ends_of_a_queue_are_told_apart() {
    let (stub, client) = pair().await;
    let pulled = client.pull(&queue(1), &from(0)).await.unwrap();
    assert!(matches!(pulled, Pull::AtTail { reason: PullReason::NoMessageInQueue, .. }), "{pulled:?}");
    for _ in 0..4 {
        stub.store().append("t", 0, b"x", b"").unwrap();
    }
    stub.store().expire("t", 0, 2);
    let pulled = client.pull(&queue(0), &from(4)).await.unwrap();
    assert!(matches!(pulled, Pull::AtTail { reason: PullReason::OffsetOverflowOne, next_offset: 4, .. }), "{pulled:?}");
    let pulled = client.pull(&queue(0), &from(1)).await.unwrap();
    assert!(
        matches!(pulled, Pull::OffsetMoved { reason: PullReason::OffsetTooSmall, next_offset: 2, .. }),
        "{pulled:?}"
    );
    let pulled = client.pull(&queue(0), &from(9)).await.unwrap();
    let Pull::OffsetMoved { reason, minimum_offset, maximum_offset, .. } = pulled else { panic!("{pulled:?}") };
    assert_eq!((reason, minimum_offset, maximum_offset), (PullReason::OffsetOverflowBadly, 2, 4));
}

#[tokio::test]
async fn a_long_poll_ends_with_the_next_message_and_delays_no_send() {
    let (_stub, client) = pair().await;
    let waiting = {
        let client = client.clone();
        let request = PullRequest { wait: Duration::from_secs(60), ..from(0) };
        tokio::spawn(async move { client.pull(&queue(0), &request).await })
    };
    crate::until(|| _stub.requests(request::PULL_MESSAGE) > 0).await;
    client.send(&queue(1), crate::single("other queue")).await;
    assert!(!waiting.is_finished());
    client.send(&queue(0), crate::single("woken")).await;
    assert_eq!(bodies(&waiting.await.unwrap().unwrap()), ["woken"]);
}

#[tokio::test]
async fn many_requests_share_one_connection() {
    let (stub, client) = pair().await;
    for number in 0..200 {
        stub.store().append("t", 0, number.to_string().as_bytes(), b"").unwrap();
    }
    client.route("t").await.unwrap();
    let before = stub.accepted();
    let pulls: Vec<_> = (0..200)
        .map(|offset| {
            let client = client.clone();
            let request = PullRequest { maximum_messages: 1, ..from(offset) };
            tokio::spawn(async move { client.pull(&queue(0), &request).await })
        })
        .collect();
    for (number, pull) in pulls.into_iter().enumerate() {
        assert_eq!(bodies(&pull.await.unwrap().unwrap()), [number.to_string()]);
    }
    assert_eq!(stub.accepted(), before);
}

#[tokio::test]
async fn a_broken_answer_is_a_typed_error_and_the_next_pull_works() {
    let two_gib = 2 * 1024 * 1024 * 1024 - 1;
    type Check = fn(&Error) -> bool;
    let cases: [(Fault, Check); 8] = [
        (Fault::CloseMidFrame, |e| matches!(e, Error::ConnectionLost { reason, .. } if reason.contains("middle"))),
        (Fault::Close, |e| matches!(e, Error::ConnectionLost { .. })),
        (Fault::Announce(two_gib), |e| matches!(e, Error::Malformed { .. })),
        (Fault::Announce(u32::MAX), |e| matches!(e, Error::Malformed { .. })),
        (Fault::Announce(0), |e| matches!(e, Error::Malformed { .. })),
        (Fault::Garbage(Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n\r\n")), |e| {
            matches!(e, Error::Malformed { .. })
        }),
        (Fault::Garbage(Bytes::from_static(b"\0\0\0\x08\x07\xff\xff\xff\0\0\0\0")), |e| {
            matches!(e, Error::Malformed { .. })
        }),
        (Fault::Answer(16, "no".into()), |e| e.class() == Some(Class::NoPermission)),
    ];
    let (stub, client) = pair().await;
    stub.store().append("t", 0, b"x", b"").unwrap();
    for (fault, expected) in cases {
        let shown = format!("{fault:?}");
        stub.fault(request::PULL_MESSAGE, fault);
        let error = client.pull(&queue(0), &from(0)).await.unwrap_err();
        assert!(expected(&error), "{shown}: {error:?}");
        assert_eq!(bodies(&client.pull(&queue(0), &from(0)).await.unwrap()), ["x"], "after {shown}");
    }
}

#[tokio::test]
async fn everyone_who_waits_learns_of_a_lost_connection() {
    let (stub, client) = pair().await;
    let waiting: Vec<_> = (0..20)
        .map(|id| {
            let client = client.clone();
            let request = PullRequest { wait: Duration::from_secs(60), ..from(0) };
            tokio::spawn(async move { client.pull(&queue(id % 2), &request).await })
        })
        .collect();
    crate::until(|| stub.requests(request::PULL_MESSAGE) == 20).await;
    stub.drop_connections();
    for pull in waiting {
        assert!(matches!(pull.await.unwrap(), Err(Error::ConnectionLost { .. })));
    }
}

#[tokio::test]
async fn notices_and_stray_answers_of_a_server_are_ignored() {
    let (stub, client) = pair().await;
    stub.store().append("t", 0, b"x", b"").unwrap();
    for fault in [Fault::NotifyFirst, Fault::StrayFirst] {
        stub.fault(request::PULL_MESSAGE, fault);
        assert_eq!(bodies(&client.pull(&queue(0), &from(0)).await.unwrap()), ["x"]);
    }
}

#[tokio::test]
async fn a_silent_server_costs_a_timeout_and_its_late_answer_harms_nobody() {
    let (stub, client) = impatient_pair().await;
    stub.store().append("t", 0, b"x", b"").unwrap();
    stub.fault(request::GET_MAX_OFFSET, Fault::Silence);
    let error = client.maximum_offset(&queue(0)).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { request: request::GET_MAX_OFFSET, .. }), "{error:?}");
    let (_, before) = client.pull_with_connection(&queue(0), &from(0)).await.unwrap();
    stub.fault(request::GET_MAX_OFFSET, Fault::Delay(crate::IMPATIENT * 2));
    // Another answer meanwhile shows that the peer lives: the connection is kept, and the late answer arrives over it.
    let asked = queue(0);
    let (late, other) = tokio::join!(client.maximum_offset(&asked), client.minimum_offset(&asked));
    assert!(matches!(late, Err(Error::Timeout { .. })), "{late:?}");
    assert_eq!(other.unwrap(), 0);
    tokio::time::sleep(crate::IMPATIENT * 2).await;
    let (pull, after) = client.pull_with_connection(&queue(0), &from(0)).await.unwrap();
    assert_eq!((bodies(&pull), after), (vec!["x".into()], before));
}

#[tokio::test]
async fn an_unreachable_master_is_an_error_of_its_own() {
    let (stub, client) = pair().await;
    client.route("t").await.unwrap();
    drop(stub);
    crate::until(|| client.connection_generation(&queue(0)) == 0).await;
    let error = loop {
        match client.pull(&queue(0), &from(0)).await.unwrap_err() {
            Error::ConnectionLost { .. } => {}
            other => break other,
        }
    };
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_closed_client_refuses() {
    let (_stub, client) = pair().await;
    client.pull(&queue(0), &from(0)).await.unwrap();
    client.close().await;
    assert_eq!(client.pull(&queue(0), &from(0)).await.unwrap_err(), Error::Closed);
}

#[tokio::test]
async fn wrong_credentials_are_told_apart_and_right_ones_work() {
    let credentials =
        |secret: &str| causeway_rocketmq::Credentials::new("me", &secret.to_owned().into(), Some("token")).unwrap();
    let options = StubOptions { credentials: Some(credentials("right")), ..StubOptions::default() };
    let stub = Stub::start(options).await.unwrap();
    stub.store().create_topic("t", 1);
    for (given, accepted) in [(Some("right"), true), (Some("wrong"), false), (None, false)] {
        let client = Client::new(ClientSettings { credentials: given.map(credentials), ..settings(&stub) }).unwrap();
        match client.pull(&queue(0), &from(0)).await {
            Ok(_) => assert!(accepted),
            Err(error) => {
                assert!(!accepted);
                assert_eq!(error.class(), Some(Class::Authentication));
                assert!(!format!("{error:?}").contains("wrong"));
            }
        }
        if accepted {
            assert!(matches!(
                client.send(&queue(0), crate::batch(&["a", "b"])).await,
                causeway_rocketmq::SendOutcome::Stored { offset: 0, .. }
            ));
        }
    }
}
