//! The RocketMQ ends of the seam: one queue of one instance, read and written through the instance's client.

use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_rocketmq::{Client, Dispatched, OutgoingBatch, Pull, PullRequest, SendOutcome};

use super::ports::{Bounds, Queue, Read, Sink, Source};
use super::trouble::Trouble;

/// A queue to copy from.
#[derive(Clone)]
pub(crate) struct SourceQueue {
    pub(crate) client: Client,
    pub(crate) queue: causeway_rocketmq::Queue,
}

/// A queue to copy to.
#[derive(Clone)]
pub(super) struct TargetQueue {
    pub(super) client: Client,
    pub(super) queue: causeway_rocketmq::Queue,
}

impl Queue for SourceQueue {
    async fn read(&self, offset: i64, maximum_messages: u32, wait: Duration) -> Result<Read, Trouble> {
        pull(&self.client, &self.queue, PullRequest { offset, maximum_messages, wait }).await
    }

    async fn bounds(&self) -> Result<Bounds, Trouble> {
        bounds(&self.client, &self.queue).await
    }
}

impl Source for SourceQueue {
    async fn offset_at(&self, timestamp: i64) -> Result<i64, Trouble> {
        Ok(self.client.offset_at(&self.queue, timestamp).await?)
    }

    fn leave_slave(&self) {
        self.client.leave_slave(&self.queue);
    }
}

impl Queue for TargetQueue {
    async fn read(&self, offset: i64, maximum_messages: u32, wait: Duration) -> Result<Read, Trouble> {
        let read = pull(&self.client, &self.queue, PullRequest { offset, maximum_messages, wait }).await?;
        if read.from_slave {
            // A slave may lack the very copies that are looked for, and they would be sent again.
            let why = format!("the master of {} does not answer, and a slave proves nothing", self.queue.broker);
            return Err(Trouble::new(ErrorCode::Unreachable, why));
        }
        Ok(read)
    }

    async fn bounds(&self) -> Result<Bounds, Trouble> {
        bounds(&self.client, &self.queue).await
    }
}

impl Sink for TargetQueue {
    async fn connect(&self) -> Result<u64, Trouble> {
        Ok(self.client.connect_for_send(&self.queue).await?)
    }

    async fn send(&self, message: OutgoingBatch) -> SendOutcome {
        self.client.send(&self.queue, message).await
    }

    async fn dispatched(&self) -> Result<Option<Dispatched>, Trouble> {
        Ok(self.client.dispatched(&self.queue.broker).await?)
    }

    async fn message_limit(&self) -> Result<Option<usize>, Trouble> {
        let limits = self.client.broker_limits(&self.queue.broker).await?;
        Ok(limits.and_then(|limits| limits.maximum_message_bytes).and_then(|bytes| usize::try_from(bytes).ok()))
    }
}

async fn pull(client: &Client, queue: &causeway_rocketmq::Queue, request: PullRequest) -> Result<Read, Trouble> {
    let (pulled, connection) = client.pull_with_connection(queue, &request).await?;
    let (records, minimum, maximum, from_slave) = match pulled {
        Pull::Found { records, minimum_offset, maximum_offset, from_slave, .. } => {
            (records, minimum_offset, maximum_offset, from_slave)
        }
        Pull::AtTail { minimum_offset, maximum_offset, from_slave, .. }
        | Pull::OffsetMoved { minimum_offset, maximum_offset, from_slave, .. }
        | Pull::RetryNow { minimum_offset, maximum_offset, from_slave, .. } => {
            (Vec::new(), minimum_offset, maximum_offset, from_slave)
        }
    };
    Ok(Read { records, left_out: None, bounds: Bounds { minimum, maximum }, from_slave, connection })
}

async fn bounds(client: &Client, queue: &causeway_rocketmq::Queue) -> Result<Bounds, Trouble> {
    let minimum = client.minimum_offset(queue).await?;
    let maximum = client.maximum_offset(queue).await?;
    Ok(Bounds { minimum, maximum })
}
