//! Topics, queues, routes and group offsets of a stub, and the answers that it makes of them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::serve::answer_to;
use crate::wire::batch;
use crate::wire::code::{request, response};
use crate::wire::frame::{Fields, Frame};
use crate::wire::record::{Record, body_crc, encode_record};

/// Most messages and bytes of one pull, as brokers have it for messages in memory.
const PULL_MESSAGES: usize = 32;
const PULL_BYTES: usize = 256 * 1024;

/// Longest body or batch that is stored.
const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Everything that a stub keeps.
pub struct Store {
    address: SocketAddr,
    /// Broker name in routes and cluster lists.
    pub broker: String,
    /// Answer of route requests by topic; a topic without one gets a route to this stub.
    pub routes: HashMap<String, Value>,
    /// Brokers' addresses by id in the cluster list, in place of this stub's own.
    pub listed: Option<Value>,
    /// The broker id that answers to pulls name as the one to be asked next.
    pub suggested: u64,
    /// Bodies of route answers that are not JSON at all, by topic.
    pub raw_routes: HashMap<String, Bytes>,
    topics: BTreeMap<String, Topic>,
    group_offsets: HashMap<(String, String, usize), i64>,
    physical: i64,
}

struct Topic {
    queues: Vec<Log>,
    attributes: BTreeMap<String, String>,
    permission: u32,
}

#[derive(Default)]
struct Log {
    first: i64,
    records: Vec<Bytes>,
}

impl Log {
    fn end(&self) -> i64 {
        self.first.saturating_add(i64::try_from(self.records.len()).unwrap_or(i64::MAX))
    }
}

