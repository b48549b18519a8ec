//! Why one side does not want a connection, in words that the other side can show.
//!
//! The form of a refusal is the same in every version of the protocol, so that an older and a newer node can still
//! tell each other what is wrong: a 2-byte big-endian code, then text in UTF-8.

use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};

/// The longest text that is sent or kept, in bytes.
pub(crate) const MAXIMUM_TEXT_BYTES: usize = 512;

/// Why a connection is not wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of reason.
    pub code: RefusalCode,
    /// The reason in words; at most 512 bytes when it came from the other side, without control characters.
    pub reason: String,
}

/// The kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalCode {
    /// The two speak different versions of the protocol.
    OtherProtocol,
    /// The two belong to different clusters.
    OtherCluster,
    /// A node connected to itself.
    Itself,
    /// The certificate does not carry the name that the node gave.
    WrongName,
    /// Another living process has the same node id.
    DuplicateNode,
    /// Another node answers at this address than the one that was looked for.
    WrongNode,
    /// Too many connections.
    Busy,
    /// The node is not wanted here, for instance because it was never let in.
    NotAdmitted,
    /// The bytes could not be understood.
    Malformed,
    /// A Raft message from a node that does not belong to the cluster.
    NotMember,
    /// The node was removed from the cluster. That is final for its number.
    Removed,
    /// The cluster knows the node of this number by another name.
    OtherName,
    /// A code of a newer version.
    Unknown(u16),
}

impl Refusal {
    /// A refusal with its reason in words.
    pub fn new(code: RefusalCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let text = words(self.reason.as_bytes());
        let mut bytes = BytesMut::with_capacity(2 + text.len());
        bytes.put_u16(self.code.number());
        bytes.put_slice(text.as_bytes());
        bytes.freeze()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Self {
        match bytes.split_first_chunk() {
            Some((code, text)) => Self::new(RefusalCode::of(u16::from_be_bytes(*code)), words(text)),
            None => Self::new(RefusalCode::Malformed, "a refusal without a code"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl RefusalCode {
    const KNOWN: [Self; 12] = [
        Self::OtherProtocol,
        Self::OtherCluster,
        Self::Itself,
        Self::WrongName,
        Self::DuplicateNode,
        Self::WrongNode,
        Self::Busy,
        Self::NotAdmitted,
        Self::Malformed,
        Self::NotMember,
        Self::Removed,
        Self::OtherName,
    ];

    fn number(self) -> u16 {
        match self {
            Self::OtherProtocol => 1,
            Self::OtherCluster => 2,
            Self::Itself => 3,
            Self::WrongName => 4,
            Self::DuplicateNode => 5,
            Self::WrongNode => 6,
            Self::Busy => 7,
            Self::NotAdmitted => 8,
            Self::Malformed => 9,
            Self::NotMember => 10,
            Self::Removed => 11,
            Self::OtherName => 12,
            Self::Unknown(number) => number,
        }
    }

    fn of(number: u16) -> Self {
        Self::KNOWN.into_iter().find(|code| code.number() == number).unwrap_or(Self::Unknown(number))
    }
}

/// Text of the other side for people to read: shortened, and nothing in it that would act on a terminal or a log.
pub(crate) fn words(bytes: &[u8]) -> String {
    let shown = bytes.get(..MAXIMUM_TEXT_BYTES).unwrap_or(bytes);
    let mut text: String = String::from_utf8_lossy(shown).chars().filter(|letter| !letter.is_control()).collect();
    while text.len() > MAXIMUM_TEXT_BYTES {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{MAXIMUM_TEXT_BYTES, Refusal, RefusalCode};

    #[test]
    fn every_code_comes_back_as_it_was_sent() {
        for code in RefusalCode::KNOWN.into_iter().chain([RefusalCode::Unknown(999)]) {
            let refusal = Refusal::new(code, "cluster 1 is not cluster 2");
            assert_eq!(Refusal::decode(&refusal.encode()), refusal);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_short_text_without_control_characters(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let refusal = Refusal::decode(&bytes);
            assert!(refusal.reason.len() <= MAXIMUM_TEXT_BYTES);
            assert!(!refusal.reason.chars().any(char::is_control));
        }
    }
}
