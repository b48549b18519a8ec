//! What EventBridge's Apache code gives for an event, and what comes out here for the body.

use super::*;
use crate::json::Json;

const EVENT: &str = r#"{"id":"1","type":"mq:Topic:SendMessage","data":{"topic":"T","body":"TEST","n":1.50,"nul":null,"flag":true,"systemProperties":{"KEYS":"k1","UNIQ_KEY":"U"},"userProperties":{"a":"1","b":"x\"y"},"arr":[1,2]}}"#;

const LIMITS: Limits = Limits { body_bytes: 4096, properties_bytes: 32_767 };

/// What comes out here, if it is not what Apache gives; each is a row of the table in the module's documentation.
enum Here {
    Same,
    Differs(&'static str),
    NoBody,
    Fault(Member, Option<usize>, fn(&Reason) -> bool),
}

use Here::{Differs, Fault as Refused, NoBody, Same};

type Vector = (&'static str, Option<&'static str>, Option<&'static str>, &'static str, Here);

const VECTORS: &[Vector] = &[
    ("ORIGINAL", Some(""), Some(""), EVENT, Same),
    ("ORIGINAL", None, None, EVENT, Same),
    ("CONSTANT", Some("$.data.body"), None, "$.data.body", Same),
    ("CONSTANT", Some(""), None, "", Same),
    // A copy does not change a number.
    ("JSONPATH", Some("$.data.n"), None, "1.5", Differs("1.50")),
    ("JSONPATH", Some("$.data.nul"), None, "null", Same),
    // The body would be gone without anybody knowing.
    ("JSONPATH", Some("$.data.missing"), None, "null", NoBody),
    ("JSONPATH", Some("$.data.userProperties"), None, r#"{"a":"1","b":"x\"y"}"#, Same),
    ("JSONPATH", Some("$.data.arr[0]"), None, "1", Same),
    // Every message would get this text.
    ("JSONPATH", Some("$.data.arr[*]"), None, "$.data.arr[*]", Refused(Member::Value, Some(11), is_path)),
    // Apache leaves out what is null, and turns numbers into doubles.
    (
        "JSONPATH",
        Some("$"),
        None,
        r#"{"id":"1","type":"mq:Topic:SendMessage","data":{"topic":"T","body":"TEST","n":1.50,"flag":true,"systemProperties":{"KEYS":"k1","UNIQ_KEY":"U"},"userProperties":{"a":"1","b":"x\"y"},"arr":[1,2]}}"#,
        Differs(EVENT),
    ),
    // Every message would get this text.
    ("JSONPATH", Some("data.body"), None, "data.body", Refused(Member::Value, Some(0), is_path)),
    ("TEMPLATE", Some(r#"{"b":"$.data.body"}"#), Some("body=${b}"), "body=TEST", Same),
    // A placeholder is not data.
    ("TEMPLATE", Some(r#"{"b":"$.data.missing"}"#), Some("body=${b}"), "body=${b}", Differs("body=")),
    ("TEMPLATE", Some(r#"{"b":"$.data.missing"}"#), Some("body=${b:-dflt}"), "body=dflt", Same),
    ("TEMPLATE", Some(r#"{"b":"literal"}"#), Some("body=${b}"), "body=literal", Same),
    // Apache's result is no JSON.
    (
        "TEMPLATE",
        Some(r#"{"u":"$.data.userProperties"}"#),
        Some(r#"{"p":"${u}"}"#),
        r#"{"p":"{"a":"1","b":"x\"y"}"}"#,
        Differs(r#"{"p":"{\"a\":\"1\",\"b\":\"x\\\"y\"}"}"#),
    ),
    ("TEMPLATE", Some(r#"{"b":"$.data.body"}"#), Some("$${b}"), "${b}", Same),
    // Apache loses what is around the inner object.
    (
        "TEMPLATE",
        Some(r#"{"u":"$.data.userProperties"}"#),
        Some(r#"{"x":{"EB_SYS_EMBED_OBJECT":"${u}","k":"v"},"y":1}"#),
        r#"{"k":"v","a":"1","b":"x\"y"}"#,
        Differs(r#"{"x":{"k":"v","a":"1","b":"x\"y"},"y":1}"#),
    ),
    // A marker is not data.
    (
        "TEMPLATE",
        Some(r#"{"u":"$.data.missing"}"#),
        Some(r#"{"EB_SYS_EMBED_OBJECT":"${u}","k":"v"}"#),
        r#"{"EB_SYS_EMBED_OBJECT":"${u}","k":"v"}"#,
        Differs(r#"{"k":"v"}"#),
    ),
    // The errors of the last three come for each event there, and once here.
    (
        "TEMPLATE",
        Some(r#"{"a":{"b":"$.x"}}"#),
        Some("${a}"),
        "an exception",
        Refused(Member::Value, None, |reason| *reason == Reason::VariableNotFlat),
    ),
    (
        "TEMPLATE",
        Some("not json"),
        Some("x"),
        "an exception",
        Refused(Member::Value, None, |reason| matches!(reason, Reason::ValueNotJson(_))),
    ),
    (
        "TEMPLATE",
        Some(r#"{"b":"$.data.body"}"#),
        None,
        "an exception",
        Refused(Member::Template, None, |reason| *reason == Reason::NoTemplate),
    ),
];

fn is_path(reason: &Reason) -> bool {
    matches!(reason, Reason::Path(_))
}

#[test]
fn each_vector_comes_out_as_documented() {
    let event = Json::parse(EVENT).unwrap();
    for (form, value, template, apache, here) in VECTORS {
        let body = Some(FieldSpecification { form: Some(form), value: *value, template: *template });
        let compiled = Transform::parse(&Specification { body, ..Specification::default() }, LIMITS);
        let result = compiled.map(|transform| transform.apply(&event));
        let is = |expected: &str| {
            let body = result.clone().unwrap().unwrap().body.unwrap();
            assert_eq!(String::from_utf8(body).unwrap(), expected, "{form} {value:?} {template:?}");
        };
        match here {
            Same => is(apache),
            Differs(expected) => {
                assert_ne!(expected, apache);
                is(expected);
            }
            NoBody => assert_eq!(result, Ok(Err(RecordError::NoBody))),
            Refused(member, position, expected) => {
                let faults = result.unwrap_err();
                let [fault] = &*faults else { panic!("{faults:?}") };
                assert_eq!((fault.member, fault.position), (*member, *position), "{fault}");
                assert!(expected(&fault.reason), "{fault}");
            }
        }
    }
}

/// The samples of the vendor's documentation and of its client library.
#[test]
fn documented_samples_come_out_as_meant() {
    let event = r#"{"type":"mq:Topic:SendMessage","data":{"systemProperties":{"KEYS":"k","UNIQ_KEY":"AC14"},"userProperties":{},"body":"TEST"}}"#;
    let event = Json::parse(event).unwrap();
    let path = |value| Some(FieldSpecification { form: Some("JSONPATH"), value: Some(value), template: None });
    let template = |value, template| {
        Some(FieldSpecification { form: Some("TEMPLATE"), value: Some(value), template: Some(template) })
    };
    let specification = Specification {
        body: path("$.data.body"),
        properties: template(
            r#"{"userProperties":"$.data.userProperties","msgId":"$.data.systemProperties.UNIQ_KEY"}"#,
            r#"{"EB_SYS_EMBED_OBJECT": "${userProperties}", "UNIQ_KEY": "${msgId}"}"#,
        ),
        keys: path("$.data.systemProperties.KEYS"),
        tags: path("$.data.systemProperties.TAGS"),
        sharding_key: Some(FieldSpecification::default()),
    };
    let transform = Transform::parse(&specification, LIMITS).unwrap();
    let expected = Outgoing {
        body: None,
        properties: Some(vec![("UNIQ_KEY".to_owned(), "AC14".to_owned())]),
        keys: Change::Set("k".to_owned()),
        tags: Change::Remove,
        sharding_key: Change::Remove,
    };
    assert_eq!(transform.apply(&event), Ok(expected));
    assert!(!transform.needs_body(), "a body that is kept is not looked at");

    let body = template(r#"{"type":"$.type"}"#, "The event type is ${type}.");
    let transform = Transform::parse(&Specification { body, ..Specification::default() }, LIMITS).unwrap();
    let body = transform.apply(&event).unwrap().body;
    assert_eq!(body.as_deref(), Some(&b"The event type is mq:Topic:SendMessage."[..]));
}
