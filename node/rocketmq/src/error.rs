//! What can go wrong while talking to a RocketMQ cluster, sorted by what the caller can do about it.
//!
//! Parts: [`Error`], one variant per reaction; [`Class`], what a broker meant by a refusal; `classify`, the pure
//! mapping from a response code and remark to a class.
//! Never holds a credential, and never more than [`MAX_REMARK_BYTES`] of a text that a broker wrote.

use std::time::Duration;

use crate::request::pull::PullReason;
use crate::wire::code::response;

/// Longest part of a broker's remark that is kept, in bytes.
pub const MAX_REMARK_BYTES: usize = 512;

/// A failed request. Cheap to clone, because one lost connection fails every request that waited on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The settings cannot work; change them.
    #[error("settings: {0}")]
    Settings(String),
    /// Certificates or the TLS handshake; check both ends' TLS settings.
    #[error("TLS with {address}: {reason}")]
    Tls {
        /// Who was contacted, or the file that could not be used.
        address: String,
        /// What failed.
        reason: String,
    },
    /// No connection could be made; nothing was sent. Try again later.
    #[error("{address} is unreachable: {reason}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The reason that the operating system gave.
        reason: String,
    },
    /// An established connection ended while a request waited; whether the request was executed is not known.
    #[error("connection to {address} lost: {reason}")]
    ConnectionLost {
        /// Host and port.
        address: String,
        /// Why the connection ended.
        reason: String,
    },
    /// No answer in time; whether the request was executed is not known.
    #[error("{address} did not answer request {request} within {after:?}")]
    Timeout {
        /// Host and port.
        address: String,
        /// The request code.
        request: i32,
        /// How long the answer was waited for.
        after: Duration,
    },
    /// The peer sent bytes that no RocketMQ server sends. Probably not a RocketMQ port, or a damaged one.
    #[error("{address} answered with malformed data: {reason}")]
    Malformed {
        /// Host and port.
        address: String,
        /// What was wrong with the bytes.
        reason: String,
    },
    /// The server answered and said no.
    #[error("{address} refused with code {code} ({class}): {remark}")]
    Refused {
        /// Host and port.
        address: String,
        /// The response code.
        code: i32,
        /// What the code and remark mean.
        class: Class,
        /// The server's own words, at most [`MAX_REMARK_BYTES`].
        remark: String,
    },
    /// No name server knows the topic.
    #[error("topic {topic} has no route in any name server")]
    TopicMissing {
        /// The topic asked for.
        topic: String,
    },
    /// The route names no usable address for this broker: no master, or only a master that must not be asked.
    #[error("broker {broker} has no {role} in the route")]
    BrokerMissing {
        /// The broker name.
        broker: String,
        /// Which role was looked for.
        role: &'static str,
    },
    /// Only a slave could be read, and it does not hold what was asked for: it lags, or never had it. Wait for the
    /// master; this says nothing about the queue itself.
    #[error("slave {address} cannot serve the offset ({reason}): it holds {minimum_offset}..{maximum_offset}")]
    SlaveCannotServe {
        /// Host and port.
        address: String,
        /// The slave's words.
        reason: PullReason,
        /// First offset that the slave holds.
        minimum_offset: i64,
        /// One behind the last offset that it holds.
        maximum_offset: i64,
    },
    /// Only a slave could be read, and it refuses: a slave without `slaveReadEnable` answers as one that has too much
    /// to do. Wait for the master, or allow reads at the slave.
    #[error("slave {address} refuses reads ({remark}): it is overloaded, or slaveReadEnable is not true there")]
    SlaveRefuses {
        /// Host and port.
        address: String,
        /// The slave's own words, at most [`MAX_REMARK_BYTES`].
        remark: String,
    },
    /// Only a slave could be read, and its answer is no answer. Wait for the master, whose answer may be well.
    #[error("slave {address} answered with malformed data: {reason}")]
    SlaveUnreadable {
        /// Host and port.
        address: String,
        /// What was wrong with the bytes.
        reason: String,
    },
    /// The request is larger than the wire allows; split it.
    #[error("{what} of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The cluster uses a feature that this client does not speak.
    #[error("not supported: {feature}")]
    Unsupported {
        /// The feature, in words.
        feature: String,
    },
    /// A write was acknowledged but the value read back is another one.
    #[error("group offset was not applied: wrote {written}, read back {found:?}")]
    NotApplied {
        /// The value written.
        written: i64,
        /// The value read back.
        found: Option<i64>,
    },
    /// Too many requests already wait on this connection; try again.
    #[error("too many requests wait on the connection to {address}")]
    Overloaded {
        /// Host and port.
        address: String,
    },
    /// The permit given with a send was withdrawn before the frame's last bytes left; the frame was never executed.
    #[error("the permit to write was withdrawn")]
    PermitWithdrawn,
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

