//! Which topic names may be an end of a stream.
//!
//! Source of the rules: Apache RocketMQ `TopicValidator` (characters, length, system topics) and `MixAll` (prefixes).
//! Topics named like a broker or a cluster are system topics too, but only the instance knows those names.

/// The longest topic name that brokers accept, in bytes.
pub const MAXIMUM_TOPIC_BYTES: usize = 127;

/// Topics that brokers use for themselves.
const SYSTEM_TOPICS: [&str; 10] = [
    "TBW102",
    "SELF_TEST_TOPIC",
    "BenchmarkTest",
    "OFFSET_MOVED_EVENT",
    "RMQ_SYS_TRACE_TOPIC",
    "CHECKPOINT_TOPIC",
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
];

/// The prefix of further topics that brokers use for themselves.
const SYSTEM_PREFIX: &str = "rmq_sys_";

/// Prefixes of topics that belong to a consumer group or to light queues, and what they hold.
const GROUP_PREFIXES: [(&str, &str); 3] = [
    ("%RETRY%", "the retries of a consumer group"),
    ("%DLQ%", "the dead letters of a consumer group"),
    ("%LMQ%", "light queues, which live inside other topics"),
];

/// Why a name cannot be an end of a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing there.
    #[error("name a topic")]
    Empty,
    /// Too long.
    #[error("a topic name has at most {MAXIMUM_TOPIC_BYTES} bytes; this one has {0}")]
    TooLong(usize),
    /// A character that brokers refuse.
    #[error("a topic name has letters, digits, '%', '|', '_' and '-' only; {0:?} is none of them")]
    Character(char),
    /// Brokers use it for themselves.
    #[error("{0} is a system topic: brokers use it for themselves, and a copy would mean nothing there")]
    System(String),
    /// It belongs to a consumer group or a light queue.
    #[error("{0} holds {1}, not the messages of a topic; copy the topic itself")]
    NotOrdinary(String, &'static str),
}

/// Checks a name.
///
/// # Errors
/// [`Error`] with what is wrong.
pub fn check(topic: &str) -> Result<(), Error> {
    if topic.is_empty() {
        return Err(Error::Empty);
    }
    if topic.len() > MAXIMUM_TOPIC_BYTES {
        return Err(Error::TooLong(topic.len()));
    }
    let allowed = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '%' | '|' | '_' | '-');
    if let Some(character) = topic.chars().find(|character| !allowed(character)) {
        return Err(Error::Character(character));
    }
    if let Some((_, holds)) = GROUP_PREFIXES.into_iter().find(|(prefix, _)| topic.starts_with(prefix)) {
        return Err(Error::NotOrdinary(topic.to_owned(), holds));
    }
    if SYSTEM_TOPICS.contains(&topic) || topic.starts_with(SYSTEM_PREFIX) {
        return Err(Error::System(topic.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Error, SYSTEM_TOPICS, check};

    #[test]
    fn accepts_what_brokers_accept() {
        for good in ["orders", "MQ_INST_1%orders", "a|b", "-", "_x-9", "tbw102", &"x".repeat(127)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn refuses_what_brokers_refuse_or_keep_for_themselves() {
        assert_eq!(check(""), Err(Error::Empty));
        assert_eq!(check(&"x".repeat(128)), Err(Error::TooLong(128)));
        for bad in ["a.b", "a b", "../../etc", "ä", "a/b", "a\0"] {
            assert!(matches!(check(bad), Err(Error::Character(_))), "{bad}");
        }
        for system in SYSTEM_TOPICS.into_iter().chain(["rmq_sys_wheel_timer", "rmq_sys_"]) {
            assert!(matches!(check(system), Err(Error::System(_))), "{system}");
        }
        for group in ["%RETRY%billing", "%DLQ%billing", "%LMQ%x"] {
            assert!(matches!(check(group), Err(Error::NotOrdinary(..))), "{group}");
        }
    }
}
