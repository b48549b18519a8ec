//! The bytes of a pull: its request, and what each answer of a broker means.
//!
//! Pure. A slave's answers are read by other rules than a master's: only a master knows where its queue begins and
//! ends.

use bytes::Bytes;

use super::{Pull, PullReason, PullRequest};
use crate::client::{field, queue_fields};
use crate::error::{Error, cap};
use crate::route::{MASTER_ID, Queue};
use crate::wire::code::request::PULL_MESSAGE;
use crate::wire::code::response::{PULL_NOT_FOUND, PULL_OFFSET_MOVED, PULL_RETRY_IMMEDIATELY, SUCCESS, SYSTEM_BUSY};
use crate::wire::frame::Frame;
use crate::wire::record::decode_all;

/// Bits of the request's sysFlag (`PullSysFlag`).
const FLAG_SUSPEND: i32 = 2;
const FLAG_SUBSCRIPTION: i32 = 4;

/// The request.
pub(super) fn encode(queue: &Queue, request: &PullRequest, group: &str) -> Frame {
    let suspend = if request.wait.is_zero() { 0 } else { FLAG_SUSPEND };
    let mut fields = queue_fields(queue);
    fields.push("consumerGroup", group);
    fields.push("queueOffset", request.offset);
    fields.push("maxMsgNums", request.maximum_messages);
    fields.push("sysFlag", FLAG_SUBSCRIPTION | suspend);
    fields.push("commitOffset", 0);
    fields.push("suspendTimeoutMillis", request.wait.as_millis());
    fields.push("subscription", "*");
    fields.push("subVersion", 0);
    fields.push("expressionType", "TAG");
    Frame::request(PULL_MESSAGE, fields, Bytes::new())
}

/// Reads an answer; also which broker id should be asked next.
pub(super) fn interpret(
    address: &str,
    request: &PullRequest,
    answer: &Frame,
    from_slave: bool,
) -> Result<(Pull, u64), Error> {
    let code = answer.code;
    if from_slave && code == SYSTEM_BUSY {
        let remark = cap(answer.remark.as_deref().unwrap_or_default());
        return Err(Error::SlaveRefuses { address: address.to_owned(), remark });
    }
    if !matches!(code, SUCCESS | PULL_NOT_FOUND | PULL_RETRY_IMMEDIATELY | PULL_OFFSET_MOVED) {
        return Err(Error::refused(address, code, answer.remark.as_deref()));
    }
    if answer.fields.get("offsetDelta").is_some_and(|delta| delta != "0") {
        return Err(Error::Unsupported { feature: "static topic (logical queue offsets)".to_owned() });
    }
    let next_offset = field(address, answer, "nextBeginOffset")?;
    let minimum_offset = field(address, answer, "minOffset")?;
    let maximum_offset = field(address, answer, "maxOffset")?;
    let suggested = answer.fields.parse_optional("suggestWhichBrokerId").ok().flatten().unwrap_or(MASTER_ID);
    let reason = PullReason::from_remark(answer.remark.as_deref());
    let code = match as_a_slave_means_it(code, reason, request.offset) {
        _ if !from_slave => code,
        Some(code) => code,
        None => {
            let address = address.to_owned();
            return Err(Error::SlaveCannotServe { address, reason, minimum_offset, maximum_offset });
        }
    };
    let pulled = match code {
        SUCCESS => Pull::Found {
            records: decode_all(&answer.body).map_err(|error| Error::malformed(address, error))?,
            bytes: answer.body.len(),
            next_offset,
            minimum_offset,
            maximum_offset,
            from_slave,
        },
        PULL_NOT_FOUND => Pull::AtTail { reason, next_offset, minimum_offset, maximum_offset, from_slave },
        PULL_RETRY_IMMEDIATELY => Pull::RetryNow { reason, next_offset, minimum_offset, maximum_offset, from_slave },
        _ => Pull::OffsetMoved { reason, next_offset, minimum_offset, maximum_offset, from_slave },
    };
    Ok((pulled, suggested))
}

