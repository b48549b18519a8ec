//! Each operator against values of every kind.

use super::*;

/// Values of `data.x`, and whether each of these conditions matches it: one letter a condition, `-` for no match.
#[test]
fn conditions_and_values() {
    let conditions = [
        ('e', r#""abc""#),
        ('3', "300"),
        ('0', "null"),
        ('t', "true"),
        ('p', r#"{"prefix":"ab"}"#),
        ('s', r#"{"suffix":"bc"}"#),
        ('c', r#"{"contains":"b"}"#),
        ('a', r#"{"anything-but":"abc"}"#),
        ('l', r#"{"anything-but":["abc",300,null,true]}"#),
        ('P', r#"{"anything-but":{"prefix":"ab"}}"#),
        ('S', r#"{"anything-but":{"suffix":"bc"}}"#),
        ('n', r#"{"numeric":[">=",300]}"#),
        ('i', r#"{"cidr":"10.0.0.0/8"}"#),
        ('x', r#"{"exists":true}"#),
        ('X', r#"{"exists":false}"#),
    ];
    for (value, expected) in [
        (Some(r#""abc""#), "e---psc------x-"),
        (Some(r#""ab""#), "----p-cal-S--x-"),
        (Some(r#""xbc""#), "-----scalP---x-"),
        (Some(r#""ABC""#), "-------alPS--x-"),
        (Some(r#""""#), "-------alPS--x-"),
        (Some(r#""300""#), "-3-----a-PS--x-"),
        (Some(r#""true""#), "---t---a-PS--x-"),
        (Some(r#""null""#), "-------alPS--x-"),
        (Some(r#""10.1.2.3""#), "-------alPS-ix-"),
        (Some("300"), "-3-----a-PSn-x-"),
        (Some("300.0"), "-------alPSn-x-"),
        (Some("3e2"), "-------alPSn-x-"),
        (Some("299.5"), "-------alPS--x-"),
        (Some("1e999"), "-------alPSn-x-"),
        (Some("true"), "---t---a-PS--x-"),
        (Some("false"), "-------alPS--x-"),
        (Some("null"), "--0----a-PS--x-"),
        (Some("{}"), "-------------x-"),
        (Some(r#"{"abc":"abc"}"#), "-------------x-"),
        (Some("[]"), "-------------x-"),
        (Some(r#"["abc",300]"#), "e3--psca-PSn-x-"),
        (Some(r#"["abc",null]"#), "e-0-psca-PS--x-"),
        (Some(r#"[["abc"],{"x":"abc"}]"#), "-------------x-"),
        (Some(r#"[["abc"],"10.0.0.1"]"#), "-------alPS-ix-"),
        (None, "--------------X"),
    ] {
        let event = value.map_or_else(|| r#"{"data":{}}"#.to_owned(), |value| format!(r#"{{"data":{{"x":{value}}}}}"#));
        let found: String = conditions
            .iter()
            .map(|(letter, condition)| {
                let pattern = format!(r#"{{"data":{{"x":[{condition}]}}}}"#);
                if matches(&pattern, &event) { *letter } else { '-' }
            })
            .collect();
        assert_eq!(found, expected, "{value:?}");
    }
}

#[test]
fn an_empty_list_of_exclusions_excludes_nothing() {
    for (event, expected) in [
        (r#"{"data":{"x":null}}"#, true),
        (r#"{"data":{"x":"a"}}"#, true),
        (r#"{"data":{"x":{}}}"#, false),
        (r#"{"data":{}}"#, false),
    ] {
        assert_eq!(matches(r#"{"data":{"x":[{"anything-but":[]}]}}"#, event), expected, "{event}");
    }
}

#[test]
fn comparisons() {
    for (comparisons, value, expected) in [
        (r#"["=",5]"#, "5.00000001", true),
        (r#"["=",5]"#, "5.000001", false),
        (r#"["!=",5]"#, "5", false),
        (r#"["!=",5]"#, "5.1", true),
        (r#"["<",5]"#, "5", false),
        (r#"["<",5]"#, "4.9", true),
        (r#"["<=",5]"#, "5", true),
        (r#"["<=",5]"#, "5.1", false),
        (r#"[">",-5]"#, "-5", false),
        (r#"[">",-5]"#, "-4.9", true),
        (r#"[">=",1e9]"#, "1000000000", true),
        (r#"[">=",-1.0e9]"#, "-1000000001", false),
        (r#"[">",0,"<=",5]"#, "0", false),
        (r#"[">",0,"<=",5]"#, "0.5", true),
        (r#"[">",0,"<=",5]"#, "5", true),
        (r#"[">",0,"<=",5]"#, "6", false),
        (r#"[">",0,"<=",5]"#, "[-1,6]", false),
        (r#"[">",0,"<=",5]"#, "[6,3]", true),
        (r#"["<",0,">",5]"#, "3", false),
        (r#"[">",0]"#, "\"3\"", false),
    ] {
        let pattern = format!(r#"{{"data":{{"x":[{{"numeric":{comparisons}}}]}}}}"#);
        assert_eq!(matches(&pattern, &format!(r#"{{"data":{{"x":{value}}}}}"#)), expected, "{value} {comparisons}");
    }
}

#[test]
fn only_the_text_of_a_property_is_compared_as_a_number() {
    for (place, value, expected) in [
        ("userProperties", "\"120\"", true),
        ("userProperties", "\"1.2e2\"", true),
        ("userProperties", "\"99\"", false),
        ("userProperties", "\" 120\"", false),
        ("userProperties", "\"0x78\"", false),
        ("userProperties", "\"many\"", false),
        ("systemProperties", "\"120\"", true),
        ("systemProperties", "120", true),
        ("other", "\"120\"", false),
        ("other", "120", true),
    ] {
        let pattern = format!(r#"{{"data":{{"{place}":{{"n":[{{"numeric":[">",100]}}]}}}}}}"#);
        let event = format!(r#"{{"data":{{"{place}":{{"n":{value}}}}}}}"#);
        assert_eq!(matches(&pattern, &event), expected, "{place} {value}");
    }
    let deeper = r#"{"data":{"userProperties":{"n":{"m":[{"numeric":[">",100]}]}}}}"#;
    assert!(!matches(deeper, r#"{"data":{"userProperties":{"n":{"m":"120"}}}}"#));
}

#[test]
fn fields_are_joined_by_and_and_values_by_or() {
    let pattern = r#"{"id":["1","2"],"data":{"a":[{"prefix":"x"},{"exists":false}],"b":{"c":[true]}}}"#;
    for (event, expected) in [
        (r#"{"id":"1","data":{"a":"xy","b":{"c":true}}}"#, true),
        (r#"{"id":"2","data":{"b":{"c":true,"d":0}},"z":1}"#, true),
        (r#"{"id":"3","data":{"b":{"c":true}}}"#, false),
        (r#"{"id":"1","data":{"a":"y","b":{"c":true}}}"#, false),
        (r#"{"id":"1","data":{"a":"xy","b":{"c":false}}}"#, false),
        (r#"{"id":"1","data":{"a":"xy","b":[{"c":true}]}}"#, false),
        (r#"{"id":"1"}"#, false),
    ] {
        assert_eq!(matches(pattern, event), expected, "{event}");
    }
}

#[test]
fn nothing_matches_everything() {
    for pattern in ["", "  ", "\n\t", "{}", " { } "] {
        let compiled = Pattern::compile(pattern).unwrap();
        assert!(compiled.matches_all() && !compiled.needs_body(), "{pattern:?}");
        assert!(matches(pattern, "{}") && matches(pattern, r#"{"id":"1"}"#), "{pattern:?}");
    }
    assert!(Pattern::default().matches_all());
    assert!(!Pattern::compile(r#"{"id":[{"exists":true}]}"#).unwrap().matches_all());
}
