//! The property names that RocketMQ keeps for itself, every other name being a user's; and what no property can hold.
//!
//! From `MessageConst` of Apache 4.9 to 5.5: what its clients refuse as a user property, and what brokers and clients
//! set besides.

/// What a property that is never stored begins with.
const TRANSIENT_PREFIX: &str = "__RMQ.TRANSIENT.";

/// What separates names and values of properties as they are stored.
const SEPARATORS: [char; 2] = ['\u{1}', '\u{2}'];

/// Whether a text cannot be the name or the value of a property.
#[must_use]
pub fn has_separator(text: &str) -> bool {
    text.contains(SEPARATORS)
}

/// Whether a name is RocketMQ's own.
#[must_use]
pub fn is_system_property(name: &str) -> bool {
    match name {
        // What producers say of a message.
        "KEYS" | "TAGS" | "UNIQ_KEY" | "EXTEND_UNIQ_INFO" | "WAIT" | "BUYER_ID" | "INSTANCE_ID" | "__SHARDINGKEY"
        | "MSG_TYPE" | "TRACE_CONTEXT" | "TRACE_ON" | "MSG_REGION" | "CLUSTER" => true,
        // Request and reply.
        "CORRELATION_ID" | "REPLY_TO_CLIENT" | "TTL" | "ARRIVE_TIME" | "PUSH_REPLY_TIME" => true,
        // Delay and timers.
        "DELAY" | "TIMER_DELAY_LEVEL" | "TIMER_DELAY_MS" | "TIMER_DELAY_SEC" | "TIMER_DELIVER_MS"
        | "TIMER_DEL_UNIQKEY" | "TIMER_DEQUEUE_MS" | "TIMER_ENQUEUE_MS" | "TIMER_OUT_MS" | "TIMER_ROLL_TIMES"
        | "REAL_TOPIC" | "REAL_QID" => true,
        // Transactions.
        "TRAN_MSG"
        | "PGROUP"
        | "__transactionId__"
        | "TRANSACTION_CHECK_TIMES"
        | "CHECK_IMMUNITY_TIME_IN_SECONDS"
        | "TRAN_PREPARED_QUEUE_OFFSET" => true,
        // Retries and dead letters.
        "RETRY_TOPIC"
        | "ORIGIN_MESSAGE_ID"
        | "RECONSUME_TIME"
        | "MAX_RECONSUME_TIMES"
        | "DLQ_ORIGIN_TOPIC"
        | "DLQ_ORIGIN_MESSAGE_ID" => true,
        // What consumers and brokers note.
        "MIN_OFFSET"
        | "MAX_OFFSET"
        | "CONSUME_START_TIME"
        | "1ST_POP_TIME"
        | "POP_CK"
        | "POP_CK_OFFSET"
        | "INNER_NUM"
        | "INNER_BASE"
        | "INNER_MULTI_DISPATCH"
        | "INNER_MULTI_QUEUE_OFFSET"
        | "BORN_TIMESTAMP"
        | "__BORNHOST"
        | "__CRC32#"
        | "DUP_INFO"
        | "CORRECTION_FLAG"
        | "MQ2_FLAG"
        | "TRANSFER_FLAG" => true,
        _ => name.starts_with(TRANSIENT_PREFIX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_exactly() {
        for name in
            ["KEYS", "TAGS", "UNIQ_KEY", "__SHARDINGKEY", "DELAY", "1ST_POP_TIME", "__RMQ.TRANSIENT.TOPIC_SYS_FLAG"]
        {
            assert!(is_system_property(name), "{name}");
        }
        for name in ["", "keys", "TAGS ", "region", "__own", "RMQ.TRANSIENT.x", "UNIQ_KEY2"] {
            assert!(!is_system_property(name), "{name}");
        }
    }
}
