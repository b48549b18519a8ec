//! The compiled matcher agrees with the slow one, and nothing panics.

use proptest::prelude::*;

use super::*;
use crate::event::sample::Sample;
use crate::event::{BodyFormat, Event, Names, Source};

/// Texts that patterns and events have in common, so that about half of the tests match.
fn word() -> impl Strategy<Value = String> {
    let numbers = prop::sample::select(vec!["300", "300.0", "3e2", "299.99999999", "-1", "3", "41"]);
    let others = prop::sample::select(vec![
        "",
        "a",
        "ab",
        "abc",
        "b",
        "ba",
        "true",
        "null",
        "10.0.0.0",
        "10.0.0.255",
        "10.0.1.7",
        "ü",
        "x\"y",
        "orders",
        "2021-04-08T06:01:20.766Z",
    ]);
    prop_oneof![numbers, others].prop_map(str::to_owned)
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        4 => word().prop_map(Json::Text),
        2 => prop::sample::select(vec!["300", "300.0", "3e2", "-1", "0", "299.99999999", "1e999"])
            .prop_map(|number| Json::parse(number).unwrap()),
        1 => any::<bool>().prop_map(Json::Bool),
        1 => Just(Json::Null),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "a.b", "TAGS", "x"]).prop_map(str::to_owned)
}

fn member(name: &str, value: Json) -> Json {
    Json::Object(vec![(name.to_owned(), value)])
}

fn part(condition: &'static str) -> impl Strategy<Value = Json> {
    word()
        .prop_filter("an empty part is a fault", |word| !word.is_empty())
        .prop_map(move |word| member(condition, Json::Text(word)))
}

fn numeric() -> impl Strategy<Value = Json> {
    let operator = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let number = prop::sample::select(vec!["300", "-1", "0", "1e9", "299.5"]);
    prop::collection::vec((operator, number), 1..=2).prop_map(|pairs| {
        let parts =
            pairs.into_iter().flat_map(|(operator, number)| [Json::from(operator), Json::parse(number).unwrap()]);
        member("numeric", Json::Array(parts.collect()))
    })
}

fn alternative() -> impl Strategy<Value = Json> {
    prop_oneof![
        4 => scalar(),
        1 => part("prefix"),
        1 => part("suffix"),
        1 => part("contains"),
        1 => scalar().prop_map(|excluded| member("anything-but", excluded)),
        1 => prop::collection::vec(scalar(), 0..4).prop_map(|excluded| member("anything-but", Json::Array(excluded))),
        2 => prop_oneof![part("prefix"), part("suffix")].prop_map(|condition| member("anything-but", condition)),
        4 => numeric(),
        1 => prop::sample::select(vec!["10.0.0.0/24", "10.0.0.255", "10.0.0.0/23", "0.0.0.0/0", "10.0.0.0/32"])
            .prop_map(|block| member("cidr", block.into())),
        1 => any::<bool>().prop_map(|exists| member("exists", Json::Bool(exists))),
    ]
}

fn field() -> impl Strategy<Value = Json> {
    prop::collection::vec(alternative(), 1..4).prop_map(Json::Array)
}

/// An object with distinct names.
fn object(name: impl Strategy<Value = String>, value: impl Strategy<Value = Json>) -> impl Strategy<Value = Json> {
    prop::collection::btree_map(name, value, 1..3).prop_map(|members| Json::Object(members.into_iter().collect()))
}

fn pattern() -> impl Strategy<Value = Json> {
    let body = prop_oneof![field(), object(name(), prop_oneof![field(), object(name(), field())])];
    let section = prop_oneof![
        prop::sample::select(vec!["topic", "msgId", "queueId", "queueOffset", "nosuch"])
            .prop_flat_map(|name| field().prop_map(move |field| (name.to_owned(), field))),
        prop::sample::select(vec!["systemProperties", "userProperties"]).prop_flat_map(|name| {
            prop_oneof![1 => field(), 4 => object(self::name(), field())]
                .prop_map(move |below| (name.to_owned(), below))
        }),
        body.prop_map(|below| ("body".to_owned(), below)),
    ];
    let data = prop::collection::vec(section, 1..3).prop_map(|sections| {
        let distinct: std::collections::BTreeMap<_, _> = sections.into_iter().collect();
        ("data".to_owned(), Json::Object(distinct.into_iter().collect()))
    });
    let attribute = prop::sample::select(vec!["id", "time", "dataschema", "aliyunregionid"])
        .prop_flat_map(|name| field().prop_map(move |field| (name.to_owned(), field)));
    (prop::option::weighted(0.2, attribute), data)
        .prop_map(|(attribute, data)| Json::Object(attribute.into_iter().chain([data]).collect()))
}

