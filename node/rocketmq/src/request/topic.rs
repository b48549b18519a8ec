//! Topics: their settings on every master, and their creation (UPDATE_AND_CREATE_TOPIC, GET_TOPIC_CONFIG,
//! GET_ALL_TOPIC_CONFIG).
//!
//! There is no cluster-wide topic: each master has its own settings, and creation goes to one after the other. Never
//! touches a slave, and never creates on clusters other than the one in the settings, if one is named there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::client::{Client, body_json};
use crate::error::{Class, Error};
use crate::route::{BrokerInfo, Permission, topics_from_json};
use crate::wire::code::request;
use crate::wire::frame::Fields;

/// Required by the request and used for nothing by the broker.
const AUTO_CREATE_KEY: &str = "TBW102";

/// Settings of a topic on one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSettings {
    /// Queues that may be read.
    pub read_queues: u32,
    /// Queues that may be written.
    pub write_queues: u32,
    /// Who may do what.
    pub permission: Permission,
    /// Whether it is an order topic.
    pub order: bool,
    /// Unit flags.
    pub topic_sys_flag: i32,
    /// `SINGLE_TAG` or `MULTI_TAG`.
    pub filter_type: String,
    /// Attributes by name, without sign: `message.type`, `queue.type`, `cleanup.policy`, `reserve.time`. Brokers before
    /// 5.0 know none.
    pub attributes: BTreeMap<String, String>,
}

/// Settings of a topic with the broker that has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerTopic {
    /// The broker name.
    pub broker: Arc<str>,
    /// Its settings.
    pub settings: TopicSettings,
}

impl TopicSettings {
    /// A plain topic that may be read and written.
    pub fn with_queues(count: u32) -> Self {
        Self {
            read_queues: count,
            write_queues: count,
            permission: Permission::READ_WRITE,
            order: false,
            topic_sys_flag: 0,
            filter_type: "SINGLE_TAG".to_owned(),
            attributes: BTreeMap::new(),
        }
    }

    fn from_json(value: &Value) -> Option<Self> {
        let number = |name: &str| value.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
        let mut attributes = BTreeMap::new();
        if let Some(Value::Object(known)) = value.get("attributes") {
            for (name, text) in known {
                attributes.insert(name.clone(), text.as_str()?.to_owned());
            }
        }
        Some(Self {
            read_queues: number("readQueueNums")?,
            write_queues: number("writeQueueNums")?,
            permission: Permission(number("perm")?),
            order: value.get("order").and_then(Value::as_bool).unwrap_or(false),
            topic_sys_flag: value.get("topicSysFlag").and_then(Value::as_i64).unwrap_or(0).try_into().ok()?,
            filter_type: value.get("topicFilterType").and_then(Value::as_str).unwrap_or("SINGLE_TAG").to_owned(),
            attributes,
        })
    }

    fn fields(&self, topic: &str) -> Result<Fields, Error> {
        let mut fields = Fields::new();
        fields.push("topic", topic);
        fields.push("defaultTopic", AUTO_CREATE_KEY);
        fields.push("readQueueNums", self.read_queues);
        fields.push("writeQueueNums", self.write_queues);
        fields.push("perm", self.permission.0);
        fields.push("topicFilterType", &self.filter_type);
        fields.push("topicSysFlag", self.topic_sys_flag);
        fields.push("order", self.order);
        let mut attributes = Vec::new();
        for (name, value) in &self.attributes {
            if [name, value].iter().any(|text| text.is_empty() || text.contains([',', '=', '+'])) {
                return Err(Error::Settings(format!("topic attribute `{name}` cannot be written")));
            }
            attributes.push(format!("+{name}={value}"));
        }
        fields.push("attributes", attributes.join(","));
        Ok(fields)
    }
}

impl Client {
    /// Every topic that the name servers know, system topics included, sorted.
    pub async fn topics(&self) -> Result<Vec<String>, Error> {
        let (address, answer) =
            self.ask_name_servers(request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER, Fields::new()).await?;
        topics_from_json(&body_json(&address, &answer)?).map_err(|error| crate::client::located(error, &address))
    }

