//! Which process speaks for each node id, so that two of them are never taken for one node.
//!
//! A copied data directory or a wrong configuration makes two processes with one node id. Both would vote, and a vote
//! counted twice elects two leaders. So a second process is refused while the first is alive. It is alive when it is
//! heard after the second one came: a killed process is never heard again, its connections end by silence at the
//! latest, and whoever was started in its place gets in then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use causeway_core::ids::NodeId;
use tokio::sync::Notify;

use super::hello::Hello;
use super::refusal::{Refusal, RefusalCode};

/// Remembers the living process of each node.
#[derive(Debug)]
pub(crate) struct Registry {
    me: Hello,
    processes: Mutex<HashMap<NodeId, Weak<Process>>>,
}

/// A process that has connections.
#[derive(Debug)]
struct Process {
    id: u128,
    /// Told whenever the process is heard, and when its last connection ended.
    changed: Arc<Notify>,
}

/// Held by each connection of a process.
#[derive(Debug)]
pub(crate) struct Pass(Option<Arc<Process>>);

impl Registry {
    pub(crate) fn new(me: Hello) -> Self {
        Self { me, processes: Mutex::default() }
    }

    /// Lets a connection of a process in. Waits, when another process has connections, until it is heard or gone.
    ///
    /// # Errors
    /// [`RefusalCode::DuplicateNode`] when another process lives.
    pub(crate) async fn admit(&self, node: NodeId, process: u128) -> Result<Pass, Refusal> {
        let duplicate = || {
            let reason =
                format!("another living process is node {node}; two processes must not have one data directory");
            Refusal::new(RefusalCode::DuplicateNode, reason)
        };
        if node == self.me.identity.node && process != self.me.process {
            return Err(duplicate());
        }
        let changed = match self.enter(node, process) {
            Ok(pass) => return Ok(pass),
            Err(changed) => changed,
        };
        // From here on no change is missed, so a look now and a look after the change are enough.
        let change = changed.notified();
        if let Ok(pass) = self.enter(node, process) {
            return Ok(pass);
        }
        change.await;
        self.enter(node, process).map_err(|_| duplicate())
    }

    fn enter(&self, node: NodeId, process: u128) -> Result<Pass, Arc<Notify>> {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        match processes.get(&node).and_then(Weak::upgrade) {
            Some(known) if known.id == process => Ok(Pass(Some(known))),
            Some(other) => Err(Arc::clone(&other.changed)),
            None => {
                let new = Arc::new(Process { id: process, changed: Arc::default() });
                processes.retain(|_, process| process.strong_count() > 0);
                processes.insert(node, Arc::downgrade(&new));
                Ok(Pass(Some(new)))
            }
        }
    }
}

impl Pass {
    /// For a connection that no registry knows: of a node that has no id yet.
    pub(crate) fn unregistered() -> Self {
        Self(None)
    }

    /// Says that the process was heard.
    pub(crate) fn heard(&self) {
        if let Some(process) = &self.0 {
            process.changed.notify_waiters();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use causeway_core::ids::{ClusterId, NodeId};
    use causeway_core::name::Name;
    use tokio::time::{sleep, timeout};

    use super::super::hello::{Identity, Purpose};
    use super::{Hello, RefusalCode, Registry};

    fn registry() -> Arc<Registry> {
        let name = || Name::new("a").unwrap();
        let cluster = Some(ClusterId(1));
        let identity = Identity { cluster, node: NodeId(1), name: name(), region: name(), command_version: 1 };
        Arc::new(Registry::new(Hello { identity, process: 100, purpose: Purpose::Messages }))
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_process_is_refused_as_soon_as_the_first_is_heard() {
        let registry = registry();
        let first = registry.admit(NodeId(2), 200).await.unwrap();
        let again = registry.admit(NodeId(2), 200).await.unwrap();
        let second = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { registry.admit(NodeId(2), 201).await.map(drop) }
        });
        sleep(Duration::from_secs(1)).await;
        assert!(!second.is_finished(), "decided without a sign of life");
        drop(first);
        sleep(Duration::from_secs(1)).await;
        assert!(!second.is_finished(), "one connection of the first is left");
        again.heard();
        assert_eq!(second.await.unwrap().unwrap_err().code, RefusalCode::DuplicateNode);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_is_gone_gives_way() {
        let registry = registry();
        let first = registry.admit(NodeId(2), 200).await.unwrap();
        let second = tokio::spawn({
            let registry = Arc::clone(&registry);
            async move { registry.admit(NodeId(2), 201).await }
        });
        sleep(Duration::from_secs(1)).await;
        drop(first);
        let second = second.await.unwrap().unwrap();
        let late = timeout(Duration::from_secs(1), registry.admit(NodeId(2), 200)).await;
        assert!(late.is_err(), "the first is back while the second has a connection");
        drop(second);
        registry.admit(NodeId(2), 200).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_else_is_this_node() {
        assert_eq!(registry().admit(NodeId(1), 200).await.unwrap_err().code, RefusalCode::DuplicateNode);
    }
}
