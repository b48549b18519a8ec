//! The producer of the sandbox: keeps sending orders to the source region at a steady rate.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use causeway::clock;
use causeway_rocketmq::wire::batch::Batch;
use causeway_rocketmq::{Client, Content, OutgoingBatch, Queue, SendOutcome};
use tokio::sync::watch;

use crate::order::Order;

/// How often a round of batches goes out.
const ROUND: Duration = Duration::from_millis(20);

/// The largest batch, in bytes; a round never comes near it.
const BATCH_BYTES: usize = 1024 * 1024;

/// What was sent and acknowledged so far.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    total: AtomicU64,
    per_queue: Mutex<BTreeMap<u32, u64>>,
}

impl Sent {
    /// All orders.
    pub(crate) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Orders per source queue; their sequence numbers are 0 up to this.
    pub(crate) fn per_queue(&self) -> BTreeMap<u32, u64> {
        self.per_queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, queue: u32, count: u64) {
        *self.per_queue.lock().unwrap_or_else(PoisonError::into_inner).entry(queue).or_default() += count;
        self.total.fetch_add(count, Ordering::Relaxed);
    }
}

/// Sends until told to stop.
///
/// # Errors
/// A sentence when a send ended in a way that leaves open what the source holds: the verdict would mean nothing.
pub(crate) async fn produce(
    client: Client,
    queues: Vec<Queue>,
    orders_per_second: u64,
    sent: Arc<Sent>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), String> {
    let mut next: BTreeMap<u32, u64> = queues.iter().map(|queue| (queue.id, 0)).collect();
    let mut timer = tokio::time::interval(ROUND);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let started = tokio::time::Instant::now();
    loop {
        tokio::select! {
            _ = timer.tick() => {}
            _ = stop.changed() => return Ok(()),
        }
        let elapsed = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = (orders_per_second.saturating_mul(elapsed) / 1000).saturating_sub(sent.total());
        // After a stall the backlog is caught up in bounded steps, not in one burst.
        let due = due.min(orders_per_second);
        for (position, queue) in (0_u64..).zip(&queues) {
            let share = share_of(due, position, queues.len());
            let sequence = next.entry(queue.id).or_default();
            if share > 0 {
                send(&client, queue, *sequence, share).await?;
                *sequence += share;
                sent.add(queue.id, share);
            }
        }
    }
}

/// The part of `due` that falls to the queue at `position` of `count`.
fn share_of(due: u64, position: u64, count: usize) -> u64 {
    let count = u64::try_from(count).unwrap_or(1).max(1);
    due / count + u64::from(position < due % count)
}

async fn send(client: &Client, queue: &Queue, first: u64, count: u64) -> Result<(), String> {
    let mut batch = Batch::new(BATCH_BYTES);
    for sequence in first..first + count {
        let order = Order { queue: queue.id, sequence };
        let properties = format!("KEYS\u{1}{}-{sequence}\u{2}TAGS\u{1}{}\u{2}", queue.id, order.tag());
        batch.push(0, &order.body(), properties.as_bytes()).map_err(|error| error.to_string())?;
    }
    let content = Content::Batch(batch.take());
    loop {
        let outgoing = OutgoingBatch::new(content.clone(), clock::now().0);
        match client.send(queue, outgoing).await {
            SendOutcome::Stored { .. } => return Ok(()),
            SendOutcome::NotStored(refusal) if !refusal.is_permanent() => tokio::time::sleep(ROUND).await,
            SendOutcome::NotStored(refusal) => return Err(format!("the source refused an order: {refusal:?}")),
            SendOutcome::Unknown(error) => return Err(format!("the source did not answer a send: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::share_of;

    #[test]
    fn shares_add_up() {
        for due in 0..50 {
            assert_eq!((0..8).map(|position| share_of(due, position, 8)).sum::<u64>(), due);
        }
    }
}
