//! What the event of a message says, and what it leaves alone.

use std::borrow::Cow;
use std::cell::Cell;

use super::*;

struct Sample {
    properties: Vec<(&'static [u8], &'static [u8])>,
    body: Result<&'static [u8], BodyError>,
    compressed: bool,
    bodies_read: Cell<usize>,
}

impl Sample {
    fn new(properties: &[(&'static str, &'static str)], body: &'static [u8]) -> Self {
        let properties = properties.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        Self { properties, body: Ok(body), compressed: false, bodies_read: Cell::new(0) }
    }
}

impl Message for Sample {
    fn offset_id(&self) -> Cow<'_, str> {
        Cow::Borrowed("0A000001000029040000000000000029")
    }
    fn born_time(&self) -> i64 {
        1_617_861_680_766
    }
    fn store_time(&self) -> i64 {
        1_617_861_680_925
    }
    fn queue_id(&self) -> i32 {
        3
    }
    fn queue_offset(&self) -> i64 {
        41
    }
    fn properties(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.properties.iter().copied()
    }
    fn body(&self) -> Result<Cow<'_, [u8]>, BodyError> {
        self.bodies_read.set(self.bodies_read.get() + 1);
        let body = self.body.clone()?;
        Ok(if self.compressed { Cow::Owned(body.to_owned()) } else { Cow::Borrowed(body) })
    }
}

fn source(format: BodyFormat) -> Source {
    Source::new(Names { region: "cn-hangzhou", account: "1234", instance: "east", topic: "orders" }, format)
}

fn steps(path: &str) -> Vec<Step> {
    path.split('.').map(|step| step.parse().map_or_else(|_| step.into(), Step::Element)).collect()
}

