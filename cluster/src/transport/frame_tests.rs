use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};
use tokio::io::{AsyncWriteExt as _, duplex};

use super::{ConnectionError, Frame, FrameError, FrameReader, FrameWriter, Taken, take};

const SECOND: Duration = Duration::from_secs(1);
const MAXIMUM: usize = 4096;

fn body() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        body().prop_map(Frame::Hello),
        body().prop_map(Frame::Refused),
        prop::strategy::Just(Frame::Ping),
        body().prop_map(Frame::Raft),
        (any::<u64>(), any::<u32>(), any::<u64>(), body())
            .prop_map(|(message, index, total_bytes, bytes)| { Frame::Piece { message, index, total_bytes, bytes } }),
        (any::<u64>(), body()).prop_map(|(message, reason)| Frame::PieceAnswer { message, reason }),
        (any::<u64>(), body()).prop_map(|(id, body)| Frame::Request { id, body }),
        (any::<u64>(), body()).prop_map(|(id, body)| Frame::Response { id, body }),
        any::<u64>().prop_map(|id| Frame::Busy { id }),
        any::<u64>().prop_map(|id| Frame::Failed { id }),
        (any::<u64>(), any::<u64>(), body()).prop_map(|(stream, window, opening)| Frame::Open {
            stream,
            window,
            opening
        }),
        (any::<u64>(), body()).prop_map(|(stream, bytes)| Frame::Data { stream, bytes }),
        (any::<u64>(), any::<u64>()).prop_map(|(stream, bytes)| Frame::Credit { stream, bytes }),
        (any::<u64>(), any::<u8>()).prop_map(|(stream, reason)| Frame::End { stream, reason }),
        any::<u64>().prop_map(|stream| Frame::Close { stream }),
    ]
}

fn encoded(frame: &Frame) -> Vec<u8> {
    let (head, body) = frame.parts().unwrap();
    [head, body].concat()
}

proptest! {
    #[test]
    fn frames_come_back_as_they_were_sent_wherever_the_bytes_are_cut(
        frames in prop::collection::vec(frame(), 1..6),
        cut in 1_usize..64,
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(encoded).collect();
        let mut buffer = BytesMut::new();
        let mut found = Vec::new();
        for part in bytes.chunks(cut) {
            buffer.extend_from_slice(part);
            while let Taken::Frame(frame) = take(&mut buffer, MAXIMUM).unwrap() {
                found.push(frame);
            }
        }
        assert_eq!((found, buffer.len()), (frames, 0));
    }

    #[test]
    fn no_bytes_panic_and_an_error_or_a_lack_stays_what_it_is(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Taken::Frame(frame)) = take(&mut buffer, MAXIMUM) {
            assert!(bytes.windows(encoded(&frame).len()).any(|part| part == encoded(&frame)));
        }
    }

    #[test]
    fn a_damaged_frame_does_not_panic(frame in frame(), at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let mut bytes = encoded(&frame);
        let at = at.index(bytes.len());
        bytes[at] = with;
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Ok(Taken::Frame(_)) = take(&mut buffer, MAXIMUM) {}
    }
}

#[test]
fn a_length_above_the_cap_is_refused_by_its_head_alone() {
    let mut buffer = BytesMut::from(&[0, 0, 0x10, 1][..]);
    assert_eq!(take(&mut buffer, MAXIMUM), Err(FrameError::TooLarge { bytes: 4097, maximum: MAXIMUM }));
    let mut buffer = BytesMut::from(&[0, 0, 0x10, 0][..]);
    assert_eq!(take(&mut buffer, MAXIMUM), Ok(Taken::Missing(4096)));
}

#[test]
fn tls_is_recognised_by_its_first_bytes() {
    for head in [[0x16, 3, 1, 2], [0x15, 3, 3, 0]] {
        assert_eq!(take(&mut BytesMut::from(&head[..]), 256 << 20), Err(FrameError::Tls));
    }
}

#[test]
fn a_frame_that_is_wrong_for_its_kind_is_refused() {
    for (bytes, error) in [
        (&[0, 0, 0, 0][..], FrameError::WrongLength { kind: 0 }),
        (&[0, 0, 0, 1, 77], FrameError::UnknownKind { kind: 77 }),
        (&[0, 0, 0, 2, 3, 0], FrameError::WrongLength { kind: 3 }),
        (&[0, 0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0], FrameError::WrongLength { kind: 7 }),
        (&[0, 0, 0, 10, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0], FrameError::WrongLength { kind: 9 }),
    ] {
        assert_eq!(take(&mut BytesMut::from(bytes), MAXIMUM), Err(error));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_as_long_as_bytes_come_and_no_longer() {
    let (mut near, far) = duplex(64);
    let mut reader = FrameReader::new(far, MAXIMUM, SECOND);
    let bytes = encoded(&Frame::Raft(Bytes::from_static(&[7; 20])));
    let slow = async {
        for byte in &bytes {
            tokio::time::sleep(SECOND / 2).await;
            near.write_all(&[*byte]).await.unwrap();
        }
    };
    let (read, ()) = tokio::join!(reader.next(), slow);
    assert_eq!(read, Ok(Frame::Raft(Bytes::from_static(&[7; 20]))));
    assert_eq!(reader.next().await, Err(ConnectionError::Silent { waited: SECOND }));
    drop(near);
    assert_eq!(reader.next().await, Err(ConnectionError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_given_up_loses_nothing() {
    let (mut near, far) = duplex(64);
    let mut reader = FrameReader::new(far, MAXIMUM, SECOND * 60);
    let bytes = encoded(&Frame::Hello(Bytes::from_static(b"hello")));
    let (first, second) = bytes.split_at(7);
    near.write_all(first).await.unwrap();
    assert!(tokio::time::timeout(SECOND, reader.next()).await.is_err());
    near.write_all(second).await.unwrap();
    assert_eq!(reader.next().await, Ok(Frame::Hello(Bytes::from_static(b"hello"))));
}

#[tokio::test(start_paused = true)]
async fn a_writer_ends_when_nobody_reads() {
    let (near, far) = duplex(64);
    let mut writer = FrameWriter::new(near, SECOND);
    let frame = Frame::Raft(Bytes::from(vec![1; 200]));
    assert_eq!(writer.write(&frame).await, Err(ConnectionError::Stalled { waited: SECOND }));
    drop(far);
    assert_eq!(writer.write(&frame).await, Err(ConnectionError::Closed));
}
