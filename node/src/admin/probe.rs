//! Tries an instance: who answers, what is permitted, which limits will bite. Changes nothing there.
//!
//! It uses connections of its own, so that a test neither disturbs nor borrows those that copy, and resolves secrets
//! anew. What cannot be found out without changing something is told as unknown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use causeway_core::instance::InstanceSpec;
use causeway_rocketmq::{BrokerInfo, BrokerLimits, Client, PullRequest, Queue};
use futures::future::join_all;

use super::model::error::ErrorBody;
use super::model::instance::{Finding, FindingKind, InstanceTest, Verdict};
use super::topic_name;
use crate::connect::{self, CONSUMER_GROUP, Instances, ReadFrom, code_of};

/// How long a test takes at most; what was found until then is answered.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// Brokers that are asked for their limits.
const MAXIMUM_BROKERS: usize = 32;

/// Tests an instance.
pub async fn test(instances: &Arc<Instances>, spec: &InstanceSpec, topic: Option<&str>) -> InstanceTest {
    let begun = Instant::now();
    let mut findings = Vec::new();
    if tokio::time::timeout(TEST_TIMEOUT, look(instances, spec, topic, &mut findings)).await.is_err() {
        let message = format!("the test was ended after {} s; what is below was not looked at", TEST_TIMEOUT.as_secs());
        findings.push(row(FindingKind::Reachable, "whole test", Verdict::Failed, message));
    }
    InstanceTest {
        instance: spec.name.clone(),
        passed: findings.iter().all(|finding| finding.verdict != Verdict::Failed),
        took_seconds: begun.elapsed().as_secs_f64(),
        findings,
    }
}

async fn look(instances: &Arc<Instances>, spec: &InstanceSpec, topic: Option<&str>, findings: &mut Vec<Finding>) {
    let client = match client_of(instances, spec.clone()).await {
        Ok(client) => client,
        Err(error) => {
            let body = ErrorBody::new(error.code(), error.to_string(), None);
            let failed = row(FindingKind::Reachable, "settings", Verdict::Failed, error.to_string());
            return findings.push(Finding { error: Some(body), ..failed });
        }
    };
    findings.extend(name_servers(instances, spec).await);
    if let Ok(brokers) = client.brokers().await {
        let asked = brokers.iter().take(MAXIMUM_BROKERS).map(|broker| broker_findings(&client, broker));
        findings.extend(join_all(asked).await.into_iter().flatten());
        findings.extend(permissions(&client, topic).await);
    }
    let clock = "RocketMQ does not tell its clock; start positions by time go by the brokers' clocks";
    findings.push(row(FindingKind::Clock, "clock difference", Verdict::Unknown, clock));
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

async fn broker_findings(client: &Client, broker: &BrokerInfo) -> Vec<Finding> {
    let subject = format!("broker {}", broker.name);
    let Some(master) = &broker.master else {
        let message = format!("has no master at present, only {}", counted(broker.slaves.len(), "slave"));
        return vec![row(FindingKind::Reachable, subject, Verdict::Warning, message)];
    };
    match client.broker_limits(&broker.name).await {
        Err(error) => vec![trouble(FindingKind::Reachable, subject, Verdict::Failed, &error)],
        Ok(limits) => {
            let slaves = counted(broker.slaves.len(), "slave");
            let message = format!("answers at {master}, cluster {}, {slaves}", broker.cluster);
            let mut rows = vec![row(FindingKind::Reachable, subject.clone(), Verdict::Ok, message)];
            rows.extend(limit_findings(&subject, limits));
            rows
        }
    }
}

/// What a broker's configuration means for copying.
fn limit_findings(subject: &str, limits: Option<BrokerLimits>) -> Vec<Finding> {
    let limits_row = |verdict, message: String| row(FindingKind::Limits, subject, verdict, message);
    let Some(limits) = limits else {
        let message = "does not tell its limits: its configuration is shown to administrators only".to_owned();
        return vec![limits_row(Verdict::Unknown, message)];
    };
    let told = |value: Option<u64>| value.map_or_else(|| "an unknown number of".to_owned(), |value| value.to_string());
    let mut rows = vec![
        limits_row(
            if limits.pull_messages_in_memory.is_some() { Verdict::Ok } else { Verdict::Unknown },
            format!(
                "returns {} messages per pull from memory and {} from disk",
                told(limits.pull_messages_in_memory),
                told(limits.pull_messages_on_disk)
            ),
        ),
        match limits.maximum_message_bytes {
            Some(bytes) => limits_row(Verdict::Ok, format!("takes messages and batches of up to {bytes} bytes")),
            None => limits_row(Verdict::Unknown, "does not tell the largest message that it takes".to_owned()),
        },
    ];
    if let (Some(flush), Some(role)) = (&limits.flush, &limits.role) {
        let durable = flush == "SYNC_FLUSH" || role == "SYNC_MASTER";
        let message = format!("runs as {role} with {flush}");
        let lossy = format!(
            "{message}: what it acknowledged can be lost with it; copies that are lost so are found and made again"
        );
        rows.push(if durable { limits_row(Verdict::Ok, message) } else { limits_row(Verdict::Warning, lossy) });
    }
    rows
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
            let message = "there is no ordinary topic to try it on; name one with ?topic=";
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

fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
