//! Tries an instance: who answers, what is permitted, which limits will bite, whose clock is off. Changes nothing
//! there.
//!
//! It uses connections of its own, so that a test neither disturbs nor borrows those that copy, and resolves secrets
//! anew. What cannot be found out without changing something is told as unknown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway_core::instance::InstanceSpec;
use causeway_rocketmq::{BrokerInfo, Client, PullRequest, Queue};
use futures::future::join_all;

use super::model::error::ErrorBody;
use super::model::instance::{BrokerFacts, Finding, FindingKind, InstanceTest, Verdict};
use super::{broker_probe, topic_name};
use crate::connect::{self, CONSUMER_GROUP, Instances, ReadFrom, code_of};

/// How long a test takes at most; what was found until then is answered.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Brokers that are asked about themselves.
const MAXIMUM_BROKERS: usize = 32;

/// Tests an instance.
pub async fn test(instances: &Arc<Instances>, spec: &InstanceSpec, topic: Option<&str>) -> InstanceTest {
    let begun = Instant::now();
    let mut found = Found::default();
    if tokio::time::timeout(TEST_TIMEOUT, look(instances, spec, topic, &mut found)).await.is_err() {
        let message = format!("ended after {} s; whatever has no row here was not looked at", TEST_TIMEOUT.as_secs());
        found.findings.push(row(FindingKind::Reachable, "whole test", Verdict::Failed, message));
    }
    let Found { brokers, findings } = found;
    InstanceTest {
        instance: spec.name.clone(),
        passed: findings.iter().all(|finding| finding.verdict != Verdict::Failed),
        took_seconds: begun.elapsed().as_secs_f64(),
        brokers,
        findings,
    }
}

/// What was found so far.
#[derive(Default)]
struct Found {
    brokers: Vec<BrokerFacts>,
    findings: Vec<Finding>,
}

async fn look(instances: &Arc<Instances>, spec: &InstanceSpec, topic: Option<&str>, found: &mut Found) {
    let client = match client_of(instances, spec.clone()).await {
        Ok(client) => client,
        Err(error) => {
            let body = ErrorBody::new(error.code(), error.to_string(), None);
            let failed = row(FindingKind::Reachable, "settings", Verdict::Failed, error.to_string());
            return found.findings.push(Finding { error: Some(body), ..failed });
        }
    };
    found.findings.extend(name_servers(instances, spec).await);
    if let Ok(brokers) = client.brokers().await {
        let asked = brokers.iter().take(MAXIMUM_BROKERS).map(|broker| broker_probe::look(&client, broker));
        for (facts, findings) in join_all(asked).await {
            found.brokers.extend(facts);
            found.findings.extend(findings);
        }
        found.findings.extend(permissions(&client, topic).await);
    }
    client.close().await;
}

/// A client that only this probe uses. Making it reads files, so it is done away from the runtime's threads.
///
/// # Errors
/// Where a secret or certificate cannot be read.
pub(super) async fn client_of(instances: &Arc<Instances>, spec: InstanceSpec) -> Result<Client, connect::Error> {
    let (instances, name) = (Arc::clone(instances), spec.name.clone());
    let made =
        tokio::task::spawn_blocking(move || instances.unregistered(&spec, ReadFrom::SlaveWhenMasterIsGone)).await;
    made.unwrap_or_else(|error| {
        Err(connect::Error::Settings {
            instance: name,
            reason: format!("making its client failed: {error}"),
            code: causeway_core::error_code::ErrorCode::Internal,
        })
    })
}

/// Each name server by itself: one that is gone is hidden by the others otherwise.
async fn name_servers(instances: &Arc<Instances>, spec: &InstanceSpec) -> Vec<Finding> {
    let ask = |address: &String| {
        let alone = InstanceSpec { name_servers: vec![address.clone()], ..spec.clone() };
        async move {
            let client = client_of(instances, alone).await.ok()?;
            let answered = client.brokers().await;
            client.close().await;
            Some(answered)
        }
    };
    let answers = join_all(spec.name_servers.iter().map(ask)).await;
    let any = answers.iter().flatten().any(Result::is_ok);
    let pairs = spec.name_servers.iter().zip(answers);
    pairs.filter_map(|(address, answer)| Some(name_server(address, answer?, any))).collect()
}

