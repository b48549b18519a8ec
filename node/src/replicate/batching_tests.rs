//! How records become sends: [`super::batching`].

use std::sync::Arc;

use causeway_core::ids::{ClusterId, Epoch, Generation, Incarnation, InstanceIdentity, StreamId};
use causeway_core::provenance::{PROPERTY, Provenance, Stamp, StreamKey};
use proptest::prelude::*;

use bytes::Bytes;
use causeway_core::fault::Fault;
use causeway_core::stream::BornTimestamp;
use causeway_rocketmq::wire::batch;
use causeway_rocketmq::wire::record::Record;
use causeway_rocketmq::{Content, OutgoingBatch};

use super::batching::{Batcher, Limits, Ready};
use super::filter::Filter;
use super::transform::Transform;
use crate::replicate::memory::{MemoryQueue, Message, message};

const LIMITS: Limits =
    Limits { batch_bytes: 2_000, batch_messages: 100, message_bytes: 3_000, born_timestamp: BornTimestamp::Carried };

fn batcher(limits: Limits) -> Batcher {
    filtering(limits, "*")
}

fn filtering(limits: Limits, tags: &str) -> Batcher {
    let key = StreamKey { cluster: ClusterId(1), stream: StreamId(2), generation: Generation(0) };
    let stamp = |topic: &str| Stamp::new(key, Epoch(3), InstanceIdentity(0xa), "b", topic, 0, Incarnation(0));
    let filter = Filter::new(tags.parse().unwrap(), InstanceIdentity(0xb));
    Batcher::new(filter, Transform::new("orders", stamp), limits, Arc::default())
}

fn records(messages: impl IntoIterator<Item = Message>) -> Vec<Record> {
    let queue = MemoryQueue::default();
    queue.append_all(messages);
    queue.records()
}

fn sized(length: usize) -> Message {
    Message { body: Bytes::from(vec![b'x'; length]), ..Message::default() }
}

/// Source offsets of the messages in a send.
fn offsets(ready: &Ready) -> Vec<i64> {
    let inner = match ready.message.as_ref().map(|message| &message.content) {
        None => Vec::new(),
        Some(Content::Single { properties, .. }) => vec![properties.clone()],
        Some(Content::Batch(bytes)) => batch::decode(bytes).map(|inner| inner.unwrap().properties).collect(),
    };
    let offset = |properties: &Bytes| {
        let value = causeway_rocketmq::wire::properties::get(properties, PROPERTY).unwrap();
        Provenance::parse(value).unwrap().offset
    };
    inner.iter().map(offset).collect()
}

fn drain(batcher: &mut Batcher) -> Vec<Ready> {
    std::iter::from_fn(|| batcher.take()).collect()
}

fn all(mut batcher: Batcher, records: Vec<Record>) -> Vec<Vec<i64>> {
    batcher.stage(&records).unwrap();
    drain(&mut batcher).iter().map(offsets).collect()
}

