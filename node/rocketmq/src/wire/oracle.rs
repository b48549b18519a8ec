//! Comparison with rocketmq-rust, another implementation of the same layouts: what we write it reads the same, and the
//! reverse.
//!
//! Test code only.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use proptest::prelude::*;
use rocketmq_protocol::RemotingCommand;
use rocketmq_protocol::protocol::SerializeType;
use rocketmq_protocol::protocol::body::message_codec::decode_message_frame;

use super::frame::{self, Frame, Serialization};
use super::{record, strategies};

fn pairs_of(frame: &Frame) -> BTreeMap<String, String> {
    frame.fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn pairs_of_command(command: &RemotingCommand) -> BTreeMap<String, String> {
    command.ext_fields().into_iter().flatten().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

proptest! {
    #[test]
    fn our_frames_are_read_by_rocketmq_rust(frame in strategies::any_frame(), json in any::<bool>()) {
        let mut out = BytesMut::new();
        frame::encode(&frame, if json { Serialization::Json } else { Serialization::RocketMq }, &mut out).unwrap();
        let command = RemotingCommand::decode(&mut out).unwrap().unwrap();
        prop_assert!(out.is_empty());
        prop_assert_eq!(command.code(), frame.code);
        prop_assert_eq!(command.version(), frame.version);
        prop_assert_eq!(command.opaque(), frame.opaque);
        prop_assert_eq!(command.flag(), frame.flag);
        prop_assert_eq!(command.remark().map(ToString::to_string), frame.remark.clone());
        prop_assert_eq!(pairs_of_command(&command), pairs_of(&frame));
        prop_assert_eq!(command.body().cloned().unwrap_or_default(), frame.body);
    }

    #[test]
    fn frames_of_rocketmq_rust_are_read(wanted in strategies::any_frame(), json in any::<bool>()) {
        let way = if json { SerializeType::JSON } else { SerializeType::ROCKETMQ };
        let mut command = RemotingCommand::with_resolved_defaults(wanted.version, way)
            .set_code(wanted.code)
            .set_opaque(wanted.opaque)
            .set_flag(wanted.flag)
            .set_remark_option(wanted.remark.clone());
        command.ensure_ext_fields_initialized();
        for (name, value) in wanted.fields.iter() {
            command.add_ext_field(name.to_owned(), value.to_owned());
        }
        command.set_body_mut_ref(wanted.body.clone());
        let mut out = BytesMut::new();
        command.try_fast_header_encode(&mut out).unwrap();
        out.put(wanted.body.clone());
        let whole = frame::split(&mut out, frame::MAX_FRAME_BYTES).unwrap().unwrap();
        let decoded = frame::decode(whole).unwrap();
        prop_assert_eq!(pairs_of(&decoded), pairs_of(&wanted));
        prop_assert_eq!(Frame { fields: wanted.fields.clone(), ..decoded }, wanted);
    }

    #[test]
    fn our_records_are_read_by_rocketmq_rust(record in strategies::any_record()) {
        let mut out = BytesMut::new();
        record::encode_record(&record, &mut out).unwrap();
        let mut bytes: Bytes = out.freeze();
        let other = decode_message_frame(&mut bytes).unwrap();
        prop_assert!(bytes.is_empty());
        prop_assert_eq!(u32::try_from(other.queue_id).unwrap(), record.queue_id);
        prop_assert_eq!((other.body_crc, other.flag, other.sys_flag), (record.body_crc, record.flag, record.sys_flag));
        prop_assert_eq!((other.queue_offset, other.commit_log_offset), (record.queue_offset, record.physical_offset));
        prop_assert_eq!((other.born_timestamp, other.store_timestamp), (record.born_timestamp, record.store_timestamp));
        prop_assert_eq!((other.born_host, other.store_host), (record.born_host, record.store_host));
        prop_assert_eq!(other.reconsume_times, record.reconsume_times);
        prop_assert_eq!(other.prepared_transaction_offset, record.prepared_transaction_offset);
        prop_assert_eq!(&other.body, &record.body);
        prop_assert_eq!(other.topic.as_str(), record.topic.as_ref());
        prop_assert_eq!(other.properties_string.as_str().as_bytes(), record.properties.as_ref());
    }
}
