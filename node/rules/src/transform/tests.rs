//! The rules of transforms, a table for each.

use std::borrow::Cow;

use super::*;
use crate::event::{self, BodyError, BodyFormat, Event, Message, Names, Source};
use crate::json::Json;

mod faults;
mod random;

const EVENT: &str = r#"{"id":"1","data":{"topic":"T","body":"{\"a\":9,\"z\":1.50}","n":1.50,"nul":null,"flag":true,
    "text":"say \"hi\"\n","empty":"","bad":"x\u0001y","placeholder":"${b}","user":{"a":"1","b":"2"},"list":[1,"x"]}}"#;

const LIMITS: Limits = Limits { body_bytes: 64, properties_bytes: 48 };

const VARIABLES: &str = r#"{"n":"$.data.n","nul":"$.data.nul","no":"$.data.no","flag":"$.data.flag","t":"$.data.text",
    "e":"$.data.empty","p":"$.data.placeholder","u":"$.data.user","l":"$.data.list","body":"$.data.body",
    "word":"a \"word\"","seven":7.0,"truth":false}"#;

fn form<'a>(form: &'a str, value: &'a str) -> FieldSpecification<'a> {
    FieldSpecification { form: Some(form), value: Some(value), template: None }
}

fn template(template: &str) -> FieldSpecification<'_> {
    FieldSpecification { form: Some("TEMPLATE"), value: Some(VARIABLES), template: Some(template) }
}

fn applied(specification: &Specification<'_>, limits: Limits) -> Result<Outgoing, RecordError> {
    Transform::parse(specification, limits).unwrap().apply(&Json::parse(EVENT).unwrap())
}

fn body_of(body: FieldSpecification<'_>) -> Result<String, RecordError> {
    let outgoing = applied(&Specification { body: Some(body), ..Specification::default() }, LIMITS)?;
    Ok(String::from_utf8(outgoing.body.unwrap()).unwrap())
}

fn keys_of(keys: FieldSpecification<'_>) -> Result<Change, RecordError> {
    Ok(applied(&Specification { keys: Some(keys), ..Specification::default() }, LIMITS)?.keys)
}

fn properties_of(properties: FieldSpecification<'_>) -> Result<String, RecordError> {
    let specification = Specification { properties: Some(properties), ..Specification::default() };
    let properties = applied(&specification, LIMITS)?.properties.unwrap();
    Ok(properties.iter().map(|(name, value)| format!("{name}={value};")).collect())
}

fn set(text: &str) -> Result<Change, RecordError> {
    Ok(Change::Set(text.to_owned()))
}

#[test]
fn what_is_not_specified_is_kept() {
    assert_eq!(applied(&Specification::default(), LIMITS), Ok(Outgoing::default()));
    let body = Some(form("jsonpath", " $['data'].body "));
    assert_eq!(applied(&Specification { body, ..Specification::default() }, LIMITS), Ok(Outgoing::default()));
}

#[test]
fn a_path_gives_its_value_or_the_field_is_left_out() {
    for (path, body, keys) in [
        ("$.data.topic", Ok("T"), set("T")),
        ("$.data.n", Ok("1.50"), set("1.50")),
        ("$.data.flag", Ok("true"), set("true")),
        ("$.data.list", Ok("[1,\"x\"]"), set("[1,\"x\"]")),
        ("$.data.list[-1]", Ok("x"), set("x")),
        ("$.data.placeholder", Ok("${b}"), set("${b}")),
        ("$.data.empty", Ok(""), Ok(Change::Remove)),
        ("$.data.nul", Ok("null"), Ok(Change::Remove)),
        ("$.data.no", Err(RecordError::NoBody), Ok(Change::Remove)),
        ("$.data.bad", Ok("x\u{1}y"), Err(RecordError::Separator { field: OutgoingField::Keys, name: None })),
    ] {
        assert_eq!(body_of(form("JSONPATH", path)), body.map(str::to_owned), "{path}");
        assert_eq!(keys_of(form("JSONPATH", path)), keys, "{path}");
    }
}