/// A slave's word about the ends of a queue is not the queue's: it may lag or have begun late. `None` where it does not
/// say more than that. A slave of 5.x that holds its master for alive answers "come again at once" for everything that
/// it does not have (`PullMessageProcessor.composeResponseHeader`), also where only this client cannot reach the
/// master. A queue that it holds empty ends where it begins, for whoever asks for the beginning.
fn as_a_slave_means_it(code: i32, reason: PullReason, offset: i64) -> Option<i32> {
    match (code, reason) {
        (SUCCESS | PULL_NOT_FOUND, _) | (PULL_RETRY_IMMEDIATELY, PullReason::NoMatchedMessage) => Some(code),
        (PULL_RETRY_IMMEDIATELY, PullReason::OffsetOverflowOne | PullReason::OffsetFoundNull) => Some(PULL_NOT_FOUND),
        (PULL_RETRY_IMMEDIATELY, PullReason::NoMessageInQueue | PullReason::NoMatchedLogicQueue) if offset == 0 => {
            Some(PULL_NOT_FOUND)
        }
        _ => None,
    }
}

impl PullReason {
    fn from_remark(remark: Option<&str>) -> Self {
        match remark.unwrap_or_default() {
            "NO_MATCHED_MESSAGE" => Self::NoMatchedMessage,
            "MESSAGE_WAS_REMOVING" => Self::MessageWasRemoving,
            "OFFSET_FOUND_NULL" => Self::OffsetFoundNull,
            "OFFSET_OVERFLOW_BADLY" => Self::OffsetOverflowBadly,
            "OFFSET_OVERFLOW_ONE" => Self::OffsetOverflowOne,
            "OFFSET_TOO_SMALL" => Self::OffsetTooSmall,
            "NO_MATCHED_LOGIC_QUEUE" => Self::NoMatchedLogicQueue,
            "NO_MESSAGE_IN_QUEUE" => Self::NoMessageInQueue,
            "OFFSET_RESET" => Self::OffsetReset,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Class;
    use crate::wire::frame::Fields;

    const ASKED: PullRequest = PullRequest { offset: 9, maximum_messages: 32, wait: Duration::ZERO };

    fn answer(code: i32, remark: &str, body: &'static [u8]) -> Frame {
        let fields: Fields =
            [("nextBeginOffset", "9"), ("minOffset", "2"), ("maxOffset", "9"), ("suggestWhichBrokerId", "1")]
                .into_iter()
                .collect();
        let remark = Some(remark.to_owned());
        Frame { code, flag: 1, remark, fields, body: Bytes::from_static(body), ..Frame::default() }
    }

    #[test]
    fn every_answer_of_a_broker_has_its_own_value() {
        let (next_offset, minimum_offset, maximum_offset, from_slave) = (9, 2, 9, false);
        for (code, remark, reason) in [
            (19, "OFFSET_OVERFLOW_ONE", PullReason::OffsetOverflowOne),
            (19, "OFFSET_FOUND_NULL", PullReason::OffsetFoundNull),
            (19, "NO_MESSAGE_IN_QUEUE", PullReason::NoMessageInQueue),
            (20, "MESSAGE_WAS_REMOVING", PullReason::MessageWasRemoving),
            (20, "NO_MATCHED_MESSAGE", PullReason::NoMatchedMessage),
            (21, "OFFSET_TOO_SMALL", PullReason::OffsetTooSmall),
            (21, "OFFSET_OVERFLOW_BADLY", PullReason::OffsetOverflowBadly),
            (21, "NO_MATCHED_LOGIC_QUEUE", PullReason::NoMatchedLogicQueue),
            (21, "OFFSET_RESET", PullReason::OffsetReset),
            (21, "something new", PullReason::Other),
        ] {
            let expected = match code {
                19 => Pull::AtTail { reason, next_offset, minimum_offset, maximum_offset, from_slave },
                20 => Pull::RetryNow { reason, next_offset, minimum_offset, maximum_offset, from_slave },
                _ => Pull::OffsetMoved { reason, next_offset, minimum_offset, maximum_offset, from_slave },
            };
            assert_eq!(interpret("b:1", &ASKED, &answer(code, remark, b""), false).unwrap(), (expected, 1));
        }
    }

    #[test]
    fn a_slave_s_ends_are_not_the_queue_s() {
        for (code, remark) in [
            (20, "OFFSET_TOO_SMALL"),
            (20, "OFFSET_OVERFLOW_BADLY"),
            (20, "NO_MESSAGE_IN_QUEUE"),
            (20, "MESSAGE_WAS_REMOVING"),
            (21, "OFFSET_OVERFLOW_BADLY"),
            (21, "OFFSET_TOO_SMALL"),
        ] {
            let error = interpret("b:1", &ASKED, &answer(code, remark, b""), true).unwrap_err();
            assert!(matches!(error, Error::SlaveCannotServe { minimum_offset: 2, maximum_offset: 9, .. }), "{remark}");
        }
        for code in [19, 20] {
            let (pulled, _) = interpret("b:1", &ASKED, &answer(code, "OFFSET_OVERFLOW_ONE", b""), true).unwrap();
            assert!(matches!(pulled, Pull::AtTail { from_slave: true, .. }), "{pulled:?}");
        }
        let beginning = PullRequest { offset: 0, ..ASKED };
        for remark in ["NO_MESSAGE_IN_QUEUE", "NO_MATCHED_LOGIC_QUEUE"] {
            let (pulled, _) = interpret("b:1", &beginning, &answer(20, remark, b""), true).unwrap();
            assert!(matches!(pulled, Pull::AtTail { from_slave: true, .. }), "{pulled:?}");
        }
        let (pulled, _) = interpret("b:1", &ASKED, &answer(0, "FOUND", b""), true).unwrap();
        assert!(matches!(pulled, Pull::Found { from_slave: true, .. }), "{pulled:?}");
    }

    #[test]
    fn refusals_keep_code_and_class() {
        for (code, class) in
            [(16, Class::NoPermission), (17, Class::TopicMissing), (26, Class::GroupMissing), (2, Class::Busy)]
        {
            assert_eq!(interpret("b:1", &ASKED, &answer(code, "", b""), false).unwrap_err().class(), Some(class));
        }
    }

    #[test]
    fn undecodable_records_and_missing_fields_are_errors() {
        assert!(matches!(
            interpret("b:1", &ASKED, &answer(0, "FOUND", b"garbage"), false),
            Err(Error::Malformed { .. })
        ));
        let mut without = answer(19, "", b"");
        without.fields = Fields::new();
        assert!(matches!(interpret("b:1", &ASKED, &without, false), Err(Error::Malformed { .. })));
    }

    #[test]
    fn logical_queues_are_refused() {
        let mut moved = answer(19, "", b"");
        moved.fields.push("offsetDelta", 5);
        assert!(matches!(interpret("b:1", &ASKED, &moved, false), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn a_request_without_a_wait_is_not_suspended() {
        let queue = Queue { topic: "t".into(), broker: "b".into(), id: 3 };
        let mut request = PullRequest { offset: 7, maximum_messages: 32, wait: Duration::ZERO };
        assert_eq!(encode(&queue, &request, "g").fields.get("sysFlag"), Some("4"));
        request.wait = Duration::from_secs(15);
        let fields = encode(&queue, &request, "g").fields;
        let value = |name| fields.get(name).map(str::to_owned);
        assert_eq!(value("sysFlag").as_deref(), Some("6"));
        assert_eq!(value("suspendTimeoutMillis").as_deref(), Some("15000"));
        assert_eq!(value("commitOffset").as_deref(), Some("0"));
    }
}
