//! Credentials of an instance and the signature that they put on a request.
//!
//! Signature (Apache `AclClientRPCHook`, `AclUtils.combineRequestContent`, `AclSigner`; the same bytes for ACL 1.0 and
//! 2.0): the access key (and security token) become header fields; the values of all fields except the signature,
//! ordered by field name, then the body, go through HMAC-SHA1 under the secret; the result is sent in Base64. Every
//! field must be there before signing and be sent unchanged. Must never show or log a secret.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use zeroize::Zeroizing;

use super::fields::Fields;

const ACCESS_KEY: &str = "AccessKey";
const SECURITY_TOKEN: &str = "SecurityToken";
const SIGNATURE: &str = "Signature";

/// Why credentials are of no use.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The access key or the secret is empty.
    #[error("empty access key or secret")]
    Empty,
}

/// An access key with its secret. The secret itself is not kept: only the keyed hash state, wiped when dropped.
#[derive(Clone)]
pub struct Credentials {
    access_key: String,
    security_token: Option<Zeroizing<String>>,
    keyed: Hmac<Sha1>,
}

impl Credentials {
    /// Takes an access key, its secret, and the token of temporary credentials.
    ///
    /// # Errors
    /// [`Error::Empty`]; an empty token is no token.
    pub fn new(access_key: &str, secret: &Zeroizing<String>, security_token: Option<&str>) -> Result<Self, Error> {
        if access_key.is_empty() || secret.is_empty() {
            return Err(Error::Empty);
        }
        Ok(Self {
            access_key: access_key.to_owned(),
            security_token: security_token.filter(|token| !token.is_empty()).map(|token| token.to_owned().into()),
            keyed: Hmac::new_from_slice(secret.as_bytes()).map_err(|_| Error::Empty)?,
        })
    }

    /// The public half.
    #[must_use]
    pub fn access_key(&self) -> &str {
        &self.access_key
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// Adds the credentials and the signature of all fields and the body to a request. What an earlier signing left is
/// replaced.
pub fn sign(credentials: &Credentials, fields: &mut Fields, body: &[u8]) {
    for name in [ACCESS_KEY, SECURITY_TOKEN, SIGNATURE] {
        fields.remove(name);
    }
    fields.push(ACCESS_KEY, &credentials.access_key);
    if let Some(token) = &credentials.security_token {
        fields.push(SECURITY_TOKEN, token.as_str());
    }
    let signature = signature(credentials, fields, body);
    fields.push(SIGNATURE, signature);
}

fn signature(credentials: &Credentials, fields: &Fields, body: &[u8]) -> String {
    let mut sorted: Vec<(&str, &str)> = fields.iter().collect();
    sorted.sort_by_key(|pair| pair.0);
    let mut mac = credentials.keyed.clone();
    for (index, (name, value)) in sorted.iter().enumerate() {
        // The sort is stable, so of a repeated name the last value, which is the one that the peer keeps, stands last.
        let repeated = sorted.get(index.saturating_add(1)).is_some_and(|next| next.0 == *name);
        if !repeated {
            mac.update(value.as_bytes());
        }
    }
    mac.update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials::new("ak", &"secret".to_owned().into(), Some("st")).unwrap()
    }

    /// The expected signature was computed with another implementation over `ak`, `st`, `topic`, `é`, `3`, `body`.
    #[test]
    fn signs_the_values_in_the_order_of_their_names_then_the_body() {
        let mut fields: Fields = [("queueId", "9"), ("i", "é"), ("b", "topic"), ("queueId", "3"), ("AccessKey", "old")]
            .into_iter()
            .collect();
        for _ in 0..2 {
            sign(&credentials(), &mut fields, b"body");
            assert_eq!(fields.get("AccessKey"), Some("ak"));
            assert_eq!(fields.get("SecurityToken"), Some("st"));
            assert_eq!(fields.get("Signature"), Some("YY9Wgx4C9GXKw452Aj6LEF3Pf5c="));
        }
    }

    #[test]
    fn every_part_counts() {
        let signed = |credentials: &Credentials, value: &str, body: &[u8]| {
            let mut fields: Fields = [("b", value)].into_iter().collect();
            sign(credentials, &mut fields, body);
            fields.get("Signature").unwrap().to_owned()
        };
        let other = Credentials::new("ak", &"other".to_owned().into(), None).unwrap();
        let first = signed(&credentials(), "t", b"x");
        assert!(
            [signed(&credentials(), "u", b"x"), signed(&credentials(), "t", b"y"), signed(&other, "t", b"x")]
                .iter()
                .all(|signature| *signature != first)
        );
    }

    #[test]
    fn nothing_secret_shows_and_empty_credentials_are_none() {
        let shown = format!("{:?}", credentials());
        assert!(shown.contains("ak") && !shown.contains("secret") && !shown.contains("st\""), "{shown}");
        assert_eq!(Credentials::new("", &"x".to_owned().into(), None).unwrap_err(), Error::Empty);
        assert_eq!(Credentials::new("x", &String::new().into(), None).unwrap_err(), Error::Empty);
    }
}