#[test]
fn a_constant_is_itself() {
    for (value, keys) in [("$.data.body", set("$.data.body")), ("${b}", set("${b}")), ("", Ok(Change::Remove))] {
        assert_eq!(body_of(form("CONSTANT", value)).as_deref(), Ok(value));
        assert_eq!(keys_of(form("CONSTANT", value)), keys);
    }
    let sharding_key = Some(FieldSpecification { value: Some("s"), ..FieldSpecification::default() });
    let outgoing = applied(&Specification { sharding_key, ..Specification::default() }, LIMITS).unwrap();
    assert_eq!(outgoing.sharding_key, Change::Set("s".to_owned()));
}

#[test]
fn a_text_takes_values_as_they_are() {
    for (text, expected) in [
        ("${n} ${flag} ${seven} ${truth}", "1.50 true 7.0 false"),
        ("${t}${word}", "say \"hi\"\na \"word\""),
        ("${u} ${l}", r#"{"a":"1","b":"2"} [1,"x"]"#),
        ("<${no}${nul}>", "<>"),
        ("<${no:-x}${nul:-y}>", "<xy>"),
        ("<${e:-x}>", "<>"),
        ("${p}", "${b}"),
        ("$${n} $$${n}", "${n} $${n}"),
        ("${:-$}${n}", "$1.50"),
        ("${:-}{${t}}", "{say \"hi\"\n}"),
        (r#"${:-}{"EB_SYS_EMBED_OBJECT":"${n}"}"#, r#"{"EB_SYS_EMBED_OBJECT":"1.50"}"#),
        ("\"${t}\" was said", "\"say \"hi\"\n\" was said"),
    ] {
        assert_eq!(body_of(template(text)).as_deref(), Ok(expected), "{text}");
    }
    assert_eq!(keys_of(template("${no}")), Ok(Change::Remove));
    assert_eq!(keys_of(template("k ${n}")), set("k 1.50"));
}

#[test]
fn a_json_template_gives_json() {
    for (text, expected) in [
        (r#"{"v":"${t}"}"#, r#"{"v":"say \"hi\"\n"}"#),
        (r#"{"v":${t}}"#, r#"{"v":"say \"hi\"\n"}"#),
        (r#"{"v":"${n}","w":${n}}"#, r#"{"v":"1.50","w":1.50}"#),
        (r#"{"v":"${l}","w":${l}}"#, r#"{"v":"[1,\"x\"]","w":[1,"x"]}"#),
        (r#"{"v":"${flag}","w":${flag}}"#, r#"{"v":"true","w":true}"#),
        (r#"{"v":${word},"w":${seven}}"#, r#"{"v":"a \"word\"","w":7.0}"#),
        (r#"{"v":"<${no}>","w":${no}}"#, r#"{"v":"<>","w":null}"#),
        (r#"{"v":"<${nul}>","w":${nul}}"#, r#"{"v":"<>","w":null}"#),
        (r#"{"v":"<${no:-x\n}>","w":${no:-1.0}}"#, r#"{"v":"<x\n>","w":1.0}"#),
        (r#"{"v":${n:-"x"},"w":${no:-[1]}}"#, r#"{"v":1.50,"w":[1]}"#),
        (r#"{"${p}":"$${n}"}"#, r#"{"${b}":"${n}"}"#),
        (r#"{"\u0024${n}":"\\${n}"}"#, r#"{"\u00241.50":"\\1.50"}"#),
        ("[ ${n},\n\t[${u}] , {} ]", "[ 1.50,\n\t[{\"a\":\"1\",\"b\":\"2\"}] , {} ]"),
        (r#" "${t}" "#, r#" "say \"hi\"\n" "#),
        (" { \"a\" : 1 , \"b\":[ ] } ", " { \"a\" : 1 , \"b\":[ ] } "),
    ] {
        assert_eq!(body_of(template(text)).as_deref(), Ok(expected), "{text}");
        assert!(Json::parse(expected).is_ok(), "{expected}");
    }
}

#[test]
fn a_marker_spreads_an_object_where_it_stands() {
    let refused =
        |variable: &str| Err(RecordError::NotSpreadable { field: OutgoingField::Body, variable: variable.to_owned() });
    for (text, expected) in [
        (r#"{"EB_SYS_EMBED_OBJECT":"${u}"}"#, Ok(r#"{"a":"1","b":"2"}"#)),
        (r#"{"EB_SYS_EMBED_OBJECT":${u}}"#, Ok(r#"{"a":"1","b":"2"}"#)),
        (r#"{ "EB_SYS_EMBED_OBJECT" : "${u}" , "k" : 1 }"#, Ok(r#"{  "k" : 1 ,"a":"1","b":"2"}"#)),
        (r#"{"k":1,"EB_SYS_EMBED_OBJECT":"${u}","l":2}"#, Ok(r#"{"k":1,"l":2,"a":"1","b":"2"}"#)),
        // The template wins, wherever its member stands.
        (r#"{"a":0,"EB_SYS_EMBED_OBJECT":"${u}"}"#, Ok(r#"{"a":0,"b":"2"}"#)),
        (r#"{"EB_SYS_EMBED_OBJECT":"${u}","\u0061":0}"#, Ok(r#"{"\u0061":0,"b":"2"}"#)),
        (r#"{"EB_SYS_EMBED_OBJECT":"${u}","a":0,"b":0}"#, Ok(r#"{"a":0,"b":0}"#)),
        (r#"{"EB_SYS_EMBED_OBJECT":"${u}","${no:-a}":0}"#, Ok(r#"{"a":0,"b":"2"}"#)),
        // One in each of several objects.
        (
            r#"{"x":{"EB_SYS_EMBED_OBJECT":"${u}"},"y":[{"EB_SYS_EMBED_OBJECT":"${u}","a":0}]}"#,
            Ok(r#"{"x":{"a":"1","b":"2"},"y":[{"a":0,"b":"2"}]}"#),
        ),
        (
            r#"{"EB_SYS_EMBED_OBJECT":"${u}","x":{"EB_SYS_EMBED_OBJECT":"${u}"}}"#,
            Ok(r#"{"x":{"a":"1","b":"2"},"a":"1","b":"2"}"#),
        ),
        // The text of a body can be an object.
        (r#"{"EB_SYS_EMBED_OBJECT":"${body}","a":0}"#, Ok(r#"{"a":0,"z":1.50}"#)),
        (r#"{"EB_SYS_EMBED_OBJECT":"${no}","a":0}"#, Ok(r#"{"a":0}"#)),
        (r#"{"EB_SYS_EMBED_OBJECT":"${nul}"}"#, Ok("{}")),
        (r#"{"EB_SYS_EMBED_OBJECT":"${l}"}"#, refused("l")),
        (r#"{"EB_SYS_EMBED_OBJECT":"${t}"}"#, refused("t")),
        (r#"{"EB_SYS_EMBED_OBJECT":"${n}"}"#, refused("n")),
        // Only a member is a marker.
        (r#"["EB_SYS_EMBED_OBJECT","${n}"]"#, Ok(r#"["EB_SYS_EMBED_OBJECT","1.50"]"#)),
    ] {
        assert_eq!(body_of(template(text)), expected.map(str::to_owned), "{text}");
    }
}

#[test]
fn properties_are_the_members_of_an_object() {
    let none = || Ok(String::new());
    for (specification, expected) in [
        (form("CONSTANT", r#"{"a":"1","n":1.50}"#), Ok("a=1;n=1.50;".to_owned())),
        (form("CONSTANT", ""), none()),
        (form("JSONPATH", "$.data.user"), Ok("a=1;b=2;".to_owned())),
        (form("JSONPATH", "$.data.body"), Ok("a=9;z=1.50;".to_owned())),
        (form("JSONPATH", "$.data.no"), none()),
        (form("JSONPATH", "$.data.nul"), none()),
        (form("JSONPATH", "$.data.empty"), none()),
        (form("JSONPATH", "$.data.list"), Err(RecordError::PropertiesNotAnObject)),
        (
            template(r#"{"EB_SYS_EMBED_OBJECT":"${u}","n":${n},"no":"${no}","x":${no}}"#),
            Ok("n=1.50;a=1;b=2;".to_owned()),
        ),
        (template("${u}"), Ok("a=1;b=2;".to_owned())),
        (template(r#"{"${t}":1}"#), Ok("say \"hi\"\n=1;".to_owned())),
        (template(r#"{"${no}":1}"#), Err(RecordError::NoPropertyName)),
        (template("${l}"), Err(RecordError::PropertiesNotAnObject)),
        // What the message brings is left out.
        (template(r#"{"${no:-DELAY}":"3","${no:-KEYS}":"k","x":"y"}"#), Ok("x=y;".to_owned())),
    ] {
        assert_eq!(properties_of(specification), expected, "{specification:?}");
    }
    let not_json = properties_of(template("${t}"));
    assert!(matches!(not_json, Err(RecordError::PropertiesNotJson(_))), "{not_json:?}");
}

#[test]
fn limits_hold_to_the_byte() {
    let at = |body_bytes, properties_bytes| Limits { body_bytes, properties_bytes };
    let body = Specification { body: Some(template("${n}ü")), ..Specification::default() };
    assert!(applied(&body, at(6, 0)).is_ok());
    assert_eq!(applied(&body, at(5, 0)), Err(RecordError::BodyTooLong { limit: 5 }));
    for body in [form("JSONPATH", "$.data.n"), form("CONSTANT", "1.50")] {
        let body = Specification { body: Some(body), ..Specification::default() };
        assert!(applied(&body, at(4, 0)).is_ok());
        let refused = Transform::parse(&body, at(3, 0)).map(|transform| transform.apply(&Json::parse(EVENT).unwrap()));
        assert!(!matches!(refused, Ok(Ok(_))), "{refused:?}");
    }
    let whole = Specification { body: Some(form("ORIGINAL", "")), ..Specification::default() };
    assert_eq!(applied(&whole, at(100, 0)), Err(RecordError::BodyTooLong { limit: 100 }));
    // `a 1 b 2 KEYS 1.50 TAGS T __SHARDINGKEY s`, each with two separators.
    let all = Specification {
        properties: Some(form("JSONPATH", "$.data.user")),
        keys: Some(template("${n}")),
        tags: Some(form("JSONPATH", "$.data.topic")),
        sharding_key: Some(form("JSONPATH", "$.id")),
        ..Specification::default()
    };
    let needed = 4 + 4 + 10 + 7 + 16;
    assert!(applied(&all, at(0, needed)).is_ok());
    assert_eq!(applied(&all, at(0, needed - 1)), Err(RecordError::PropertiesTooLong { limit: needed - 1 }));
    let keys = Specification { keys: Some(template("${t}")), ..Specification::default() };
    assert_eq!(applied(&keys, at(0, 3)), Err(RecordError::PropertiesTooLong { limit: 3 }));
}

/// A message whose body nobody may ask for.
struct Bodiless;

impl Message for Bodiless {
    fn offset_id(&self) -> Cow<'_, str> {
        Cow::Borrowed("0A")
    }
    fn born_time(&self) -> i64 {
        0
    }
    fn store_time(&self) -> i64 {
        0
    }
    fn queue_id(&self) -> i32 {
        3
    }
    fn queue_offset(&self) -> i64 {
        41
    }
    fn properties(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        [(&b"KEYS"[..], &b"k"[..]), (b"color", b"red")].into_iter()
    }
    fn body(&self) -> Result<Cow<'_, [u8]>, BodyError> {
        Err(BodyError("asked for".to_owned()))
    }
}

#[test]
fn the_body_is_asked_for_only_when_it_is_used() {
    let source = Source::new(Names { region: "r", account: "", instance: "i", topic: "t" }, BodyFormat::Json);
    let asked_for = RecordError::Event(event::Error::Body(BodyError("asked for".to_owned())));
    let value = r#"{"body":"$.data.body","p":"$.data.userProperties","q":"$.data.queueId"}"#;
    for (specification, uses_body) in [
        (form("JSONPATH", "$.data.body"), false),
        (form("JSONPATH", "$.data.userProperties"), false),
        (form("JSONPATH", "$.data.body.x"), true),
        (form("JSONPATH", "$.data"), true),
        (form("ORIGINAL", ""), true),
        (form("CONSTANT", "$.data.body.x"), false),
        (FieldSpecification { value: Some(value), ..template(r#"{"EB_SYS_EMBED_OBJECT":"${p}","q":${q}}"#) }, false),
        (FieldSpecification { value: Some(value), ..template("${q}${body}") }, true),
    ] {
        let specification = Specification { body: Some(specification), ..Specification::default() };
        let transform = Transform::parse(&specification, LIMITS).unwrap();
        let outgoing = transform.apply(&Event::new(&source, &Bodiless));
        assert_eq!(transform.needs_body(), uses_body, "{specification:?}");
        assert_eq!(outgoing.err(), uses_body.then(|| asked_for.clone()), "{specification:?}");
    }
    let keys = Some(form("JSONPATH", "$.data.body.x"));
    assert!(Transform::parse(&Specification { keys, ..Specification::default() }, LIMITS).unwrap().needs_body());
}