/// What a server meant by a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Class {
    /// Access key unknown or signature wrong.
    #[error("authentication failed")]
    Authentication,
    /// Authenticated, but not allowed; or the topic, group or broker forbids the action.
    #[error("not permitted")]
    NoPermission,
    /// The topic does not exist there.
    #[error("no such topic")]
    TopicMissing,
    /// The consumer group does not exist there.
    #[error("no such group")]
    GroupMissing,
    /// What was asked for does not exist.
    #[error("not found")]
    NotFound,
    /// Overloaded now; try again later.
    #[error("busy")]
    Busy,
    /// Running but unable to serve now: a slave, not writable, or shutting down.
    #[error("not available")]
    Unavailable,
    /// The server does not know this request.
    #[error("not supported")]
    NotSupported,
    /// The request's parameters are wrong for this server.
    #[error("wrong parameter")]
    InvalidParameter,
    /// The message itself is refused.
    #[error("illegal message")]
    MessageIllegal,
    /// Anything else.
    #[error("no known reason")]
    Other,
}

impl Error {
    /// Builds a refusal from a response, with the remark capped.
    pub(crate) fn refused(address: &str, code: i32, remark: Option<&str>) -> Self {
        let remark = remark.unwrap_or_default();
        Self::Refused { address: address.to_owned(), code, class: classify(code, remark), remark: cap(remark) }
    }

    /// Builds a malformed-data error.
    pub(crate) fn malformed(address: &str, reason: impl ToString) -> Self {
        Self::Malformed { address: address.to_owned(), reason: cap(&reason.to_string()) }
    }

    /// The class of a refusal, if this is one.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Refused { class, .. } => Some(*class),
            Self::TopicMissing { .. } => Some(Class::TopicMissing),
            _ => None,
        }
    }

    /// Whether the peer could not be talked to at all, so that another address of the same broker is worth a try.
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::ConnectionLost { .. } | Self::Timeout { .. } | Self::Tls { .. })
    }
}

/// Shortens a foreign text to [`MAX_REMARK_BYTES`] at a character boundary and removes control characters, so that it
/// can be logged and shown.
pub(crate) fn cap(text: &str) -> String {
    let mut kept = String::with_capacity(text.len().min(MAX_REMARK_BYTES));
    for character in text.chars() {
        if kept.len() + character.len_utf8() > MAX_REMARK_BYTES {
            break;
        }
        kept.push(if character.is_control() { ' ' } else { character });
    }
    kept
}

