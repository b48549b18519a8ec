//! The threads that a member's connections have for themselves.

use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Fatal};

/// Threads that read and serve byte streams.
const BULK_THREADS: usize = 2;

/// Threads that end when this is dropped, without being waited for: what runs there has ended then, or is of no use
/// without the replica.
pub(super) struct Threads {
    /// Serves connections, so that no work of the node's makes them wait.
    pub(super) nodes: Handle,
    /// Reads and serves byte streams, so that they make nothing else wait.
    pub(super) bulk: Handle,
    runtimes: Vec<Runtime>,
}

impl Threads {
    /// Starts them.
    pub(super) fn start() -> Result<Self, Error> {
        let (nodes, bulk) = (runtime("causeway-nodes", 1)?, runtime("causeway-relay", BULK_THREADS)?);
        Ok(Self { nodes: nodes.handle().clone(), bulk: bulk.handle().clone(), runtimes: vec![nodes, bulk] })
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        for runtime in self.runtimes.drain(..) {
            runtime.shutdown_background();
        }
    }
}

fn runtime(name: &str, threads: usize) -> Result<Runtime, Error> {
    Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| Fatal::Thread(error).into())
}
