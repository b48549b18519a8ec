//! Stable codes of everything that an operator may be told. Each has a page `docs/errors/CWY-NNNN.md`.
//!
//! 01xx input, 02xx access, 03xx source and target, 04xx faults that wait for a decision, 05xx the node itself.

use std::fmt;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal),* $(,)?) => {
        /// A stable code; its text form is `CWY-NNNN`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $variant),*
        }

        impl ErrorCode {
            /// Every code, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number in the text form.
            #[must_use]
            pub fn number(self) -> u16 {
                match self {
                    $(Self::$variant => $number),*
                }
            }
        }
    };
}

error_codes! {
    /// The configuration file or environment has faults.
    InvalidConfiguration = 101,
    /// A request has faults.
    InvalidRequest = 102,
    /// The name is taken.
    NameTaken = 103,
    /// No instance of that name.
    NoSuchInstance = 104,
    /// No stream of that name.
    NoSuchStream = 105,
    /// No partition of that name.
    NoSuchPartition = 106,
    /// The instance is still used.
    InstanceInUse = 107,
    /// It was changed in between.
    VersionConflict = 108,
    /// Source and target are the same.
    SameTopic = 109,
    /// A filter expression has faults.
    InvalidFilter = 110,
    /// The fault cannot be resolved this way.
    CannotResolve = 111,
    /// No such path or method.
    NoSuchPath = 112,
    /// The request body is too large.
    RequestTooLarge = 113,
    /// Another stream copies the same messages between the same topics.
    CopiedAlready = 114,

    /// No node of that name or id.
    NoSuchNode = 115,
    /// The last voter stays.
    LastVoter = 116,
    /// A node that is to be replaced still runs.
    NodeAlive = 117,
    /// The node cannot lead now.
    CannotLead = 118,
    /// A file that a command was given cannot be read or written.
    FileUnusable = 119,

    /// No token, or a wrong one.
    Unauthenticated = 201,
    /// A secret reference could not be read.
    SecretUnavailable = 202,
    /// A listening address needs TLS.
    UnsafeBind = 203,
    /// The request came through a foreign name or from a foreign page.
    ForeignRequest = 204,
    /// A certificate or key file cannot be used.
    CertificateUnusable = 205,
    /// The join token is not valid.
    NoSuchJoinToken = 206,

    /// A name server or broker could not be reached.
    Unreachable = 301,
    /// The instance refused the credentials or a permission is missing.
    InstanceDenied = 302,
    /// A topic does not exist.
    TopicMissing = 303,
    /// A broker sent bytes that are not RocketMQ's protocol.
    Malformed = 304,
    /// The instance asked to slow down.
    Busy = 305,
    /// The TLS handshake failed.
    TlsFailed = 306,
    /// The instance does not support what is needed.
    Unsupported = 307,
    /// The answer did not come in time.
    TimedOut = 308,
    /// The instance refused a request for another reason.
    InstanceRefused = 309,

    /// Messages are missing inside the source queue.
    SourceGap = 401,
    /// Retention removed messages before they were copied.
    RetentionWon = 402,
    /// The source queue ends before what was copied.
    SourceRolledBack = 403,
    /// The source queue holds other messages than those that were copied.
    SourceDiverged = 404,
    /// A source record is damaged.
    DamagedRecord = 405,
    /// The target refuses a record for good.
    BadRecord = 406,
    /// The target's retention removed the tail.
    TargetTailGone = 407,
    /// The target lost acknowledged copies beyond what can be found.
    TargetLost = 408,
    /// The same failure again and again at one offset.
    RepeatedFailure = 409,

    /// The cluster was initialised before.
    AlreadyInitialised = 501,
    /// The node is not ready or not the leader.
    Unavailable = 502,
    /// Another ownership is current.
    StaleEpoch = 503,
    /// The node's storage failed.
    StorageFailed = 504,
    /// The data directory belongs to another node or is in use.
    DataDirectory = 505,
    /// The node failed in a way that is a defect of Causeway.
    Internal = 506,
    /// What lies in the data directory was written by a newer Causeway.
    WrittenByNewer = 507,
    /// The node cannot listen at its address.
    AddressUnusable = 508,
    /// A node's build is older than what the cluster agreed on.
    NodeTooOld = 509,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CWY-{:04}", self.number())
    }
}

impl serde::Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Of its text form. One that this version does not know is none of its codes.
impl<'de> serde::Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let known = Self::ALL.iter().copied().find(|code| code.to_string() == text);
        known.ok_or_else(|| serde::de::Error::custom(format_args!("{text} is no code of this version")))
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    #[test]
    fn numbers_are_unique_and_ordered() {
        assert!(ErrorCode::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        assert_eq!(ErrorCode::SourceGap.to_string(), "CWY-0401");
    }
}
