//! What a new stream would do, found out by asking both instances. Changes nothing at either.

use std::collections::BTreeSet;
use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_core::ids::Timestamp;
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::stream::{Endpoint, StartPosition, StreamSpec};
use causeway_rocketmq::{BrokerInfo, Client, Error as Failure, Pull, PullRequest, Queue, Route};
use futures::StreamExt;

use super::answer::Error;
use super::instances::find;
use super::model::error::ErrorBody;
use super::model::instance::{Finding, FindingKind, Verdict};
use super::model::stream::{CopyPlan, CreateStream, QueuePlan, StreamPlan, TopicPlan};
use super::probe::{client_of, row};
use super::seam::AdminContext;
use crate::connect::code_of;
use crate::supervisor::queue_mapping::queues_per_master;

/// How long a plan takes at most.
pub const PLAN_TIMEOUT: Duration = Duration::from_secs(20);

/// Queues that are asked at a time.
const CONCURRENT_QUEUES: usize = 16;

/// Queues that are asked for the time of their oldest message; each answer carries that message.
const MAXIMUM_OLDEST: usize = 64;

/// Plans a stream whose specification was checked.
///
/// # Errors
/// Where an instance cannot be reached at all.
pub async fn plan(context: &AdminContext, spec: &StreamSpec) -> Result<StreamPlan, Error> {
    let planned = tokio::time::timeout(PLAN_TIMEOUT, ask(context, spec)).await;
    planned.unwrap_or_else(|_| {
        let message = format!("the instances did not answer everything within {} s", PLAN_TIMEOUT.as_secs());
        Err(Error::Instance { code: ErrorCode::TimedOut, message })
    })
}

async fn ask(context: &AdminContext, spec: &StreamSpec) -> Result<StreamPlan, Error> {
    let view = context.cluster.view();
    let settings = |end: &Endpoint| find(&view, end.instance.as_str()).map(|instance| instance.spec.clone());
    let source = connect(context, settings(&spec.source)?).await?;
    let target = connect(context, settings(&spec.target)?).await?;
    let planned = both(&source, &target, spec).await;
    source.close().await;
    target.close().await;
    planned
}

async fn connect(context: &AdminContext, instance: InstanceSpec) -> Result<Client, Error> {
    let made = client_of(&context.instances, instance).await;
    made.map_err(|error| Error::Instance { code: error.code(), message: error.to_string() })
}

async fn both(source: &Client, target: &Client, spec: &StreamSpec) -> Result<StreamPlan, Error> {
    let mut findings = Vec::new();
    let route = route_of(source, &spec.source).await?;
    let would_copy = match &route {
        Some(route) => copy(source, route, spec.start).await,
        None => {
            findings.push(missing(source, &spec.source).await);
            CopyPlan { queues: Vec::new(), retained_messages: None, retained_since: None, messages_to_copy: None }
        }
    };
    let masters = target.brokers().await.map_err(|error| unreachable(&spec.target.instance, &error))?;
    let masters = masters.iter().filter(|broker| broker.master.is_some()).count();
    let would_create = match route_of(target, &spec.target).await? {
        Some(existing) => {
            findings.push(existing_target(&spec.target, &existing));
            None
        }
        None => Some(TopicPlan {
            instance: spec.target.instance.clone(),
            topic: spec.target.topic.clone(),
            queues: route.is_some().then(|| queues_per_master(would_copy.queues.len(), masters)),
        }),
    };
    findings.extend(same_cluster(source, target, spec).await);
    findings.extend(named_like_a_broker(source, &spec.source).await);
    findings.extend(message_sizes(source, target, route.as_deref()).await);
    Ok(StreamPlan { stream: CreateStream::from(spec), would_copy, would_create, findings })
}

async fn route_of(client: &Client, end: &Endpoint) -> Result<Option<std::sync::Arc<Route>>, Error> {
    match client.route(&end.topic).await {
        Ok(route) => Ok(Some(route)),
        Err(Failure::TopicMissing { .. }) => Ok(None),
        Err(error) => Err(unreachable(&end.instance, &error)),
    }
}

