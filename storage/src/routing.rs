//! Tree `routing`: who owned what when this node last looked; a projection for a look from outside.
//!
//! It may lag behind the agreed state and is never read back into it.

use std::collections::BTreeMap;

use causeway_core::codec as binary;
use causeway_core::ids::{Epoch, NodeId};
use causeway_core::partition::{PartitionId, QueueId};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::table::{Batch, Table};

/// One partition's route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The partition.
    pub partition: PartitionId,
    /// The one target queue of its copies.
    pub target: QueueId,
    /// Who runs it.
    pub owner: Option<NodeId>,
    /// The number of that ownership.
    pub epoch: Epoch,
}

/// The tree.
pub struct Routing {
    table: Table,
}

impl Routing {
    pub(crate) fn open(db: &sled::Db) -> Result<Self, Error> {
        let table = Table::open(db, "routing")?;
        table.check()?;
        Ok(Self { table })
    }

    /// Replaces all routes; only those that differ are written.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Corrupt`].
    pub fn replace(&self, routes: &[Route]) -> Result<(), Error> {
        let mut stored: BTreeMap<Vec<u8>, Vec<u8>> = self.table.values().collect::<Result<_, _>>()?;
        let mut batch = Batch::default();
        for route in routes {
            let key = key(&route.partition);
            let value = binary::encode(route).map_err(|error| Error::unstorable(self.table.place(&key), error))?;
            if stored.remove(&key).as_ref() != Some(&value) {
                self.table.stage_bytes(&mut batch, &key, &value)?;
            }
        }
        for gone in stored.keys() {
            self.table.stage_removal(&mut batch, gone)?;
        }
        self.table.apply(batch)
    }

    /// All routes, by stream and source queue.
    ///
    /// # Errors
    /// [`Error::Database`], [`Error::Corrupt`].
    pub fn routes(&self) -> Result<Vec<Route>, Error> {
        self.table
            .values()
            .map(|value| {
                let (key, value) = value?;
                binary::decode(&value).map_err(|error| Error::corrupt(self.table.place(&key), error))
            })
            .collect()
    }
}

/// Ordered as partitions are: stream, broker, queue. A zero byte ends the broker's name, so no name is another's
/// prefix.
fn key(partition: &PartitionId) -> Vec<u8> {
    let mut key = partition.stream.0.to_be_bytes().to_vec();
    key.extend_from_slice(partition.source.broker.as_bytes());
    key.push(0);
    key.extend_from_slice(&partition.source.queue.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::{Epoch, NodeId, StreamId};
    use causeway_core::partition::{PartitionId, QueueId};

    use super::{Route, Routing};

    fn route(stream: u64, broker: &str, queue: u32, epoch: u64) -> Route {
        let queue = QueueId { broker: broker.into(), queue };
        Route {
            partition: PartitionId { stream: StreamId(stream), source: queue.clone() },
            target: queue,
            owner: Some(NodeId(1)),
            epoch: Epoch(epoch),
        }
    }

    #[test]
    fn holds_exactly_the_last_routes_in_order() {
        let db = sled::Config::new().temporary(true).open().unwrap();
        let routing = Routing::open(&db).unwrap();
        routing.replace(&[route(1, "a", 0, 1), route(1, "ab", 0, 1), route(2, "a", 300, 1)]).unwrap();
        let last = [route(1, "a", 0, 2), route(1, "a", 256, 1), route(2, "a", 300, 1)];
        routing.replace(&last).unwrap();
        assert_eq!(routing.routes().unwrap(), last);
        assert_eq!(Routing::open(&db).unwrap().routes().unwrap(), last);
    }
}
