//! Generators of valid wire values for the property tests of [`super`], and the changes that spoil their bytes.
//!
//! Test code only.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::batch::Batch;
use super::frame::{self, Fields, Frame, Serialization};
use super::record::{self, Record};
use super::sys_flag;

/// Bytes to put at places of a text (place and byte, both wrapped to its size), and where to cut it.
pub(super) type Changes = (Vec<(usize, u8)>, Option<usize>);

pub(super) fn changes() -> impl Strategy<Value = Changes> {
    (prop::collection::vec((any::<usize>(), any::<u8>()), 0..4), prop::option::of(any::<usize>()))
}

pub(super) fn change(mut bytes: Vec<u8>, (places, cut): &Changes) -> Vec<u8> {
    let length = bytes.len().max(1);
    for (place, byte) in places {
        if let Some(old) = bytes.get_mut(place % length) {
            *old = *byte;
        }
    }
    if let Some(cut) = cut {
        bytes.truncate(cut % length);
    }
    bytes
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z0-9_%]{1,20}", any::<String>(), Just("a\u{1}b\u{2}\"\\é😀".to_owned())]
}

/// A frame with distinct field names in name order, so that both serialisations read it back equal.
pub(super) fn any_frame() -> impl Strategy<Value = Frame> {
    let fields = prop::collection::btree_map(text(), text(), 0..12);
    let numbers = (any::<i16>(), any::<i16>(), any::<i32>(), any::<i32>());
    (numbers, prop::option::of(text()), fields, prop::collection::vec(any::<u8>(), 0..64)).prop_map(
        |((code, version, opaque, flag), remark, fields, body)| Frame {
            code: i32::from(code),
            version: i32::from(version),
            opaque,
            flag,
            remark: remark.filter(|remark| !remark.is_empty()),
            fields: fields.into_iter().collect::<Fields>(),
            body: Bytes::from(body),
        },
    )
}

fn encoded(frame: &Frame, serialization: Serialization) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::encode(frame, serialization, &mut out).unwrap();
    out.to_vec()
}

/// One header in both serialisations: JSON, binary.
pub(super) fn headers() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    any_frame().prop_map(|mut frame| {
        frame.body = Bytes::new();
        (encoded(&frame, Serialization::Json)[8..].to_vec(), encoded(&frame, Serialization::RocketMq)[8..].to_vec())
    })
}

/// A byte that says how the harness cuts the stream, then frames.
pub(super) fn stream() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), prop::collection::vec((any_frame(), any::<bool>()), 0..4)).prop_map(|(first, frames)| {
        let mut stream = vec![first];
        for (frame, json) in frames {
            stream.extend(encoded(&frame, if json { Serialization::Json } else { Serialization::RocketMq }));
        }
        stream
    })
}

fn host(v6: bool) -> impl Strategy<Value = SocketAddr> {
    (any::<[u8; 4]>(), any::<[u8; 16]>(), any::<u16>()).prop_map(move |(short, long, port)| {
        SocketAddr::new(if v6 { IpAddr::from(long) } else { IpAddr::from(short) }, port)
    })
}

/// Records of both versions and both address families.
pub(super) fn any_record() -> impl Strategy<Value = Record> {
    (any::<bool>(), any::<bool>()).prop_flat_map(|(born_v6, store_v6)| {
        let numbers = (0..=i32::MAX, any::<i32>(), any::<[i64; 5]>(), any::<i32>(), any::<i32>());
        let texts =
            ("([a-zA-Z0-9_%-]{1,20}|[a-z]{120,300})", property_string(), prop::collection::vec(any::<u8>(), 0..100));
        (numbers, host(born_v6), host(store_v6), texts).prop_map(move |(numbers, born_host, store_host, texts)| {
            let (queue_id, flag, [queue_offset, physical_offset, born, store, prepared], sys_flag, reconsume) = numbers;
            let (topic, properties, body) = texts;
            let v6 = |set, bit| if set { bit } else { 0 };
            let hosts = v6(born_v6, sys_flag::BORN_HOST_V6) | v6(store_v6, sys_flag::STORE_HOST_V6);
            Record {
                queue_id: queue_id.try_into().unwrap(),
                flag,
                queue_offset,
                physical_offset,
                sys_flag: sys_flag & !(sys_flag::BORN_HOST_V6 | sys_flag::STORE_HOST_V6) | hosts,
                born_timestamp: born,
                born_host,
                store_timestamp: store,
                store_host,
                reconsume_times: reconsume,
                prepared_transaction_offset: prepared,
                body_crc: record::body_crc(&body),
                body: Bytes::from(body),
                topic: Arc::from(topic),
                properties: Bytes::from(properties),
            }
        })
    })
}

pub(super) fn pull_body() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any_record(), 0..4).prop_map(|records| {
        let mut out = BytesMut::new();
        records.iter().for_each(|record| record::encode_record(record, &mut out).unwrap());
        out.to_vec()
    })
}

pub(super) fn batch_body() -> impl Strategy<Value = Vec<u8>> {
    let message = (any::<i32>(), prop::collection::vec(any::<u8>(), 0..64), property_string());
    prop::collection::vec(message, 0..5).prop_map(|messages| {
        let mut batch = Batch::new(usize::MAX);
        for (flag, body, properties) in messages {
            batch.push(flag, &body, &properties).unwrap();
        }
        batch.take().to_vec()
    })
}

/// Property strings as brokers store them, mostly well-formed, with reserved and private names.
pub(super) fn property_string() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        Just("DELAY"),
        Just("TRAN_MSG"),
        Just("WAIT"),
        Just("CLUSTER"),
        Just("KEYS"),
        Just("TAGS"),
        Just("own"),
        Just("__RMQ.TRANSIENT.X"),
        Just(""),
    ];
    let name = prop_oneof![name.prop_map(str::to_owned), "[a-zA-Z_%=;]{1,12}"];
    let value = prop_oneof!["[ -~]{0,16}", "[a-z\u{1}é]{0,4}"];
    (prop::collection::vec((name, value), 0..8), any::<bool>()).prop_map(|(pairs, closed)| {
        let mut text: Vec<u8> =
            pairs.into_iter().flat_map(|(name, value)| format!("{name}\u{1}{value}\u{2}").into_bytes()).collect();
        if !closed {
            text.pop();
        }
        text
    })
}

/// Texts in the manner of fastjson: unquoted and structured keys, both quotes.
pub(super) fn json_text() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        "-?[0-9]{1,20}",
        "-?[0-9]{1,3}\\.[0-9]{1,3}(e[0-9]{1,2})?",
        "(true|false|null)",
        "\"([ a-zé]|\\\\n|\\\\u00e9|\\\\v|\\\\x41|\\\\ud83d\\\\ude00|\\\\ud800){0,6}\"",
        "'([ a-z\"]|\\\\')*'",
    ];
    let tree = leaf.prop_recursive(4, 32, 5, |inner| {
        let key = prop_oneof!["-?[0-9]{1,4}", "\"[a-z@%]{0,5}\"", "\\{\"a\":[0-9]\\}", "[a-z_]{1,5}"];
        let member = (key, inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|elements| format!("[{}]", elements.join(", "))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    });
    tree.prop_map(String::into_bytes)
}