fn name_server(
    address: &str,
    answer: Result<Vec<BrokerInfo>, causeway_rocketmq::Error>,
    another_answers: bool,
) -> Finding {
    let (kind, subject) = (FindingKind::Reachable, format!("name server {address}"));
    match answer {
        Ok(brokers) if brokers.is_empty() => row(kind, subject, Verdict::Failed, "answers, but knows no broker"),
        Ok(brokers) => {
            row(kind, subject, Verdict::Ok, format!("answers and knows {}", counted(brokers.len(), "broker")))
        }
        Err(error) => {
            let verdict = if another_answers { Verdict::Warning } else { Verdict::Failed };
            trouble(kind, subject, verdict, &error)
        }
    }
}

async fn permissions(client: &Client, wanted: Option<&str>) -> Vec<Finding> {
    let kind = FindingKind::Permitted;
    let mut rows = Vec::new();
    let topics = client.topics().await;
    rows.push(match &topics {
        Ok(topics) => {
            row(kind, "list topics", Verdict::Ok, format!("the name servers list {}", counted(topics.len(), "topic")))
        }
        Err(error) => trouble(kind, "list topics", Verdict::Warning, error),
    });
    let ordinary = || topics.iter().flatten().find(|topic| topic_name::check(topic).is_ok()).cloned();
    match wanted.map(str::to_owned).or_else(ordinary) {
        Some(topic) => rows.extend(topic_permissions(client, &topic).await),
        None => {
            let message =
                "there is no ordinary topic to try it on; the test takes one by name (--topic, over HTTP ?topic=)";
            rows.extend(["read topics", "read groups"].map(|subject| row(kind, subject, Verdict::Unknown, message)));
        }
    }
    let unknown = |subject, message| row(kind, subject, Verdict::Unknown, message);
    rows.push(unknown("write topics", "only sending shows it; needed at a target"));
    rows.push(unknown("create topic", "only creating shows it; needed at a target whose topic does not exist"));
    rows
}

async fn topic_permissions(client: &Client, topic: &str) -> Vec<Finding> {
    let kind = FindingKind::Permitted;
    let queue = match client.route(topic).await {
        Ok(route) => route.readable_queues().into_iter().next(),
        Err(error) => return vec![trouble(kind, format!("read topic {topic}"), Verdict::Failed, &error)],
    };
    let Some(queue) = queue else {
        let message = "no broker lets anybody read it";
        return vec![row(kind, format!("read topic {topic}"), Verdict::Failed, message)];
    };
    let read = match read_nothing(client, &queue).await {
        Ok(()) => row(kind, format!("read topic {topic}"), Verdict::Ok, "offsets and messages can be read"),
        Err(error) => trouble(kind, format!("read topic {topic}"), Verdict::Failed, &error),
    };
    let groups = match client.group_offset(&queue, CONSUMER_GROUP).await {
        Ok(_) => row(kind, "read groups", Verdict::Ok, "offsets of consumer groups can be read"),
        Err(error) => trouble(kind, "read groups", Verdict::Warning, &error),
    };
    vec![read, groups]
}

/// Reads at the end of a queue, where there is nothing, so that no message travels.
async fn read_nothing(client: &Client, queue: &Queue) -> Result<(), causeway_rocketmq::Error> {
    let offset = client.maximum_offset(queue).await?;
    client.pull(queue, &PullRequest { offset, maximum_messages: 1, wait: Duration::ZERO }).await.map(drop)
}

/// A row that needs no documentation page.
pub(super) fn row(
    kind: FindingKind,
    subject: impl Into<String>,
    verdict: Verdict,
    message: impl Into<String>,
) -> Finding {
    Finding { kind, subject: subject.into(), verdict, message: message.into(), error: None }
}

/// A row about something that went wrong.
pub(super) fn trouble(
    kind: FindingKind,
    subject: impl Into<String>,
    verdict: Verdict,
    error: &causeway_rocketmq::Error,
) -> Finding {
    let body = ErrorBody::new(code_of(error), error.to_string(), None);
    Finding { error: Some(body), ..row(kind, subject, verdict, error.to_string()) }
}

pub(super) fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
