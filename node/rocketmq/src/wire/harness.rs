//! One checked body for each decoder: what must hold whatever bytes come in. The fuzz targets in `fuzz/` call these
//! functions, and the property tests below call the same ones on arbitrary bytes and on valid bytes with a few changed.
//!
//! Each function panics (by assertion) only when a law is broken. No part of the product calls this module.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::batch::{self, Batch, InnerMessage};
use super::frame::{self, Frame, Serialization};
use super::properties::{self, Disposition, Remembered};
use super::{json as tolerant, record};

/// A JSON header.
pub fn frame_json(header: &[u8]) {
    frame_with(0, header);
}

/// A binary header.
pub fn frame_binary(header: &[u8]) {
    frame_with(1, header);
}

/// What was read is read back the same from both serialisations, and the body is a slice of the frame.
fn frame_with(mark: u8, header: &[u8]) {
    let Ok(length) = u32::try_from(header.len()) else { return };
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::from(mark) << 24 | length & 0xFF_FFFF);
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(b"body");
    let bytes = bytes.freeze();
    let Ok(decoded) = frame::decode(bytes.clone()) else { return };
    assert_eq!(decoded.body.as_ref(), b"body");
    assert!(bytes.as_ptr_range().contains(&decoded.body.as_ptr()), "the body was copied");
    for serialization in [Serialization::Json, Serialization::RocketMq] {
        let mut out = BytesMut::from(&b"before"[..]);
        match frame::encode(&decoded, serialization, &mut out) {
            Ok(()) => assert_same(&decoded, &read_back(out)),
            Err(_) => assert_eq!(out.as_ref(), b"before", "a refused frame left bytes"),
        }
    }
}

fn read_back(written: BytesMut) -> Option<Frame> {
    let mut stream = BytesMut::from(written.get(6..)?);
    let whole = frame::split(&mut stream, frame::MAX_FRAME_BYTES).ok()??;
    assert!(stream.is_empty(), "bytes after the frame");
    frame::decode(whole).ok()
}

fn assert_same(wanted: &Frame, got: &Option<Frame>) {
    let plain = |frame: &Frame| Frame { fields: frame::Fields::new(), ..frame.clone() };
    let named = |frame: &Frame| frame.fields.iter().map(own).collect::<BTreeMap<_, _>>();
    assert_eq!(got.as_ref().map(plain), Some(plain(wanted)));
    assert_eq!(got.as_ref().map(named), Some(named(wanted)));
}

fn own(pair: (&str, &str)) -> (String, String) {
    (pair.0.to_owned(), pair.1.to_owned())
}

