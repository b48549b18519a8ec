//! The topics of a stream: the source's queues, and the target topic, made when it is missing.
//!
//! A new target topic gets the source's queue count (see [`queue_mapping`](super::queue_mapping)), its permission with
//! reading and writing allowed, and its attributes. A broker that does not know an attribute gets the topic with
//! `message.type` only, and one that knows none without any. A topic that exists is never changed; fewer or more queues
//! than the source's are legal. A target topic that is gone although copies were made into it is not made again: only
//! an operator can know whether it was meant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_core::partition::QueueId;
use causeway_core::stream::Endpoint;
use causeway_rocketmq::{BrokerTopic, Class, Client, Permission, Queue, Route, TopicSettings};

use crate::connect::code_of;
use crate::supervisor::queue_mapping::queues_per_master;

/// The attribute that proxies check messages against.
const MESSAGE_TYPE: &str = "message.type";

/// Pauses between looks for the route of a topic that was just made: brokers register with name servers at once, but
/// with each by itself.
const ROUTE_PAUSES: [Duration; 6] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// What keeps a stream's queues from being known. Heals by itself when its cause does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Trouble {
    /// The stable code.
    pub code: ErrorCode,
    /// The reason, one sentence.
    pub why: String,
}

impl Trouble {
    fn of(end: &Endpoint, error: &causeway_rocketmq::Error) -> Self {
        let code = code_of(error);
        let why = match code {
            ErrorCode::TopicMissing => format!("topic {} does not exist at instance {}", end.topic, end.instance),
            _ => format!("instance {}: {error}", end.instance),
        };
        Self { code, why }
    }
}

/// The queues that can be read from the source topic.
///
/// # Errors
/// [`Trouble`] when the topic is missing or has no readable queue, or the instance does not say.
pub async fn source_queues(client: &Client, end: &Endpoint) -> Result<BTreeSet<QueueId>, Trouble> {
    let route = client.refresh_route(&end.topic).await.map_err(|error| Trouble::of(end, &error))?;
    named(route.readable_queues(), end, "read")
}

/// The queues that can be written to in the target topic; makes the topic when it is missing and `may_create`.
///
/// # Errors
/// [`Trouble`] when the topic is missing and may or can not be made, has no writable queue, or an instance does not
/// say.
pub async fn target_queues(
    client: &Client,
    end: &Endpoint,
    source: (&Client, &Endpoint, usize),
    may_create: bool,
) -> Result<BTreeSet<QueueId>, Trouble> {
    let route = match client.refresh_route(&end.topic).await {
        Ok(route) => route,
        Err(error) if code_of(&error) != ErrorCode::TopicMissing => return Err(Trouble::of(end, &error)),
        Err(_) if !may_create => {
            let why = format!(
                "topic {} is gone from instance {} although copies were made into it; make it again there, or delete the stream",
                end.topic, end.instance
            );
            return Err(Trouble { code: ErrorCode::TopicMissing, why });
        }
        Err(_) => make(client, end, source).await?,
    };
    named(route.writable_queues(), end, "written")
}

async fn make(client: &Client, end: &Endpoint, source: (&Client, &Endpoint, usize)) -> Result<Arc<Route>, Trouble> {
    let (source_client, source_end, source_queues) = source;
    // Who may not read a topic's settings may still copy it: queue counts are in the route.
    let known = match source_client.topic_settings(&source_end.topic).await {
        Ok(known) => known.unwrap_or_default(),
        Err(error) if matches!(error.class(), Some(Class::NoPermission | Class::NotSupported)) => Vec::new(),
        Err(error) => return Err(Trouble::of(source_end, &error)),
    };
    let brokers = client.brokers().await.map_err(|error| Trouble::of(end, &error))?;
    let masters = brokers.iter().filter(|broker| broker.master.is_some()).count();
    let settings = settings_like(&known, queues_per_master(source_queues, masters));
    create(client, end, settings).await?;
    for pause in ROUTE_PAUSES {
        match client.refresh_route(&end.topic).await {
            Ok(route) if !route.writable_queues().is_empty() => return Ok(route),
            Err(error) if code_of(&error) != ErrorCode::TopicMissing => return Err(Trouble::of(end, &error)),
            _ => tokio::time::sleep(pause).await,
        }
    }
    client.refresh_route(&end.topic).await.map_err(|error| Trouble::of(end, &error))
}

