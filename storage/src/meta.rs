//! Tree `meta`: the identity inside the database, and the nodes that a node which joined was told of.

use causeway_core::ids::NodeId;
use causeway_core::name::Name;

use crate::error::Error;
use crate::identity::Identity;
use crate::table::{Batch, Table};

const IDENTITY: &[u8] = b"identity";
const OTHERS: &[u8] = b"others";

/// The tree.
pub(crate) struct Meta {
    table: Table,
}

impl Meta {
    pub(crate) fn open(db: &sled::Db) -> Result<Self, Error> {
        Ok(Self { table: Table::open(db, "meta")? })
    }

    pub(crate) fn identity(&self) -> Result<Option<Identity>, Error> {
        self.table.get_as(IDENTITY)
    }

    pub(crate) fn set_identity(&self, identity: &Identity) -> Result<(), Error> {
        let mut batch = Batch::default();
        self.table.stage(&mut batch, IDENTITY, identity)?;
        self.table.apply(batch)
    }

    pub(crate) fn others(&self) -> Result<Vec<(NodeId, Name, String)>, Error> {
        Ok(self.table.get_as(OTHERS)?.unwrap_or_default())
    }

    pub(crate) fn set_others(&self, others: &[(NodeId, Name, String)]) -> Result<(), Error> {
        let mut batch = Batch::default();
        self.table.stage(&mut batch, OTHERS, &others)?;
        self.table.apply(batch)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.table.check()
    }
}
