//! Secrets: where they are found, and how the node keeps the ones that it was given.
//!
//! A secret is an environment variable or a file of the node's machine, or it was handed to the API and sealed:
//! encrypted and authenticated with a key of the cluster, which each of its nodes keeps in its data directory
//! ([`key_file`], [`sealed`]). What is
//! agreed, stored, logged and answered is always a [`SecretReference`].
//! Never puts a secret into a message, a log line or `Debug`, and keeps it only in memory that is overwritten on drop.

mod key_file;
mod reference;
mod sealed;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use causeway_core::error_code::ErrorCode;
use causeway_core::instance::SecretReference;
use zeroize::Zeroizing;

pub use reference::{InvalidReference, parse_reference};

/// The largest secret file that is read, in bytes.
pub const MAXIMUM_SECRET_BYTES: usize = 64 * 1024;

/// The longest secret that is sealed, in bytes: sealed secrets are part of the agreed state, which keeps values small.
/// Temporary credentials, the longest in use, have about 2 KiB.
pub const MAXIMUM_SEALED_SECRET_BYTES: usize = 4 * 1024;

/// The name of the file in the data directory that holds the sealing key.
pub const KEY_FILE: &str = "secret.key";

/// The bytes of a sealing key.
type Key = Zeroizing<[u8; 32]>;

/// Why a secret, or the key that seals secrets, is not there. Messages name places, never contents.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Set the variable in the environment of the node's process, then restart the node.
    #[error("environment variable {name} is {what}; set it where the node is started and restart the node")]
    Environment {
        /// The variable.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Repair the file.
    #[error("secret file {path}: {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The sealing key cannot be used; nothing sealed can be read until it is repaired.
    #[error("sealing key {path}: {what}")]
    KeyFile {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// The sealed bytes were not sealed with the cluster's key, or were changed since. Register the secret again.
    #[error("the sealed secret cannot be opened with the cluster's key: {what}; give the secret again")]
    Sealed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The secret itself cannot be kept.
    #[error("the secret is {what}")]
    Unfit {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Random(String),
}

impl Error {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::SecretUnavailable
    }
}

/// Seals secrets and finds them again.
pub struct SecretStore {
    key: Key,
}

impl fmt::Debug for SecretStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretStore(***)")
    }
}

impl SecretStore {
    /// Opens the sealing key of a data directory; makes it at the first start.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when it cannot be read or made, is damaged, or others may read it.
    pub fn open(data_directory: &Path) -> Result<Self, Error> {
        Ok(Self { key: key_file::open_or_create(&data_directory.join(KEY_FILE))? })
    }

    /// A store that can find secrets in the environment and in files, but opens nothing that was sealed before: for
    /// checks outside a node, which must not make a key file.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub fn without_key_file() -> Result<Self, Error> {
        Ok(Self { key: key_file::draw()? })
    }

    /// The sealing key, for a node that joins: what one node of a cluster seals, all of them have to open.
    #[must_use]
    pub fn shared_key(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.key.to_vec())
    }

    /// Keeps the sealing key of the cluster in a new data directory.
    ///
    /// # Errors
    /// [`Error::KeyFile`] when it cannot be written, is no key, or another one is there.
    pub fn adopt(data_directory: &Path, shared: &[u8]) -> Result<(), Error> {
        let path = data_directory.join(KEY_FILE);
        let Ok(key) = <[u8; 32]>::try_from(shared) else {
            let what = format!("the cluster gave {} bytes instead of 32", shared.len());
            return Err(Error::KeyFile { path, what });
        };
        key_file::adopt(&path, &Zeroizing::new(key))
    }

    /// Seals a secret, so that only the cluster's key opens it.
    ///
    /// # Errors
    /// [`Error::Unfit`] when it is empty or too long, [`Error::Random`].
    pub fn seal(&self, secret: &str) -> Result<SecretReference, Error> {
        fit(secret)?;
        sealed::seal(&self.key, secret).map(SecretReference::Sealed)
    }

    /// Finds a secret. Reads the environment or a file anew each time, so that a rotated file is seen.
    ///
    /// # Errors
    /// [`Error`] that says where the secret was looked for and what is wrong there.
    pub fn reveal(&self, reference: &SecretReference) -> Result<Zeroizing<String>, Error> {
        match reference {
            SecretReference::Environment(name) => from_environment(name),
            SecretReference::File(path) => from_file(Path::new(path)),
            SecretReference::Sealed(bytes) => sealed::open(&self.key, bytes),
        }
    }
}

fn fit(secret: &str) -> Result<(), Error> {
    if secret.is_empty() {
        return Err(Error::Unfit { what: "empty" });
    }
    if secret.len() > MAXIMUM_SEALED_SECRET_BYTES {
        return Err(Error::Unfit { what: "longer than 4 KiB; put it into a file on the node and refer to that" });
    }
    Ok(())
}

fn from_environment(name: &str) -> Result<Zeroizing<String>, Error> {
    let unusable = |what| Error::Environment { name: name.to_owned(), what };
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Err(unusable("empty")),
        Ok(value) => Ok(Zeroizing::new(value)),
        Err(std::env::VarError::NotPresent) => Err(unusable("not set")),
        Err(std::env::VarError::NotUnicode(_)) => Err(unusable("not text")),
    }
}

