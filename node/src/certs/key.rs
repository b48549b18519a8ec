//! Private keys. They are drawn, read, written and compared, and never shown; their bytes are overwritten on drop.

use std::fmt;
use std::path::Path;

use rcgen::{KeyPair, PublicKeyData};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::files::Content;
use super::{Error, files};

/// A private key.
pub struct Key(Zeroizing<KeyPair>);

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Key(***)")
    }
}

impl Key {
    /// Draws a new one, for ECDSA on the curve P-256.
    ///
    /// # Errors
    /// [`Error::Making`].
    pub fn draw() -> Result<Self, Error> {
        KeyPair::generate().map(|key| Self(Zeroizing::new(key))).map_err(|error| Error::Making(error.to_string()))
    }

    /// Reads the key of a file, to sign with it; none where it does not exist. Does not judge who else may read it.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be read or holds no key that can sign here.
    pub fn read(path: &Path) -> Result<Option<(Self, Content)>, Error> {
        let Some((der, content)) = read_der(path)? else { return Ok(None) };
        let key = KeyPair::try_from(&*der).map_err(|_| {
            Error::unusable(path, format!("holds a key that cannot sign here; needed is {KINDS}, in PKCS #8"))
        })?;
        Ok(Some((Self(Zeroizing::new(key)), content)))
    }

    /// Its public key, as [`read_public_key`] gives it.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// As it is written to a file.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// What signs with it.
    pub(super) fn pair(&self) -> &KeyPair {
        &self.0
    }
}

/// The kinds of keys that are known.
const KINDS: &str = "ECDSA on P-256 or P-384, Ed25519 or RSA";

/// Reads which public key belongs to the key of a file, as a `SubjectPublicKeyInfo` in DER; none where the file does
/// not exist. Takes every form that a node takes, and does not judge who else may read it.
///
/// # Errors
/// [`Error`] when the file cannot be read or holds no key that a node can use.
pub fn read_public_key(path: &Path) -> Result<Option<(Vec<u8>, Content)>, Error> {
    let Some((der, content)) = read_der(path)? else { return Ok(None) };
    let public = any_supported_type(&der).ok().and_then(|key| key.public_key().map(|public| public.to_vec()));
    let unknown = || Error::unusable(path, format!("holds a key that no node can use; needed is {KINDS}"));
    Ok(Some((public.ok_or_else(unknown)?, content)))
}

fn read_der(path: &Path) -> Result<Option<(Zeroizing<PrivateKeyDer<'static>>, Content)>, Error> {
    let Some(content) = files::read(path)? else { return Ok(None) };
    let der = PrivateKeyDer::from_pem_slice(&content.bytes).map(Zeroizing::new);
    Ok(Some((der.map_err(|_| Error::unusable(path, "holds no unencrypted key in PEM"))?, content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n1-key.pem");
        assert!(Key::read(&path).unwrap().is_none() && read_public_key(&path).unwrap().is_none());
        let key = Key::draw().unwrap();
        std::fs::write(&path, key.to_pem().as_bytes()).unwrap();
        let (read, _) = Key::read(&path).unwrap().unwrap();
        assert_eq!(read.public_key(), key.public_key());
        assert_eq!(read_public_key(&path).unwrap().unwrap().0, key.public_key());
        assert_ne!(Key::draw().unwrap().public_key(), key.public_key());
        assert_eq!(format!("{key:?}"), "Key(***)");
    }

    #[test]
    fn what_is_no_key_is_refused_without_a_word_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("n1-key.pem");
        let damaged = Key::draw().unwrap().to_pem().replace("MI", "AA");
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n";
        for bad in ["", "hunter2", encrypted, &damaged] {
            std::fs::write(&path, bad).unwrap();
            let errors = (Key::read(&path).map(|_| ()).unwrap_err(), read_public_key(&path).map(|_| ()).unwrap_err());
            let body = bad.lines().nth(1).unwrap_or("hunter2");
            assert!(!format!("{errors:?} {} {}", errors.0, errors.1).contains(body), "{errors:?}");
        }
    }
}
