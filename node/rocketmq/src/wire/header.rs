//! The two serialisations of a remoting header, JSON and ROCKETMQ (binary).
//!
//! Binary layout (Apache `RocketMQSerializable`): code i16, language i8, version i16, opaque i32, flag i32, remark
//! length i32 and bytes, fields length i32, then for each field its name (i16 length) and value (i32 length). JSON is
//! the object that fastjson makes of `RemotingCommand`. Must never fail on the diagnostic text of a peer: bytes that
//! are not UTF-8 become replacement characters, as they do in Java.

use std::borrow::Cow;

use bytes::{BufMut as _, BytesMut};
use serde_json::Value;

use super::fields::Fields;
use super::frame::{Error, Frame};
use super::json::{self, Parser};
use super::reader::Reader;

/// Our language. `RUST` (12) exists only from 4.9.4 on: older servers read an unknown language as `null`, on which some
/// of their commands fail (`AdminBrokerProcessor` switches on it). `OTHER` (7) is known to every 4.x and 5.x server in
/// both serialisations.
const LANGUAGE: (&str, u8) = ("OTHER", 7);

/// Fields of the answer to a pull, the most frequent header.
const LIKELY_FIELDS: usize = 16;

const TRUNCATED: Error = Error::Header("truncated");

/// Reads a binary header; the body stays empty.
pub(super) fn decode_binary(header: &[u8]) -> Result<Frame, Error> {
    let mut reader = Reader::new(header);
    let code = reader.i16().ok_or(TRUNCATED)?;
    reader.u8().ok_or(TRUNCATED)?;
    let version = reader.i16().ok_or(TRUNCATED)?;
    let opaque = reader.i32().ok_or(TRUNCATED)?;
    let flag = reader.i32().ok_or(TRUNCATED)?;
    let remark = reader.long_slice().ok_or(TRUNCATED)?;
    let fields = reader.long_slice().ok_or(TRUNCATED)?;
    if reader.remaining() != 0 {
        return Err(Error::Header("bytes after the fields"));
    }
    Ok(Frame {
        code: i32::from(code),
        version: i32::from(version),
        opaque,
        flag,
        remark: (!remark.is_empty()).then(|| String::from_utf8_lossy(remark).into_owned()),
        fields: decode_fields(fields)?,
        ..Frame::default()
    })
}

fn decode_fields(bytes: &[u8]) -> Result<Fields, Error> {
    let mut reader = Reader::new(bytes);
    let mut fields = Fields::with_capacity(bytes.len(), LIKELY_FIELDS);
    while reader.remaining() > 0 {
        let name = reader.short_slice().ok_or(TRUNCATED)?;
        let value = reader.long_slice().ok_or(TRUNCATED)?;
        fields.push_text(&String::from_utf8_lossy(name), &String::from_utf8_lossy(value));
    }
    Ok(fields)
}

/// Appends a binary header.
pub(super) fn encode_binary(frame: &Frame, out: &mut BytesMut) -> Result<(), Error> {
    let short = |name, value| i16::try_from(value).map_err(|_| Error::OutOfRange { name, value });
    out.put_i16(short("code", frame.code)?);
    out.put_u8(LANGUAGE.1);
    out.put_i16(short("version", frame.version)?);
    out.put_i32(frame.opaque);
    out.put_i32(frame.flag);
    put_text(frame.remark.as_deref().unwrap_or_default(), out)?;
    let size = frame.fields.iter().fold(0_usize, |sum, (name, value)| {
        sum.saturating_add(6).saturating_add(name.len()).saturating_add(value.len())
    });
    out.put_i32(i32::try_from(size).map_err(|_| Error::Header("fields too long"))?);
    for (name, value) in frame.fields.iter() {
        out.put_i16(i16::try_from(name.len()).map_err(|_| Error::Header("field name too long"))?);
        out.extend_from_slice(name.as_bytes());
        put_text(value, out)?;
    }
    Ok(())
}

fn put_text(text: &str, out: &mut BytesMut) -> Result<(), Error> {
    out.put_i32(i32::try_from(text.len()).map_err(|_| Error::Header("text too long"))?);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Reads a JSON header; the body stays empty. Members that are not ours (`language`, `serializeTypeCurrentRPC`) are
/// skipped.
pub(super) fn decode_json(header: &[u8]) -> Result<Frame, Error> {
    let mut frame = Frame::default();
    let mut bad = None;
    let read = json::read_object(header, |name, parser| {
        let place = match name {
            "code" => ("code", &mut frame.code),
            "version" => ("version", &mut frame.version),
            "opaque" => ("opaque", &mut frame.opaque),
            "flag" => ("flag", &mut frame.flag),
            "remark" => {
                frame.remark = parser.text()?.map(Cow::into_owned).filter(|remark| !remark.is_empty());
                return Ok(());
            }
            "extFields" if parser.is_at_object() => {
                frame.fields = read_fields(parser, header.len())?;
                return Ok(());
            }
            "extFields" => {
                if !parser.any()?.is_null() {
                    bad = Some("extFields");
                }
                return Ok(());
            }
            _ => return parser.any().map(drop),
        };
        match parser.any()? {
            Value::Null => {}
            value => match value.as_i64().and_then(|wide| i32::try_from(wide).ok()) {
                Some(number) => *place.1 = number,
                None => bad = Some(place.0),
            },
        }
        Ok(())
    });
    read.map_err(|_| Error::Header("not a JSON object"))?;
    bad.map_or(Ok(frame), |name| Err(Error::BadField { name }))
}

/// A string as it is; a number, a flag or a structure as its JSON text; no field for `null`.
fn read_fields(parser: &mut Parser<'_>, bytes: usize) -> Result<Fields, json::Error> {
    let mut fields = Fields::with_capacity(bytes, LIKELY_FIELDS);
    parser.members(&mut |name, parser| {
        if let Some(value) = parser.text()? {
            fields.push_text(name, &value);
        }
        Ok(())
    })?;
    Ok(fields)
}

/// Appends a JSON header.
pub(super) fn encode_json(frame: &Frame, out: &mut BytesMut) {
    let numbers = [("code", frame.code), ("flag", frame.flag), ("opaque", frame.opaque), ("version", frame.version)];
    // rocketmq-rust refuses a header that does not name its own serialisation; Java's clients write it too.
    out.extend_from_slice(b"{\"serializeTypeCurrentRPC\":\"JSON\",\"language\":\"");
    out.extend_from_slice(LANGUAGE.0.as_bytes());
    out.put_u8(b'"');
    for (name, value) in numbers {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(value.to_string().as_bytes());
    }
    if let Some(remark) = frame.remark.as_deref().filter(|remark| !remark.is_empty()) {
        out.extend_from_slice(b",\"remark\":");
        json::write_string(remark, out);
    }
    out.extend_from_slice(b",\"extFields\":{");
    for (index, (name, value)) in frame.fields.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        json::write_string(name, out);
        out.put_u8(b':');
        json::write_string(value, out);
    }
    out.extend_from_slice(b"}}");
}
