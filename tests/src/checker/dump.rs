//! Reads a dump: one JSON value per line, a header for each queue and then its messages, sorted by broker, queue,
//! offset.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// No line of a dump is longer: a message has at most 32 KiB of properties.
const MAXIMUM_LINE: usize = 1 << 20;

/// One message as Apache's client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Broker name.
    pub broker: String,
    /// Queue id.
    pub queue: u32,
    /// Offset in the queue.
    pub offset: i64,
    /// Bytes of the body as stored.
    pub stored_length: u64,
    /// SHA-256 of the body as stored.
    pub stored_sha256: String,
    /// Whether the stored checksum fits the stored body.
    pub crc_valid: bool,
    /// Bytes of the body after decompression.
    pub body_length: u64,
    /// SHA-256 of the body after decompression.
    pub body_sha256: String,
    /// The application's flag.
    pub flag: i32,
    /// System flag bits.
    pub sys_flag: i32,
    /// Milliseconds since 1970 at the producer.
    pub born_timestamp: i64,
    /// The producer's address.
    pub born_host: String,
    /// Milliseconds since 1970 at the broker.
    pub store_timestamp: i64,
    /// How often a consumer gave it back.
    pub reconsume_times: i32,
    /// Offset of the half message it was committed from.
    pub prepared_transaction_offset: i64,
    /// KEYS, as the client returns it.
    pub keys: Option<String>,
    /// TAGS, as the client returns it.
    pub tags: Option<String>,
    /// All properties, KEYS and TAGS among them.
    pub properties: BTreeMap<String, String>,
}

/// What a queue held when it was dumped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Broker name.
    pub broker: String,
    /// Queue id.
    pub queue: u32,
    /// First offset.
    pub minimum: i64,
    /// One after the last offset.
    pub maximum: i64,
}

/// A line of a dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Starts a queue.
    Header(Header),
    /// A message of the queue that was started last.
    Message(Message),
}

/// Streams the lines of a dump with the position in the file at which each starts.
#[derive(Debug)]
pub struct Lines {
    input: BufReader<File>,
    position: u64,
    buffer: Vec<u8>,
}

impl Lines {
    /// Opens a dump.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { input: BufReader::with_capacity(256 << 10, File::open(path)?), position: 0, buffer: Vec::new() })
    }

    /// The message that starts at `position`.
    ///
    /// # Errors
    /// When it cannot be read, or no message starts there.
    pub fn message_at(&mut self, position: u64) -> io::Result<Message> {
        self.input.seek(SeekFrom::Start(position))?;
        self.position = position;
        match self.next() {
            Some(Ok((_, Line::Message(message)))) => Ok(message),
            Some(Err(error)) => Err(error),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("no message at byte {position}"))),
        }
    }
}

impl Iterator for Lines {
    type Item = io::Result<(u64, Line)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.buffer.clear();
        let limit = u64::try_from(MAXIMUM_LINE).unwrap();
        let read = match self.input.by_ref().take(limit).read_until(b'\n', &mut self.buffer) {
            Ok(0) => return None,
            Ok(read) => read,
            Err(error) => return Some(Err(error)),
        };
        let position = self.position;
        self.position += u64::try_from(read).unwrap();
        if self.buffer.last() != Some(&b'\n') {
            let problem = format!("the line at byte {position} has no end: the dump is cut or not a dump");
            return Some(Err(io::Error::new(io::ErrorKind::InvalidData, problem)));
        }
        let line = serde_json::from_slice(&self.buffer);
        Some(line.map(|line| (position, line)).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the line at byte {position} is not of a dump: {error}"))
        }))
    }
}
