//! Plans against stubs: counts, start positions, what would be created, what is missing.

use causeway_core::command::Command;
use causeway_core::instance::InstanceSpec;
use causeway_core::stream::StartPosition;
use causeway_rocketmq::stub::{Stub, StubOptions};

use super::plan;
use crate::admin::answer::Error;
use crate::admin::model::instance::Verdict;
use crate::admin::model::stream::StreamPlan;
use crate::admin::tests::{Fixture, name, orders};

async fn planned(source: &Stub, target: &Stub, start: StartPosition) -> Result<StreamPlan, Error> {
    let fixture = Fixture::with_two_streams();
    for (text, stub) in [("qingdao", source), ("hohhot", target)] {
        let view = fixture.context().cluster.view();
        let instance = view.instances[&name(text)].clone();
        let spec = InstanceSpec { name_servers: vec![stub.address()], ..instance.spec };
        let (identity, expected) = (instance.identity, Some(instance.version));
        fixture.cluster.apply(Command::PutInstance { spec, identity, expected });
    }
    let mut spec = orders().spec;
    spec.start = start;
    plan(&fixture.context(), &spec).await
}

async fn stub() -> Stub {
    Stub::start(StubOptions::default()).await.unwrap()
}

#[actix_web::test]
async fn counts_what_is_retained_and_what_would_be_copied() {
    let (source, target) = (stub().await, stub().await);
    source.store().create_topic("orders", 2);
    for queue in [0, 0, 0, 1] {
        source.store().append("orders", queue, b"x", b"");
    }
    source.store().expire("orders", 0, 1);
    let earliest = planned(&source, &target, StartPosition::Earliest).await.unwrap();
    assert_eq!((earliest.would_copy.queues.len(), earliest.would_copy.retained_messages), (2, Some(3)));
    assert_eq!(earliest.would_copy.messages_to_copy, Some(3));
    assert!(earliest.would_copy.retained_since.is_some());
    assert_eq!(earliest.would_create.map(|topic| topic.queues), Some(Some(2)));
    let latest = planned(&source, &target, StartPosition::Latest).await.unwrap();
    assert_eq!(latest.would_copy.messages_to_copy, Some(0));
    let from_two = planned(&source, &target, StartPosition::Offset(2)).await.unwrap();
    assert_eq!(from_two.would_copy.messages_to_copy, Some(1), "queue 1 ends before offset 2");
}

#[actix_web::test]
async fn tells_what_is_missing_and_what_exists() {
    let (source, target) = (stub().await, stub().await);
    target.store().create_topic("orders", 4);
    let plan = planned(&source, &target, StartPosition::Earliest).await.unwrap();
    assert!(plan.would_create.is_none());
    let failed: Vec<_> = plan.findings.iter().filter(|finding| finding.verdict == Verdict::Failed).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].error.as_ref().map(|error| error.code.as_str()), Some("CWY-0303"));
    assert!(plan.findings.iter().any(|finding| finding.message.contains("4 queues")));
    assert_eq!(plan.would_copy.retained_messages, None, "unknown is not zero");
}

#[actix_web::test]
async fn without_the_source_topic_nobody_knows_how_many_queues_would_be_made() {
    let (source, target) = (stub().await, stub().await);
    let codes = |plan: &StreamPlan| -> Vec<_> {
        plan.findings.iter().filter_map(|finding| Some(finding.error.as_ref()?.code.clone())).collect()
    };
    let plan = planned(&source, &target, StartPosition::Earliest).await.unwrap();
    assert_eq!(codes(&plan), ["CWY-0303"]);
    assert_eq!(plan.would_create.map(|topic| topic.queues), Some(None));
    source.store().listed = Some(serde_json::json!({}));
    let plan = planned(&source, &target, StartPosition::Earliest).await.unwrap();
    assert_eq!(codes(&plan), ["CWY-0301"], "a topic whose brokers are down may still exist");
}

#[actix_web::test]
async fn one_cluster_behind_both_instances_is_found_by_its_brokers() {
    let (source, target) = (stub().await, stub().await);
    source.store().create_topic("orders", 1);
    let verdicts = |plan: StreamPlan| -> Vec<_> {
        let about = plan.findings.into_iter().filter(|finding| finding.message.contains("both instances have broker"));
        about.map(|finding| (finding.verdict, finding.error.map(|error| error.code))).collect()
    };
    let twice = planned(&source, &source, StartPosition::Earliest).await.unwrap();
    assert_eq!(verdicts(twice), [(Verdict::Failed, Some("CWY-0109".to_owned()))]);
    let namesakes = planned(&source, &target, StartPosition::Earliest).await.unwrap();
    assert_eq!(verdicts(namesakes), [(Verdict::Unknown, None)]);
}

#[actix_web::test]
async fn an_instance_that_is_not_there_is_an_error_with_its_name() {
    let (source, gone) = (stub().await, stub().await);
    source.store().create_topic("orders", 1);
    let address = gone.address();
    drop(gone);
    let fixture = Fixture::with_two_streams();
    let instance = fixture.context().cluster.view().instances[&name("qingdao")].clone();
    let spec = InstanceSpec { name_servers: vec![address], ..instance.spec };
    let (identity, expected) = (instance.identity, Some(instance.version));
    fixture.cluster.apply(Command::PutInstance { spec, identity, expected });
    let error = plan(&fixture.context(), &orders().spec).await.unwrap_err();
    assert_eq!(error.answer().error.code, "CWY-0301");
    assert!(error.to_string().contains("qingdao"), "{error}");
}
