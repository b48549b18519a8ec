use proptest::prelude::*;

use super::*;
use crate::json::Json;

const EVENT: &str = r#"{
    "id": "1", "type": "mq:Topic:SendMessage",
    "data": {
        "topic": "T", "body": {"order": {"id": 7, "lines": [{"sku": "a"}, {"sku": "b"}]}},
        "systemProperties": {"KEYS": "k1", "__SHARDINGKEY": "s"},
        "userProperties": {"a": "1", "two words": "2", "dot.ted": "3", "it's": "4", "": "5", "x(y)": "6", "ü": "7"},
        "arr": [1, 2, [3]]
    }
}"#;

fn found(path: &Path, event: &Json) -> Option<String> {
    path.find(event).unwrap().map(|field| field.to_text().into_owned())
}

#[test]
fn a_path_names_one_value() {
    let event = Json::parse(EVENT).unwrap();
    let whole = event.to_string();
    for (path, expected) in [
        ("$", Some(&*whole)),
        (" $ ", Some(&*whole)),
        ("$.id", Some("1")),
        ("$.data.systemProperties.KEYS", Some("k1")),
        ("$.data.systemProperties.__SHARDINGKEY", Some("s")),
        ("$['data']['topic']", Some("T")),
        ("$[\"data\"].topic", Some("T")),
        ("$.['data'].[ 'topic' ]\n", Some("T")),
        ("$.data.userProperties['two words']", Some("2")),
        ("$.data.userProperties['dot.ted']", Some("3")),
        ("$.data.userProperties['it\\'s']", Some("4")),
        ("$.data.userProperties[\"it's\"]", Some("4")),
        ("$.data.userProperties['']", Some("5")),
        ("$.data.userProperties['x(y)']", Some("6")),
        ("$.data.userProperties.ü", Some("7")),
        ("$.data.userProperties['\\u00fc']", Some("7")),
        ("$.data.arr[0]", Some("1")),
        ("$.data.arr[ 1 ]", Some("2")),
        ("$.data.arr[-1][0]", Some("3")),
        ("$.data.arr[-3]", Some("1")),
        ("$.data.body.order.lines[1].sku", Some("b")),
        ("$.data.arr[3]", None),
        ("$.data.arr[-4]", None),
        ("$.data.arr['0']", None),
        ("$.data.arr.length", None),
        ("$.data.body[0]", None),
        ("$.data.topic[0]", None),
        ("$.data.Topic", None),
        ("$.data.topic.x", None),
        ("$.nothing.at.all", None),
        ("$.data.arr[-2147483648]", None),
        ("$.data.arr[2147483647]", None),
    ] {
        assert_eq!(found(&Path::parse(path).unwrap(), &event).as_deref(), expected, "{path}");
    }
}

