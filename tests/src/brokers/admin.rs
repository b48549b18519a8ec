//! What an operator does to a cluster in tests: topics, users, policies, offsets.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::broker::Broker;
use super::cluster::Cluster;
use super::remoting::{Answer, Remote};
use super::settings::Credentials;
use super::version::AclGeneration;

const UPDATE_AND_CREATE_TOPIC: i32 = 17;
const GET_ALL_TOPIC_CONFIG: i32 = 21;
const GET_TOPIC_CONFIG: i32 = 351;
pub(super) const GET_MAX_OFFSET: i32 = 30;
const GET_MIN_OFFSET: i32 = 31;
const GET_ROUTE: i32 = 105;
const UPDATE_BROKER_CONFIG: i32 = 25;
const DELETE_TOPIC_IN_BROKER: i32 = 215;
const DELETE_TOPIC_IN_NAME_SERVER: i32 = 216;
const AUTH_CREATE_USER: i32 = 3001;
const AUTH_CREATE_ACL: i32 = 3006;
const AUTH_UPDATE_ACL: i32 = 3007;

/// Longest wait for a change to show.
const PATIENCE: Duration = Duration::from_secs(60);

/// A topic as it should be created on every master.
#[derive(Debug, Clone)]
pub struct TopicSettings {
    /// Its name.
    pub name: String,
    /// Readable queues per broker.
    pub read_queues: u32,
    /// Writable queues per broker.
    pub write_queues: u32,
    /// 4 read, 2 write, together 6.
    pub permission: u32,
    /// Attributes as RocketMQ writes them, such as `+message.type=FIFO`; releases from 5.0.
    pub attributes: String,
}

impl TopicSettings {
    /// A readable and writable topic.
    pub fn new(name: &str, queues: u32) -> Self {
        Self {
            name: name.to_owned(),
            read_queues: queues,
            write_queues: queues,
            permission: 6,
            attributes: String::new(),
        }
    }
}

/// Requests to one cluster, signed as its super user where it has access control. Every method panics when refused.
#[derive(Debug, Clone, Copy)]
pub struct Admin<'a> {
    pub(super) remote: &'a Remote,
    pub(super) cluster: &'a Cluster,
}