/// A JSON value with the names and words of patterns.
fn body() -> impl Strategy<Value = Json> {
    scalar().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::Array),
            // Also with repeated names.
            prop::collection::vec((name(), inner), 0..4).prop_map(Json::Object),
        ]
    })
}

fn message() -> impl Strategy<Value = Sample> {
    let property = (prop_oneof![4 => name(), 1 => Just("UNIQ_KEY".to_owned())], word());
    (prop::collection::vec(property, 0..5), body()).prop_map(|(properties, body)| {
        let properties: Vec<_> = properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Sample::new(&properties, body.to_string().as_bytes())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// On the message as it is, and on its event as JSON.
    #[test]
    fn the_compiled_pattern_agrees_with_the_slow_one(
        pattern in pattern(),
        message in message(),
        format in prop::sample::select(vec![BodyFormat::Text, BodyFormat::Json, BodyFormat::Binary]),
    ) {
        let compiled = match Pattern::compile(&pattern.to_string()) {
            Ok(compiled) => compiled,
            Err(faults) => return Err(TestCaseError::fail(format!("{pattern}: {faults:?}"))),
        };
        let source = Source::new(Names { region: "a", account: "", instance: "i", topic: "orders" }, format);
        let event = Event::new(&source, &message);
        let found = compiled.matches(&event).unwrap();
        let json = Event::new(&source, &message).to_json().unwrap();
        prop_assert_eq!(found, reference::matches(&pattern, &json), "{} {}", pattern, json);
        prop_assert_eq!(found, compiled.matches(&json).unwrap(), "{} {}", pattern, json);
        prop_assert_eq!(found, compiled.explain(&event).unwrap().is_none());
        let body_was_read = message.bodies_read.get() > 1;
        prop_assert!(compiled.needs_body() || !body_was_read, "{} read the body", pattern);
    }

    /// One field with any value, as a property and elsewhere.
    #[test]
    fn one_field_agrees_with_the_slow_one(
        field in field(),
        value in prop::option::weighted(0.95, body()),
        section in prop::sample::select(vec!["userProperties", "other"]),
    ) {
        let pattern = member("data", member(section, member("x", field)));
        let below = value.map_or(Json::Object(Vec::new()), |value| member("x", value));
        let event = member("data", member(section, below));
        let compiled = Pattern::compile(&pattern.to_string()).unwrap();
        let found = compiled.matches(&event).unwrap();
        prop_assert_eq!(found, reference::matches(&pattern, &event), "{} {}", pattern, event);
    }

    #[test]
    fn any_text_is_compiled_or_refused(text in "\\PC{0,60}") {
        if let Err(faults) = Pattern::compile(&text) {
            prop_assert!(!faults.is_empty());
        }
    }

    /// Any JSON as a pattern and as an event; and a pattern that lost a byte.
    #[test]
    fn no_pattern_and_no_event_panics(wild in body(), pattern in pattern(), event in body(), cut in any::<prop::sample::Index>()) {
        let whole = pattern.to_string();
        let mut damaged: Vec<_> = whole.chars().collect();
        damaged.remove(cut.index(damaged.len()));
        let below_data = member("data", wild.clone());
        for text in [whole, damaged.into_iter().collect(), wild.to_string(), below_data.to_string()] {
            match Pattern::compile(&text) {
                Ok(compiled) => {
                    let found = compiled.matches(&event).unwrap();
                    prop_assert_eq!(compiled.explain(&event).unwrap().is_none(), found);
                }
                Err(faults) => prop_assert!((1..=MAXIMUM_FAULTS).contains(&faults.len())),
            }
        }
    }

    /// Bytes that are no text anywhere in a message are an error or a value, never a panic.
    #[test]
    fn no_message_panics(
        pattern in pattern(),
        properties in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..4), prop::collection::vec(any::<u8>(), 1..4)), 0..4),
        body in prop::collection::vec(any::<u8>(), 0..20),
        format in prop::sample::select(vec![BodyFormat::Text, BodyFormat::Json, BodyFormat::Binary]),
    ) {
        let mut message = Sample::new(&[], &body);
        message.properties = properties;
        let source = Source::new(Names { region: "", account: "", instance: "i", topic: "t" }, format);
        let event = Event::new(&source, &message);
        let compiled = Pattern::compile(&pattern.to_string()).unwrap();
        let found = compiled.matches(&event);
        if let Ok(json) = event.to_json() {
            prop_assert_eq!(found, Ok(reference::matches(&pattern, &json)));
            prop_assert_eq!(Json::parse(&json.to_string()), Ok(json));
        }
    }
}