impl Store {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            broker: "stub".to_owned(),
            routes: HashMap::new(),
            listed: None,
            suggested: 0,
            raw_routes: HashMap::new(),
            topics: BTreeMap::new(),
            group_offsets: HashMap::new(),
            physical: 0,
        }
    }

    /// Makes a topic with that many empty queues.
    pub fn create_topic(&mut self, topic: &str, queues: usize) {
        let queues = (0..queues).map(|_| Log::default()).collect();
        self.topics.insert(topic.to_owned(), Topic { queues, attributes: BTreeMap::new(), permission: 6 });
    }

    /// Stores a message and returns its queue offset; `None` if there is no such queue.
    pub fn append(&mut self, topic: &str, queue: usize, body: &[u8], properties: &[u8]) -> Option<i64> {
        let millis = now();
        let message = Incoming { flag: 0, body, properties, sys_flag: 0, born_timestamp: millis, reconsume_times: 0 };
        self.store(topic, queue, self.address, &message)
    }

    /// Every stored record of a queue, encoded.
    pub fn stored(&self, topic: &str, queue: usize) -> Vec<Bytes> {
        self.log(topic, queue).map(|log| log.records.clone()).unwrap_or_default()
    }

    /// Forgets the last records of a queue, as a slave does that was promoted without them.
    pub fn truncate(&mut self, topic: &str, queue: usize, count: usize) {
        if let Some(log) = self.log_mut(topic, queue) {
            log.records.truncate(log.records.len().saturating_sub(count));
        }
    }

    /// Forgets the first records of a queue, as retention does.
    pub fn expire(&mut self, topic: &str, queue: usize, count: usize) {
        if let Some(log) = self.log_mut(topic, queue) {
            let count = count.min(log.records.len());
            log.records.drain(..count);
            log.first = log.first.saturating_add(i64::try_from(count).unwrap_or(0));
        }
    }

    /// The route answer that this stub would give for a topic of its own.
    pub fn own_route(&self, topic: &str) -> Option<Value> {
        let known = self.topics.get(topic)?;
        let count = known.queues.len();
        Some(json!({
            "brokerDatas": [{"brokerName": self.broker, "cluster": "stub", "brokerAddrs": {"0": self.address.to_string()}}],
            "queueDatas": [{"brokerName": self.broker, "readQueueNums": count, "writeQueueNums": count,
                "perm": known.permission, "topicSysFlag": 0}],
            "filterServerTable": {}}))
    }

    /// Executes a request. Also tells whether a message was stored.
    pub(super) fn execute(&mut self, asked: &Frame, peer: SocketAddr, is_proxy: bool) -> (Frame, bool) {
        let mut stored = false;
        let answer = match asked.code {
            request::GET_ROUTEINFO_BY_TOPIC => self.route(asked),
            request::PULL_MESSAGE => self.pull(asked),
            request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {
                let answer = self.send(asked, peer);
                stored = answer.code == response::SUCCESS;
                answer
            }
            request::GET_MIN_OFFSET | request::GET_MAX_OFFSET | request::SEARCH_OFFSET_BY_TIMESTAMP => {
                self.offset(asked)
            }
            request::QUERY_CONSUMER_OFFSET | request::UPDATE_CONSUMER_OFFSET => self.group(asked),
            _ if is_proxy => unsupported(asked),
            request::GET_BROKER_CLUSTER_INFO => self.cluster(asked),
            request::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => {
                with_json(asked, &json!({"topicList": self.topics.keys().collect::<Vec<_>>()}))
            }
            request::UPDATE_AND_CREATE_TOPIC => self.create(asked),
            request::GET_TOPIC_CONFIG => self.settings(asked),
            request::GET_BROKER_RUNTIME_INFO => {
                with_json(asked, &json!({"table": {"dispatchBehindBytes": "0", "brokerVersionDesc": "V5_3_3"}}))
            }
            request::GET_BROKER_CONFIG => {
                let text =
                    format!("maxMessageSize={MAX_MESSAGE_BYTES}\nmaxTransferCountOnMessageInMemory={PULL_MESSAGES}\n");
                Frame { body: text.into(), ..answer_to(asked, response::SUCCESS, None) }
            }
            _ => unsupported(asked),
        };
        (answer, stored)
    }

    fn route(&self, asked: &Frame) -> Frame {
        let topic = asked.fields.get("topic").unwrap_or_default();
        if let Some(body) = self.raw_routes.get(topic) {
            return Frame { body: body.clone(), ..answer_to(asked, response::SUCCESS, None) };
        }
        match self.routes.get(topic).cloned().or_else(|| self.own_route(topic)) {
            Some(route) => with_json(asked, &route),
            None => {
                let remark = format!("No topic route info in name server for the topic: {topic}");
                answer_to(asked, response::TOPIC_NOT_EXIST, Some(remark))
            }
        }
    }

    fn cluster(&self, asked: &Frame) -> Frame {
        let addresses = self.listed.clone().unwrap_or_else(|| json!({"0": self.address.to_string()}));
        let broker = json!({"brokerName": self.broker, "cluster": "stub", "brokerAddrs": addresses});
        let name = &self.broker;
        with_json(asked, &json!({"brokerAddrTable": {name: broker}, "clusterAddrTable": {"stub": [name]}}))
    }

    fn pull(&self, asked: &Frame) -> Frame {
        let (topic, queue) = named_queue(asked, "topic", "queueId");
        let Some(log) = self.log(topic, queue) else { return missing(asked, topic) };
        let offset: i64 = asked.fields.parse("queueOffset").unwrap_or(0);
        let wanted = asked.fields.parse("maxMsgNums").unwrap_or(PULL_MESSAGES).min(PULL_MESSAGES);
        let mut body = BytesMut::new();
        let mut next = offset;
        let (code, status) = if log.end() == 0 && offset == 0 {
            (response::PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE")
        } else if offset < log.first {
            next = log.first;
            (response::PULL_OFFSET_MOVED, "OFFSET_TOO_SMALL")
        } else if offset > log.end() {
            next = log.end();
            (response::PULL_OFFSET_MOVED, "OFFSET_OVERFLOW_BADLY")
        } else if offset == log.end() {
            (response::PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE")
        } else {
            let skip = usize::try_from(offset.saturating_sub(log.first)).unwrap_or(usize::MAX);
            for record in log.records.iter().skip(skip).take(wanted) {
                if !body.is_empty() && body.len().saturating_add(record.len()) > PULL_BYTES {
                    break;
                }
                body.extend_from_slice(record);
                next = next.saturating_add(1);
            }
            (response::SUCCESS, "FOUND")
        };
        let mut fields = Fields::new();
        fields.push("suggestWhichBrokerId", self.suggested);
        fields.push("nextBeginOffset", next);
        fields.push("minOffset", log.first);
        fields.push("maxOffset", log.end());
        Frame { fields, body: body.freeze(), ..answer_to(asked, code, Some(status.to_owned())) }
    }

    fn send(&mut self, asked: &Frame, peer: SocketAddr) -> Frame {
        let (topic, queue) = named_queue(asked, "b", "e");
        if asked.body.len() > MAX_MESSAGE_BYTES {
            return answer_to(asked, response::MESSAGE_ILLEGAL, Some("the message is illegal".to_owned()));
        }
        if !self.topics.contains_key(topic) {
            return missing(asked, topic);
        }
        let number = |name: &'static str| asked.fields.parse::<i32>(name).unwrap_or(0);
        let shared = Incoming {
            flag: number("h"),
            body: &asked.body,
            properties: asked.fields.get("i").unwrap_or_default().as_bytes(),
            sys_flag: number("f"),
            born_timestamp: asked.fields.parse("g").unwrap_or(0),
            reconsume_times: number("j"),
        };
        let mut first = None;
        if asked.code == request::SEND_MESSAGE_V2 {
            first = self.store(topic, queue, peer, &shared);
        } else {
            let Ok(messages) = batch::decode(&asked.body).collect::<Result<Vec<_>, _>>() else {
                return answer_to(asked, response::SYSTEM_ERROR, Some("java.nio.BufferUnderflowException".to_owned()));
            };
            for inner in &messages {
                let (body, properties) = (&inner.body[..], &inner.properties[..]);
                let stored = self.store(topic, queue, peer, &Incoming { flag: inner.flag, body, properties, ..shared });
                first = first.or(stored);
            }
        }
        let Some(offset) = first else {
            return answer_to(asked, response::INVALID_PARAMETER, Some(format!("request queueId[{queue}] is illegal")));
        };
        let mut fields = Fields::new();
        fields.push("msgId", format!("{:032X}", self.physical));
        fields.push("queueId", queue);
        fields.push("queueOffset", offset);
        Frame { fields, ..answer_to(asked, response::SUCCESS, None) }
    }

    fn store(&mut self, topic: &str, queue: usize, peer: SocketAddr, message: &Incoming<'_>) -> Option<i64> {
        let (physical, store_host) = (self.physical, self.address);
        let log = self.log_mut(topic, queue)?;
        let record = Record {
            queue_id: u32::try_from(queue).ok()?,
            flag: message.flag,
            queue_offset: log.end(),
            physical_offset: physical,
            sys_flag: message.sys_flag,
            born_timestamp: message.born_timestamp,
            born_host: peer,
            store_timestamp: now(),
            store_host,
            reconsume_times: message.reconsume_times,
            prepared_transaction_offset: 0,
            body_crc: body_crc(message.body),
            body: Bytes::copy_from_slice(message.body),
            topic: topic.into(),
            properties: Bytes::copy_from_slice(message.properties),
        };
        let mut encoded = BytesMut::new();
        encode_record(&record, &mut encoded).ok()?;
        let size = i64::try_from(encoded.len()).ok()?;
        log.records.push(encoded.freeze());
        self.physical = physical.saturating_add(size);
        Some(record.queue_offset)
    }

    fn offset(&self, asked: &Frame) -> Frame {
        let (topic, queue) = named_queue(asked, "topic", "queueId");
        let Some(log) = self.log(topic, queue) else { return missing(asked, topic) };
        // By time, everything in a stub is older than any question.
        let offset = if asked.code == request::GET_MIN_OFFSET { log.first } else { log.end() };
        let mut fields = Fields::new();
        fields.push("offset", offset);
        Frame { fields, ..answer_to(asked, response::SUCCESS, None) }
    }

    fn group(&mut self, asked: &Frame) -> Frame {
        let (topic, queue) = named_queue(asked, "topic", "queueId");
        let group = asked.fields.get("consumerGroup").unwrap_or_default();
        let key = (group.to_owned(), topic.to_owned(), queue);
        if asked.code == request::UPDATE_CONSUMER_OFFSET {
            self.group_offsets.insert(key, asked.fields.parse("commitOffset").unwrap_or(0));
            return answer_to(asked, response::SUCCESS, None);
        }
        let mut fields = Fields::new();
        match self.group_offsets.get(&key) {
            Some(offset) => fields.push("offset", offset),
            None => return answer_to(asked, response::QUERY_NOT_FOUND, Some("Not found".to_owned())),
        }
        Frame { fields, ..answer_to(asked, response::SUCCESS, None) }
    }

    fn create(&mut self, asked: &Frame) -> Frame {
        let topic = asked.fields.get("topic").unwrap_or_default().to_owned();
        let queues: usize = asked.fields.parse("readQueueNums").unwrap_or(0);
        let permission = asked.fields.parse("perm").unwrap_or(6);
        let pairs = asked.fields.get("attributes").unwrap_or_default().split(',');
        let attributes = pairs.filter_map(|pair| pair.strip_prefix('+')?.split_once('='));
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let known = self.topics.entry(topic).or_insert_with(|| Topic { queues: Vec::new(), attributes, permission });
        known.permission = permission;
        known.queues.resize_with(queues, Log::default);
        answer_to(asked, response::SUCCESS, None)
    }

    fn settings(&self, asked: &Frame) -> Frame {
        let topic = asked.fields.get("topic").unwrap_or_default();
        let Some(known) = self.topics.get(topic) else { return missing(asked, topic) };
        let count = known.queues.len();
        with_json(
            asked,
            &json!({"topicName": topic, "readQueueNums": count, "writeQueueNums": count, "perm": known.permission,
                "topicFilterType": "SINGLE_TAG", "topicSysFlag": 0, "order": false, "attributes": known.attributes}),
        )
    }

    fn log(&self, topic: &str, queue: usize) -> Option<&Log> {
        self.topics.get(topic)?.queues.get(queue)
    }

    fn log_mut(&mut self, topic: &str, queue: usize) -> Option<&mut Log> {
        self.topics.get_mut(topic)?.queues.get_mut(queue)
    }
}

/// A message as a request brings it.
struct Incoming<'a> {
    flag: i32,
    body: &'a [u8],
    properties: &'a [u8],
    sys_flag: i32,
    born_timestamp: i64,
    reconsume_times: i32,
}

fn named_queue<'a>(asked: &'a Frame, topic: &'static str, queue: &'static str) -> (&'a str, usize) {
    (asked.fields.get(topic).unwrap_or_default(), asked.fields.parse(queue).unwrap_or(usize::MAX))
}

fn missing(asked: &Frame, topic: &str) -> Frame {
    answer_to(asked, response::TOPIC_NOT_EXIST, Some(format!("topic[{topic}] not exist, apply first please!")))
}

fn unsupported(asked: &Frame) -> Frame {
    let remark = format!(" request type {} not supported", asked.code);
    answer_to(asked, response::REQUEST_CODE_NOT_SUPPORTED, Some(remark))
}

fn with_json(asked: &Frame, value: &Value) -> Frame {
    Frame { body: value.to_string().into(), ..answer_to(asked, response::SUCCESS, None) }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
