//! The one binary form of everything that is stored or proposed: bincode 2, standard configuration, length-capped.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest encoded value that is decoded, in bytes. A snapshot of 100,000 partitions stays far below it.
pub const MAXIMUM_DECODED_BYTES: usize = 256 * 1024 * 1024;

/// Why a value could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value has no binary form.
    #[error("the value cannot be encoded: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    /// The bytes are not a value of the wanted type.
    #[error("the bytes cannot be decoded: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    /// Bytes are left over behind the value.
    #[error("{0} bytes are left over behind the value")]
    Trailing(usize),
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAXIMUM_DECODED_BYTES>()
}

/// Encodes a value.
///
/// # Errors
/// [`Error::Encode`] when the type has no binary form.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    Ok(bincode::serde::encode_to_vec(value, configuration())?)
}

/// Decodes a value that fills the bytes exactly.
///
/// # Errors
/// [`Error::Decode`] for bytes of another shape or above the cap, [`Error::Trailing`] when bytes are left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, configuration())?;
    match bytes.len().checked_sub(used) {
        Some(0) | None => Ok(value),
        Some(left) => Err(Error::Trailing(left)),
    }
}
