//! Reads every copy back from the target region, in order, and hands it to the ledger. It shares nothing with the node
//! that copies but the client that reads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use causeway_rocketmq::{Client, Pull, PullRequest, Queue};
use tokio::sync::watch;

use crate::ledger::{Ledger, Verdict};

const PAGE: u32 = 32;
const POLL: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(200);

/// What all queues' readers found.
#[derive(Debug, Default)]
pub(crate) struct Verifier {
    ledger: Mutex<Ledger>,
}

impl Verifier {
    /// What was found so far.
    pub(crate) fn verdict(&self) -> Verdict {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).verdict().clone()
    }

    /// Compares with what was sent, once everything should have arrived.
    pub(crate) fn close(&self, sent: &std::collections::BTreeMap<u32, u64>) -> Verdict {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.close(sent);
        ledger.verdict().clone()
    }
}

/// Follows one target queue until told to stop. An unreachable target is asked again: the region may be restarting.
pub(crate) async fn follow(client: Client, queue: Queue, verifier: Arc<Verifier>, mut stop: watch::Receiver<bool>) {
    let mut offset = 0;
    loop {
        let request = PullRequest { offset, maximum_messages: PAGE, wait: POLL };
        let pulled = tokio::select! {
            pulled = client.pull(&queue, &request) => pulled,
            _ = stop.changed() => return,
        };
        match pulled {
            Ok(Pull::Found { records, .. }) => {
                let mut ledger = verifier.ledger.lock().unwrap_or_else(PoisonError::into_inner);
                for record in records {
                    if record.queue_offset >= offset {
                        offset = record.queue_offset + 1;
                        ledger.copy(&record.body);
                    }
                }
            }
            Ok(Pull::AtTail { .. }) => {}
            Ok(Pull::OffsetMoved { .. } | Pull::RetryNow { .. }) | Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}