fn unreachable(instance: &Name, error: &Failure) -> Error {
    Error::Instance { code: code_of(error), message: format!("instance {instance}: {error}") }
}

async fn copy(source: &Client, route: &Route, start: StartPosition) -> CopyPlan {
    let asked = futures::stream::iter(route.readable_queues()).map(|queue| look(source, queue, start));
    let looked: Vec<(QueuePlan, Queue)> = asked.buffered(CONCURRENT_QUEUES).collect().await;
    let filled = looked.iter().filter(|(plan, _)| retained(plan).is_some_and(|count| count > 0));
    let oldest = filled.take(MAXIMUM_OLDEST).filter_map(|(plan, queue)| Some((queue, plan.minimum_offset?)));
    let asked = futures::stream::iter(oldest).map(|(queue, minimum)| store_time(source, queue, minimum));
    let times: Vec<Option<i64>> = asked.buffered(CONCURRENT_QUEUES).collect().await;
    let queues: Vec<QueuePlan> = looked.into_iter().map(|(plan, _)| plan).collect();
    CopyPlan {
        retained_messages: sum(queues.iter().map(retained)),
        retained_since: times.into_iter().flatten().min().map(Timestamp),
        messages_to_copy: sum(queues.iter().map(to_copy)),
        queues,
    }
}

async fn look(source: &Client, queue: Queue, start: StartPosition) -> (QueuePlan, Queue) {
    let minimum = source.minimum_offset(&queue).await.ok();
    let maximum = source.maximum_offset(&queue).await.ok();
    let start_offset = match start {
        StartPosition::Earliest => minimum,
        StartPosition::Latest => maximum,
        StartPosition::Timestamp(time) => source.offset_at(&queue, time).await.ok(),
        StartPosition::Offset(offset) => Some(offset),
    };
    let plan = QueuePlan {
        broker: queue.broker.to_string(),
        queue: queue.id,
        minimum_offset: minimum,
        maximum_offset: maximum,
        start_offset,
    };
    (plan, queue)
}

/// The store time of the oldest message, from the message itself.
async fn store_time(source: &Client, queue: &Queue, offset: i64) -> Option<i64> {
    let request = PullRequest { offset, maximum_messages: 1, wait: Duration::ZERO };
    match source.pull(queue, &request).await {
        Ok(Pull::Found { records, .. }) => records.first().map(|record| record.store_timestamp),
        _ => None,
    }
}

fn retained(plan: &QueuePlan) -> Option<u64> {
    between(plan.minimum_offset?, plan.maximum_offset?)
}

fn to_copy(plan: &QueuePlan) -> Option<u64> {
    between(plan.start_offset?.max(plan.minimum_offset?), plan.maximum_offset?)
}

fn between(from: i64, to: i64) -> Option<u64> {
    Some(u64::try_from(to.checked_sub(from)?).unwrap_or(0))
}

fn sum(mut counts: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    counts.try_fold(0_u64, |sum, count| Some(sum.saturating_add(count?)))
}

/// Name servers forget a topic with the last of its brokers, also when that is only down.
async fn missing(source: &Client, end: &Endpoint) -> Finding {
    let (topic, instance) = (&end.topic, &end.instance);
    let brokers = source.brokers().await;
    let (code, message) = if brokers.is_ok_and(|known| known.iter().all(|broker| broker.master.is_none())) {
        let why =
            format!("no broker of {instance} has a master there now, so whether topic {topic} exists cannot be told");
        (ErrorCode::Unreachable, format!("{why}: the stream would wait for it"))
    } else {
        (ErrorCode::TopicMissing, format!("topic {topic} does not exist at {instance}: the stream would wait for it"))
    };
    let body = ErrorBody::new(code, &message, Some("source.topic"));
    let failed = row(FindingKind::Topic, format!("source topic {}", end.topic), Verdict::Failed, message);
    Finding { error: Some(body), ..failed }
}

