//! Buffers of large batches, used again by whichever partition of the node sends next.
//!
//! An allocator gives memory of this size back to the kernel and takes it anew, which costs a page fault for every
//! 4 KiB of every batch and, because how long a batch gets is not known before, copies of it while it grows. A buffer
//! from here has been written before and has grown already. Few are kept, so a node that rests holds little; a
//! partition that only sends little never takes one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

/// Batches up to this many bytes have buffers of their own.
const SMALL: usize = 64 * 1024;

/// Buffers that are larger are given up: one message of the largest size should not hold its memory for ever.
const LARGE: usize = 1024 * 1024;

/// Bytes that are kept while nobody uses them.
const KEPT: usize = 4 * 1024 * 1024;

/// The buffers that nobody uses now.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Mutex<Vec<BytesMut>>,
}

impl Buffers {
    /// An empty buffer for a batch that will probably take so many bytes.
    pub(super) fn take(&self, expected: usize) -> BytesMut {
        if expected <= SMALL {
            return BytesMut::with_capacity(expected);
        }
        let used = self.lock().pop();
        // This batch and the last differ by an answer of the source.
        used.unwrap_or_else(|| BytesMut::with_capacity(expected.saturating_add(expected / 4)))
    }

    /// Takes back the memory of a batch that was sent, if nobody else holds it.
    pub(super) fn give_back(&self, batch: Bytes) {
        let Ok(mut buffer) = batch.try_into_mut() else { return };
        buffer.clear();
        let mut free = self.lock();
        if (SMALL + 1..=LARGE).contains(&buffer.capacity()) && bytes(&free).saturating_add(buffer.capacity()) <= KEPT {
            free.push(buffer);
        }
    }

    /// A poisoned lock guards a list whose operations cannot stop half-way, so its content is still right.
    fn lock(&self) -> MutexGuard<'_, Vec<BytesMut>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(buffers: &[BytesMut]) -> usize {
    buffers.iter().map(BytesMut::capacity).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(buffers: &Buffers, bytes: usize) -> Bytes {
        let mut buffer = buffers.take(bytes);
        buffer.resize(bytes, 7);
        buffer.freeze()
    }

    #[test]
    fn a_large_buffer_is_used_again_and_comes_back_empty() {
        let buffers = Buffers::default();
        let batch = written(&buffers, 300_000);
        let memory = batch.as_ptr();
        buffers.give_back(batch);
        let again = buffers.take(100_000);
        assert_eq!((again.as_ptr(), again.len()), (memory, 0));
        assert!(again.capacity() >= 300_000);
    }

    #[test]
    fn a_buffer_that_somebody_still_holds_is_left_to_him() {
        let buffers = Buffers::default();
        let batch = written(&buffers, 300_000);
        buffers.give_back(batch.clone());
        assert!(buffers.lock().is_empty());
        assert!(batch.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn small_and_very_large_ones_are_not_kept_and_few_of_the_others() {
        let buffers = Buffers::default();
        for bytes in [1_000, SMALL, LARGE + 1] {
            buffers.give_back(written(&buffers, bytes));
            assert!(buffers.lock().is_empty(), "{bytes}");
        }
        let batches: Vec<_> = (0..2 * KEPT / 300_000).map(|_| written(&buffers, 300_000)).collect();
        batches.into_iter().for_each(|batch| buffers.give_back(batch));
        let kept = bytes(&buffers.lock());
        assert!((KEPT - 400_000..=KEPT).contains(&kept), "{kept}");
        drop(buffers.take(300_000));
        assert!(bytes(&buffers.lock()) <= kept - 300_000, "there is room again for what is in use");
    }
}
