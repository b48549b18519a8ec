//! First, last and by-time offsets of one queue (GET_MIN_OFFSET, GET_MAX_OFFSET, SEARCH_OFFSET_BY_TIMESTAMP).
//!
//! Asked of the master only: a slave may lag, and its answer does not say that it is one.

use crate::client::{Client, field, queue_fields};
use crate::error::Error;
use crate::route::Queue;
use crate::wire::code::request;
use crate::wire::frame::Fields;

impl Client {
    /// The first offset that the queue still holds. Brokers of 4.9 may answer with one that retention has passed.
    pub async fn minimum_offset(&self, queue: &Queue) -> Result<i64, Error> {
        self.ask_offset(queue, request::GET_MIN_OFFSET, queue_fields(queue)).await
    }

    /// One behind the last offset that consumers can see. What is stored but not dispatched yet is not counted.
    pub async fn maximum_offset(&self, queue: &Queue) -> Result<i64, Error> {
        self.ask_offset(queue, request::GET_MAX_OFFSET, queue_fields(queue)).await
    }

    /// The first offset whose store time is at or after `timestamp_ms` (ms since 1970 by the broker's clock), or the
    /// maximum. Brokers of 4.9 answer a time beyond the end with the last offset instead.
    pub async fn offset_at(&self, queue: &Queue, timestamp_ms: i64) -> Result<i64, Error> {
        let mut fields = queue_fields(queue);
        fields.push("timestamp", timestamp_ms);
        self.ask_offset(queue, request::SEARCH_OFFSET_BY_TIMESTAMP, fields).await
    }

    async fn ask_offset(&self, queue: &Queue, code: i32, fields: Fields) -> Result<i64, Error> {
        let (address, answer) = self.ask_master(queue, code, fields).await?;
        let offset: i64 = field(&address, &answer, "offset")?;
        if offset < 0 { Err(Error::malformed(&address, format!("offset {offset}"))) } else { Ok(offset) }
    }
}