fn from_file(path: &Path) -> Result<Zeroizing<String>, Error> {
    let unusable = |what: String| Error::File { path: path.to_owned(), what };
    let file = File::open(path).map_err(|error| unusable(format!("cannot be opened: {error}")))?;
    let limit = u64::try_from(MAXIMUM_SECRET_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    // One allocation of the final size: a growing buffer would leave copies of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(MAXIMUM_SECRET_BYTES.saturating_add(64)));
    file.take(limit).read_to_string(&mut text).map_err(|error| unusable(format!("cannot be read: {error}")))?;
    if text.len() > MAXIMUM_SECRET_BYTES {
        return Err(unusable("is larger than 64 KiB".to_owned()));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return Err(unusable("is empty".to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SECRET: &str = "correct horse battery staple";

    fn store() -> (tempfile::TempDir, SecretStore) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = SecretStore::open(directory.path()).expect("opens");
        (directory, store)
    }

    #[test]
    fn what_was_sealed_is_found_after_a_restart() {
        let (directory, store) = store();
        let reference = store.seal(SECRET).expect("seals");
        drop(store);
        let store = SecretStore::open(directory.path()).expect("opens again");
        assert_eq!(store.reveal(&reference).expect("reveals").as_str(), SECRET);
    }

    #[test]
    fn nothing_that_is_shown_or_stored_contains_the_secret() {
        let (directory, store) = store();
        let reference = store.seal(SECRET).expect("seals");
        let json = serde_json::to_string(&reference).expect("serialises");
        let SecretReference::Sealed(bytes) = &reference else { panic!("not sealed") };
        let raw = String::from_utf8_lossy(bytes).into_owned();
        let key = std::fs::read(directory.path().join(KEY_FILE)).expect("the key file");
        for text in [format!("{reference:?}"), reference.to_string(), json, raw, format!("{store:?}")] {
            assert!(!text.contains(SECRET) && !text.contains("horse"), "{text}");
            assert!(!text.contains(&String::from_utf8_lossy(&key).into_owned()));
        }
        let damaged = store.reveal(&SecretReference::Sealed(bytes[..bytes.len() - 1].to_vec())).expect_err("cut");
        assert!(!format!("{damaged} {damaged:?}").contains("horse"));
    }

    #[test]
    fn a_secret_file_is_read_anew_and_without_its_line_end() {
        let (directory, store) = store();
        let path = directory.path().join("secret");
        let reference = SecretReference::File(path.display().to_string());
        for (content, expected) in [("one\n", "one"), ("two\r\n", "two"), ("thr ee\n\n", "thr ee\n")] {
            std::fs::write(&path, content).expect("writes");
            assert_eq!(store.reveal(&reference).expect("reveals").as_str(), expected);
        }
        for bad in [Vec::new(), b"\n".to_vec(), vec![b'x'; MAXIMUM_SECRET_BYTES + 1], vec![0xff, 0xfe]] {
            std::fs::write(&path, bad).expect("writes");
            assert!(matches!(store.reveal(&reference), Err(Error::File { .. })));
        }
        std::fs::write(&path, vec![b'x'; MAXIMUM_SECRET_BYTES]).expect("writes");
        assert_eq!(store.reveal(&reference).expect("the largest").len(), MAXIMUM_SECRET_BYTES);
    }

    #[test]
    fn what_is_missing_is_named_with_its_place_and_code() {
        let (_directory, store) = store();
        let missing = SecretReference::Environment("CAUSEWAY_TEST_NO_SUCH_VARIABLE".to_owned());
        let error = store.reveal(&missing).expect_err("not set");
        assert!(error.to_string().contains("CAUSEWAY_TEST_NO_SUCH_VARIABLE is not set"));
        assert_eq!(error.code().to_string(), "CWY-0202");
        let error = store.reveal(&SecretReference::File("/no/such/file".to_owned())).expect_err("no file");
        assert!(error.to_string().contains("/no/such/file"));
        assert!(matches!(store.seal(""), Err(Error::Unfit { .. })));
    }

    #[test]
    fn what_a_crash_left_behind_does_not_keep_a_node_from_starting() {
        let directory = tempfile::tempdir().expect("a directory");
        let left = directory.path().join(format!("secret.key.{}.unfinished", std::process::id()));
        std::fs::write(&left, "half").expect("writes");
        SecretStore::open(directory.path()).expect("opens");
        let files: Vec<_> =
            std::fs::read_dir(directory.path()).expect("lists").map(|file| file.expect("a file").file_name()).collect();
        assert_eq!(files, [KEY_FILE]);
    }

    #[test]
    fn a_link_in_place_of_the_key_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let elsewhere = directory.path().join("elsewhere");
        std::fs::write(&elsewhere, [7; 32]).expect("writes");
        std::os::unix::fs::symlink(&elsewhere, directory.path().join(KEY_FILE)).expect("links");
        assert!(matches!(SecretStore::open(directory.path()), Err(Error::KeyFile { .. })));
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_damaged_is_refused() {
        let (directory, store) = store();
        drop(store);
        let path = directory.path().join(KEY_FILE);
        assert_eq!(std::fs::metadata(&path).expect("exists").permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("widens");
        let error = SecretStore::open(directory.path()).expect_err("too wide");
        assert!(error.to_string().contains("chmod 600"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("narrows");
        for damaged in [31_usize, 33, 0] {
            std::fs::write(&path, vec![7; damaged]).expect("writes");
            assert!(matches!(SecretStore::open(directory.path()), Err(Error::KeyFile { .. })), "{damaged}");
        }
    }
}
