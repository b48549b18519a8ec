//! Tree `meta`: the identity inside the database.

use crate::error::Error;
use crate::identity::Identity;
use crate::table::{Batch, Table};

const IDENTITY: &[u8] = b"identity";

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

    pub(crate) fn check(&self) -> Result<(), Error> {
        self.table.check()
    }
}
