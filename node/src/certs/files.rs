//! Reads, makes and replaces the files of certificates and keys.
//!
//! **What a reader of a pair may rely on.** A pair is replaced by renaming files that are complete and durable: first
//! the key, then the certificate, with the directory synced in between. So neither file is ever half, and a new
//! certificate is never there without its key. A reader that reads the certificate first and the key second, and
//! compares them, therefore finds the old pair, the new pair, or for the moment between the two renames the old
//! certificate with the new key. Then it keeps what it has and reads both again later; a change of the certificate is
//! the last one. A crash in that moment leaves the old certificate with the new key for good: renewing again mends it,
//! because it needs nothing of the old key.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use zeroize::Zeroizing;

use super::Error;
use crate::cli::human::word;

/// The largest file that is read, in bytes: a bundle of all public authorities has about 220 KiB.
pub const MAXIMUM_FILE_BYTES: usize = 1024 * 1024;

/// The mode of keys: their owner alone.
const KEY_MODE: u32 = 0o600;

/// The mode of certificates: everybody may read them.
const CERTIFICATE_MODE: u32 = 0o644;

/// The mode of directories that are made here.
const DIRECTORY_MODE: u32 = 0o700;

/// The mode bits of a key that nobody else may have.
const OTHERS: u32 = 0o077;

/// The mode bits of a directory that would let others put in files of their own.
const OTHERS_WRITE: u32 = 0o022;

/// What is said of a file that stands where a directory should.
pub(super) const NO_DIRECTORY: &str = "is not a directory";

/// A certificate and its key as they are written.
pub struct Pair {
    /// The certificate, in PEM.
    pub certificate: String,
    /// Its key, in PEM.
    pub key: Zeroizing<String>,
}

/// The names of the two files of a pair.
pub struct PairNames {
    /// Of the certificate.
    pub certificate: String,
    /// Of the key.
    pub key: String,
}

/// What a file holds.
pub struct Content {
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Its permission bits.
    pub mode: u32,
}

impl Content {
    /// Whether users other than the owner have any access to the file.
    #[must_use]
    pub fn open_to_others(&self) -> bool {
        self.mode & OTHERS != 0
    }
}

/// Reads a file whole; none where it does not exist.
///
/// # Errors
/// [`Error`] when it is no regular file, too large, or cannot be read.
pub fn read(path: &Path) -> Result<Option<Content>, Error> {
    // Without the flag, opening a pipe would wait for whoever writes into it.
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if is_nothing(&error) => return Ok(None),
        Err(error) => return Err(Error::system(path, "opened")(error)),
    };
    let metadata = file.metadata().map_err(Error::system(path, "examined"))?;
    if !metadata.is_file() {
        return Err(Error::unusable(path, "is not a regular file"));
    }
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    if length > MAXIMUM_FILE_BYTES {
        return Err(Error::unusable(path, "is larger than 1 MiB, so it holds no certificate or key"));
    }
    // One allocation of the final size: a growing buffer would leave copies of a key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(length.saturating_add(1)));
    let limit = u64::try_from(length).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut bytes).map_err(Error::system(path, "read"))?;
    Ok(Some(Content { bytes, mode: metadata.mode() & 0o777 }))
}

/// Checks that a directory is there and is nobody else's to write to, or can be made.
///
/// Returns whether it is there.
///
/// # Errors
/// [`Error`] that says what to do.
pub fn check_directory(path: &Path) -> Result<bool, Error> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if is_nothing(&error) => {
            let parent = parent(path);
            return match fs::metadata(parent) {
                Ok(metadata) if metadata.is_dir() => Ok(false),
                Ok(_) => Err(Error::unusable(parent, NO_DIRECTORY)),
                Err(_) => Err(Error::missing(parent)),
            };
        }
        Err(error) => return Err(Error::system(path, "examined")(error)),
    };
    if !metadata.is_dir() {
        return Err(Error::unusable(path, NO_DIRECTORY));
    }
    if metadata.mode() & OTHERS_WRITE != 0 {
        let mode = metadata.mode() & 0o777;
        let what = format!("can be written to by other users (mode {mode:o}); run: chmod go-w {}", word(path));
        return Err(Error::unusable(path, what));
    }
    Ok(true)
}

/// Checks a directory in which files are to be made: as [`check_directory`], and that this process may write there.
///
/// # Errors
/// [`Error`] that says what to do.
pub fn check_target(path: &Path) -> Result<(), Error> {
    let place = if check_directory(path)? { path } else { parent(path) };
    let allowed = access(place, Access::WRITE_OK | Access::EXEC_OK);
    allowed.map_err(|error| Error::system(place, "written to")(error.into()))
}

/// Whether there is nothing of this name; below a file there is nothing.
fn is_nothing(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Checks that nothing has this name, a link that leads nowhere included.
///
/// # Errors
/// [`Error::Exists`], and when it cannot be found out.
pub fn check_absent(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Error::Exists { path: path.to_owned() }),
        Err(error) if is_nothing(&error) => Ok(()),
        Err(error) => Err(Error::system(path, "examined")(error)),
    }
}

