//! The topics of a stream: the source's queues, and the target topic, made when it is missing.
//!
//! A new target topic gets the source's queue count (see [`queue_mapping`](super::queue_mapping)), its permission with
//! reading and writing allowed, and its attributes. A broker that does not know an attribute gets the topic with
//! `message.type` only, and one that knows none without any. A topic that exists is never changed; fewer or more queues
//! than the source's are legal. A target topic that is gone although copies were made into it is not made again: only
//! an operator can know whether it was meant.
//!
//! Name servers forget a topic with the last of its brokers, also when that broker is only down. A missing route proves
//! that a topic is gone only where a broker that had it is there with its master.

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

/// Broker names in one message.
const NAMED_BROKERS: usize = 4;

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

/// The queues that can be read from the source topic. `brokers` are those that are known to have queues of it.
///
/// # Errors
/// [`Trouble`] when the topic is missing or has no readable queue, its brokers are down, or the instance does not say.
pub async fn source_queues(
    client: &Client,
    end: &Endpoint,
    brokers: &BTreeSet<&str>,
) -> Result<BTreeSet<QueueId>, Trouble> {
    let Some(route) = proven_route(client, end, brokers).await? else {
        let missing = causeway_rocketmq::Error::TopicMissing { topic: end.topic.clone() };
        return Err(Trouble::of(end, &missing));
    };
    named(route.readable_queues(), end, "read")
}

/// The queues that can be written to in the target topic; makes the topic when it is missing and `may_create`.
/// `brokers` are those that are known to have queues of it.
///
/// # Errors
/// [`Trouble`] when the topic is missing and may or can not be made, has no writable queue, its brokers are down, or an
/// instance does not say.
pub async fn target_queues(
    client: &Client,
    end: &Endpoint,
    brokers: &BTreeSet<&str>,
    source: (&Client, &Endpoint, usize),
    may_create: bool,
) -> Result<BTreeSet<QueueId>, Trouble> {
    let route = match proven_route(client, end, brokers).await? {
        Some(route) => route,
        None if !may_create => {
            let why = format!(
                "topic {} is gone from instance {} although copies were made into it: \
                 make it again there, or delete the stream if the topic was taken away for good",
                end.topic, end.instance
            );
            return Err(Trouble { code: ErrorCode::TopicMissing, why });
        }
        None => make(client, end, source).await?,
    };
    named(route.writable_queues(), end, "written")
}

/// The topic's route; none where the topic is not there.
///
/// # Errors
/// [`Trouble`] when that cannot be told, as during an outage.
async fn proven_route(
    client: &Client,
    end: &Endpoint,
    brokers: &BTreeSet<&str>,
) -> Result<Option<Arc<Route>>, Trouble> {
    if let Some(route) = route_now(client, end).await? {
        return Ok(Some(route));
    }
    expect_master(client, end, brokers).await?;
    // A broker registers together with its topics. It may have come back since the first look.
    route_now(client, end).await
}

async fn route_now(client: &Client, end: &Endpoint) -> Result<Option<Arc<Route>>, Trouble> {
    match client.refresh_route(&end.topic).await {
        Ok(route) => Ok(Some(route)),
        Err(error) if code_of(&error) == ErrorCode::TopicMissing => Ok(None),
        Err(error) => Err(Trouble::of(end, &error)),
    }
}

