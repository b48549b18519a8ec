//! One stored message as a broker keeps it and as a pull response carries it, byte for byte.
//!
//! Layout (Apache `MessageDecoder`, `MessageExtEncoder`): total size i32, magic i32, body CRC i32, queue id i32, flag
//! i32, queue offset i64, physical offset i64, sysFlag i32, born timestamp i64, born host (4 or 16 address bytes, i32
//! port), store timestamp i64, store host (same), reconsume times i32, prepared transaction offset i64, body (i32
//! length), topic (length of one byte in version 1, two in version 2), properties (i16 length). Bodies and properties
//! are slices of the response: no copy. Must never skip what it cannot read (a client that does loses messages
//! silently) and never decompress.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

pub use encode::encode_record;

use super::reader::Reader;
use super::{properties, sys_flag};

mod encode;
mod fingerprint;

/// Magic of a record whose topic length is one byte (all of 4.x, and 5.x up to 127 bytes of topic).
pub const MAGIC_V1: i32 = -626_843_481;
/// Magic of a record whose topic length is two bytes.
pub const MAGIC_V2: i32 = -626_843_477;
/// Magic of the filler at the end of a commit log file.
pub const MAGIC_BLANK: i32 = -875_286_124;

/// Room that [`decode_all`] makes at once; brokers return at most 32 records unless they are configured otherwise.
const LIKELY_RECORDS: usize = 64;

/// Why a record cannot be read or written. Positions are bytes from the start of what was given to [`decode_records`].
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The bytes end inside a record: the response was cut.
    #[error("record at byte {position} is cut: it says {size} bytes, {left} are left")]
    Truncated {
        /// Start of the record.
        position: usize,
        /// Size that it announces, 0 if not even that is there.
        size: usize,
        /// Bytes from its start to the end.
        left: usize,
    },
    /// The filler of a commit log file where a record should be.
    #[error("end-of-file filler at byte {position} instead of a record")]
    Blank {
        /// Start of the filler.
        position: usize,
    },
    /// Not the start of a record of a known version.
    #[error("unknown record magic {magic:#010x} at byte {position}")]
    Magic {
        /// Start of the record.
        position: usize,
        /// What stands in its place.
        magic: i32,
    },
    /// A part has an impossible value, or does not fit the size of the record.
    #[error("record at byte {position} has a bad {part}")]
    Part {
        /// Start of the record; 0 when writing.
        position: usize,
        /// The part.
        part: &'static str,
    },
}

/// A message as stored in one queue of one broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Queue of the topic.
    pub queue_id: u32,
    /// Free bits of the producer.
    pub flag: i32,
    /// Offset in the queue.
    pub queue_offset: i64,
    /// Offset in the commit log of the broker, bytes.
    pub physical_offset: i64,
    /// Bits of [`sys_flag`].
    pub sys_flag: i32,
    /// Clock of the producer when it made the message, ms since 1970.
    pub born_timestamp: i64,
    /// Address of the producer as the broker saw it.
    pub born_host: SocketAddr,
    /// Clock of the broker when it stored the message, ms since 1970.
    pub store_timestamp: i64,
    /// Address of the broker.
    pub store_host: SocketAddr,
    /// How often consumers gave it back.
    pub reconsume_times: i32,
    /// Offset of the half message of a transaction, or 0.
    pub prepared_transaction_offset: i64,
    /// CRC-32 of the body as stored (compressed if it is), lowest 31 bits.
    pub body_crc: u32,
    /// The body as stored.
    pub body: Bytes,
    /// The topic; records of one response share it.
    pub topic: Arc<str>,
    /// The property string ([`properties`]).
    pub properties: Bytes,
}

impl Record {
    /// Whether the body is the one that was stored.
    #[must_use]
    pub fn verify_crc(&self) -> bool {
        body_crc(&self.body) == self.body_crc
    }

    /// The last value of a property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&[u8]> {
        properties::get(&self.properties, name)
    }
}

/// The CRC that a broker keeps of a body: CRC-32 without its top bit (Apache `UtilAll.crc32`).
#[must_use]
pub fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7FFF_FFFF
}

/// Reads all records that stand one behind the other, as a pull response does.
///
/// # Errors
/// The first [`Error`], whatever could be read before it.
pub fn decode_all(body: &Bytes) -> Result<Vec<Record>, Error> {
    // Records of a queue are mostly alike: the size of the first tells about how many there are.
    let first = Reader::new(body).i32().and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    let expected = body.len().checked_div(first).unwrap_or(0).min(LIKELY_RECORDS);
    let mut records = Vec::with_capacity(expected);
    for record in decode_records(body) {
        records.push(record?);
    }
    Ok(records)
}

/// Reads records that stand one behind the other. Ends after the first error.
#[must_use]
pub fn decode_records(body: &Bytes) -> RecordIter {
    RecordIter { body: body.clone(), position: 0, topic: None }
}

/// Iterator of [`decode_records`].
#[derive(Debug)]
pub struct RecordIter {
    body: Bytes,
    position: usize,
    /// Topic of the last record, which the next one most often shares.
    topic: Option<Arc<str>>,
}

