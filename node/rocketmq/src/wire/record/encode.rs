//! Writing of records as a broker stores them: for tests, fuzzing and stub brokers; a replicator only reads them.
//!
//! The version is chosen by the length of the topic. Must never write what [`super::decode_records`] reads differently.

use std::net::SocketAddr;

use bytes::{BufMut as _, BytesMut};

use super::{Error, MAGIC_V1, MAGIC_V2, Record};
use crate::wire::sys_flag;

/// Longest topic that a version 1 record can name, in bytes.
const MAX_TOPIC_V1: usize = 127;

/// All parts of fixed length, with the lengths of body and properties.
const FIXED_BYTES: usize = 4 * 5 + 8 * 2 + 4 + 8 + 8 + 4 + 8 + 4 + 2;

impl Record {
    /// Bytes that [`encode_record`] writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let host = |host: &SocketAddr| if host.is_ipv4() { 8 } else { 20 };
        let topic = if self.topic.len() > MAX_TOPIC_V1 { 2 } else { 1 };
        [host(&self.born_host), host(&self.store_host), self.body.len(), topic, self.topic.len(), self.properties.len()]
            .into_iter()
            .fold(FIXED_BYTES, usize::saturating_add)
    }
}

/// Appends a record as a broker stores it, in version 1 if the topic is short enough: for tests and stub brokers.
///
/// # Errors
/// [`Error::Part`] when a host is not of the family that `sys_flag` says, or something is too long for its length;
/// `out` is then as it was.
pub fn encode_record(record: &Record, out: &mut BytesMut) -> Result<(), Error> {
    let bad = |part| Error::Part { position: 0, part };
    if record.born_host.is_ipv6() != sys_flag::born_host_is_v6(record.sys_flag) {
        return Err(bad("born host"));
    }
    if record.store_host.is_ipv6() != sys_flag::store_host_is_v6(record.sys_flag) {
        return Err(bad("store host"));
    }
    let size = i32::try_from(record.encoded_len()).map_err(|_| bad("size"))?;
    let body = i32::try_from(record.body.len()).map_err(|_| bad("body length"))?;
    let topic = u16::try_from(record.topic.len()).map_err(|_| bad("topic length"))?;
    let short_topic = u8::try_from(topic).ok().filter(|length| usize::from(*length) <= MAX_TOPIC_V1);
    let properties = u16::try_from(record.properties.len()).map_err(|_| bad("properties length"))?;
    out.put_i32(size);
    out.put_i32(if short_topic.is_some() { MAGIC_V1 } else { MAGIC_V2 });
    out.put_u32(record.body_crc);
    out.put_u32(record.queue_id);
    out.put_i32(record.flag);
    out.put_i64(record.queue_offset);
    out.put_i64(record.physical_offset);
    out.put_i32(record.sys_flag);
    out.put_i64(record.born_timestamp);
    put_host(record.born_host, out);
    out.put_i64(record.store_timestamp);
    put_host(record.store_host, out);
    out.put_i32(record.reconsume_times);
    out.put_i64(record.prepared_transaction_offset);
    out.put_i32(body);
    out.extend_from_slice(&record.body);
    match short_topic {
        Some(length) => out.put_u8(length),
        None => out.put_u16(topic),
    }
    out.extend_from_slice(record.topic.as_bytes());
    out.put_u16(properties);
    out.extend_from_slice(&record.properties);
    Ok(())
}

fn put_host(host: SocketAddr, out: &mut BytesMut) {
    match host {
        SocketAddr::V4(host) => out.extend_from_slice(&host.ip().octets()),
        SocketAddr::V6(host) => out.extend_from_slice(&host.ip().octets()),
    }
    out.put_u32(u32::from(host.port()));
}
