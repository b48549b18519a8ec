//! Added latency: the time between a message's store timestamps at source and target, which are the same machine's
//! clock here. It includes everything between the source broker's append and the target broker's.

use super::raw::store_timestamps;

/// Milliseconds that copies were behind their originals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// Half of the messages were faster.
    pub p50: i64,
    /// 99 of 100 were faster.
    pub p99: i64,
    /// The slowest.
    pub maximum: i64,
    /// How many messages were compared.
    pub messages: usize,
}

/// Compares two topics that hold the same messages at the same offsets.
#[must_use]
pub fn added(source: (&str, &str), target: (&str, &str), queues: u32, per_queue: usize) -> Latency {
    let mut delays: Vec<i64> = (0..queues)
        .flat_map(|queue| {
            let before = store_timestamps(source.0, source.1, queue, per_queue);
            let after = store_timestamps(target.0, target.1, queue, per_queue);
            before.into_iter().zip(after).map(|(before, after)| after - before).collect::<Vec<_>>()
        })
        .collect();
    delays.sort_unstable();
    let at = |share: f64| delays[((delays.len() - 1) as f64 * share) as usize];
    Latency { p50: at(0.5), p99: at(0.99), maximum: at(1.0), messages: delays.len() }
}
