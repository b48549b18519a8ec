//! One lock per target queue, so that partitions which share a target queue send one batch at a time.
//!
//! Brokers execute pipelined sends in any order, so order needs at most one batch in flight per target queue. Locks
//! are named by the instance's identity and not its name, because that is what the queue belongs to. A lock that
//! nobody holds any more is forgotten.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use causeway_core::ids::InstanceIdentity;
use causeway_core::partition::QueueId;
use tokio::sync::Mutex;

/// A queue of a topic of an instance.
type Key = (InstanceIdentity, String, QueueId);

/// The locks of all target queues that this node writes to.
#[derive(Debug, Default)]
pub struct TargetLocks {
    locks: BTreeMap<Key, Weak<Mutex<()>>>,
}

impl TargetLocks {
    /// The lock of a target queue; the same one for everybody who asks while anybody holds it.
    pub fn lock_of(&mut self, instance: InstanceIdentity, topic: &str, queue: &QueueId) -> Arc<Mutex<()>> {
        let key = (instance, topic.to_owned(), queue.clone());
        if let Some(lock) = self.locks.get(&key).and_then(Weak::upgrade) {
            return lock;
        }
        self.locks.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::default();
        self.locks.insert(key, Arc::downgrade(&lock));
        lock
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::testing::queue;

    #[test]
    fn a_queue_has_one_lock_while_it_is_used_and_other_queues_have_others() {
        let mut locks = TargetLocks::default();
        let identity = InstanceIdentity(1);
        let first = locks.lock_of(identity, "orders", &queue(0));
        assert!(Arc::ptr_eq(&first, &locks.lock_of(identity, "orders", &queue(0))));
        for other in [
            locks.lock_of(identity, "orders", &queue(1)),
            locks.lock_of(identity, "payments", &queue(0)),
            locks.lock_of(InstanceIdentity(2), "orders", &queue(0)),
        ] {
            assert!(!Arc::ptr_eq(&first, &other));
        }
        drop(first);
        let _ = locks.lock_of(identity, "orders", &queue(9));
        assert_eq!(locks.locks.len(), 1, "unused locks are forgotten");
    }
}
