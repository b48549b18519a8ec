//! What name servers say: which brokers hold a topic, under which addresses, with how many queues.
//!
//! Parts: [`Route`], [`BrokerRoute`], [`BrokerInfo`], [`Permission`], [`Queue`]; readers of the JSON bodies of requests
//! 105, 106 and 206 (Apache `TopicRouteData`, `ClusterInfo`, `TopicList`).
//! Pure. Never accepts a route of a static topic, whose queue numbers mean something else.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::Error;

/// Broker id of a master.
pub const MASTER_ID: u64 = 0;

/// Most queues of one topic on one broker that are believed.
const MAX_QUEUES: u64 = 65_536;

/// One queue of a topic on one broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue {
    /// The topic.
    pub topic: Arc<str>,
    /// The broker name, which a master shares with its slaves.
    pub broker: Arc<str>,
    /// Queue number, from 0.
    pub id: u32,
}

/// Permission bits of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Permission(pub u32);

impl Permission {
    /// Read and write.
    pub const READ_WRITE: Self = Self(6);

    /// Whether consumers may read.
    pub fn is_readable(self) -> bool {
        self.0 & 4 != 0
    }

    /// Whether producers may write. Brokers themselves do not check it on sends; clients do by their routes.
    pub fn is_writable(self) -> bool {
        self.0 & 2 != 0
    }
}

/// Where a topic lives. Brokers are sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The topic.
    pub topic: Arc<str>,
    /// One entry per broker name.
    pub brokers: Vec<BrokerRoute>,
}

/// One broker name in a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerRoute {
    /// Names, cluster and addresses.
    pub broker: BrokerInfo,
    /// Queues that may be read: ids `0..read_queues`.
    pub read_queues: u32,
    /// Queues that may be written: ids `0..write_queues`.
    pub write_queues: u32,
    /// Permission of the topic on this broker.
    pub permission: Permission,
    /// Unit flags of the topic.
    pub topic_sys_flag: i32,
}

/// A broker name with all its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerInfo {
    /// The broker name.
    pub name: Arc<str>,
    /// The cluster that it belongs to.
    pub cluster: String,
    /// The master's address. `None` while there is only a slave, also when that slave stands in as an acting master.
    pub master: Option<Arc<str>>,
    /// Slaves by broker id. An acting master is listed here under id 0.
    pub slaves: BTreeMap<u64, Arc<str>>,
}

impl Route {
    /// The entry of a broker name.
    pub fn broker(&self, name: &str) -> Option<&BrokerRoute> {
        self.brokers.iter().find(|entry| &*entry.broker.name == name)
    }

    /// Every queue that may be read, by broker name and id.
    pub fn readable_queues(&self) -> Vec<Queue> {
        self.queues(|entry| if entry.permission.is_readable() { entry.read_queues } else { 0 })
    }

    /// Every queue that may be written, by broker name and id.
    pub fn writable_queues(&self) -> Vec<Queue> {
        self.queues(|entry| if entry.permission.is_writable() { entry.write_queues } else { 0 })
    }

    fn queues(&self, count: impl Fn(&BrokerRoute) -> u32) -> Vec<Queue> {
        let queue =
            |entry: &BrokerRoute, id| Queue { topic: self.topic.clone(), broker: entry.broker.name.clone(), id };
        self.brokers.iter().flat_map(|entry| (0..count(entry)).map(move |id| queue(entry, id))).collect()
    }

    /// Reads the body of a route answer.
    pub(crate) fn from_json(topic: &str, value: &Value) -> Result<Self, Error> {
        if let Some(Value::Object(mapping)) = value.get("topicQueueMappingByBroker")
            && !mapping.is_empty()
        {
            return Err(Error::Unsupported { feature: format!("static topic {topic} (logical queues)") });
        }
        let mut brokers = Vec::new();
        for entry in array(value, "brokerDatas")? {
            let name = text(entry, "brokerName")?;
            // A broker without queues of the topic is of no use in its route.
            let queues = array(value, "queueDatas")?;
            let Some(data) = queues.iter().find(|data| data.get("brokerName").and_then(Value::as_str) == Some(name))
            else {
                continue;
            };
            let permission = Permission(number(data, "perm")?);
            let acting_allowed = entry.get("enableActingMaster").and_then(Value::as_bool) == Some(true);
            brokers.push(BrokerRoute {
                // With acting masters a slave is listed as id 0 and the write permission is taken away
                // (`RouteInfoManager.pickupTopicRouteData`). A true master of a read-only topic looks the same, and is
                // taken for a slave: it is read where slaves are, and asked for nothing that only a master may answer.
                broker: broker(entry, acting_allowed && !permission.is_writable())?,
                read_queues: queue_count(data, "readQueueNums")?,
                write_queues: queue_count(data, "writeQueueNums")?,
                permission,
                topic_sys_flag: data.get("topicSysFlag").and_then(Value::as_i64).unwrap_or(0).try_into().unwrap_or(0),
            });
        }
        brokers.sort_by(|a, b| a.broker.name.cmp(&b.broker.name));
        brokers.dedup_by(|a, b| a.broker.name == b.broker.name);
        Ok(Self { topic: topic.into(), brokers })
    }
}

/// Reads the body of a cluster answer: every broker, sorted by name.
pub(crate) fn brokers_from_json(value: &Value) -> Result<Vec<BrokerInfo>, Error> {
    let table = value.get("brokerAddrTable").and_then(Value::as_object).ok_or_else(|| wrong("brokerAddrTable"))?;
    let mut brokers = table.values().map(|entry| broker(entry, false)).collect::<Result<Vec<_>, _>>()?;
    brokers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(brokers)
}