/// What stands above a path.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A directory that only this process changes while it is open.
pub struct Folder {
    path: PathBuf,
    handle: File,
}

impl Folder {
    /// Opens a directory, and makes it where it is missing.
    ///
    /// # Errors
    /// As [`check_directory`], and when another process has it open.
    pub fn open_or_make(path: &Path) -> Result<Self, Error> {
        if !check_directory(path)? {
            let made = DirBuilder::new().mode(DIRECTORY_MODE).create(path);
            made.and_then(|()| File::open(parent(path))?.sync_all()).map_err(Error::system(path, "made"))?;
        }
        let handle = File::open(path).map_err(Error::system(path, "opened"))?;
        match handle.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), handle }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::unusable(path, "is being changed by another causeway certs; try again when it has ended"))
            }
            Err(TryLockError::Error(error)) => Err(Error::system(path, "locked")(error)),
        }
    }

    /// Writes a pair where there is none.
    ///
    /// # Errors
    /// [`Error::Exists`] when one of the files exists, which then keeps its content; otherwise when one cannot be
    /// written. Neither file is left behind.
    pub fn create(&self, names: &PairNames, pair: &Pair) -> Result<(), Error> {
        let (key, certificate) = (self.path.join(&names.key), self.path.join(&names.certificate));
        create(&key, pair.key.as_bytes(), KEY_MODE, None)?;
        let written = create(&certificate, pair.certificate.as_bytes(), CERTIFICATE_MODE, None);
        written.inspect_err(|_| discard(&key))?;
        self.sync().inspect_err(|_| {
            discard(&key);
            discard(&certificate);
        })
    }

    /// Writes a pair in place of the one that is there, if there is one. The new files belong to whom the old belonged.
    ///
    /// # Errors
    /// [`Error`] when a file cannot be written. The old pair is then still there, whole; or, if only the very last step
    /// failed, its certificate with the new key, and the error is about the certificate.
    pub fn replace(&self, names: &PairNames, pair: &Pair) -> Result<(), Error> {
        let (key, certificate) = (self.path.join(&names.key), self.path.join(&names.certificate));
        let (new_key, new_certificate) = (unfinished(&key), unfinished(&certificate));
        let old = |path: &Path| fs::metadata(path).ok();
        let (old_certificate, old_key) = (old(&certificate), old(&key));
        let key_owner = old_key.as_ref().or(old_certificate.as_ref());
        let certificate_owner = old_certificate.as_ref().or(old_key.as_ref());
        // Left behind by a crash; nobody else writes here now.
        discard(&new_key);
        discard(&new_certificate);
        let staged = create(&new_key, pair.key.as_bytes(), KEY_MODE, key_owner)
            .and_then(|()| create(&new_certificate, pair.certificate.as_bytes(), CERTIFICATE_MODE, certificate_owner));
        let replaced = staged.and_then(|()| {
            fs::rename(&new_key, &key).map_err(Error::system(&key, "replaced"))?;
            self.sync()?;
            fs::rename(&new_certificate, &certificate).map_err(Error::system(&certificate, "replaced"))?;
            self.sync()
        });
        if replaced.is_err() {
            discard(&new_key);
            discard(&new_certificate);
        }
        replaced
    }

    fn sync(&self) -> Result<(), Error> {
        self.handle.sync_all().map_err(Error::system(&self.path, "synced"))
    }
}

/// A hidden file beside another one, so that nothing that lists certificates finds it.
fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.unfinished"))
}

/// Removes a file that was made here. Where it cannot be removed it is in nobody's way: it has a name of its own.
fn discard(path: &Path) {
    let _ = fs::remove_file(path);
}

/// Writes a new file and makes it durable; removes it again where that fails.
fn create(path: &Path, bytes: &[u8], mode: u32, owner: Option<&Metadata>) -> Result<(), Error> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(Error::Exists { path: path.to_owned() }),
        Err(error) => return Err(Error::system(path, "made")(error)),
    };
    let written = give(&file, owner).and_then(|()| file.write_all(bytes)).and_then(|()| file.sync_all());
    if written.is_err() {
        discard(path);
    }
    written.map_err(Error::system(path, "written"))
}