#[test]
fn a_batch_ends_at_its_bytes_and_its_messages() {
    let by_count = Limits { batch_messages: 3, ..LIMITS };
    assert_eq!(all(batcher(by_count), records((0..7).map(message))), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    // Each takes about 630 bytes with its provenance.
    assert_eq!(all(batcher(LIMITS), records((0..7).map(|_| sized(500)))), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
}

#[test]
fn a_batch_ends_where_what_all_share_changes() {
    let compressed = |on: bool| Message { sys_flag: i32::from(on) | 0x10, ..message(0) };
    let sends = all(batcher(LIMITS), records([false, false, true, true, false].map(compressed)));
    assert_eq!(sends, [vec![0, 1], vec![2, 3], vec![4]]);
    let again = |times: i32| Message { reconsume_times: times, ..message(0) };
    assert_eq!(all(batcher(LIMITS), records([0, 0, 1].map(again))), [vec![0, 1], vec![2]]);
}

#[test]
fn born_timestamps_split_batches_only_when_they_are_to_be_exact() {
    // Three messages of each born timestamp.
    let messages = || records((0..6).map(message));
    assert_eq!(all(batcher(LIMITS), messages()).len(), 1);
    let exact = Limits { born_timestamp: BornTimestamp::Exact, ..LIMITS };
    assert_eq!(all(batcher(exact), messages()), [vec![0, 1, 2], vec![3, 4, 5]]);
    let mut batcher = batcher(LIMITS);
    batcher.stage(&messages()).unwrap();
    assert_eq!(batcher.take().unwrap().message.unwrap().born_timestamp, 1_000);
}

#[test]
fn what_fits_no_batch_goes_alone_and_what_fits_nothing_is_a_bad_record() {
    let sends = all(batcher(LIMITS), records([sized(10), sized(2_000), sized(3_000), sized(0), sized(10)]));
    assert_eq!(sends, [vec![0], vec![1], vec![2], vec![3, 4]]);
    let mut batcher = batcher(LIMITS);
    let staged = batcher.stage(&records([sized(10), sized(3_001), sized(10)]));
    assert!(matches!(staged, Err(Fault::BadRecord { offset: 1, .. })));
    assert_eq!(drain(&mut batcher).iter().map(offsets).collect::<Vec<_>>(), [[0]]);
}

#[test]
fn records_can_be_sent_one_by_one_up_to_an_offset() {
    let mut one_by_one = batcher(LIMITS);
    one_by_one.one_by_one_below(2);
    assert_eq!(all(one_by_one, records((0..5).map(message))), [vec![0], vec![1], vec![2, 3, 4]]);
}

/// What was left out before a record that is refused is told of by itself, or a decision about the record would pass
/// over records that nobody knows to be done with.
#[test]
fn what_is_left_out_before_a_record_that_is_sent_alone_is_a_send_of_its_own() {
    let tagged = |tag: &str| Message { properties: Bytes::from(format!("TAGS\u{1}{tag}\u{2}")), ..Message::default() };
    let tags = ["no", "no", "yes", "yes", "no", "yes", "no"];
    let filtered = |alone_below: i64| {
        let mut batcher = filtering(LIMITS, "yes");
        batcher.one_by_one_below(alone_below);
        batcher.stage(&records(tags.map(tagged))).unwrap();
        let sends = drain(&mut batcher);
        sends.iter().map(|ready| (ready.first.unwrap(), ready.messages, ready.filtered)).collect::<Vec<_>>()
    };
    assert_eq!(filtered(4), [(0, 0, 2), (2, 1, 0), (3, 1, 0), (4, 1, 2)]);
    assert_eq!(filtered(0), [(0, 3, 4)]);
}

#[test]
fn what_arrives_in_pieces_is_packed_like_what_arrives_at_once() {
    let records = records((0..7).map(|_| sized(500)));
    let mut batcher = batcher(LIMITS);
    for piece in records.chunks(2) {
        batcher.stage(piece).unwrap();
    }
    assert_eq!((batcher.position(), batcher.is_empty(), batcher.holds(usize::MAX)), (Some(0), false, true));
    assert_eq!(batcher.staged_bytes(), records.iter().map(Record::encoded_len).sum::<usize>());
    let sends = drain(&mut batcher);
    assert_eq!(sends.iter().map(offsets).collect::<Vec<_>>(), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    let lasts: Vec<_> = sends.iter().map(|ready| ready.last.unwrap().offset).collect();
    assert_eq!(lasts, [2, 5, 6]);
    assert_eq!(
        sends.iter().map(|ready| ready.source_bytes).sum::<usize>(),
        records.iter().map(Record::encoded_len).sum::<usize>()
    );
    assert_eq!((batcher.position(), batcher.is_empty(), batcher.staged_bytes()), (None, true, 0));
    batcher.stage(&records).unwrap();
    batcher.restart(0);
    assert!(batcher.is_empty() && batcher.take().is_none());
    assert_eq!(all(batcher, records).len(), 3, "nothing of what was forgotten is left");
}

#[test]
fn properties_at_the_limit_are_a_bad_record_and_do_not_disturb_the_others() {
    let long = Message { properties: Bytes::from(vec![b'p'; 10]), ..message(0) };
    let huge = [b"k\x01".to_vec(), vec![b'v'; 32_700], vec![2]].concat();
    let bad = Message { properties: Bytes::from(huge), ..message(1) };
    let limits = Limits { batch_bytes: 100_000, message_bytes: 100_000, ..LIMITS };
    let mut batcher = batcher(limits);
    let records = records([long.clone(), bad, long]);
    assert!(matches!(batcher.stage(&records), Err(Fault::BadRecord { offset: 1, .. })));
    assert!(matches!(batcher.stage(&records[1..]), Err(Fault::BadRecord { offset: 1, .. })));
    batcher.stage(&records[2..]).unwrap();
    assert_eq!(drain(&mut batcher).iter().map(offsets).collect::<Vec<_>>(), [[0], [2]]);
}

proptest! {
    /// Whatever the sizes: every record goes into one send, in order, and no send is larger than it may be.
    #[test]
    fn nothing_is_left_out_doubled_or_reordered(
        lengths in prop::collection::vec(0_usize..3_000, 1..40), flags in prop::collection::vec(0_i32..2, 40),
    ) {
        let count = i64::try_from(lengths.len()).unwrap();
        let message = |(length, flag): (&usize, &i32)| Message { sys_flag: *flag, ..sized(*length) };
        let mut batcher = batcher(LIMITS);
        batcher.stage(&records(lengths.iter().zip(&flags).map(message))).unwrap();
        let mut seen = Vec::new();
        for ready in drain(&mut batcher) {
            let sent = offsets(&ready);
            prop_assert_eq!(ready.messages, i64::try_from(sent.len()).unwrap());
            prop_assert!(sent.len() == 1 || ready.bytes <= LIMITS.batch_bytes);
            if let Some(OutgoingBatch { content: Content::Batch(bytes), .. }) = &ready.message {
                prop_assert!(bytes.len() <= LIMITS.message_bytes);
            }
            seen.extend(sent);
        }
        prop_assert_eq!(seen, (0..count).collect::<Vec<_>>());
    }
}
