//! The file that holds the sealing key: 32 random bytes that only the node's user may read.
//!
//! It is made whole or not at all, and never replaced: a lost key means that sealed secrets have to be given again, so
//! an existing file that cannot be used is reported, not overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::{Error, Key};

/// The mode of the file: its owner alone.
const MODE: u32 = 0o600;

/// The mode bits that nobody else may have.
const OTHERS: u32 = 0o077;

/// Reads the key, or makes one where there is none.
pub(super) fn open_or_create(path: &Path) -> Result<Key, Error> {
    match read(path)? {
        Some(key) => Ok(key),
        None => {
            create(path, &draw()?)?;
            read(path)?.ok_or_else(|| unusable(path, "it vanished while the node was starting"))
        }
    }
}

/// Makes the file with this key, where there is none; one that holds another key is reported.
pub(super) fn adopt(path: &Path, key: &Key) -> Result<(), Error> {
    if read(path)?.is_none() {
        create(path, key)?;
    }
    match read(path)? {
        Some(found) if found == *key => Ok(()),
        _ => Err(unusable(path, "it holds another key than the cluster's; the data directory is not a new one")),
    }
}

fn read(path: &Path) -> Result<Option<Key>, Error> {
    // A link could lead to a file that somebody else controls.
    let mut file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(path, "cannot be opened", &error)),
    };
    let metadata = file.metadata().map_err(|error| failed(path, "cannot be examined", &error))?;
    if !metadata.is_file() {
        return Err(unusable(path, "it is not a regular file"));
    }
    if metadata.mode() & OTHERS != 0 {
        let what =
            format!("users other than the owner have access (mode {:o}); run: chmod 600", metadata.mode() & 0o777);
        return Err(unusable(path, &format!("{what} {}", path.display())));
    }
    if metadata.len() != 32 {
        let what = format!("it has {} bytes instead of 32; restore it from a backup", metadata.len());
        return Err(unusable(path, &what));
    }
    let mut key = Zeroizing::new([0; 32]);
    file.read_exact(key.as_mut()).map_err(|error| failed(path, "cannot be read", &error))?;
    Ok(Some(key))
}

/// A new key.
pub(super) fn draw() -> Result<Key, Error> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut()).map_err(|error| Error::Random(error.to_string()))?;
    Ok(key)
}

/// Writes a new key under another name, makes it durable, and links it to its own name, which fails if that exists.
fn create(path: &Path, key: &Key) -> Result<(), Error> {
    let unfinished = path.with_extension(format!("key.{}.unfinished", std::process::id()));
    // Left behind by a crash of a process that had the same number; nobody else writes in a locked data directory.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(path, "cannot be made", &error)),
        _ => {}
    }
    let written = write(&unfinished, key).and_then(|()| match fs::hard_link(&unfinished, path) {
        // Another process was quicker; its key is the one.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = fs::remove_file(&unfinished);
    written.and(removed).and_then(|()| sync_parent(path)).map_err(|error| failed(path, "cannot be made", &error))
}

fn write(path: &Path, key: &Key) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    file.write_all(key.as_ref())?;
    file.sync_all()
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn unusable(path: &Path, what: &str) -> Error {
    Error::KeyFile { path: path.to_owned(), what: what.to_owned() }
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> Error {
    unusable(path, &format!("{what}: {error}"))
}