/// Gives a file to the owner and the group of another one: a key that root renews stays the node's.
fn give(file: &File, owner: Option<&Metadata>) -> std::io::Result<()> {
    let Some(owner) = owner else { return Ok(()) };
    let own = file.metadata()?;
    if (own.uid(), own.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn pair(text: &str) -> Pair {
        Pair { certificate: format!("certificate {text}"), key: Zeroizing::new(format!("key {text}")) }
    }

    fn names() -> PairNames {
        PairNames { certificate: "n1.pem".to_owned(), key: "n1-key.pem".to_owned() }
    }

    fn text(path: &Path) -> String {
        String::from_utf8(read(path).unwrap().unwrap().bytes.to_vec()).unwrap()
    }

    fn listed(path: &Path) -> Vec<String> {
        let mut found: Vec<String> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        found.sort();
        found
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_pair_is_made_once_and_only_its_owner_reads_the_key() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("certs");
        let folder = Folder::open_or_make(&path).unwrap();
        folder.create(&names(), &pair("1")).unwrap();
        assert_eq!((mode(&path), mode(&path.join("n1-key.pem"))), (0o700, 0o600));
        assert!(matches!(folder.create(&names(), &pair("2")), Err(Error::Exists { .. })));
        assert_eq!(
            (text(&path.join("n1.pem")).as_str(), text(&path.join("n1-key.pem")).as_str()),
            ("certificate 1", "key 1")
        );
        fs::remove_file(path.join("n1-key.pem")).unwrap();
        assert!(matches!(folder.create(&names(), &pair("3")), Err(Error::Exists { .. })), "the certificate is there");
        assert_eq!(listed(&path), ["n1.pem"], "no key is left without its certificate");
        assert_eq!(text(&path.join("n1.pem")), "certificate 1");
    }

    #[test]
    fn a_replaced_pair_is_the_new_one_whatever_a_crash_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let folder = Folder::open_or_make(path).unwrap();
        folder.replace(&names(), &pair("1")).unwrap();
        fs::write(path.join(".n1-key.pem.unfinished"), "half").unwrap();
        fs::set_permissions(path.join("n1-key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
        folder.replace(&names(), &pair("2")).unwrap();
        assert_eq!(
            (text(&path.join("n1.pem")).as_str(), text(&path.join("n1-key.pem")).as_str()),
            ("certificate 2", "key 2")
        );
        assert_eq!((listed(path).len(), mode(&path.join("n1-key.pem"))), (2, 0o600));
    }

    #[test]
    fn a_pair_that_cannot_be_replaced_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let folder = Folder::open_or_make(path).unwrap();
        folder.create(&names(), &pair("1")).unwrap();
        // What cannot be removed as a file keeps the new certificate from being written.
        fs::create_dir(path.join(".n1.pem.unfinished")).unwrap();
        assert!(folder.replace(&names(), &pair("2")).is_err());
        assert_eq!(
            (text(&path.join("n1.pem")).as_str(), text(&path.join("n1-key.pem")).as_str()),
            ("certificate 1", "key 1")
        );
        assert_eq!(listed(path), [".n1.pem.unfinished", "n1-key.pem", "n1.pem"]);
    }

    /// Reads as a node does, while another thread replaces: certificate first, key second.
    #[test]
    fn a_reader_never_finds_a_new_certificate_with_an_old_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        Folder::open_or_make(&path).unwrap().create(&names(), &pair("0")).unwrap();
        let number = |name: &str| -> u32 {
            let content = text(&path.join(name));
            content.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let replacing = std::thread::spawn({
            let path = path.clone();
            move || {
                let folder = Folder::open_or_make(&path).unwrap();
                (1..=60).for_each(|round| folder.replace(&names(), &pair(&round.to_string())).unwrap());
            }
        });
        while !replacing.is_finished() {
            let certificate = number("n1.pem");
            let key = number("n1-key.pem");
            assert!(key >= certificate, "key {key} with certificate {certificate}");
        }
        replacing.join().unwrap();
        assert_eq!((number("n1.pem"), number("n1-key.pem")), (60, 60));
    }

    #[test]
    fn one_process_at_a_time_changes_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let first = Folder::open_or_make(directory.path()).unwrap();
        let second = Folder::open_or_make(directory.path()).map(|_| ()).unwrap_err();
        assert!(second.to_string().contains("another causeway certs"), "{second}");
        drop(first);
        Folder::open_or_make(directory.path()).unwrap();
    }

    #[test]
    fn a_directory_that_others_write_to_or_that_cannot_be_made_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert!(check_directory(path).unwrap());
        assert!(!check_directory(&path.join("new")).unwrap() && !path.join("new").exists());
        assert!(matches!(check_directory(&path.join("no/new")), Err(Error::Missing { .. })));
        fs::write(path.join("file"), "x").unwrap();
        for below in ["file", "file/new"] {
            let error = check_directory(&path.join(below)).unwrap_err().to_string();
            assert!(error.ends_with("/file is not a directory"), "{below}: {error}");
        }
        check_target(&path.join("new")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(check_directory(path).unwrap_err().to_string().contains("chmod go-w"));
        assert!(Folder::open_or_make(path).is_err());
    }

    #[test]
    fn what_is_no_file_or_too_large_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.pem");
        assert!(read(&path).unwrap().is_none());
        File::create(&path).unwrap().set_len(1024 * 1024 + 1).unwrap();
        assert!(read(&path).map(|_| ()).unwrap_err().to_string().contains("larger than 1 MiB"));
        assert!(read(directory.path()).is_err());
        assert!(read(&path.join("below")).unwrap().is_none());
    }
}
