//! What a replicator may send on of the properties of a source message.
//!
//! From what brokers and proxies of 4.9 to 5.5 do with the names of Apache `MessageConst` on a send. A stored message
//! still carries the properties of its past: a matured delay message its delay, a committed one its transaction. Must
//! never keep a name on which the target would act.

/// What happens to a property of a source message on its way to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Copied as it is.
    Keep,
    /// Taken off: the target sets its own, or it means something only at the source.
    Strip,
    /// Taken off because the target would act on it, and remembered so that it can be restored and audited.
    StripAndRemember,
}

/// The disposition of a property, from what brokers and proxies do with the names of Apache `MessageConst`.
#[must_use]
pub fn reserved(name: &[u8], value: &[u8]) -> Disposition {
    match name {
        // Delays the copy again, or cancels another delayed message; and what the source noted while it delayed it.
        b"DELAY" | b"TIMER_DELAY_LEVEL" | b"TIMER_DELAY_MS" | b"TIMER_DELAY_SEC" | b"TIMER_DELIVER_MS"
        | b"TIMER_DEL_UNIQKEY" | b"TIMER_DEQUEUE_MS" | b"TIMER_ENQUEUE_MS" | b"TIMER_OUT_MS" | b"TIMER_ROLL_TIMES" => {
            Disposition::StripAndRemember
        }
        // Makes a half message of the copy, which nobody would ever commit; and what the source noted about the half.
        b"TRAN_MSG"
        | b"PGROUP"
        | b"CHECK_IMMUNITY_TIME_IN_SECONDS"
        | b"TRANSACTION_CHECK_TIMES"
        | b"TRAN_PREPARED_QUEUE_OFFSET" => Disposition::StripAndRemember,
        // Where a delayed or half message belongs: overwritten when the target would redirect the copy.
        b"REAL_QID" | b"REAL_TOPIC" => Disposition::StripAndRemember,
        // Dispatches the copy to more queues of the target.
        b"INNER_MULTI_DISPATCH" => Disposition::StripAndRemember,
        // Breaks the consume queue: both together are read as the base and the size of an inner batch.
        b"INNER_BASE" | b"INNER_NUM" | b"INNER_MULTI_QUEUE_OFFSET" => Disposition::Strip,
        // Lets a producer of the source lower the durability of the copy. True is what every producer says by default.
        b"WAIT" if value == b"true" => Disposition::Strip,
        b"WAIT" => Disposition::StripAndRemember,
        // Set anew by the target, or by the consumer that pulled; or names a place of the source.
        b"CLUSTER" | b"MSG_REGION" | b"TRACE_ON" | b"__CRC32#" | b"MAX_OFFSET" | b"MIN_OFFSET" | b"POP_CK"
        | b"POP_CK_OFFSET" => Disposition::Strip,
        _ if name.starts_with(b"__RMQ.TRANSIENT.") => Disposition::Strip,
        _ => Disposition::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_properties_are_kept() {
        for name in
            ["KEYS", "TAGS", "UNIQ_KEY", "__SHARDINGKEY", "MSG_TYPE", "__transactionId__", "DELAYED", "delay", "x"]
        {
            assert_eq!(reserved(name.as_bytes(), b"v"), Disposition::Keep, "{name}");
        }
        assert_eq!(reserved(b"__RMQ.TRANSIENT.TOPIC_SYS_FLAG", b"1"), Disposition::Strip);
    }

    #[test]
    fn only_a_lowered_wait_is_remembered() {
        assert_eq!(reserved(b"WAIT", b"true"), Disposition::Strip);
        assert_eq!(reserved(b"WAIT", b"false"), Disposition::StripAndRemember);
    }
}