#[test]
fn faults_say_where_and_why() {
    let indefinite = |position, found| Error::Indefinite { position, found };
    for (path, expected) in [
        ("", Error::NoRoot),
        ("data.body", Error::NoRoot),
        ("@.id", Error::NoRoot),
        ("$.", Error::NoStep { position: 2 }),
        ("$id", Error::NoStep { position: 1 }),
        ("$5", Error::NoStep { position: 1 }),
        ("${id}", Error::NoStep { position: 1 }),
        ("$.a.", Error::NoStep { position: 4 }),
        ("$.a[]", Error::NoStep { position: 4 }),
        ("$.a[b]", Error::NoStep { position: 4 }),
        ("$.a ['b']", Error::Unquoted { position: 3, character: ' ' }),
        ("$['a'] x", Error::NoStep { position: 6 }),
        ("$.a b", Error::Unquoted { position: 3, character: ' ' }),
        ("$.a]", Error::Unquoted { position: 3, character: ']' }),
        ("$.ü*", Error::Unquoted { position: 4, character: '*' }),
        ("$..x", indefinite(1, "..")),
        ("$.a..x", indefinite(3, "..")),
        ("$.*", indefinite(1, ".*")),
        ("$.data.arr[*]", indefinite(11, "[*]")),
        ("$.arr[?(@.x)]", indefinite(6, "a filter")),
        ("$.arr[0,1]", indefinite(7, "a list")),
        ("$['a','b']", indefinite(5, "a list")),
        ("$.arr[0:1]", indefinite(7, "a slice")),
        ("$.arr[:1]", indefinite(6, "a slice")),
        ("$.arr[-1:]", indefinite(8, "a slice")),
        ("$.a.length()", Error::Function { position: 10 }),
        ("$['a", Error::NotClosed { position: 4, expected: '\'' }),
        ("$['a\\", Error::NotClosed { position: 5, expected: '\'' }),
        ("$['a'", Error::NotClosed { position: 5, expected: ']' }),
        ("$['a'b']", Error::NotClosed { position: 5, expected: ']' }),
        ("$.a[1", Error::NotClosed { position: 5, expected: ']' }),
        ("$.a[1.5]", Error::NotClosed { position: 5, expected: ']' }),
        ("$.a[1-2]", Error::Index { position: 4 }),
        ("$.a[-]", Error::Index { position: 4 }),
        ("$.a[2147483648]", Error::Index { position: 4 }),
        ("$['\\ud800']", Error::Escape { position: 3 }),
        ("$['\\u+123']", Error::Escape { position: 3 }),
    ] {
        assert_eq!(Path::parse(path), Err(expected), "{path}");
    }
    let long = format!("$.{}", "x".repeat(MAXIMUM_PATH_BYTES));
    assert_eq!(Path::parse(&long), Err(Error::TooLong(long.len())));
    assert_eq!(Path::parse(&format!("${}", ".x".repeat(MAXIMUM_STEPS + 1))), Err(Error::TooDeep));
    assert_eq!(Path::parse(&format!("${}", ".x".repeat(MAXIMUM_STEPS))).unwrap().steps().len(), MAXIMUM_STEPS);
}

#[test]
fn the_body_is_needed_only_when_it_is_named() {
    for (path, part, needs_body) in [
        ("$", Part::Everything, true),
        ("$.data", Part::Everything, true),
        ("$['data']", Part::Everything, true),
        ("$.data.body", Part::Body, true),
        ("$.data['body'].x[0]", Part::Body, true),
        ("$.data.topic", Part::Data, false),
        ("$.data.systemProperties.body", Part::Data, false),
        ("$.data.userProperties", Part::Data, false),
        ("$.data.bodyType", Part::Data, false),
        ("$.data[0]", Part::Data, false),
        ("$.body", Part::Attribute, false),
        ("$[0]", Part::Attribute, false),
        ("$.id", Part::Attribute, false),
    ] {
        let path = Path::parse(path).unwrap();
        assert_eq!((path.part(), path.needs_body()), (part, needs_body), "{path:?}");
    }
}

proptest! {
    /// Whatever a member is called, it is found by its quoted name.
    #[test]
    fn a_quoted_name_finds_its_member(names in prop::collection::vec("\\PC{0,6}|[\\\\'\"\n\t]{1,3}", 1..5)) {
        let mut event = Json::from("here");
        let mut path = String::from("$");
        for name in names.iter().rev() {
            let quoted = name.replace('\\', "\\\\").replace('\'', "\\'");
            path.insert_str(1, &format!("['{quoted}']"));
            event = Json::Object(vec![(name.clone(), event), (format!("{name}x"), Json::Null)]);
        }
        let path = Path::parse(&path).unwrap();
        prop_assert_eq!(found(&path, &event), Some("here".to_owned()));
    }

    #[test]
    fn any_text_is_compiled_or_refused_with_a_position_inside(text in "\\$?(\\PC{0,12}|[].\\[$'\"a0:,*?()\\\\u -]{0,24})") {
        match Path::parse(&text) {
            Ok(path) => {
                found(&path, &Json::parse(EVENT).unwrap());
            }
            Err(error) => prop_assert!(text.is_char_boundary(error.position().unwrap_or(0)), "{error}"),
        }
    }
}
