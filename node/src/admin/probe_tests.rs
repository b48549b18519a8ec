//! Findings of instances that answer, that refuse, that are not there.

use std::sync::Arc;

use causeway_rocketmq::Credentials;
use causeway_rocketmq::stub::{Fault, Stub, StubOptions};

use super::test;
use crate::admin::model::instance::{BrokerFacts, FindingKind, InstanceTest, Verdict};
use crate::admin::tests::Fixture;

fn secret(text: &str) -> zeroize::Zeroizing<String> {
    zeroize::Zeroizing::new(text.to_owned())
}

async fn tested(name_servers: Vec<String>, topic: Option<&str>) -> InstanceTest {
    let fixture = Fixture::with_two_streams();
    let context = fixture.context();
    let view = context.cluster.view();
    let mut spec = view.instances.values().next().unwrap().spec.clone();
    spec.name_servers = name_servers;
    test(&Arc::clone(&context.instances), &spec, topic).await
}

fn verdict(test: &InstanceTest, subject: &str) -> Option<Verdict> {
    test.findings.iter().find(|finding| finding.subject.starts_with(subject)).map(|finding| finding.verdict)
}

#[actix_web::test]
async fn a_stub_passes_and_what_only_a_change_shows_is_unknown() {
    let stub = Stub::start(StubOptions::default()).await.unwrap();
    stub.store().create_topic("orders", 2);
    let test = tested(vec![stub.address()], Some("orders")).await;
    assert!(test.passed, "{:#?}", test.findings);
    for good in ["name server", "broker", "list topics", "read topic orders", "read groups"] {
        assert_eq!(verdict(&test, good), Some(Verdict::Ok), "{good}: {:#?}", test.findings);
    }
    for unknown in ["write topics", "create topic"] {
        assert_eq!(verdict(&test, unknown), Some(Verdict::Unknown), "{unknown}");
    }
    let stub = BrokerFacts { name: "stub".to_owned(), version: Some("5.3.3".to_owned()), clock_ahead_seconds: None };
    assert_eq!(test.brokers, [stub]);
    for (kind, verdict) in [(FindingKind::Version, Verdict::Ok), (FindingKind::Clock, Verdict::Unknown)] {
        let found: Vec<_> = test.findings.iter().filter(|finding| finding.kind == kind).collect();
        assert_eq!((found.len(), found[0].verdict), (1, verdict), "{found:?}");
    }
}

#[actix_web::test]
async fn a_dead_name_server_is_a_warning_beside_a_living_one_and_a_failure_alone() {
    let stub = Stub::start(StubOptions::default()).await.unwrap();
    let dead = "127.0.0.1:1".to_owned();
    let beside = tested(vec![dead.clone(), stub.address()], None).await;
    assert_eq!(verdict(&beside, "name server 127.0.0.1:1"), Some(Verdict::Warning));
    assert!(beside.passed);
    let alone = tested(vec![dead], None).await;
    assert!(!alone.passed);
    let failed = alone.findings.iter().find(|finding| finding.verdict == Verdict::Failed).unwrap();
    assert_eq!(failed.error.as_ref().map(|error| error.code.as_str()), Some("CWY-0301"));
}

#[actix_web::test]
async fn missing_credentials_are_told_with_their_code() {
    let credentials = Credentials::new("key", &secret("secret"), None).unwrap();
    let stub = Stub::start(StubOptions { credentials: Some(credentials), ..StubOptions::default() }).await.unwrap();
    let test = tested(vec![stub.address()], None).await;
    assert!(!test.passed);
    assert!(test.findings.iter().filter_map(|finding| finding.error.as_ref()).any(|error| error.code == "CWY-0302"));
}

#[actix_web::test]
async fn a_missing_topic_and_garbage_fail_without_a_crash() {
    let stub = Stub::start(StubOptions::default()).await.unwrap();
    let missing = tested(vec![stub.address()], Some("nowhere")).await;
    assert_eq!(verdict(&missing, "read topic nowhere"), Some(Verdict::Failed));
    stub.fault(106, Fault::Garbage(bytes::Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
    let garbage = tested(vec![stub.address()], None).await;
    assert!(!garbage.passed, "{:#?}", garbage.findings);
}
