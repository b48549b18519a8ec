//! Reads certificates and keys from PEM files.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::certificate::CertificateProblem;
use super::private::is_private;

/// The largest file that is read, in bytes.
const MAXIMUM_FILE_BYTES: u64 = 1024 * 1024;

/// Why certificates and key cannot be used. Names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// The file cannot be read.
    #[error("{path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than any certificate or key.
    #[error("{path}: larger than 1 MiB", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner, or this process's user whom an access list names, may read or change the key.
    #[error("{path}: the key's permissions are {mode:04o}; nobody but the owner may have any (0600)", path = path.display())]
    KeyPermissions {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is not PEM, or holds nothing of the wanted kind.
    #[error("{path}: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The key is not the certificate's.
    #[error("{path}: the key does not belong to the certificate", path = path.display())]
    KeyMismatch {
        /// The key's file.
        path: PathBuf,
    },
    /// The certificate does not carry the node's name.
    #[error("{path}: the certificate does not carry the name {expected}", path = path.display())]
    OtherName {
        /// The certificate's file.
        path: PathBuf,
        /// The name it should carry.
        expected: String,
    },
    /// Other nodes would not accept the certificate.
    #[error("{path}: the certificate {problem}", path = path.display())]
    Certificate {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with it.
        problem: CertificateProblem,
    },
}

impl TlsFileError {
    pub(crate) fn malformed(path: &Path, reason: impl ToString) -> Self {
        Self::Malformed { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// The certificates in a file; at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let text = read(path, |_, _| Ok(()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if found.is_empty() => Err(TlsFileError::malformed(path, "holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(TlsFileError::malformed(path, error)),
    }
}

/// The key in a file that is for this process's user alone.
pub(crate) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let refused =
        |about: &Metadata| TlsFileError::KeyPermissions { path: path.to_owned(), mode: about.mode() & 0o7777 };
    let allowed = |file: &File, about: &Metadata| if is_private(file, about) { Ok(()) } else { Err(refused(about)) };
    let text = Zeroizing::new(read(path, allowed)?);
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| TlsFileError::malformed(path, error))
}

fn read(
    path: &Path,
    allowed: impl FnOnce(&File, &Metadata) -> Result<(), TlsFileError>,
) -> Result<Vec<u8>, TlsFileError> {
    let unreadable = |source| TlsFileError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    allowed(&file, &about)?;
    // Room for all of it at once, so that growing leaves no copy of a key behind.
    let size = about.len().min(MAXIMUM_FILE_BYTES);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default().saturating_add(1));
    let read = file.take(MAXIMUM_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAXIMUM_FILE_BYTES) {
        Ok(bytes)
    } else {
        Err(TlsFileError::TooLarge { path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use rcgen::{CertificateParams, KeyPair};

    use super::{TlsFileError, certificates, key};

    #[test]
    fn a_key_that_others_may_read_is_refused_and_the_error_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        fs::write(&path, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o660, false)] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let read = key(&path);
            assert_eq!(read.is_ok(), good, "{mode:o}");
            if let Err(error) = read {
                assert!(matches!(error, TlsFileError::KeyPermissions { .. }), "{error}");
                assert!(error.to_string().contains("node.key"), "{error}");
            }
        }
    }

    #[test]
    fn files_without_what_is_wanted_and_endless_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.pem");
        assert!(matches!(certificates(&path), Err(TlsFileError::Unreadable { .. })));
        fs::write(&path, "no PEM").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(certificates(&path), Err(TlsFileError::Malformed { .. })));
        assert!(matches!(key(&path), Err(TlsFileError::Malformed { .. })));
        fs::write(&path, vec![b' '; 1024 * 1024 + 1]).unwrap();
        assert!(matches!(certificates(&path), Err(TlsFileError::TooLarge { .. })));
        assert!(matches!(certificates("/dev/zero".as_ref()), Err(TlsFileError::TooLarge { .. })));
        let certificate = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        fs::write(&path, certificate.repeat(2)).unwrap();
        assert_eq!(certificates(&path).unwrap().len(), 2);
    }
}
