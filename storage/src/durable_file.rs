//! Writes a small file so that it is either the old one or the new one, whole, whatever happens in between.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The end of the name of a file that is not complete yet.
pub(crate) const UNFINISHED: &str = "unfinished";

/// Replaces `path` with `parts`, one behind the other: temporary file, fsync, rename, fsync of the directory.
pub(crate) fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), Error> {
    let unfinished = unfinished(path);
    let mut file = File::create(&unfinished).map_err(Error::io("create", &unfinished))?;
    for part in parts {
        file.write_all(part).map_err(Error::io("write", &unfinished))?;
    }
    file.sync_all().map_err(Error::io("sync", &unfinished))?;
    drop(file);
    fs::rename(&unfinished, path).map_err(Error::io("rename", &unfinished))?;
    sync_parent(path)
}

/// Makes creations, renames and removals in the directory of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    path.parent().map_or(Ok(()), sync_directory)
}

/// Makes creations, renames and removals in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<(), Error> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let handle = File::open(directory).map_err(Error::io("open", directory))?;
    handle.sync_all().map_err(Error::io("sync", directory))
}

/// Reads a whole file of at most `maximum` bytes; none when it does not exist.
pub(crate) fn read(path: &Path, maximum: u64) -> Result<Option<Vec<u8>>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(maximum.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > maximum {
        return Err(Error::corrupt(path.display().to_string(), format!("longer than {maximum} bytes")));
    }
    Ok(Some(bytes))
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::{read, replace};
    use crate::error::Error;

    #[test]
    fn replaces_whole_files_and_leaves_no_other() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert!(read(&path, 10).unwrap().is_none());
        replace(&path, &[b"one"]).unwrap();
        replace(&path, &[b"tw", b"o!"]).unwrap();
        assert_eq!(read(&path, 4).unwrap().unwrap(), b"two!");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(matches!(read(&path, 3), Err(Error::Corrupt { .. })));
    }
}
