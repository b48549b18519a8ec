//! Where queues end, asked many times a second: one connection to each master, opened once.

use std::collections::BTreeMap;
use std::io;

use super::admin::{GET_MAX_OFFSET, offset_of};
use super::remoting::{Line, Remote};

/// Reads the ends of one topic's queues at the masters that there were when it was made.
pub struct EndReader {
    remote: Remote,
    masters: Vec<(String, String)>,
    topic: String,
    queues: u32,
    lines: BTreeMap<String, Line>,
}

impl EndReader {
    pub(super) fn new(remote: Remote, masters: Vec<(String, String)>, topic: &str, queues: u32) -> Self {
        Self { remote, masters, topic: topic.to_owned(), queues, lines: BTreeMap::new() }
    }

    /// For each broker name and queue the offset that its next message gets.
    ///
    /// # Errors
    /// A master does not answer; the next look connects again.
    pub fn read(&mut self) -> io::Result<BTreeMap<(String, u32), i64>> {
        let mut ends = BTreeMap::new();
        for (name, address) in &self.masters {
            let mut line = match self.lines.remove(name) {
                Some(line) => line,
                None => self.remote.open(address)?,
            };
            for queue in 0..self.queues {
                let fields = [("topic", self.topic.as_str()), ("queueId", &queue.to_string())];
                let answer = line.call(GET_MAX_OFFSET, &fields, &[])?;
                let end = offset_of(&answer).ok_or_else(|| io::Error::other(answer.remark.clone()))?;
                ends.insert((name.clone(), queue), end);
            }
            self.lines.insert(name.clone(), line);
        }
        Ok(ends)
    }
}