impl RecordIter {
    /// Bytes read as records so far; after an error, where the record starts that could not be read.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    fn read(&mut self) -> Result<Record, Error> {
        let position = self.position;
        let rest = self.body.get(position..).unwrap_or_default();
        let cut = |size| Error::Truncated { position, size, left: rest.len() };
        let bad = |part| Error::Part { position, part };
        let size = Reader::new(rest).i32().ok_or(cut(0))?;
        let size = usize::try_from(size).map_err(|_| bad("size"))?;
        let mut reader = Reader::new(rest.get(..size).ok_or(cut(size))?);
        let record = self.parts(&mut reader, position)?;
        if reader.remaining() != 0 {
            return Err(bad("size"));
        }
        if self.topic.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &record.topic)) {
            self.topic = Some(Arc::clone(&record.topic));
        }
        self.position = position.saturating_add(size);
        Ok(record)
    }

    fn parts(&self, reader: &mut Reader<'_>, position: usize) -> Result<Record, Error> {
        let bad = |part| Error::Part { position, part };
        let size = || bad("size");
        reader.i32().ok_or_else(size)?;
        let long_topic = match reader.i32().ok_or_else(size)? {
            MAGIC_V1 => false,
            MAGIC_V2 => true,
            MAGIC_BLANK => return Err(Error::Blank { position }),
            magic => return Err(Error::Magic { position, magic }),
        };
        let body_crc = reader.u32().ok_or_else(size)?;
        let queue_id = reader.i32().ok_or_else(size)?;
        let flag = reader.i32().ok_or_else(size)?;
        let queue_offset = reader.i64().ok_or_else(size)?;
        let physical_offset = reader.i64().ok_or_else(size)?;
        let sys_flag = reader.i32().ok_or_else(size)?;
        let born_timestamp = reader.i64().ok_or_else(size)?;
        let born_host = host(reader, sys_flag::born_host_is_v6(sys_flag)).ok_or(bad("born host"))?;
        let store_timestamp = reader.i64().ok_or_else(size)?;
        let store_host = host(reader, sys_flag::store_host_is_v6(sys_flag)).ok_or(bad("store host"))?;
        let reconsume_times = reader.i32().ok_or_else(size)?;
        let prepared_transaction_offset = reader.i64().ok_or_else(size)?;
        let body = reader.long_slice().ok_or(bad("body length"))?;
        let topic = if long_topic { reader.short_slice() } else { reader.byte_slice() };
        let topic = self.topic(topic.ok_or(bad("topic length"))?).ok_or(bad("topic"))?;
        let properties = reader.short_slice().ok_or(bad("properties length"))?;
        Ok(Record {
            queue_id: u32::try_from(queue_id).map_err(|_| bad("queue id"))?,
            flag,
            queue_offset,
            physical_offset,
            sys_flag,
            born_timestamp,
            born_host,
            store_timestamp,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body_crc,
            body: self.body.slice_ref(body),
            topic,
            properties: self.body.slice_ref(properties),
        })
    }

    fn topic(&self, bytes: &[u8]) -> Option<Arc<str>> {
        match &self.topic {
            Some(last) if last.as_bytes() == bytes => Some(Arc::clone(last)),
            _ => std::str::from_utf8(bytes).ok().map(Arc::from),
        }
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.body.len() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.body.truncate(self.position);
        }
        Some(read)
    }
}

