//! The sealed form of a secret: XChaCha20-Poly1305 under the node's key.
//!
//! ```text
//! version (1 byte = 1) | nonce (24 random bytes) | ciphertext | tag (16 bytes)
//! ```
//! The associated data `causeway-secret-v1` keeps these bytes from being taken for anything else that the same key may
//! one day seal. A random nonce of 24 bytes does not repeat in any number of secrets that one node can be given.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::{Error, Key, MAXIMUM_SEALED_SECRET_BYTES};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const ASSOCIATED_DATA: &[u8] = b"causeway-secret-v1";

/// The longest sealed form that is opened, in bytes.
const MAXIMUM_SEALED_BYTES: usize = 1 + NONCE_BYTES + MAXIMUM_SEALED_SECRET_BYTES + TAG_BYTES;

/// Encrypts a secret and authenticates it.
pub(super) fn seal(key: &Key, secret: &str) -> Result<Vec<u8>, Error> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|error| Error::Random(error.to_string()))?;
    let payload = Payload { msg: secret.as_bytes(), aad: ASSOCIATED_DATA };
    let ciphertext = cipher(key)?
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| Error::Unfit { what: "too long to be sealed" })?;
    let mut sealed = vec![VERSION];
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// Checks that nothing was changed, and decrypts.
pub(super) fn open(key: &Key, sealed: &[u8]) -> Result<Zeroizing<String>, Error> {
    if sealed.len() > MAXIMUM_SEALED_BYTES {
        return Err(Error::Sealed { what: "it is too long" });
    }
    let (version, rest) = sealed.split_first().ok_or(Error::Sealed { what: "it is empty" })?;
    if *version != VERSION {
        return Err(Error::Sealed { what: "its version is unknown to this release" });
    }
    let (nonce, ciphertext) =
        rest.split_first_chunk::<NONCE_BYTES>().ok_or(Error::Sealed { what: "it is too short" })?;
    let payload = Payload { msg: ciphertext, aad: ASSOCIATED_DATA };
    let plain = cipher(key)?
        .decrypt(&XNonce::from(*nonce), payload)
        .map_err(|_| Error::Sealed { what: "another key sealed it, or it was changed" })?;
    match String::from_utf8(plain) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(Error::Sealed { what: "it holds no text" })
        }
    }
}

fn cipher(key: &Key) -> Result<XChaCha20Poly1305, Error> {
    XChaCha20Poly1305::new_from_slice(key.as_slice()).map_err(|_| Error::Sealed { what: "the key has another length" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> Key {
        Zeroizing::new([byte; 32])
    }

    #[test]
    fn one_secret_sealed_twice_looks_different() {
        assert_ne!(seal(&key(1), "same").expect("seals"), seal(&key(1), "same").expect("seals"));
    }

    #[test]
    fn another_key_opens_nothing() {
        let sealed = seal(&key(1), "secret").expect("seals");
        assert!(matches!(open(&key(2), &sealed), Err(Error::Sealed { .. })));
    }

    #[test]
    fn the_associated_data_is_part_of_what_is_authenticated() {
        let nonce = [3; NONCE_BYTES];
        let payload = Payload { msg: b"secret".as_slice(), aad: b"something-else".as_slice() };
        let ciphertext = cipher(&key(1)).expect("a cipher").encrypt(&XNonce::from(nonce), payload).expect("encrypts");
        let foreign: Vec<u8> = [vec![VERSION], nonce.to_vec(), ciphertext].concat();
        assert!(matches!(open(&key(1), &foreign), Err(Error::Sealed { .. })));
    }

    proptest! {
        #[test]
        fn every_secret_comes_back(secret in "\\PC{0,300}") {
            let sealed = seal(&key(1), &secret).expect("seals");
            let opened = open(&key(1), &sealed).expect("opens");
            prop_assert_eq!(opened.as_str(), secret);
        }

        #[test]
        fn every_changed_bit_and_every_cut_is_noticed(secret in "[a-z]{1,40}", position: prop::sample::Index, bit in 0_u8..8) {
            let sealed = seal(&key(1), &secret).expect("seals");
            let position = position.index(sealed.len());
            let mut changed = sealed.clone();
            changed[position] ^= 1 << bit;
            prop_assert!(open(&key(1), &changed).is_err());
            prop_assert!(open(&key(1), &sealed[..position]).is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open(&key(1), &bytes).is_err());
        }
    }
}
