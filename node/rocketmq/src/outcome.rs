//! What became of a send: the one place that decides whether a reply proves that nothing was stored.
//!
//! Parts: [`SendOutcome`], [`Durability`], [`Refusal`]; `judge`, a pure function of the reply.
//! It is a whitelist. Only replies that a broker provably gives before it appends count as not stored; everything else
//! that is not a success is unknown, however clear its words sound: `[PC_SYNCHRONIZED]`, "in-sync replicas not enough"
//! and code 14 are all given by some broker after an append.

use crate::error::{ACL_EXCEPTION, Class, Error, cap, classify};
use crate::wire::code::response;
use crate::wire::frame::Frame;

/// What became of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendOutcome {
    /// Stored on the master.
    Stored {
        /// The queue that it went to.
        queue_id: u32,
        /// Queue offset of the (first) message.
        offset: i64,
        /// How safe it is.
        durability: Durability,
    },
    /// Provably not stored: it may be sent again.
    NotStored(Refusal),
    /// It may or may not have been stored, now or in a while: the end of the queue must be read before anything is sent
    /// again.
    Unknown(Error),
}

/// How safe a stored message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Everything that the broker was configured to wait for happened.
    Full,
    /// Stored, but not flushed to disk in time.
    FlushDiskTimeout,
    /// Stored, but not copied to a slave in time.
    FlushSlaveTimeout,
    /// Stored, but there is no slave to copy to.
    SlaveNotAvailable,
}

/// Why nothing was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The broker is overloaded; send again later.
    Busy(String),
    /// The access key is unknown or the signature wrong.
    Authentication(String),
    /// Not allowed.
    NoPermission(String),
    /// The topic does not exist there.
    TopicMissing(String),
    /// The consumer group of a retry topic does not exist there.
    GroupMissing(String),
    /// The message or batch is larger than the broker takes.
    TooLarge(String),
    /// The message is one that the broker, or this client, never accepts.
    Illegal(String),
    /// Queue number or topic name are wrong for this broker.
    InvalidParameter(String),
    /// The server does not know the request.
    NotSupported(String),
    /// The request never left as a whole: no route, no master, no connection, or the connection ended before the last
    /// bytes.
    NotConnected(Error),
    /// The connection is not the one that the caller verified; this is the generation of the present one.
    ConnectionChanged(u64),
    /// The permit was withdrawn before the last bytes left.
    PermitWithdrawn,
}

impl Refusal {
    /// Whether the same message to the same topic will be refused again until somebody changes something, as opposed to
    /// an outage or overload that passes.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Busy(_) | Self::NotConnected(_) | Self::ConnectionChanged(_) | Self::PermitWithdrawn => false,
            Self::Authentication(_)
            | Self::NoPermission(_)
            | Self::TopicMissing(_)
            | Self::GroupMissing(_)
            | Self::TooLarge(_)
            | Self::Illegal(_)
            | Self::InvalidParameter(_)
            | Self::NotSupported(_) => true,
        }
    }
}

/// SYSTEM_BUSY remarks of requests that were rejected before execution, or taken out of the queue of those that wait
/// for it (`NettyRemotingAbstract`, `BrokerFastFailure`).
const BUSY_BEFORE_EXECUTION: [&str; 4] =
    ["[REJECTREQUEST]", "[OVERLOAD]", "[TIMEOUT_CLEAN_QUEUE]", "[PCBUSY_CLEAN_QUEUE]"];

/// SYSTEM_ERROR remarks of a batch that is too large, thrown while it is encoded, before any append
/// (`MessageExtEncoder`, `DLedgerCommitLog`).
const TOO_LARGE_BEFORE_APPEND: [&str; 2] =
    ["java.lang.RuntimeException: message body size exceeded", "java.lang.RuntimeException: message size exceeded"];

/// SYSTEM_ERROR remark of a broker that does not accept sends yet (`SendMessageProcessor.preSend`).
const NOT_YET_IN_SERVICE: &str = "broker unable to service, until";