    /// The settings of a topic on every master that has it, by broker name; `None` if no master has it.
    pub async fn topic_settings(&self, topic: &str) -> Result<Option<Vec<BrokerTopic>>, Error> {
        let mut found = Vec::new();
        for (broker, master) in self.masters().await? {
            if let Some(settings) = self.settings_on(&master, topic).await? {
                found.push(BrokerTopic { broker, settings });
            }
        }
        Ok((!found.is_empty()).then_some(found))
    }

    /// Creates a topic, or changes its settings, on every master. On an error some masters may have been done; doing it
    /// again is harmless.
    pub async fn create_topic(&self, topic: &str, settings: &TopicSettings) -> Result<(), Error> {
        for (broker, _) in self.masters().await? {
            self.create_topic_on(&broker, topic, settings).await?;
        }
        Ok(())
    }

    /// Creates a topic, or changes its settings, on the master of one broker name.
    pub async fn create_topic_on(&self, broker: &str, topic: &str, settings: &TopicSettings) -> Result<(), Error> {
        let fields = settings.fields(topic)?;
        self.ask_master_named(broker, request::UPDATE_AND_CREATE_TOPIC, fields).await.map(drop)
    }

    async fn masters(&self) -> Result<Vec<(Arc<str>, Arc<str>)>, Error> {
        let with_master = |info: BrokerInfo| info.master.map(|master| (info.name, master));
        let masters: Vec<_> = self.brokers().await?.into_iter().filter_map(with_master).collect();
        if masters.is_empty() {
            return Err(Error::BrokerMissing { broker: "*".to_owned(), role: "master" });
        }
        Ok(masters)
    }

    async fn settings_on(&self, master: &Arc<str>, topic: &str) -> Result<Option<TopicSettings>, Error> {
        let fields: Fields = [("topic", topic)].into_iter().collect();
        let malformed = || Error::malformed(master, "topic settings");
        match self.ask_success(master, request::GET_TOPIC_CONFIG, fields).await {
            Ok(answer) => {
                let settings = TopicSettings::from_json(&body_json(master, &answer)?);
                return settings.map(Some).ok_or_else(malformed);
            }
            Err(error) if error.class() == Some(Class::TopicMissing) => return Ok(None),
            // Brokers of 4.x do not know the request for one topic.
            Err(error) if error.class() != Some(Class::NotSupported) => return Err(error),
            Err(_) => {}
        }
        let answer = self.ask_success(master, request::GET_ALL_TOPIC_CONFIG, Fields::new()).await?;
        let all = body_json(master, &answer)?;
        let table = all.get("topicConfigTable").and_then(Value::as_object).ok_or_else(malformed)?;
        match table.get(topic) {
            None => Ok(None),
            Some(entry) => TopicSettings::from_json(entry).map(Some).ok_or_else(malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_survive_the_way_through_both_forms() {
        let value = json!({"topicName": "t", "readQueueNums": 8, "writeQueueNums": 4, "perm": 6, "order": true,
            "topicSysFlag": 1, "topicFilterType": "SINGLE_TAG", "attributes": {"message.type": "FIFO", "queue.type": "SimpleCQ"}});
        let settings = TopicSettings::from_json(&value).unwrap();
        let fields = settings.fields("t").unwrap();
        for (name, expected) in [
            ("readQueueNums", "8"),
            ("writeQueueNums", "4"),
            ("perm", "6"),
            ("order", "true"),
            ("attributes", "+message.type=FIFO,+queue.type=SimpleCQ"),
        ] {
            assert_eq!(fields.get(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn an_attribute_that_would_read_as_two_is_refused() {
        let mut settings = TopicSettings::with_queues(1);
        settings.attributes.insert("message.type".into(), "FIFO,+queue.type=BatchCQ".into());
        assert!(matches!(settings.fields("t"), Err(Error::Settings(_))));
    }

    #[test]
    fn settings_of_a_wrong_shape_are_refused() {
        assert!(TopicSettings::from_json(&json!({"readQueueNums": -1, "writeQueueNums": 1, "perm": 6})).is_none());
        assert!(TopicSettings::from_json(&json!([])).is_none());
    }
}