impl Admin<'_> {
    /// Creates a topic with `queues` queues on every broker and waits until all name servers publish it.
    pub fn create_topic(&self, name: &str, queues: u32) {
        self.create_topic_with(&TopicSettings::new(name, queues));
    }

    /// Creates or changes a topic on every broker and waits until all name servers publish it.
    pub fn create_topic_with(&self, topic: &TopicSettings) {
        let (read, write) = (topic.read_queues.to_string(), topic.write_queues.to_string());
        let permission = topic.permission.to_string();
        let mut fields = vec![
            ("topic", topic.name.as_str()),
            ("defaultTopic", "TBW102"),
            ("readQueueNums", &read),
            ("writeQueueNums", &write),
            ("perm", &permission),
            ("topicFilterType", "SINGLE_TAG"),
            ("topicSysFlag", "0"),
            ("order", "false"),
        ];
        if !topic.attributes.is_empty() {
            fields.push(("attributes", &topic.attributes));
        }
        for broker in self.everywhere() {
            self.accepted(&broker.address(), UPDATE_AND_CREATE_TOPIC, &fields, &[]);
        }
        let wanted: Vec<&str> = self.cluster.brokers.iter().map(|broker| broker.name()).collect();
        self.until(&format!("topic {} in every route", topic.name), || {
            self.cluster.name_servers().iter().all(|server| {
                let queues = self.route(server, &topic.name);
                wanted.iter().all(|name| {
                    queues.iter().any(|queue| {
                        queue["brokerName"] == **name
                            && queue["readQueueNums"] == topic.read_queues
                            && queue["writeQueueNums"] == topic.write_queues
                            && queue["perm"] == topic.permission
                    })
                })
            })
        });
    }

    /// Deletes a topic from every broker and name server.
    pub fn delete_topic(&self, name: &str) {
        for broker in self.everywhere() {
            self.accepted(&broker.address(), DELETE_TOPIC_IN_BROKER, &[("topic", name)], &[]);
        }
        for server in self.cluster.name_servers() {
            self.accepted(&server, DELETE_TOPIC_IN_NAME_SERVER, &[("topic", name)], &[]);
        }
        self.until(&format!("topic {name} gone"), || {
            self.cluster.name_servers().iter().all(|server| self.route(server, name).is_empty())
        });
    }

    /// The end of a queue at the master `broker`: the offset that its next message gets.
    pub fn maximum_offset(&self, broker: usize, topic: &str, queue: u32) -> i64 {
        self.offset(&self.cluster.brokers[broker].address(), GET_MAX_OFFSET, topic, queue)
    }

    /// The first offset that a queue still holds at the master `broker`.
    pub fn minimum_offset(&self, broker: usize, topic: &str, queue: u32) -> i64 {
        self.offset(&self.cluster.brokers[broker].address(), GET_MIN_OFFSET, topic, queue)
    }

    /// How many messages all queues of a topic have received, over all masters.
    pub fn messages(&self, topic: &str, queues: u32) -> i64 {
        let brokers = 0..self.cluster.brokers.len();
        brokers.map(|broker| (0..queues).map(|queue| self.maximum_offset(broker, topic, queue)).sum::<i64>()).sum()
    }

    /// Waits until the slave of master `index` knows a topic and holds all that the master has of it now.
    pub fn wait_replicated(&self, index: usize, topic: &str, queues: u32) {
        let slave = self.cluster.slaves[self.cluster.slave_of(index)].address();
        let ends: Vec<i64> = (0..queues).map(|queue| self.maximum_offset(index, topic, queue)).collect();
        self.until(&format!("the slave to hold {topic}"), || {
            // Releases before 5.0 cannot ask for one topic; newer ones answer the old request in pages.
            let code = if self.cluster.settings().version.is_five() { GET_TOPIC_CONFIG } else { GET_ALL_TOPIC_CONFIG };
            let answer = self.remote.call(&slave, code, &[("topic", topic)], &[]);
            let known = answer.is_ok_and(|answer| {
                answer.code == 0 && String::from_utf8_lossy(&answer.body).contains(&format!("\"{topic}\""))
            });
            known
                && (0..queues).zip(&ends).all(|(queue, end)| {
                    let queue = queue.to_string();
                    let fields = [("topic", topic), ("queueId", queue.as_str())];
                    let answer = self.remote.call(&slave, GET_MAX_OFFSET, &fields, &[]);
                    answer.is_ok_and(|answer| offset_of(&answer) >= Some(*end))
                })
        });
    }

    /// Changes a property of the running master `broker`.
    pub fn set_broker_property(&self, broker: usize, name: &str, value: &str) {
        let body = format!("{name}={value}\n");
        self.accepted(&self.cluster.brokers[broker].address(), UPDATE_BROKER_CONFIG, &[], body.as_bytes());
    }

    /// Creates a normal user on every broker. ACL 2.0 only; ACL 1.0 has the two users of the settings.
    pub fn create_user(&self, user: &Credentials) {
        assert_eq!(self.cluster.settings().version.acl_generation(), AclGeneration::Two);
        let body = json!({ "username": user.access_key, "password": user.secret_key, "userType": "Normal" });
        for broker in self.everywhere() {
            let fields = [("username", user.access_key.as_str())];
            self.accepted(&broker.address(), AUTH_CREATE_USER, &fields, body.to_string().as_bytes());
        }
    }

    /// Allows a user `actions` (such as `Pub`, `Sub`, `Create`, `Update`, `Get`, `List`) on resources (such as
    /// `Topic:*`, `Group:*`, `Cluster:*`), on every broker; what it was allowed on those resources before is replaced.
    /// ACL 2.0 only.
    pub fn allow(&self, user: &Credentials, resources: &[(&str, &[&str])]) {
        let subject = format!("User:{}", user.access_key);
        let entries: Vec<Value> = resources
            .iter()
            .map(|(resource, actions)| {
                json!({ "resource": resource, "actions": actions, "sourceIps": [], "decision": "Allow" })
            })
            .collect();
        let body =
            json!({ "subject": subject, "policies": [{ "policyType": "Custom", "entries": entries }] }).to_string();
        for broker in self.everywhere() {
            let fields = [("subject", subject.as_str())];
            let created = self.remote.call(&broker.address(), AUTH_CREATE_ACL, &fields, body.as_bytes()).unwrap();
            if created.code != 0 {
                self.accepted(&broker.address(), AUTH_UPDATE_ACL, &fields, body.as_bytes());
            }
        }
    }

    /// All running brokers that take changes. From 5.0 on a slave asks its master for topics only once a minute and
    /// never for users, so it is told too; before 5.0 it asks every ten seconds and refuses to be told.
    fn everywhere(&self) -> impl Iterator<Item = &Broker> {
        let told = |slave: &&Broker| self.cluster.settings().version.is_five() && slave.is_started();
        self.cluster.brokers.iter().filter(|broker| broker.is_started()).chain(self.cluster.slaves.iter().filter(told))
    }

    fn route(&self, server: &str, topic: &str) -> Vec<Value> {
        let fields = [("topic", topic), ("acceptStandardJsonOnly", "true")];
        let Ok(answer) = self.remote.call(server, GET_ROUTE, &fields, &[]) else { return Vec::new() };
        let route: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        route["queueDatas"].as_array().cloned().unwrap_or_default()
    }

    fn offset(&self, address: &str, code: i32, topic: &str, queue: u32) -> i64 {
        let answer = self.accepted(address, code, &[("topic", topic), ("queueId", &queue.to_string())], &[]);
        offset_of(&answer).unwrap_or_else(|| panic!("{address} answered request {code} without an offset"))
    }

    fn accepted(&self, address: &str, code: i32, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = self.remote.call(address, code, fields, body);
        let answer = answer.unwrap_or_else(|error| panic!("{address} does not answer request {code}: {error}"));
        assert_eq!(answer.code, 0, "{address} refused request {code}: {}", answer.remark);
        answer
    }

    fn until(&self, what: &str, reached: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !reached() {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

pub(super) fn offset_of(answer: &Answer) -> Option<i64> {
    answer.fields.get("offset").and_then(|offset| offset.parse().ok())
}
