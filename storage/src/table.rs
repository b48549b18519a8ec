//! One sled tree whose rows are pieces of checked values; see [`crate::codec`].

use causeway_core::codec as binary;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec;
use crate::error::Error;

/// Changes to one table that are applied together.
#[derive(Default)]
pub(crate) struct Batch {
    rows: sled::Batch,
    changed: bool,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        !self.changed
    }

    /// For the transaction that spans two tables.
    pub(crate) fn rows(&self) -> &sled::Batch {
        &self.rows
    }

    /// Removes a value whose number of fragments is known.
    pub(crate) fn remove_known(&mut self, key: &[u8], fragments: u32) {
        self.changed = true;
        for number in 0..=fragments {
            self.rows.remove(codec::row_key(key, number));
        }
    }

    /// Writes a value that does not exist yet, or one with no more fragments than the new one; returns its fragments.
    pub(crate) fn put_new(&mut self, key: &[u8], value: &[u8]) -> Result<u32, codec::Error> {
        self.changed = true;
        for (row_key, row) in codec::encode(key, value)? {
            self.rows.insert(row_key, row);
        }
        Ok(codec::fragments(value.len()))
    }
}

/// One named tree.
pub(crate) struct Table {
    name: &'static str,
    tree: sled::Tree,
}

/// A failure while a value is put together: the database's or the value's.
enum ReadFailure {
    Database(sled::Error),
    Value(codec::Error),
}

impl From<codec::Error> for ReadFailure {
    fn from(error: codec::Error) -> Self {
        Self::Value(error)
    }
}

impl Table {
    pub(crate) fn open(db: &sled::Db, name: &'static str) -> Result<Self, Error> {
        let tree = db.open_tree(name).map_err(Error::database("open a tree"))?;
        Ok(Self { name, tree })
    }

    pub(crate) fn tree(&self) -> &sled::Tree {
        &self.tree
    }

    /// The name of a value in messages.
    pub(crate) fn place(&self, key: &[u8]) -> String {
        format!("tree {}, key {}", self.name, key.escape_ascii())
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let head = self.tree.get(codec::row_key(key, 0)).map_err(Error::database("read"))?;
        head.map(|head| self.assemble(key, &head)).transpose()
    }

    /// Reads a value of a known type.
    pub(crate) fn get_as<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Error> {
        let Some(bytes) = self.get(key)? else { return Ok(None) };
        binary::decode(&bytes).map(Some).map_err(|error| Error::corrupt(self.place(key), error))
    }

    /// Adds a value to a batch, with the removal of what an older, longer one leaves over.
    pub(crate) fn stage<T: Serialize>(&self, batch: &mut Batch, key: &[u8], value: &T) -> Result<(), Error> {
        let bytes = binary::encode(value).map_err(|error| Error::unstorable(self.place(key), error))?;
        self.stage_bytes(batch, key, &bytes)
    }

    pub(crate) fn stage_bytes(&self, batch: &mut Batch, key: &[u8], bytes: &[u8]) -> Result<(), Error> {
        if let Some(fragments) = self.fragments(key)? {
            batch.remove_known(key, fragments);
        }
        batch.put_new(key, bytes).map_err(|error| Error::unstorable(self.place(key), error))?;
        Ok(())
    }

    pub(crate) fn stage_removal(&self, batch: &mut Batch, key: &[u8]) -> Result<(), Error> {
        if let Some(fragments) = self.fragments(key)? {
            batch.remove_known(key, fragments);
        }
        Ok(())
    }

    pub(crate) fn apply(&self, batch: Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        self.tree.apply_batch(batch.rows).map_err(Error::database("write"))
    }

