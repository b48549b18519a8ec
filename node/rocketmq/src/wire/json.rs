//! Reader of the JSON that fastjson writes, which is often not JSON: unquoted numeric keys (`{0:5}`), whole objects as
//! keys (`{{"topic":"t","queueId":0}:{...}}`), single quotes, escapes of JavaScript.
//!
//! What is standard is read as the standard says. An unquoted key becomes its text, a structure as key becomes its
//! compact JSON text (members sorted by name), which the caller parses again. A repeated key keeps its last value. A
//! fastjson back reference (`{"$ref":"$.a"}`) stays the object that it is.
//! Length, depth and number of values are capped: what a peer sends must never overflow the stack or fill the memory.

use std::borrow::Cow;

use bytes::{BufMut as _, BytesMut};
use memchr::memchr2;
use serde_json::{Map, Number, Value};

use super::frame::MAX_FRAME_BYTES;

/// Deepest nesting of objects and arrays; known bodies need fewer than ten.
pub const MAX_DEPTH: usize = 32;

/// Most values (members and elements of all kinds) in one text: each costs about 100 bytes of memory.
pub const MAX_VALUES: usize = 1_000_000;

/// Why a text is not read.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The text is longer than the longest frame ([`MAX_FRAME_BYTES`]).
    #[error("JSON text of {0} bytes")]
    TooLong(usize),
    /// Nesting over [`MAX_DEPTH`], a structured key inside another, or more than [`MAX_VALUES`] values.
    #[error("JSON text is too deep or has too many values, at byte {0}")]
    TooLarge(usize),
    /// Neither JSON nor what fastjson makes of it, or not whole.
    #[error("malformed JSON at byte {0}")]
    Malformed(usize),
}

/// Reads one value; only white space may follow it.
///
/// # Errors
/// Any [`Error`].
pub fn parse(text: &[u8]) -> Result<Value, Error> {
    whole(text, |parser| parser.value(0))
}

/// Reads an object member by member and builds no tree of it: `each` gets the name and reads the value.
///
/// # Errors
/// Any [`Error`], also one that `each` returns.
pub(super) fn read_object<'a>(
    text: &'a [u8],
    mut each: impl FnMut(&str, &mut Parser<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    whole(text, |parser| parser.members(&mut each))
}

fn whole<'a, T>(text: &'a [u8], read: impl FnOnce(&mut Parser<'a>) -> Result<T, Error>) -> Result<T, Error> {
    if text.len() > MAX_FRAME_BYTES {
        return Err(Error::TooLong(text.len()));
    }
    let mut parser = Parser { text, position: 0, values: 0, inside_key: false };
    let value = read(&mut parser)?;
    parser.skip_space();
    if parser.position == text.len() { Ok(value) } else { Err(parser.malformed()) }
}

/// Appends a string as standard JSON, quotes included.
pub(super) fn write_string(text: &str, out: &mut BytesMut) {
    out.put_u8(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..=0x1F => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.put_u8(byte),
        }
    }
    out.put_u8(b'"');
}

/// Reads one text from its start to its end.
pub(super) struct Parser<'a> {
    text: &'a [u8],
    position: usize,
    values: usize,
    /// Whether a structure is being read that is a key. One inside another is refused: its text would be escaped once
    /// more at every level and double each time.
    inside_key: bool,
}

impl<'a> Parser<'a> {
    /// Reads an object and lets `each` read every value.
    pub(super) fn members(&mut self, each: &mut dyn FnMut(&str, &mut Self) -> Result<(), Error>) -> Result<(), Error> {
        if !self.skip(b'{') {
            return Err(self.malformed());
        }
        while !self.skip(b'}') {
            let name = self.key(0)?;
            if !self.skip(b':') {
                return Err(self.malformed());
            }
            each(&name, self)?;
            if !self.skip(b',') && self.peek() != Some(b'}') {
                return Err(self.malformed());
            }
        }
        Ok(())
    }

