//! The body is touched only by a pattern that tests it, and only if nothing else decides.

use super::*;
use crate::event::sample::Sample;
use crate::event::{BodyFormat, Event, Names, Source};

fn source(format: BodyFormat) -> Source {
    Source::new(Names { region: "cn-hangzhou", account: "", instance: "east", topic: "orders" }, format)
}

#[test]
fn a_pattern_knows_whether_it_needs_the_body() {
    for (pattern, needs_body, needs_json) in [
        ("", false, false),
        (r#"{"id":["1"],"data":{"userProperties":{"body":["x"]},"topic":["t"]}}"#, false, false),
        (r#"{"data":{"Body":["x"]}}"#, false, false),
        (r#"{"data":{"body":["x"],"topic":["t"]}}"#, true, false),
        (r#"{"data":{"body":{"state":["paid"]}}}"#, true, true),
    ] {
        let compiled = Pattern::compile(pattern).unwrap();
        assert_eq!((compiled.needs_body(), compiled.needs_json_body()), (needs_body, needs_json), "{pattern}");
    }
}

#[test]
fn no_pattern_on_anything_else_touches_the_body() {
    let message = Sample::broken(&[("TAGS", "paid"), ("region", "cn-hangzhou"), ("amount", "120"), ("UNIQ_KEY", "7F")]);
    for (pattern, expected) in [
        (
            r#"{"id":["7F"],"source":["acs:mq"],"subject":[{"suffix":"%orders"}],"time":[{"prefix":"2021-04-08"}]}"#,
            true,
        ),
        (r#"{"dataschema":[{"exists":false}],"data":{"topic":["orders"],"msgId":["7F"],"queueId":[3]}}"#, true),
        (r#"{"data":{"systemProperties":{"TAGS":["paid","shipped"],"region":[{"exists":false}]}}}"#, true),
        (r#"{"data":{"userProperties":{"region":[{"prefix":"cn-"}],"amount":[{"numeric":[">",100]}]}}}"#, true),
        (r#"{"data":{"userProperties":[{"exists":true}],"nosuch":{"x":[{"exists":false}]}}}"#, true),
        (r#"{"data":{"userProperties":{"region":["us"]}}}"#, false),
        // Another field decides before the body is looked at.
        (r#"{"data":{"body":{"x":["y"]},"systemProperties":{"TAGS":["refused"]}}}"#, false),
    ] {
        let source = source(BodyFormat::Json);
        let compiled = Pattern::compile(pattern).unwrap();
        assert_eq!(compiled.matches(&Event::new(&source, &message)), Ok(expected), "{pattern}");
    }
    assert_eq!(message.bodies_read.get(), 0);
    let source = source(BodyFormat::Json);
    let on_body = Pattern::compile(r#"{"data":{"body":{"x":["y"]}}}"#).unwrap();
    let error = on_body.matches(&Event::new(&source, &message)).unwrap_err();
    assert_eq!(error.to_string(), "the body cannot be read: broken");
    assert!(on_body.explain(&Event::new(&source, &message)).is_err());
}

#[test]
fn several_fields_of_a_body_read_it_once() {
    let message = Sample::new(&[], br#"{"state":"paid","sum":1.50,"items":[{"id":1}]}"#);
    let source = source(BodyFormat::Json);
    let pattern =
        r#"{"data":{"body":{"state":["paid"],"sum":["1.50"],"items":[{"exists":true}],"no":[{"exists":false}]}}}"#;
    let compiled = Pattern::compile(pattern).unwrap();
    assert_eq!(compiled.matches(&Event::new(&source, &message)), Ok(true));
    assert_eq!(message.bodies_read.get(), 1);
}

#[test]
fn a_body_is_tested_in_its_format() {
    for (format, body, pattern, expected) in [
        (BodyFormat::Text, &b"TEST"[..], r#"{"data":{"body":["TEST"]}}"#, Ok(true)),
        (BodyFormat::Text, b"{\"x\":1}", r#"{"data":{"body":{"x":[1]}}}"#, Ok(false)),
        (BodyFormat::Text, b"{\"x\":1}", r#"{"data":{"body":[{"contains":"\"x\":1"}]}}"#, Ok(true)),
        (BodyFormat::Json, b"{\"x\":1}", r#"{"data":{"body":{"x":[1]}}}"#, Ok(true)),
        (BodyFormat::Json, b"7", r#"{"data":{"body":[{"numeric":[">",5]}]}}"#, Ok(true)),
        (BodyFormat::Binary, b"\xff", r#"{"data":{"body":["/w=="]}}"#, Ok(true)),
        (BodyFormat::Text, b"\xff", r#"{"data":{"body":["x"]}}"#, Err(event::Error::NotText { valid_up_to: 0 })),
    ] {
        let message = Sample::new(&[], body);
        let source = source(format);
        let compiled = Pattern::compile(pattern).unwrap();
        assert_eq!(compiled.matches(&Event::new(&source, &message)), expected, "{pattern} {body:?}");
    }
}