fn existing_target(end: &Endpoint, route: &Route) -> Finding {
    let subject = format!("target topic {}", end.topic);
    match route.writable_queues().len() {
        0 => row(FindingKind::Topic, subject, Verdict::Failed, "exists, but no broker lets anybody write to it"),
        queues => row(FindingKind::Topic, subject, Verdict::Ok, format!("exists with {queues} queues")),
    }
}

/// One cluster that is registered twice, and the same topic at both ends.
async fn same_cluster(source: &Client, target: &Client, spec: &StreamSpec) -> Option<Finding> {
    if spec.source.topic != spec.target.topic {
        return None;
    }
    let (from, to) = (source.brokers().await.ok()?, target.brokers().await.ok()?);
    let namesakes = || from.iter().flat_map(|one| to.iter().map(move |other| (one, other)));
    let mut namesakes = namesakes().filter(|(one, other)| (&one.cluster, &one.name) == (&other.cluster, &other.name));
    let subject = format!("target topic {}", spec.target.topic);
    let told = |one: &BrokerInfo| format!("both instances have broker {} of cluster {}", one.name, one.cluster);
    let (first, _) = namesakes.clone().next()?;
    if let Some((one, _)) = namesakes.find(|(one, other)| one.master.is_some() && one.master == other.master) {
        let message = format!("{} at one address: source and target are the same topic", told(one));
        let body = ErrorBody::new(ErrorCode::SameTopic, &message, Some("target.topic"));
        return Some(Finding { error: Some(body), ..row(FindingKind::Topic, subject, Verdict::Failed, message) });
    }
    // Many clusters have the names of Apache's example.
    let message = format!("{}, at different addresses: make sure that they are two clusters", told(first));
    Some(row(FindingKind::Topic, subject, Verdict::Unknown, message))
}

/// Topics named like a broker or cluster belong to the broker; only the instance knows those names.
async fn named_like_a_broker(client: &Client, end: &Endpoint) -> Option<Finding> {
    let brokers = client.brokers().await.ok()?;
    let own = |name: &str| name == end.topic || end.topic == format!("{name}_REPLY_TOPIC");
    let taken = brokers.iter().any(|broker| own(&broker.name) || own(&broker.cluster));
    let message = "is named like a broker or cluster of the instance: brokers use it for themselves";
    taken.then(|| row(FindingKind::Topic, format!("source topic {}", end.topic), Verdict::Failed, message))
}

/// A target that takes smaller messages than the source will refuse some.
async fn message_sizes(source: &Client, target: &Client, route: Option<&Route>) -> Option<Finding> {
    let from: BTreeSet<String> = route?.brokers.iter().map(|entry| entry.broker.name.to_string()).collect();
    let to: BTreeSet<String> = target.brokers().await.ok()?.iter().map(|broker| broker.name.to_string()).collect();
    let subject = "largest message";
    let Some((largest, smallest)) = limits(source, &from).await.max().zip(limits(target, &to).await.min()) else {
        let message = "an instance does not tell the largest message that it takes";
        return Some(row(FindingKind::Limits, subject, Verdict::Unknown, message));
    };
    let (verdict, message) = if smallest < largest {
        (
            Verdict::Warning,
            format!(
                "the source takes messages of up to {largest} bytes, the target only {smallest}: larger ones would stop their partition"
            ),
        )
    } else {
        (
            Verdict::Ok,
            format!("the target takes messages of up to {smallest} bytes, the source has none above {largest}"),
        )
    };
    Some(row(FindingKind::Limits, subject, verdict, message))
}

async fn limits(client: &Client, brokers: &BTreeSet<String>) -> impl Iterator<Item = u64> {
    let asked = futures::stream::iter(brokers).map(|broker| client.broker_limits(broker));
    let told: Vec<_> = asked.buffered(CONCURRENT_QUEUES).collect().await;
    told.into_iter().filter_map(|limits| limits.ok()?.and_then(|limits| limits.maximum_message_bytes))
}

#[cfg(test)]
#[path = "copy_plan_tests.rs"]
mod tests;
