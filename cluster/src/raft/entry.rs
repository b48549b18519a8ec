//! The form of a command in the log, and of a state on its way to a follower: a version, then the value.
//!
//! The version stands outside of the value, so that a node can tell "newer than I know" from "damaged".

use causeway_core::codec;
use causeway_core::command::{CURRENT_VERSION, Envelope};
use causeway_core::state::State;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Fatal};

const VERSION_BYTES: usize = 2;

/// Encodes a command, and reads it back: what cannot be read back would stop every node for good once it is in the log.
pub(crate) fn encode(envelope: &Envelope) -> Result<Vec<u8>, Error> {
    let unstorable = |reason: String| Error::Unstorable { reason };
    let bytes = wrap(envelope.version, envelope).map_err(|error| unstorable(error.to_string()))?;
    let back: Envelope = unwrap(&bytes, "the command").map_err(|error| unstorable(error.to_string()))?;
    if back != *envelope {
        return Err(unstorable("it reads back as another one".to_owned()));
    }
    Ok(bytes)
}

/// Puts the version before a value.
pub(super) fn wrap<T: Serialize>(version: u16, value: &T) -> Result<Vec<u8>, codec::Error> {
    let mut bytes = version.to_be_bytes().to_vec();
    bytes.extend_from_slice(&codec::encode(value)?);
    Ok(bytes)
}

/// Reads a value whose version is known and whose form no version changed; `place` names it in errors.
pub(crate) fn unwrap<T: DeserializeOwned>(bytes: &[u8], place: &str) -> Result<T, Fatal> {
    let (_, value) = split(bytes, place)?;
    codec::decode(value).map_err(|error| undecodable(place, &error))
}

/// Reads a state in the form of the version that stands before it.
pub(super) fn unwrap_state(bytes: &[u8], place: &str) -> Result<State, Fatal> {
    let (version, value) = split(bytes, place)?;
    State::from_snapshot(version, value).map_err(|error| undecodable(place, &error))
}

fn split<'a>(bytes: &'a [u8], place: &str) -> Result<(u16, &'a [u8]), Fatal> {
    let (version, value) =
        bytes.split_first_chunk::<VERSION_BYTES>().ok_or_else(|| undecodable(place, &"too short"))?;
    let version = u16::from_be_bytes(*version);
    verify_version(version, place)?;
    Ok((version, value))
}

fn undecodable(place: &str, reason: &dyn std::fmt::Display) -> Fatal {
    Fatal::Undecodable { place: place.to_owned(), reason: reason.to_string() }
}

/// Refuses what a newer Causeway wrote.
pub(crate) fn verify_version(found: u16, place: &str) -> Result<(), Fatal> {
    if found > CURRENT_VERSION {
        return Err(Fatal::UnknownVersion { place: place.to_owned(), found, supported: CURRENT_VERSION });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use causeway_core::command::{CURRENT_VERSION, Command, Envelope};
    use causeway_core::fault::Fault;
    use causeway_core::ids::{Epoch, StreamId, Timestamp};
    use causeway_core::partition::{PartitionId, QueueId};
    use proptest::prelude::*;

    use super::{encode, unwrap, wrap};
    use crate::error::Fatal;

    #[test]
    fn a_newer_version_is_told_from_damage_even_when_its_content_is_strange() {
        let mut bytes = wrap(CURRENT_VERSION + 1, &"something that this version has never seen").unwrap();
        let newer = unwrap::<Envelope>(&bytes, "entry 7").unwrap_err();
        assert!(matches!(newer, Fatal::UnknownVersion { found, .. } if found == CURRENT_VERSION + 1), "{newer}");
        bytes[1] = 1;
        assert!(matches!(unwrap::<Envelope>(&bytes, "entry 7"), Err(Fatal::Undecodable { .. })));
    }

    #[test]
    fn a_raised_fault_can_be_stored() {
        let source = QueueId { broker: "broker-a".into(), queue: 0 };
        let command = Command::RaiseFault {
            partition: PartitionId { stream: StreamId(1), source },
            epoch: Epoch(1),
            fault: Fault::SourceGap { from: 1, to: 9 },
        };
        encode(&Envelope { version: CURRENT_VERSION, request: 1, at: Timestamp(0), command }).unwrap();
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unwrap::<Envelope>(&bytes, "entry 1");
        }
    }
}