/// A stream of frames: however it is cut into reads, the same frames come out and the same error ends it.
pub fn split(stream: &[u8]) {
    const MAXIMUM: usize = 4096;
    let Some((first, stream)) = stream.split_first() else { return };
    let drain = |buffer: &mut BytesMut, frames: &mut Vec<Bytes>| loop {
        match frame::split(buffer, MAXIMUM) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    let (mut whole, mut frames) = (BytesMut::from(stream), Vec::new());
    let end = drain(&mut whole, &mut frames);
    assert!(frames.iter().all(|frame| (4..=MAXIMUM).contains(&frame.len())), "a frame over the limit");
    let (mut pieces, mut again) = (BytesMut::new(), Vec::new());
    let mut end_again = None;
    for piece in stream.chunks(usize::from(*first).max(1)) {
        pieces.extend_from_slice(piece);
        end_again = drain(&mut pieces, &mut again);
        if end_again.is_some() {
            break;
        }
    }
    assert_eq!((frames, end), (again, end_again));
}

/// The body of a pull response.
pub fn records(body: &[u8]) {
    let body = Bytes::copy_from_slice(body);
    let mut iterator = record::decode_records(&body);
    let mut start = 0;
    while let Some(read) = iterator.next() {
        let end = iterator.position();
        let Ok(read) = read else {
            assert!(iterator.next().is_none(), "records after an error");
            return;
        };
        let mut out = BytesMut::new();
        assert_eq!(record::encode_record(&read, &mut out), Ok(()));
        assert_eq!(out.len(), read.encoded_len());
        let original = body.get(start..end).unwrap_or_default();
        // A version 2 record with a short topic, or a version 1 record with a long one, comes back in the other
        // version.
        if out.len() == original.len() {
            assert_eq!(out.as_ref(), original);
        }
        let again: Vec<_> = record::decode_records(&out.freeze()).collect();
        assert_eq!(again, [Ok(read)]);
        start = end;
    }
    assert_eq!(start, body.len(), "bytes were passed over");
}

/// A property string, and a text of remembered properties.
pub fn properties(bytes: &[u8]) {
    const PRIVATE: [&str; 2] = ["KEYS", "own"];
    let (mut out, mut remembered) = (BytesMut::new(), Remembered::default());
    properties::splice(bytes, &PRIVATE, &mut remembered, &mut out);
    assert!(out.is_empty() || out.last() == Some(&properties::END), "not closed");
    let wanted = |wanted: Disposition| {
        properties::iter(bytes)
            .filter(|(name, _)| !PRIVATE.iter().any(|own| own.as_bytes() == *name))
            .filter(move |(name, value)| properties::reserved(name, value) == wanted)
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect::<Vec<_>>()
    };
    let kept: Vec<_> = properties::iter(&out).map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    assert_eq!(kept, wanted(Disposition::Keep));
    assert!(remembered.encoded().iter().all(|byte| matches!(byte, b' '..=b'~')), "not printable");
    assert_eq!(Remembered::decode(remembered.encoded()), Ok(wanted(Disposition::StripAndRemember)));
    let mut twice = BytesMut::new();
    properties::splice(&out, &PRIVATE, &mut Remembered::default(), &mut twice);
    assert_eq!(twice, out);
    if let Ok(pairs) = Remembered::decode(bytes) {
        let mut again = Remembered::default();
        pairs.iter().for_each(|(name, value)| again.add(name, value));
        assert_eq!(again.encoded(), bytes, "two texts of one meaning");
    }
}

/// A text that fastjson may have written: its value, written as standard JSON, is read as the same value.
pub fn json(text: &[u8]) {
    let Ok(value) = tolerant::parse(text) else { return };
    assert_eq!(tolerant::parse(value.to_string().as_bytes()), Ok(value));
}

/// The body of a batch: what is read is written and read again as the same.
pub fn batch(body: &[u8]) {
    let body = Bytes::copy_from_slice(body);
    let messages: Vec<InnerMessage> = batch::decode(&body).map_while(Result::ok).collect();
    let mut built = Batch::new(body.len());
    for message in &messages {
        let before = built.len();
        match built.push(message.flag, &message.body, &message.properties) {
            Ok(length) => {
                assert_eq!(length, batch::encoded_len(message.body.len(), message.properties.len()));
                assert_eq!(built.len(), before + length);
            }
            Err(error) => {
                assert_eq!(error, batch::Error::PropertiesLength(message.properties.len()));
                assert_eq!(built.len(), before, "a refused message left bytes");
                return;
            }
        }
    }
    assert_eq!(built.count(), messages.len());
    let again: Vec<_> = batch::decode(&built.take()).collect();
    assert_eq!(again, messages.into_iter().map(Ok).collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use super::super::strategies;
    use super::*;
    use proptest::prelude::*;

    fn arbitrary() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..400)
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_break_no_law(bytes in arbitrary()) {
            frame_json(&bytes);
            frame_binary(&bytes);
            split(&bytes);
            records(&bytes);
            properties(&bytes);
            json(&bytes);
            batch(&bytes);
        }

        #[test]
        fn changed_headers_break_no_law(
            (json, binary) in strategies::headers(),
            json_changes in strategies::changes(),
            binary_changes in strategies::changes(),
        ) {
            frame_json(&strategies::change(json, &json_changes));
            frame_binary(&strategies::change(binary, &binary_changes));
        }

        #[test]
        fn changed_streams_break_no_law(stream in strategies::stream(), changes in strategies::changes()) {
            split(&stream);
            split(&strategies::change(stream, &changes));
        }

        #[test]
        fn changed_records_break_no_law(body in strategies::pull_body(), changes in strategies::changes()) {
            records(&body);
            records(&strategies::change(body, &changes));
        }

        #[test]
        fn changed_batches_break_no_law(body in strategies::batch_body(), changes in strategies::changes()) {
            batch(&body);
            batch(&strategies::change(body, &changes));
        }

        #[test]
        fn changed_properties_break_no_law(text in strategies::property_string(), changes in strategies::changes()) {
            properties(&text);
            properties(&strategies::change(text, &changes));
        }

        #[test]
        fn changed_json_breaks_no_law(text in strategies::json_text(), changes in strategies::changes()) {
            json(&text);
            json(&strategies::change(text, &changes));
        }
    }
}
