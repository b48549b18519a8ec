//! The disk barrier: when it returns, everything written before survives the loss of power.
//!
//! sled's own `flush` on Linux writes pages and calls `sync_file_range`, which neither waits for metadata nor empties
//! the disk's cache. So the barrier adds `fdatasync` through a descriptor of our own on the same file.
//! After a failure nothing is known about earlier writes (the kernel may have dropped them), so a barrier that failed
//! once fails for ever.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Error;

/// The disk barrier of one database.
pub struct Barrier {
    db: sled::Db,
    file: File,
    path: std::path::PathBuf,
    broken: bool,
}

impl Barrier {
    /// Opens the second descriptor; `file` is the database file that sled writes.
    pub(crate) fn open(db: &sled::Db, file: &Path) -> Result<Self, Error> {
        let descriptor = File::open(file).map_err(Error::io("open", file))?;
        Ok(Self { db: db.clone(), file: descriptor, path: file.to_path_buf(), broken: false })
    }

    /// Blocks until everything written before is durable; answers how long that took.
    ///
    /// # Errors
    /// [`Error::Database`] or [`Error::Io`] when the disk refused, and from then on [`Error::BarrierBroken`].
    pub fn wait(&mut self) -> Result<Duration, Error> {
        if self.broken {
            return Err(Error::BarrierBroken);
        }
        let begin = Instant::now();
        self.broken = true;
        self.db.flush().map_err(Error::database("flush"))?;
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        self.broken = false;
        Ok(begin.elapsed())
    }
}
