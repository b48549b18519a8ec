//! Offsets of consumer groups (QUERY_CONSUMER_OFFSET, UPDATE_CONSUMER_OFFSET).
//!
//! An offset is the next one to consume. Never believes an acknowledged write without reading it back: a broker may
//! accept and ignore it while a server-side reset is pending.

use crate::client::{Client, field, queue_fields};
use crate::error::{Class, Error};
use crate::route::Queue;
use crate::wire::code::request;

impl Client {
    /// The committed offset of a group on one queue; `None` if it never committed there.
    ///
    /// Brokers of 4.9 ignore that a made-up 0 is not wanted: from them 0 may also mean that there is none.
    pub async fn group_offset(&self, queue: &Queue, group: &str) -> Result<Option<i64>, Error> {
        let mut fields = queue_fields(queue);
        fields.push("consumerGroup", group);
        // Without this a broker makes up a 0 for a group it does not know.
        fields.push("setZeroIfNotFound", false);
        match self.ask_master(queue, request::QUERY_CONSUMER_OFFSET, fields).await {
            Ok((address, answer)) => {
                let offset: i64 = field(&address, &answer, "offset")?;
                Ok((offset >= 0).then_some(offset))
            }
            Err(error) if error.class() == Some(Class::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the committed offset of a group on one queue and reads it back. Group and topic must exist.
    ///
    /// The last writer wins: a running consumer of the group will overwrite it.
    pub async fn set_group_offset(&self, queue: &Queue, group: &str, offset: i64) -> Result<(), Error> {
        let mut fields = queue_fields(queue);
        fields.push("consumerGroup", group);
        fields.push("commitOffset", offset);
        self.ask_master(queue, request::UPDATE_CONSUMER_OFFSET, fields).await?;
        let found = self.group_offset(queue, group).await?;
        if found == Some(offset) { Ok(()) } else { Err(Error::NotApplied { written: offset, found }) }
    }
}