/// SYSTEM_ERROR remarks of 4.9 for a wrong queue number or topic name, checked before anything else (`msgCheck`); 5.x
/// answers them with INVALID_PARAMETER.
const INVALID_BEFORE_APPEND: [&str; 2] = ["request queueId[", "The specified topic "];

/// Judges a broker's reply to a send.
pub(crate) fn judge(address: &str, reply: &Frame) -> SendOutcome {
    let durability = match reply.code {
        response::SUCCESS => Durability::Full,
        response::FLUSH_DISK_TIMEOUT => Durability::FlushDiskTimeout,
        response::SLAVE_NOT_AVAILABLE => Durability::SlaveNotAvailable,
        response::FLUSH_SLAVE_TIMEOUT => Durability::FlushSlaveTimeout,
        code => return judge_refusal(address, code, reply.remark.as_deref().unwrap_or_default()),
    };
    let place = reply.fields.parse::<u32>("queueId").and_then(|id| Ok((id, reply.fields.parse::<i64>("queueOffset")?)));
    match place {
        Ok((queue_id, offset)) if offset >= 0 => SendOutcome::Stored { queue_id, offset, durability },
        Ok((_, offset)) => SendOutcome::Unknown(Error::malformed(address, format!("stored at queue offset {offset}"))),
        Err(error) => SendOutcome::Unknown(Error::malformed(address, error)),
    }
}