fn host(reader: &mut Reader<'_>, is_v6: bool) -> Option<SocketAddr> {
    let ip = if is_v6 { reader.array::<16>()?.into() } else { std::net::IpAddr::from(reader.array::<4>()?) };
    let port = u16::try_from(reader.i32()?).ok()?;
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::super::strategies;
    use super::*;
    use bytes::BytesMut;
    use proptest::prelude::*;

    /// A version 1 record over IPv4, as the layout says, with its size.
    fn by_hand() -> Vec<u8> {
        let parts: [&[u8]; 14] = [
            &[0, 0, 0, 105, 0xDA, 0xA3, 0x20, 0xA7, 0x36, 0x10, 0xA6, 0x86],
            &[0, 0, 0, 3, 0, 0, 0, 7],
            &10_i64.to_be_bytes(),
            &4096_i64.to_be_bytes(),
            &[0, 0, 0, 0],
            &1_700_000_000_001_i64.to_be_bytes(),
            &[10, 0, 0, 1, 0, 0, 0x04, 0xD2],
            &1_700_000_000_002_i64.to_be_bytes(),
            &[192, 168, 0, 2, 0, 0, 0x2A, 0x9F],
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0, 0, 0, 5],
            b"hello",
            b"\x02t1",
            b"\x00\x07KEYS\x01k\x02",
        ];
        parts.concat()
    }

    fn expected() -> Record {
        Record {
            queue_id: 3,
            flag: 7,
            queue_offset: 10,
            physical_offset: 4096,
            sys_flag: 0,
            born_timestamp: 1_700_000_000_001,
            born_host: "10.0.0.1:1234".parse().unwrap(),
            store_timestamp: 1_700_000_000_002,
            store_host: "192.168.0.2:10911".parse().unwrap(),
            reconsume_times: 1,
            prepared_transaction_offset: 0,
            body_crc: 0x3610_A686,
            body: Bytes::from_static(b"hello"),
            topic: Arc::from("t1"),
            properties: Bytes::from_static(b"KEYS\x01k\x02"),
        }
    }

    fn all(bytes: &[u8]) -> Vec<Result<Record, Error>> {
        decode_records(&Bytes::copy_from_slice(bytes)).collect()
    }

    #[test]
    fn a_record_made_by_hand_is_read_and_written() {
        let body = Bytes::from([by_hand(), by_hand()].concat());
        let records: Vec<_> = decode_records(&body).map(Result::unwrap).collect();
        assert_eq!(records, [expected(), expected()]);
        assert_eq!(decode_all(&body), Ok(records.clone()));
        assert!(matches!(decode_all(&body.slice(..150)), Err(Error::Truncated { .. })));
        assert_eq!(decode_all(&Bytes::new()), Ok(Vec::new()));
        assert!(Arc::ptr_eq(&records[0].topic, &records[1].topic));
        assert!(body.as_ptr_range().contains(&records[1].body.as_ptr()), "the body was copied");
        assert!(records[0].verify_crc());
        assert_eq!(records[0].property("KEYS"), Some(&b"k"[..]));
        let mut out = BytesMut::new();
        encode_record(&records[0], &mut out).unwrap();
        assert_eq!(out.as_ref(), by_hand());
    }

    #[test]
    fn the_fingerprint_keeps_its_definition_and_sees_every_part() {
        assert_eq!(expected().fingerprint(), 0x262F_D8B7_EF9C_EE66);
        let others = [
            Record { queue_offset: 11, ..expected() },
            Record { physical_offset: 4097, ..expected() },
            Record { store_timestamp: 0, ..expected() },
            Record { body_crc: 0, ..expected() },
            Record { properties: Bytes::from_static(b"KEYS\x01j\x02"), ..expected() },
            Record { store_host: "192.168.0.3:10911".parse().unwrap(), ..expected() },
        ];
        assert!(others.iter().all(|other| other.fingerprint() != expected().fingerprint()));
    }

    #[test]
    fn a_changed_body_is_seen() {
        let mut bytes = by_hand();
        let place = bytes.windows(5).position(|part| part == b"hello").unwrap();
        bytes[place] = b'j';
        assert!(!all(&bytes)[0].as_ref().unwrap().verify_crc());
    }

    #[test]
    fn what_is_not_a_record_is_an_error_with_its_place() {
        let good = by_hand();
        let size = good.len();
        let with = |place: usize, bytes: &[u8]| {
            let mut changed = good.clone();
            changed[place..place + bytes.len()].copy_from_slice(bytes);
            all(&[good.clone(), changed].concat()).pop().unwrap().unwrap_err()
        };
        assert_eq!(with(4, &MAGIC_BLANK.to_be_bytes()), Error::Blank { position: size });
        assert_eq!(with(4, &[0, 0, 0, 1]), Error::Magic { position: size, magic: 1 });
        let part = |part| Error::Part { position: size, part };
        assert_eq!(with(0, &[0, 0, 0, 104]), part("properties length"));
        assert_eq!(with(0, &[0xFF; 4]), part("size"));
        assert_eq!(with(0, &[0, 0, 0, 8]), part("size"));
        assert_eq!(with(0, &[0x7F; 4]), Error::Truncated { position: size, size: 0x7F7F_7F7F, left: size });
        assert_eq!(with(12, &[0xFF]), part("queue id"));
        assert_eq!(with(52, &[0, 1]), part("born host"));
        assert_eq!(with(84, &[0x7F]), part("body length"));
        assert_eq!(with(93, &[0xFF]), part("topic length"));
        assert_eq!(with(94, &[0xFF]), part("topic"));
        assert_eq!(with(96, &[0, 6]), part("size"));
        let cut = all(&good[..3]);
        assert_eq!(cut, [Err(Error::Truncated { position: 0, size: 0, left: 3 })]);
    }

    #[test]
    fn a_host_of_the_wrong_family_is_not_written() {
        let mut out = BytesMut::new();
        let record = Record { sys_flag: sys_flag::STORE_HOST_V6, ..expected() };
        assert_eq!(encode_record(&record, &mut out), Err(Error::Part { position: 0, part: "store host" }));
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn records_of_both_versions_and_families_read_back(records in prop::collection::vec(strategies::any_record(), 0..5)) {
            let mut out = BytesMut::new();
            for record in &records {
                encode_record(record, &mut out).unwrap();
            }
            let again: Vec<_> = decode_records(&out.freeze()).map(Result::unwrap).collect();
            prop_assert!(again.iter().all(Record::verify_crc));
            prop_assert_eq!(again, records);
        }
    }
}