/// Reads the body of a topic list answer, sorted.
pub(crate) fn topics_from_json(value: &Value) -> Result<Vec<String>, Error> {
    let names = array(value, "topicList")?;
    let mut topics: Vec<String> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    topics.sort();
    topics.dedup();
    Ok(topics)
}

fn broker(entry: &Value, acting_master: bool) -> Result<BrokerInfo, Error> {
    let name = text(entry, "brokerName")?;
    let cluster = entry.get("cluster").and_then(Value::as_str).unwrap_or_default();
    let empty = Map::new();
    let addresses = entry.get("brokerAddrs").and_then(Value::as_object).unwrap_or(&empty);
    let mut master = None;
    let mut slaves = BTreeMap::new();
    for (id, address) in addresses {
        let (Ok(id), Some(address)) = (id.parse::<u64>(), address.as_str()) else { return Err(wrong("brokerAddrs")) };
        if id == MASTER_ID && !acting_master {
            master = Some(address.into());
        } else {
            slaves.insert(id, address.into());
        }
    }
    Ok(BrokerInfo { name: name.into(), cluster: cluster.to_owned(), master, slaves })
}

fn array<'a>(value: &'a Value, name: &'static str) -> Result<&'a [Value], Error> {
    match value.get(name) {
        Some(Value::Array(items)) => Ok(items),
        Some(Value::Null) | None => Ok(&[]),
        Some(_) => Err(wrong(name)),
    }
}

fn text<'a>(value: &'a Value, name: &'static str) -> Result<&'a str, Error> {
    value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).ok_or_else(|| wrong(name))
}

fn number(value: &Value, name: &'static str) -> Result<u32, Error> {
    value.get(name).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok()).ok_or_else(|| wrong(name))
}

fn queue_count(value: &Value, name: &'static str) -> Result<u32, Error> {
    let count = number(value, name)?;
    if u64::from(count) > MAX_QUEUES { Err(wrong(name)) } else { Ok(count) }
}

/// The address is not known here; the caller puts it in.
fn wrong(name: &'static str) -> Error {
    Error::malformed("", format!("`{name}` missing or of a wrong type"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn route(value: Value) -> Result<Route, Error> {
        Route::from_json("t", &value)
    }

    #[test]
    fn a_route_is_read_and_sorted() {
        let route = route(json!({
            "brokerDatas": [
                {"brokerName": "b", "cluster": "c", "brokerAddrs": {"0": "h:2", "1": "h:3"}},
                {"brokerName": "a", "cluster": "c", "brokerAddrs": {"0": "h:1"}},
                {"brokerName": "unused", "cluster": "c", "brokerAddrs": {"0": "h:9"}}],
            "queueDatas": [
                {"brokerName": "a", "readQueueNums": 2, "writeQueueNums": 1, "perm": 6, "topicSysFlag": 0},
                {"brokerName": "b", "readQueueNums": 1, "writeQueueNums": 4, "perm": 4}],
            "filterServerTable": {}}))
        .unwrap();
        let names: Vec<_> = route.brokers.iter().map(|entry| &*entry.broker.name).collect();
        assert_eq!(names, ["a", "b"]);
        let b = &route.broker("b").unwrap().broker;
        assert_eq!((b.master.as_deref(), b.slaves.get(&1).map(|a| &**a)), (Some("h:2"), Some("h:3")));
        let ids = |queues: Vec<Queue>| queues.iter().map(|q| format!("{}{}", q.broker, q.id)).collect::<Vec<_>>();
        assert_eq!(ids(route.readable_queues()), ["a0", "a1", "b0"]);
        assert_eq!(ids(route.writable_queues()), ["a0"]);
    }

    #[test]
    fn an_acting_master_is_a_slave() {
        let data = |perm: u32, acting: bool| {
            json!({
                "brokerDatas": [{"brokerName": "a", "cluster": "c", "brokerAddrs": {"0": "h:1"}, "enableActingMaster": acting}],
                "queueDatas": [{"brokerName": "a", "readQueueNums": 1, "writeQueueNums": 1, "perm": perm}]})
        };
        let master = |perm, acting| route(data(perm, acting)).unwrap().brokers[0].broker.master.is_some();
        assert!(!master(4, true));
        assert!(master(6, true) && master(4, false));
    }

    #[test]
    fn static_topics_are_refused_by_name() {
        let mapped = json!({"brokerDatas": [], "queueDatas": [], "topicQueueMappingByBroker": {"a": {}}});
        assert!(matches!(route(mapped), Err(Error::Unsupported { .. })));
        let unmapped = json!({"brokerDatas": [], "queueDatas": [], "topicQueueMappingByBroker": null});
        assert!(route(unmapped).unwrap().brokers.is_empty());
    }

    #[test]
    fn wrong_types_are_errors() {
        for value in [
            json!({"brokerDatas": 5}),
            json!({"brokerDatas": [{"brokerAddrs": {}}]}),
            json!({"brokerDatas": [{"brokerName": "a", "brokerAddrs": {"x": "h:1"}}],
                   "queueDatas": [{"brokerName": "a", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6}]}),
            json!({"brokerDatas": [{"brokerName": "a", "brokerAddrs": {}}],
                   "queueDatas": [{"brokerName": "a", "readQueueNums": 99999999, "writeQueueNums": 1, "perm": 6}]}),
        ] {
            assert!(matches!(route(value.clone()), Err(Error::Malformed { .. })), "{value}");
        }
    }
}