fn judge_refusal(address: &str, code: i32, remark: &str) -> SendOutcome {
    let starts = |texts: &[&str]| texts.iter().any(|text| remark.starts_with(text));
    let shown = cap(remark);
    let refusal = match code {
        response::SYSTEM_ERROR if remark.starts_with(ACL_EXCEPTION) => match classify(code, remark) {
            Class::Authentication => Refusal::Authentication(shown),
            _ => Refusal::NoPermission(shown),
        },
        response::SYSTEM_ERROR if starts(&TOO_LARGE_BEFORE_APPEND) => Refusal::TooLarge(shown),
        response::SYSTEM_ERROR if starts(&INVALID_BEFORE_APPEND) => Refusal::InvalidParameter(shown),
        response::SYSTEM_ERROR if remark.starts_with(NOT_YET_IN_SERVICE) => Refusal::Busy(shown),
        response::SYSTEM_BUSY if starts(&BUSY_BEFORE_EXECUTION) => Refusal::Busy(shown),
        response::REQUEST_CODE_NOT_SUPPORTED | response::VERSION_NOT_SUPPORTED => Refusal::NotSupported(shown),
        response::MESSAGE_ILLEGAL => Refusal::Illegal(shown),
        response::NO_PERMISSION => match classify(code, remark) {
            Class::Authentication => Refusal::Authentication(shown),
            _ => Refusal::NoPermission(shown),
        },
        response::TOPIC_NOT_EXIST => Refusal::TopicMissing(shown),
        response::SUBSCRIPTION_GROUP_NOT_EXIST => Refusal::GroupMissing(shown),
        response::INVALID_PARAMETER => Refusal::InvalidParameter(shown),
        _ => return SendOutcome::Unknown(Error::refused(address, code, Some(remark))),
    };
    SendOutcome::NotStored(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::Fields;

    fn reply(code: i32, remark: &str, fields: &[(&str, &str)]) -> Frame {
        let fields: Fields = fields.iter().copied().collect();
        Frame { code, flag: 1, remark: (!remark.is_empty()).then(|| remark.to_owned()), fields, ..Frame::default() }
    }

    #[test]
    fn stored_replies_keep_place_and_durability() {
        let cases = [
            (0, Durability::Full),
            (10, Durability::FlushDiskTimeout),
            (11, Durability::SlaveNotAvailable),
            (12, Durability::FlushSlaveTimeout),
        ];
        for (code, durability) in cases {
            let outcome = judge("b:1", &reply(code, "", &[("queueId", "3"), ("queueOffset", "41"), ("msgId", "x")]));
            assert_eq!(outcome, SendOutcome::Stored { queue_id: 3, offset: 41, durability });
        }
    }

    #[test]
    fn a_success_without_a_usable_place_is_unknown() {
        for fields in [
            &[("queueId", "3")][..],
            &[("queueOffset", "41")],
            &[("queueId", "3"), ("queueOffset", "-1")],
            &[("queueId", "x"), ("queueOffset", "1")],
        ] {
            assert!(matches!(judge("b:1", &reply(0, "", fields)), SendOutcome::Unknown(_)), "{fields:?}");
        }
    }

    #[test]
    fn provable_refusals_are_not_stored() {
        type Check = fn(&Refusal) -> bool;
        let cases: &[(i32, &str, Check)] = &[
            (2, "[REJECTREQUEST]system busy, start flow control for a while", |r| matches!(r, Refusal::Busy(_))),
            (2, "[OVERLOAD]system busy, start flow control for a while", |r| matches!(r, Refusal::Busy(_))),
            (2, "[TIMEOUT_CLEAN_QUEUE]broker busy, period in queue: 201ms", |r| matches!(r, Refusal::Busy(_))),
            (2, "[PCBUSY_CLEAN_QUEUE]broker busy, period in queue: 3ms", |r| matches!(r, Refusal::Busy(_))),
            (1, "broker unable to service, until 2026-01-01 00:00:00", |r| matches!(r, Refusal::Busy(_))),
            (1, "java.lang.RuntimeException: message body size exceeded, org.apache", |r| {
                matches!(r, Refusal::TooLarge(_))
            }),
            (1, "org.apache.rocketmq.acl.common.AclException: Check signature failed", |r| {
                matches!(r, Refusal::Authentication(_))
            }),
            (1, "org.apache.rocketmq.acl.common.AclException: No default permission", |r| {
                matches!(r, Refusal::NoPermission(_))
            }),
            (3, " request type 320 not supported", |r| matches!(r, Refusal::NotSupported(_))),
            (15, "Request doesn't have field bname", |r| matches!(r, Refusal::NotSupported(_))),
            (13, "the message is illegal", |r| matches!(r, Refusal::Illegal(_))),
            (16, "check signature failed.", |r| matches!(r, Refusal::Authentication(_))),
            (16, "the broker[a] sending message is forbidden", |r| matches!(r, Refusal::NoPermission(_))),
            (17, "topic[t] not exist", |r| matches!(r, Refusal::TopicMissing(_))),
            (26, "subscription group not exist", |r| matches!(r, Refusal::GroupMissing(_))),
            (1, "request queueId[9] is illegal, TopicConfig [", |r| matches!(r, Refusal::InvalidParameter(_))),
            (1, "The specified topic contains illegal characters", |r| matches!(r, Refusal::InvalidParameter(_))),
            (29, "request queueId[9] is illegal", |r| matches!(r, Refusal::InvalidParameter(_))),
        ];
        for (code, remark, expected) in cases {
            match judge("b:1", &reply(*code, remark, &[])) {
                SendOutcome::NotStored(refusal) => {
                    assert!(expected(&refusal), "{code} {remark}: {refusal:?}");
                    assert_eq!(refusal.is_permanent(), !matches!(refusal, Refusal::Busy(_)));
                }
                other => panic!("{code} {remark}: {other:?}"),
            }
        }
    }

    #[test]
    fn everything_else_is_unknown() {
        let cases = [
            (2, "[PC_SYNCHRONIZED]broker busy, start flow control for a while"),
            (2, "system busy [REJECTREQUEST]"),
            (2, ""),
            (1, "in-sync replicas not enough"),
            (1, "UNKNOWN_ERROR"),
            (1, "java.lang.NullPointerException"),
            (1, "create mapped file failed, server is busy or broken."),
            (1, ""),
            (14, "service not available now"),
            (215, "flow control"),
            (501, "not leader"),
            (1500, "please go away"),
            (-1, ""),
            (19, ""),
            (i32::MAX, ""),
        ];
        for (code, remark) in cases {
            assert!(matches!(judge("b:1", &reply(code, remark, &[])), SendOutcome::Unknown(_)), "{code} {remark}");
        }
    }
}