/// Maps a response code and remark to what they mean.
///
/// Codes are those of Apache's `ResponseCode` and `RemotingSysResponseCode`. Access control of 4.9 answers with code 1
/// and the text of its `AclException`; access control of 5.x answers with 16 and a sentence of its own for a failed
/// authentication (`DefaultAuthenticationHandler`).
pub(crate) fn classify(code: i32, remark: &str) -> Class {
    match code {
        response::SYSTEM_ERROR if remark.starts_with(ACL_EXCEPTION) => classify_acl(remark),
        // How 4.9 says what 5.x says with INVALID_PARAMETER.
        response::SYSTEM_ERROR if remark.starts_with("queueId[") || remark.starts_with("request queueId[") => {
            Class::InvalidParameter
        }
        response::SYSTEM_BUSY | FLOW_CONTROL => Class::Busy,
        response::REQUEST_CODE_NOT_SUPPORTED | response::VERSION_NOT_SUPPORTED => Class::NotSupported,
        response::MESSAGE_ILLEGAL => Class::MessageIllegal,
        response::SERVICE_NOT_AVAILABLE | response::GO_AWAY => Class::Unavailable,
        response::NO_PERMISSION
            if ["check signature failed", "username cannot be null", "Authentication failed"]
                .iter()
                .any(|text| remark.contains(text)) =>
        {
            Class::Authentication
        }
        response::NO_PERMISSION
            if remark.starts_with("User:") && (remark.ends_with("not found.") || remark.ends_with("is disabled.")) =>
        {
            Class::Authentication
        }
        response::NO_PERMISSION => Class::NoPermission,
        response::TOPIC_NOT_EXIST => Class::TopicMissing,
        response::QUERY_NOT_FOUND => Class::NotFound,
        response::SUBSCRIPTION_NOT_EXIST | response::SUBSCRIPTION_GROUP_NOT_EXIST => Class::GroupMissing,
        response::INVALID_PARAMETER => Class::InvalidParameter,
        _ => Class::Other,
    }
}

/// `ResponseCode.FLOW_CONTROL`, which only plug-ins of a broker answer.
const FLOW_CONTROL: i32 = 215;

/// How a 4.9 broker's remark begins when its access control refused the request before executing it.
pub(crate) const ACL_EXCEPTION: &str = "org.apache.rocketmq.acl.common.AclException";

fn classify_acl(remark: &str) -> Class {
    let authentication =
        ["Check signature failed", "No acl config for", "No accessKey is configured", "No PlainAccess"];
    if authentication.iter().any(|text| remark.contains(text)) { Class::Authentication } else { Class::NoPermission }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_classified_by_code_and_remark() {
        let cases = [
            (
                1,
                "org.apache.rocketmq.acl.common.AclException: Check signature failed for accessKey=a",
                Class::Authentication,
            ),
            (1, "org.apache.rocketmq.acl.common.AclException: No default permission for topic", Class::NoPermission),
            (1, "java.lang.NullPointerException, AclException", Class::Other),
            (1, "queueId[99] is illegal, topic:[t]", Class::InvalidParameter),
            (2, "[REJECTREQUEST]system busy", Class::Busy),
            (3, " request type 43 not supported", Class::NotSupported),
            (16, "check signature failed.", Class::Authentication),
            (16, "User:nobody is not found.", Class::Authentication),
            (16, "User:app has no permission to access Topic:t from 127.0.0.1", Class::NoPermission),
            (16, "the topic[t] pulling message is forbidden", Class::NoPermission),
            (17, "", Class::TopicMissing),
            (26, "", Class::GroupMissing),
            (9999, "", Class::Other),
        ];
        for (code, remark, expected) in cases {
            assert_eq!(classify(code, remark), expected, "{code} {remark}");
        }
    }

    #[test]
    fn operators_read_words() {
        let refused = Error::refused("b:1", 16, Some("no way"));
        assert_eq!(refused.to_string(), "b:1 refused with code 16 (not permitted): no way");
        let (address, reason) = ("b:1".to_owned(), PullReason::OffsetTooSmall);
        let slave = Error::SlaveCannotServe { address, reason, minimum_offset: 4, maximum_offset: 9 };
        assert_eq!(slave.to_string(), "slave b:1 cannot serve the offset (retention passed it): it holds 4..9");
    }

    #[test]
    fn a_remark_is_capped_at_a_character_boundary_and_made_printable() {
        let capped = cap(&"é\n".repeat(MAX_REMARK_BYTES));
        assert!(capped.len() <= MAX_REMARK_BYTES);
        assert!(capped.starts_with("é é "));
    }
}