/// The JSON text of a field, `missing`, or the error.
fn field(message: &Sample, format: BodyFormat, path: &str) -> String {
    match Event::new(&source(format), message).field(&steps(path)) {
        Ok(Some(field)) => field.into_json().to_string(),
        Ok(None) => "missing".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_whole_event_has_the_documented_shape() {
    let message =
        Sample::new(&[("TAGS", "paid"), ("region", "x"), ("KEYS", "k"), ("a", "\"1\""), ("UNIQ_KEY", "7F")], b"TEST");
    let expected = concat!(
        r#"{"id":"7F","source":"acs:mq","specversion":"1.0","type":"mq:Topic:SendMessage","#,
        r#""datacontenttype":"application/json; charset=utf-8","subject":"acs:mq:cn-hangzhou:1234:east%orders","#,
        r#""time":"2021-04-08T06:01:20.766Z","aliyunpublishtime":"2021-04-08T06:01:20.925Z","#,
        r#""aliyunregionid":"cn-hangzhou","data":{"topic":"orders","msgId":"7F","queueId":3,"queueOffset":41,"#,
        r#""systemProperties":{"KEYS":"k","TAGS":"paid","UNIQ_KEY":"7F"},"#,
        r#""userProperties":{"a":"\"1\"","region":"x"},"body":"TEST"}}"#
    );
    let source = source(BodyFormat::Text);
    let event = Event::new(&source, &message);
    assert_eq!(event.to_json().unwrap().to_string(), expected);
    assert_eq!(Json::parse(expected).unwrap(), event.to_json().unwrap());
    assert_eq!(event.field(&[]).unwrap().map(Field::into_json), Some(event.to_json().unwrap()));
    assert_eq!(message.bodies_read.get(), 1, "the body is read once for an event");
}

#[test]
fn what_is_absent_is_left_out() {
    let message = Sample::new(&[], b"");
    let source = Source::new(Names { region: "", account: "", instance: "east", topic: "t" }, BodyFormat::Text);
    let event = Event::new(&source, &message).to_json().unwrap();
    assert_eq!(event.get("aliyunregionid"), None);
    assert_eq!(event.get("subject"), Some(&Json::from("acs:mq:::east%t")));
    assert_eq!(event.get("id"), Some(&Json::from("0A000001000029040000000000000029")));
    assert_eq!(event.at(&steps("data.userProperties")), Some(&Json::Object(Vec::new())));
    assert_eq!(event.at(&steps("data.body")), Some(&Json::from("")));
}

#[test]
fn fields_are_found_by_path() {
    let message = Sample::new(&[("TAGS", "paid"), ("a.b", "1"), ("a.b", "2")], br#"{"n":1.50,"list":[{"x":"y"}]}"#);
    for (path, expected) in [
        ("id", "\"0A000001000029040000000000000029\""),
        ("time", "\"2021-04-08T06:01:20.766Z\""),
        ("nosuch", "missing"),
        ("id.x", "missing"),
        ("0", "missing"),
        ("data.0", "missing"),
        ("data.nosuch", "missing"),
        ("data.topic", "\"orders\""),
        ("data.topic.x", "missing"),
        ("data.queueOffset", "41"),
        ("data.systemProperties", r#"{"TAGS":"paid"}"#),
        ("data.systemProperties.TAGS", "\"paid\""),
        ("data.systemProperties.TAGS.x", "missing"),
        ("data.systemProperties.KEYS", "missing"),
        ("data.userProperties.TAGS", "missing"),
        ("data.userProperties.nosuch", "missing"),
        ("data.userProperties", r#"{"a.b":"2"}"#),
        ("data.body.n", "1.50"),
        ("data.body.list.0.x", "\"y\""),
        ("data.body.list.x", "missing"),
    ] {
        assert_eq!(field(&message, BodyFormat::Json, path), expected, "{path}");
    }
    let dotted = [Step::from("data"), "userProperties".into(), "a.b".into()];
    let source = source(BodyFormat::Text);
    let event = Event::new(&source, &message);
    assert_eq!(event.field(&dotted).unwrap().unwrap().to_text(), "2", "of a repeated property the last counts");
    assert_eq!(event.field(&steps("data.body.n")).unwrap(), None, "a body that is text has nothing inside");
}

#[test]
fn only_a_look_at_the_body_touches_it() {
    let mut message = Sample::new(&[("region", "x")], b"");
    message.body = Err(BodyError("broken".to_owned()));
    for path in ["id", "subject", "time", "data.topic", "data.userProperties", "data.userProperties.region"] {
        assert_ne!(field(&message, BodyFormat::Json, path), "missing", "{path}");
    }
    assert_eq!(field(&message, BodyFormat::Text, "data.body.x"), "missing");
    assert_eq!(message.bodies_read.get(), 0);
    for path in ["data.body", "data.body.x", "data"] {
        assert_eq!(field(&message, BodyFormat::Json, path), "the body cannot be read: broken", "{path}");
    }
}

#[test]
fn a_body_is_what_its_format_says_or_an_error() {
    for (format, body, expected) in [
        (BodyFormat::Text, &b"TEST"[..], "\"TEST\""),
        (
            BodyFormat::Text,
            b"\xffTEST",
            "the body is not UTF-8 from byte 0 on; the body format Binary gives such a body as base64",
        ),
        (BodyFormat::Json, b"[1.0]", "[1.0]"),
        (BodyFormat::Json, b"", "the body is no JSON: line 1, column 0: EOF while parsing a value"),
        (BodyFormat::Json, b"{\"a\":1}x", "the body is no JSON: line 1, column 8: trailing characters"),
        (
            BodyFormat::Json,
            b"ab\xff",
            "the body is not UTF-8 from byte 2 on; the body format Binary gives such a body as base64",
        ),
        (BodyFormat::Binary, b"\xff\x00\x01\x02", "\"/wABAg==\""),
        (BodyFormat::Binary, b"", "\"\""),
    ] {
        let mut message = Sample::new(&[], body);
        assert_eq!(field(&message, format, "data.body"), expected, "{body:?}");
        message.compressed = true;
        assert_eq!(field(&message, format, "data.body"), expected, "{body:?}, decompressed");
    }
}

#[test]
fn what_is_not_text_in_a_property_is_replaced() {
    let mut message = Sample::new(&[], b"");
    message.properties = vec![(b"a", b"x\xffy"), (b"\xff", b"v"), (b"UNIQ_KEY", b"\xfe")];
    assert_eq!(field(&message, BodyFormat::Text, "data.userProperties.a"), "\"x\u{fffd}y\"");
    assert_eq!(field(&message, BodyFormat::Text, "data.userProperties"), "{\"a\":\"x\u{fffd}y\"}");
    assert_eq!(field(&message, BodyFormat::Text, "data.userProperties.\u{fffd}"), "missing");
    assert_eq!(field(&message, BodyFormat::Text, "id"), "\"\u{fffd}\"");
}

#[test]
fn a_field_stands_in_a_text_without_quotes() {
    for (json, expected) in
        [(r#""a\"b""#, "a\"b"), ("1.50", "1.50"), ("null", "null"), ("true", "true"), (r#"["a"]"#, r#"["a"]"#)]
    {
        let json = Json::parse(json).unwrap();
        assert_eq!(json.field(&[]).unwrap().unwrap().to_text(), expected);
    }
    assert_eq!(Field::Text(Cow::Borrowed("a\"b")).to_text(), "a\"b");
}
