//! Identifiers: small copyable numbers, each a type of its own so that one cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

number_id! {
    /// A node of the Causeway cluster; never reused, because a lost disk forgets its votes.
    NodeId(u64)
}
number_id! {
    /// A stream: the log index of the command that created it, so a re-created stream gets another one.
    StreamId(u64)
}
number_id! {
    /// Tells apart the times that a whole stream is copied: a tail read looks only at copies of one generation.
    /// Always 0 so far; to restart one queue begins another incarnation of it.
    Generation(u32)
}
number_id! {
    /// The number of one ownership of a partition: +1 at each change, never reused.
    Epoch(u64)
}
number_id! {
    /// The version of a stream's rules (filter and transform) that a checkpoint was made under.
    RuleVersion(u32)
}
number_id! {
    /// The life of a queue between creation, truncation, rollback or re-creation. Offsets of two incarnations
    /// of one queue cannot be compared.
    Incarnation(u32)
}

impl Epoch {
    /// The epoch that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Generation {
    /// The generation that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Incarnation {
    /// The incarnation that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A Causeway cluster: 64 random bits drawn when it was initialised. It makes stream ids of two clusters differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub u64);

/// A RocketMQ cluster as provenance names it: 64 random bits drawn when the instance was registered.
///
/// It is what loops are recognised by, so the same RocketMQ cluster registered in two Causeway clusters should be
/// given the same identity there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct InstanceIdentity(pub u64);

impl fmt::Display for ClusterId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl fmt::Display for InstanceIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl std::str::FromStr for InstanceIdentity {
    type Err = InvalidIdentity;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all_hex = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !all_hex {
            return Err(InvalidIdentity);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| InvalidIdentity)
    }
}

/// An instance identity was not 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an instance identity is 16 hexadecimal digits")]
pub struct InvalidIdentity;

impl Serialize for InstanceIdentity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_u64(self.0) }
    }
}

impl<'de> Deserialize<'de> for InstanceIdentity {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}