/// Fails where none of these brokers has a master, or no broker at all where none are given.
async fn expect_master(client: &Client, end: &Endpoint, brokers: &BTreeSet<&str>) -> Result<(), Trouble> {
    let known = match client.brokers().await {
        Ok(known) => known,
        Err(error) if matches!(code_of(&error), ErrorCode::Unreachable | ErrorCode::TimedOut) => {
            return Err(Trouble::of(end, &error));
        }
        // Proxies do not tell their brokers: their word on the topic has to do.
        Err(_) => return Ok(()),
    };
    let mut masters = known.iter().filter(|broker| broker.master.is_some());
    if masters.any(|broker| brokers.is_empty() || brokers.contains(&*broker.name)) {
        return Ok(());
    }
    let names: Vec<&str> = brokers.iter().copied().take(NAMED_BROKERS).collect();
    let absent = match brokers.len().saturating_sub(names.len()) {
        _ if names.is_empty() => "no broker".to_owned(),
        0 => format!("none of its brokers ({})", names.join(", ")),
        more => format!("none of its brokers ({} and {more} more)", names.join(", ")),
    };
    let why = format!(
        "topic {} of instance {}: {absent} has a master there now, so whether the topic still exists cannot be told",
        end.topic, end.instance
    );
    Err(Trouble { code: ErrorCode::Unreachable, why })
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
    use causeway_rocketmq::ClientSettings;
    use causeway_rocketmq::stub::{Stub, StubOptions};

    use super::*;

    const STUB: &str = "stub";

    async fn pair() -> (Stub, Client) {
        let stub = Stub::start(StubOptions::default()).await.unwrap();
        let client = Client::new(ClientSettings::new(vec![stub.address()])).unwrap();
        (stub, client)
    }

    fn end() -> Endpoint {
        Endpoint { instance: crate::supervisor::testing::name("hohhot"), topic: "orders".into() }
    }

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
        let Err(trouble) = named(Vec::new(), &end(), "read") else { panic!("no queue is enough") };
        assert_eq!(trouble.to_string(), "topic orders of instance hohhot has no queue that may be read");
    }

    #[tokio::test]
    async fn a_topic_without_route_is_missing_only_where_a_broker_that_had_it_is_there() {
        let (stub, client) = pair().await;
        let read = async |brokers: &[&str]| {
            source_queues(&client, &end(), &brokers.iter().copied().collect()).await.map_err(|trouble| trouble.code)
        };
        assert_eq!(read(&[]).await, Err(ErrorCode::TopicMissing));
        assert_eq!(read(&["other", STUB]).await, Err(ErrorCode::TopicMissing));
        assert_eq!(read(&["other"]).await, Err(ErrorCode::Unreachable), "the topic may still be at the other");
        for without_master in [serde_json::json!({}), serde_json::json!({"1": stub.address()})] {
            stub.store().listed = Some(without_master);
            assert_eq!(read(&[]).await, Err(ErrorCode::Unreachable));
            assert_eq!(read(&[STUB]).await, Err(ErrorCode::Unreachable));
        }
        stub.store().create_topic("orders", 2);
        assert_eq!(read(&[STUB]).await.map(|queues| queues.len()), Ok(2), "a route needs no other proof");
    }

    #[tokio::test]
    async fn a_target_topic_is_neither_called_gone_nor_made_while_its_broker_is_down() {
        let (stub, client) = pair().await;
        let look = async |brokers: &[&str], may_create| {
            let source = (&client, &end(), 3);
            target_queues(&client, &end(), &brokers.iter().copied().collect(), source, may_create).await
        };
        let down = look(&["other"], false).await.unwrap_err();
        assert_eq!(down.code, ErrorCode::Unreachable);
        let why = "topic orders of instance hohhot: none of its brokers (other) has a master there now, \
                   so whether the topic still exists cannot be told";
        assert_eq!(down.to_string(), why);
        assert_eq!(look(&["other"], true).await.unwrap_err().code, ErrorCode::Unreachable);
        let many = look(&["a", "b", "c", "d", "e", "f"], false).await.unwrap_err();
        assert!(many.to_string().contains("(a, b, c, d and 2 more)"), "{many}");
        assert_eq!(look(&[STUB], false).await.unwrap_err().code, ErrorCode::TopicMissing);
        assert!(stub.store().own_route("orders").is_none(), "nothing was made");
        assert_eq!(look(&[STUB], true).await.map(|queues| queues.len()), Ok(3));
    }
}