    /// Every value in the order of the keys, each checked.
    pub(crate) fn values(&self) -> impl Iterator<Item = Result<(Vec<u8>, Vec<u8>), Error>> + '_ {
        self.tree.iter().filter_map(|row| match self.head(row) {
            Ok(None) => None,
            Ok(Some((key, head))) => Some(self.assemble(&key, &head).map(|value| (key, value))),
            Err(error) => Some(Err(error)),
        })
    }

    /// Reads everything once: every value whole, and no row that belongs to none.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut expected = 0_u64;
        let mut found = 0_u64;
        for row in self.tree.iter() {
            found = found.saturating_add(1);
            if let Some((key, head)) = self.head(row)? {
                let value = self.assemble(&key, &head)?;
                expected = expected.saturating_add(1).saturating_add(u64::from(codec::fragments(value.len())));
            }
        }
        if found != expected {
            return Err(Error::corrupt(
                format!("tree {}", self.name),
                format!("{found} rows, but its values have {expected}"),
            ));
        }
        Ok(())
    }

    /// The key and row when this is the head of a value, none when it is a fragment.
    fn head(&self, row: sled::Result<(sled::IVec, sled::IVec)>) -> Result<Option<(Vec<u8>, sled::IVec)>, Error> {
        let (row_key, row) = row.map_err(Error::database("read"))?;
        let (key, number) =
            codec::split_row_key(&row_key).map_err(|error| Error::corrupt(self.place(&row_key), error))?;
        Ok((number == 0).then(|| (key.to_vec(), row)))
    }

    fn fragments(&self, key: &[u8]) -> Result<Option<u32>, Error> {
        let head = self.tree.get(codec::row_key(key, 0)).map_err(Error::database("read"))?;
        head.map(|head| codec::fragments_of(key, &head).map_err(|error| Error::corrupt(self.place(key), error)))
            .transpose()
    }

    fn assemble(&self, key: &[u8], head: &[u8]) -> Result<Vec<u8>, Error> {
        codec::decode(key, head, |row_key| self.tree.get(row_key).map_err(ReadFailure::Database)).map_err(|failure| {
            match failure {
                ReadFailure::Database(error) => Error::database("read")(error),
                ReadFailure::Value(error) => Error::corrupt(self.place(key), error),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Batch, Table};
    use crate::error::Error;

    fn temporary() -> (sled::Db, Table) {
        let db = sled::Config::new().temporary(true).cache_capacity(4 << 20).open().unwrap();
        let table = Table::open(&db, "test").unwrap();
        (db, table)
    }

    fn put(table: &Table, key: &[u8], value: &[u8]) {
        let mut batch = Batch::default();
        table.stage_bytes(&mut batch, key, value).unwrap();
        table.apply(batch).unwrap();
    }

    #[derive(Debug, Clone)]
    enum Step {
        Put(u8, usize, u8),
        Remove(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_u8..6, prop_oneof![0_usize..40, 4000_usize..20_000], any::<u8>())
                .prop_map(|(key, length, fill)| Step::Put(key, length, fill)),
            1 => (0_u8..6).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_table_is_an_ordered_map(steps in prop::collection::vec(step(), 1..40)) {
            let (_db, table) = temporary();
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(key, length, fill) => {
                        put(&table, &[key], &vec![fill; length]);
                        model.insert(vec![key], vec![fill; length]);
                    }
                    Step::Remove(key) => {
                        let mut batch = Batch::default();
                        table.stage_removal(&mut batch, &[key]).unwrap();
                        table.apply(batch).unwrap();
                        model.remove([key].as_slice());
                    }
                }
                table.check().unwrap();
            }
            let stored: BTreeMap<_, _> = table.values().collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(&stored, &model);
            for (key, value) in &model {
                let read = table.get(key).unwrap();
                prop_assert_eq!(read.as_ref(), Some(value));
            }
        }

        #[test]
        fn a_flipped_row_is_named_by_the_check(length in 0_usize..9000, row in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let (_db, table) = temporary();
            put(&table, b"first", &vec![1; length]);
            put(&table, b"second", &vec![2; length]);
            let rows: Vec<_> = table.tree().iter().map(Result::unwrap).collect();
            let (row_key, content) = &rows[row.index(rows.len())];
            let mut content = content.to_vec();
            let at = content.len() / 2;
            content[at] ^= 1 << bit;
            table.tree().insert(row_key, content).unwrap();
            let noticed = matches!(table.check(), Err(Error::Corrupt { .. }));
            prop_assert!(noticed);
        }
    }

    #[test]
    fn a_fragment_without_its_head_is_found() {
        let (_db, table) = temporary();
        put(&table, b"long", &[3; 10_000]);
        table.tree().remove(crate::codec::row_key(b"long", 0)).unwrap();
        assert!(table.get(b"long").unwrap().is_none());
        assert!(matches!(table.check(), Err(Error::Corrupt { .. })));
    }
}
