use proptest::prelude::{any, prop, proptest};

use super::*;
use crate::replicate::memory::{MemoryQueue, Message};

const ANSWERED: Answered = Answered { process: 7, connection: 8, from_slave: true };
const ALL: [Compression; 3] = [Compression::Off, Compression::Lz4, Compression::Zstd];
const BOUNDS: Bounds = Bounds { minimum: 0, maximum: 1_000 };

fn records(bodies: &[Vec<u8>]) -> Vec<Record> {
    let queue = MemoryQueue::default();
    queue.append_all(bodies.iter().map(|body| Message { body: Bytes::copy_from_slice(body), ..Message::default() }));
    queue.records()
}

fn written(records: &[Record], left_out: &[bool], compression: Compression) -> Bytes {
    let mut writer = BatchWriter::new();
    for (record, is_left_out) in records.iter().zip(left_out) {
        if *is_left_out {
            writer.leave_out(record, record.queue_offset % 2 == 0);
        } else {
            writer.add(record).unwrap();
        }
    }
    writer.finish(ANSWERED, BOUNDS, compression).0
}

/// Checks that the pieces are these records, in order and whole.
fn check(answer: Answer, records: &[Record], left_out: &[bool]) {
    let Answer::Batch(batch) = answer else { panic!("{answer:?}") };
    assert_eq!((batch.answered, batch.bounds), (ANSWERED, BOUNDS));
    let mut all = records.iter().zip(left_out);
    for piece in batch.pieces {
        match piece {
            Piece::Records(read) => {
                for record in read {
                    let (expected, is_left_out) = all.next().unwrap();
                    assert!(!is_left_out);
                    assert_eq!(&record, expected);
                }
            }
            Piece::LeftOut(stretch) => {
                let stretch_records: Vec<_> =
                    all.by_ref().take(usize::try_from(stretch.filtered + stretch.looped).unwrap()).collect();
                assert!(stretch_records.iter().all(|(_, is_left_out)| **is_left_out));
                let (first, last) = (stretch_records[0].0, stretch_records.last().unwrap().0);
                assert_eq!((stretch.first, stretch.last), (first.queue_offset, Last::of(last)));
                let bytes: usize = stretch_records.iter().map(|(record, _)| record.encoded_len()).sum();
                assert_eq!(stretch.bytes, u64::try_from(bytes).unwrap());
            }
        }
    }
    assert!(all.next().is_none());
}

proptest! {
    #[test]
    fn a_batch_comes_back_as_it_was_written_compressed_or_not(
        bodies in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..200), any::<bool>()), 0..40),
    ) {
        let (bodies, left_out): (Vec<_>, Vec<_>) = bodies.into_iter().unzip();
        let records = records(&bodies);
        for compression in ALL {
            check(Answer::parse(written(&records, &left_out, compression)).unwrap(), &records, &left_out);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Answer::parse(Bytes::from(bytes.clone()));
        let _ = codec::decode::<Ask>(&bytes);
    }

    #[test]
    fn a_damaged_batch_is_refused_or_whole(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..10),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        compression in prop::sample::select(&ALL[..]),
    ) {
        let records = records(&bodies);
        let mut bytes = written(&records, &vec![false; records.len()], compression).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(Answer::Batch(batch)) = Answer::parse(Bytes::from(bytes)) {
            assert!(batch.pieces.len() <= MAXIMUM_PIECES);
        }
    }
}

#[test]
fn bodies_that_repeat_travel_compressed() {
    let records = records(&vec![b"the same words again and again".repeat(20); 50]);
    let left_out = vec![false; 50];
    let plain = written(&records, &left_out, Compression::Off);
    for compression in [Compression::Lz4, Compression::Zstd] {
        let packed = written(&records, &left_out, compression);
        assert!(packed.len() * 5 < plain.len(), "{} of {}", packed.len(), plain.len());
        check(Answer::parse(packed).unwrap(), &records, &left_out);
    }
}

#[test]
fn short_answers_come_back_and_their_words_are_capped() {
    for answer in [
        Answer::Bounds(BOUNDS),
        Answer::Offset(-3),
        Answer::Trouble(Trouble::new(ErrorCode::Malformed, "no")),
        Answer::Refused(Refusal::OtherVersion),
        Answer::Refused(Refusal::NoClient("no secret".into())),
    ] {
        assert_eq!(Answer::parse(answer.short()).unwrap(), answer);
    }
    let long = Answer::Trouble(Trouble::new(ErrorCode::TimedOut, "ä\n".repeat(9_000)));
    let Ok(Answer::Trouble(trouble)) = Answer::parse(long.short()) else { panic!("refused") };
    assert_eq!(trouble.why, "ä".repeat(MAXIMUM_WORDS));
    let unknown = message(&Head::Trouble { code: 9_999, why: String::new() }, &[]);
    assert_eq!(Answer::parse(unknown), Ok(Answer::Trouble(Trouble::new(ErrorCode::Unreachable, ""))));
}

#[test]
fn what_does_not_add_up_is_refused() {
    let records = records(&[vec![1], vec![2]]);
    let mut raw = BytesMut::new();
    records.iter().for_each(|record| encode_record(record, &mut raw).unwrap());
    let batch = |pieces, packing| {
        Answer::parse(message(&Head::Batch { answered: ANSWERED, bounds: (0, 9), pieces, packing }, &raw))
    };
    assert!(batch(vec![PieceHead::Records(2)], Packing::Plain).is_ok());
    for count in [0, 1, 3, u32::MAX] {
        assert!(batch(vec![PieceHead::Records(count)], Packing::Plain).is_err(), "{count}");
    }
    assert!(batch(vec![PieceHead::Records(2)], Packing::Lz4 { bytes: u64::MAX }).is_err());
    for (last, filtered) in [(5, 5), (5, 7), (4, u64::MAX), (i64::MIN, 1)] {
        let (fingerprint, store_timestamp, looped, bytes) = (1, 2, 0, 4);
        let left_out = PieceHead::LeftOut { first: 0, last, fingerprint, store_timestamp, filtered, looped, bytes };
        assert!(batch(vec![left_out, PieceHead::Records(2)], Packing::Plain).is_err(), "{last} {filtered}");
    }
    let many = (0..=MAXIMUM_PIECES).map(|_| PieceHead::Records(1)).collect();
    assert!(batch(many, Packing::Plain).is_err());
    assert!(Answer::parse(message(&Head::Offset(1), b"x")).is_err());
    assert!(Answer::parse(Bytes::from_static(&[0xff; 8])).is_err());
    let mut writer = BatchWriter::new();
    let large = Record { body: Bytes::from(vec![0; MAXIMUM_BATCH_BYTES]), ..records[0].clone() };
    assert!(!writer.has_room(&large));
    assert_eq!((writer.add(&large), writer.bytes()), (Err(Unsendable), 0));
}