    /// Reads a value that may be anything; a string as it is, another one as its JSON text, `null` as none.
    pub(super) fn text(&mut self) -> Result<Option<Cow<'a, str>>, Error> {
        self.skip_space();
        if matches!(self.peek(), Some(b'"' | b'\'')) {
            return self.string().map(Some);
        }
        let value = self.value(1)?;
        Ok((!value.is_null()).then(|| Cow::Owned(value.to_string())))
    }

    /// Reads a value.
    pub(super) fn any(&mut self) -> Result<Value, Error> {
        self.value(1)
    }

    /// Whether an object is next.
    pub(super) fn is_at_object(&mut self) -> bool {
        self.skip_space();
        self.peek() == Some(b'{')
    }

    fn malformed(&self) -> Error {
        Error::Malformed(self.position)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.position).copied()
    }

    fn advance(&mut self, count: usize) {
        self.position = self.position.saturating_add(count).min(self.text.len());
    }

    fn next(&mut self) -> Result<u8, Error> {
        let byte = self.peek().ok_or_else(|| self.malformed())?;
        self.advance(1);
        Ok(byte)
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.advance(1);
        }
    }

    /// Skips white space, then the given byte if it is next.
    fn skip(&mut self, wanted: u8) -> bool {
        self.skip_space();
        let found = self.peek() == Some(wanted);
        if found {
            self.advance(1);
        }
        found
    }

    fn run(&mut self, accepted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.text.get(self.position..).unwrap_or_default();
        let length = rest.iter().position(|byte| !accepted(*byte)).unwrap_or(rest.len());
        self.advance(length);
        rest.get(..length).unwrap_or_default()
    }

    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        self.values = self.values.saturating_add(1);
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err(Error::TooLarge(self.position));
        }
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"' | b'\'') => Ok(Value::String(self.string()?.into_owned())),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.literal(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Error> {
        let mut members = Map::new();
        self.advance(1);
        while !self.skip(b'}') {
            let key = self.key(depth)?;
            if !self.skip(b':') {
                return Err(self.malformed());
            }
            let value = self.value(depth.saturating_add(1))?;
            members.insert(key.into_owned(), value);
            if !self.skip(b',') && self.peek() != Some(b'}') {
                return Err(self.malformed());
            }
        }
        Ok(Value::Object(members))
    }

    fn key(&mut self, depth: usize) -> Result<Cow<'a, str>, Error> {
        match self.peek() {
            Some(b'"' | b'\'') => self.string(),
            Some(b'{' | b'[') if self.inside_key => Err(Error::TooLarge(self.position)),
            Some(b'{' | b'[') => {
                self.inside_key = true;
                let key = self.value(depth.saturating_add(1))?;
                self.inside_key = false;
                Ok(Cow::Owned(key.to_string()))
            }
            _ => {
                let bare = self.run(|byte| byte.is_ascii_alphanumeric() || b"_$.+-".contains(&byte));
                if bare.is_empty() { Err(self.malformed()) } else { Ok(String::from_utf8_lossy(bare)) }
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Error> {
        let mut elements = Vec::new();
        self.advance(1);
        while !self.skip(b']') {
            elements.push(self.value(depth.saturating_add(1))?);
            if !self.skip(b',') && self.peek() != Some(b']') {
                return Err(self.malformed());
            }
        }
        Ok(Value::Array(elements))
    }

    fn literal(&mut self) -> Result<Value, Error> {
        let start = self.position;
        match self.run(|byte| byte.is_ascii_alphabetic()) {
            b"true" => Ok(Value::Bool(true)),
            b"false" => Ok(Value::Bool(false)),
            b"null" => Ok(Value::Null),
            _ => Err(Error::Malformed(start)),
        }
    }

    fn number(&mut self) -> Result<Value, Error> {
        let start = self.position;
        let token = self.run(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
        let token = std::str::from_utf8(token).unwrap_or_default();
        let whole = token.parse::<i64>().map(Number::from).or_else(|_| token.parse::<u64>().map(Number::from)).ok();
        whole
            .or_else(|| token.parse::<f64>().ok().and_then(Number::from_f64))
            .map(Value::Number)
            .ok_or(Error::Malformed(start))
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Error> {
        let quote = self.next()?;
        let rest = self.text.get(self.position..).unwrap_or_default();
        let plain = rest.get(..memchr2(quote, b'\\', rest).unwrap_or(rest.len())).unwrap_or_default();
        self.advance(plain.len());
        if self.peek() == Some(quote) {
            self.advance(1);
            // Asked first, because the lossy reading looks at each character.
            return Ok(std::str::from_utf8(plain).map_or_else(|_| String::from_utf8_lossy(plain), Cow::Borrowed));
        }
        let mut bytes = plain.to_vec();
        loop {
            if self.next()? == quote {
                break;
            }
            let character = self.escape()?;
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            bytes.extend_from_slice(self.run(|byte| byte != quote && byte != b'\\'));
        }
        Ok(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The character of an escape whose backslash was read; fastjson knows those of JavaScript beside those of JSON.
    fn escape(&mut self) -> Result<char, Error> {
        Ok(match self.next()? {
            b'b' => '\u{8}',
            b't' => '\t',
            b'n' => '\n',
            b'v' => '\u{B}',
            b'f' | b'F' => '\u{C}',
            b'r' => '\r',
            digit @ b'0'..=b'7' => char::from(digit.saturating_sub(b'0')),
            b'x' => char::from_u32(self.hexadecimal(2)?).unwrap_or(char::REPLACEMENT_CHARACTER),
            b'u' => self.utf16()?,
            same @ (b'"' | b'\'' | b'\\' | b'/') => char::from(same),
            _ => return Err(self.malformed()),
        })
    }

    /// The character of one `\uXXXX`, or of two that are a surrogate pair; a lone surrogate becomes U+FFFD.
    fn utf16(&mut self) -> Result<char, Error> {
        let first = self.hexadecimal(4)?;
        let after = self.position;
        if (0xD800..0xDC00).contains(&first) && self.text.get(after..).is_some_and(|rest| rest.starts_with(b"\\u")) {
            self.advance(2);
            let second = self.hexadecimal(4)?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x1_0000 + ((first & 0x3FF) << 10) + (second & 0x3FF);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.position = after;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hexadecimal(&mut self, digits: usize) -> Result<u32, Error> {
        let mut value = 0_u32;
        for _ in 0..digits {
            let digit = char::from(self.next()?).to_digit(16).ok_or_else(|| self.malformed())?;
            value = value << 4 | digit;
        }
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn unquoted_and_structured_keys() {
        let offsets = parse(br#"{"offsetTable":{"a@g":{0:5,1:-6},"b@g":{}}}"#).unwrap();
        assert_eq!(offsets, json!({"offsetTable": {"a@g": {"0": 5, "1": -6}, "b@g": {}}}));
        let stats = parse(br#"{"offsetTable":{{"topic":"t","brokerName":"b","queueId":1}:{"maxOffset":9}}}"#).unwrap();
        let key = stats["offsetTable"].as_object().unwrap().keys().next().unwrap();
        assert_eq!(serde_json::from_str::<Value>(key).unwrap(), json!({"topic": "t", "brokerName": "b", "queueId": 1}));
        assert_eq!(key, r#"{"brokerName":"b","queueId":1,"topic":"t"}"#);
    }

    #[test]
    fn escapes_quotes_and_broken_text() {
        assert_eq!(parse(br#"'a"\v\x41\0\'\u00e9\ud83d\ude00\ud800x'"#).unwrap(), json!("a\"\u{B}A\0'é😀\u{FFFD}x"));
        assert_eq!(parse(b"\"a\xFFb\"").unwrap(), json!("a\u{FFFD}b"));
        assert_eq!(
            parse(b" [1 , 2.5,18446744073709551615, true,null,] ").unwrap(),
            json!([1, 2.5, u64::MAX, true, null])
        );
        assert_eq!(parse(b"{\"a\":1,\"a\":2}").unwrap(), json!({"a": 2}));
        for wrong in
            ["", "{", "{1}", "[1 2]", "tru", "\"a", "\"\\q\"", "\"\\u12\"", "1 1", "-", "{:1}", "1e999", ",", "\\"]
        {
            assert!(matches!(parse(wrong.as_bytes()), Err(Error::Malformed(_))), "{wrong}");
        }
    }

    #[test]
    fn depth_count_and_length_are_capped() {
        assert!(parse("[".repeat(32).as_bytes()).is_err_and(|error| error == Error::Malformed(32)));
        assert_eq!(parse("[".repeat(100_000).as_bytes()), Err(Error::TooLarge(33)));
        assert_eq!(parse("{\"a\":".repeat(100_000).as_bytes()), Err(Error::TooLarge(165)));
        assert_eq!(parse(b"{{\"a\":{[1]:1}}:1}"), Err(Error::TooLarge(7)));
        assert_eq!(parse("{".repeat(100_000).as_bytes()), Err(Error::TooLarge(2)));
        let many = format!("[{}1]", "1,".repeat(MAX_VALUES));
        assert!(matches!(parse(many.as_bytes()), Err(Error::TooLarge(_))));
        assert_eq!(parse(&vec![b' '; MAX_FRAME_BYTES + 1]), Err(Error::TooLong(MAX_FRAME_BYTES + 1)));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..8).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn standard_json_is_read_as_what_was_written(value in any_value()) {
            prop_assert_eq!(parse(value.to_string().as_bytes()).unwrap(), value);
        }

        #[test]
        fn written_strings_are_standard(text in any::<String>()) {
            let mut out = BytesMut::new();
            write_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