async fn create(client: &Client, end: &Endpoint, mut settings: TopicSettings) -> Result<(), Trouble> {
    let mut attempts = attribute_attempts(&settings.attributes).into_iter().peekable();
    while let Some(attributes) = attempts.next() {
        settings.attributes = attributes;
        match client.create_topic(&end.topic, &settings).await {
            Ok(()) => {
                let (queues, attributes) = (settings.write_queues, &settings.attributes);
                tracing::info!(instance = %end.instance, topic = %end.topic, queues, ?attributes, "target topic made");
                return Ok(());
            }
            Err(error) if attempts.peek().is_some() && refuses_attributes(&error) => {
                let attributes = &settings.attributes;
                tracing::warn!(instance = %end.instance, topic = %end.topic, ?attributes, %error, "attributes refused, fewer are tried");
            }
            Err(error) => {
                let Trouble { code, why } = Trouble::of(end, &error);
                let why = format!("topic {} cannot be made at the target: {why}", end.topic);
                return Err(Trouble { code, why });
            }
        }
    }
    Ok(())
}

/// Whether the broker answered, and refused for a reason that fewer attributes may cure.
fn refuses_attributes(error: &causeway_rocketmq::Error) -> bool {
    matches!(error.class(), Some(Class::InvalidParameter | Class::NotSupported | Class::Other))
}

/// Settings of a new topic: the source's where they are known, of the first broker by name.
fn settings_like(source: &[BrokerTopic], queues: u32) -> TopicSettings {
    let plain = TopicSettings::with_queues(queues);
    match source.first() {
        None => plain,
        Some(BrokerTopic { settings, .. }) => TopicSettings {
            read_queues: queues,
            write_queues: queues,
            // A source that is read-only for its users must still have a copy that can be written.
            permission: Permission(settings.permission.0 | Permission::READ_WRITE.0),
            ..settings.clone()
        },
    }
}

/// What to try, in order: all attributes, the message type alone, none.
fn attribute_attempts(all: &BTreeMap<String, String>) -> Vec<BTreeMap<String, String>> {
    let message_type = all.iter().filter(|(name, _)| *name == MESSAGE_TYPE);
    let message_type = message_type.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut attempts = vec![all.clone(), message_type, BTreeMap::new()];
    attempts.dedup();
    attempts
}

fn named(queues: Vec<Queue>, end: &Endpoint, how: &str) -> Result<BTreeSet<QueueId>, Trouble> {
    if queues.is_empty() {
        let why = format!("topic {} of instance {} has no queue that may be {how}", end.topic, end.instance);
        return Err(Trouble { code: ErrorCode::InstanceDenied, why });
    }
    Ok(queues.into_iter().map(|queue| QueueId { broker: queue.broker.to_string(), queue: queue.id }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn attributes_are_given_up_in_steps_and_nothing_is_tried_twice() {
        let all = attributes(&[("message.type", "FIFO"), ("queue.type", "SimpleCQ")]);
        let message_type = attributes(&[("message.type", "FIFO")]);
        assert_eq!(attribute_attempts(&all), [all.clone(), message_type.clone(), BTreeMap::new()]);
        assert_eq!(attribute_attempts(&message_type), [message_type.clone(), BTreeMap::new()]);
        assert_eq!(attribute_attempts(&BTreeMap::new()), [BTreeMap::new()]);
    }

    #[test]
    fn a_new_topic_is_like_the_source_but_writable_and_with_its_own_queue_count() {
        let mut settings = TopicSettings::with_queues(16);
        settings.permission = Permission(4);
        settings.order = true;
        settings.attributes = attributes(&[("message.type", "FIFO")]);
        let source = BrokerTopic { broker: "a".into(), settings: settings.clone() };
        let like = settings_like(&[source], 8);
        assert_eq!((like.read_queues, like.write_queues, like.permission), (8, 8, Permission::READ_WRITE));
        assert_eq!((like.order, like.attributes), (true, settings.attributes));
        assert_eq!(settings_like(&[], 3), TopicSettings::with_queues(3));
    }

    #[test]
    fn a_topic_without_usable_queues_is_said_so() {
        let end = Endpoint { instance: crate::supervisor::testing::name("qingdao"), topic: "orders".into() };
        let Err(trouble) = named(Vec::new(), &end, "read") else { panic!("no queue is enough") };
        assert_eq!(trouble.to_string(), "topic orders of instance qingdao has no queue that may be read");
    }
}
