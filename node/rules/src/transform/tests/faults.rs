//! What is refused, with position and words.

use super::*;

fn faults(specification: &Specification<'_>) -> Vec<String> {
    let faults = Transform::parse(specification, LIMITS).unwrap_err();
    faults.iter().map(ToString::to_string).collect()
}

fn fault_of_body(body: FieldSpecification<'_>) -> String {
    faults(&Specification { body: Some(body), ..Specification::default() }).join(" | ")
}

fn fault_of_properties(properties: FieldSpecification<'_>) -> String {
    faults(&Specification { properties: Some(properties), ..Specification::default() }).join(" | ")
}

#[test]
fn all_faults_are_told_at_once() {
    let value = r#"{"a":"$..x","b":null,"c":"$.id","c":1}"#;
    let specification = Specification {
        body: Some(FieldSpecification { value: Some(value), ..template("${a}${nobody}${c") }),
        properties: Some(form("ORIGINAL", "")),
        keys: Some(form("JSONPATH", "$.arr[*]")),
        tags: Some(form("STATIC", "x")),
        sharding_key: Some(form("CONSTANT", "a\u{2}b")),
    };
    let expected = [
        "Body.Value, variable a: at byte 1: .. stands for any number of values: name one, as in .name or [0]; a fixed \
         text that begins with $ is written into the Template",
        "Body.Value, variable b: a variable is a path or a fixed text, number or truth value",
        "Body.Value, variable c: there is another variable of that name",
        "Body.Template, at byte 4: there is no variable \"nobody\": add it to the Value, or write $${ for the text ${",
        "Body.Template, at byte 13: the placeholder has no }: close it, or write $${ for the text ${",
        "Properties.Form: ORIGINAL is the whole event and is for the Body: leave the field out to keep that of the \
         source message",
        "Keys.Value: at byte 6: [*] stands for any number of values: name one, as in .name or [0]; for a fixed text use \
         the form CONSTANT",
        "Tags.Form: \"STATIC\" is no form: write one of ORIGINAL, CONSTANT, JSONPATH, TEMPLATE",
        "ShardingKey.Value: every message would be refused: ShardingKey cannot hold the characters U+0001 and U+0002",
    ];
    assert_eq!(faults(&specification), expected);
}

#[test]
fn forms_need_what_they_use() {
    let no_form = FieldSpecification { value: Some("x"), ..FieldSpecification::default() };
    let no_template = FieldSpecification { template: None, ..template("") };
    let long = "ü".repeat(MAXIMUM_CHARACTERS + 1);
    let long_path = format!("$.{}", "x".repeat(MAXIMUM_CHARACTERS));
    let long_value = format!("{{\"v\":\"{long}\"}}");
    for (specification, expected) in [
        (no_form, "Body.Form: write one of ORIGINAL, CONSTANT, JSONPATH, TEMPLATE"),
        (form(" ", "x"), "Body.Form: write one of ORIGINAL, CONSTANT, JSONPATH, TEMPLATE"),
        (form("JSONPATH", " "), "Body.Value: write a path, as in $.data.body"),
        (no_template, "Body.Template: write the text with ${name} where the value of a variable belongs"),
        (form("CONSTANT", &long), "Body.Value: 10241 characters are more than 10240"),
        (form("JSONPATH", &long_path), "Body.Value: 10242 characters are more than 10240"),
        (template(&long), "Body.Template: 10241 characters are more than 10240"),
        (
            FieldSpecification { value: Some(&long_value), ..template("${v}") },
            "Body.Value: 10249 characters are more than 10240",
        ),
        (
            FieldSpecification { value: Some("[]"), ..template("${v}") },
            "Body.Value: variables are a JSON object, as in {\"name\":\"$.data.body\"}",
        ),
        (
            form("CONSTANT", "0123456789012345678901234567890123456789012345678901234567890123456789"),
            "Body.Value: every message would be refused: the body would be longer than 64 bytes",
        ),
    ] {
        assert_eq!(fault_of_body(specification), expected);
    }
    let exactly = "ü".repeat(MAXIMUM_CHARACTERS);
    let body = Some(form("CONSTANT", &exactly));
    let limits = Limits { body_bytes: 2 * MAXIMUM_CHARACTERS, properties_bytes: 0 };
    assert!(Transform::parse(&Specification { body, ..Specification::default() }, limits).is_ok());
}

#[test]
fn json_templates_are_judged_where_they_break() {
    let not_json = |position: usize, expected: &str| {
        format!(
            "Body.Template, at byte {position}: the template begins like JSON, but {expected} is missing here; a text \
             that is no JSON begins with ${{:-}}"
        )
    };
    let other = |position: usize, reason: Reason| format!("Body.Template, at byte {position}: {reason}");
    let deep = "[".repeat(65);
    for (text, expected) in [
        ("{", not_json(1, "a name in quotes")),
        ("{${t}: 1}", not_json(1, "a name in quotes")),
        ("{\"a\"}", not_json(4, ":")),
        ("{\"a\":}", not_json(5, "a value")),
        ("{\"a\":1", not_json(6, ", or }")),
        ("{\"a\":1,}", not_json(7, "a name in quotes")),
        ("{\"a\":1 2}", not_json(7, ", or }")),
        ("{\"a\":01}", not_json(5, "a value")),
        ("{\"a\":tru}", not_json(5, "a value")),
        ("{\"a\":$${n}}", not_json(5, "a value")),
        ("{\"a\":x${n}}", not_json(5, "a value")),
        ("{\"a\":${n}1}", not_json(9, ", or }")),
        ("[1 2]", not_json(3, ", or ]")),
        ("[1,]", not_json(3, "a value")),
        ("[] x", not_json(3, "the end")),
        ("[${flag}] ${t}", not_json(10, "the end")),
        ("{\"a\":\"x", not_json(5, "the \" that ends the string")),
        ("{\"a\":\"x\n\"}", not_json(6, "text as a JSON string holds it")),
        ("{\"a\":\"ü\\${n}\"}", not_json(6, "text as a JSON string holds it")),
        ("{\"a\":\"${n:-\\x}\"}", not_json(6, "text as a JSON string holds it")),
        (
            "{\"ü\":\"x${y}\",\"b\":${z}}",
            [other(8, Reason::UnknownVariable("y".to_owned())), other(18, Reason::UnknownVariable("z".to_owned()))]
                .join(" | "),
        ),
        ("[\"${}\",\"${n\"]", [other(2, Reason::NoName), other(8, Reason::NotClosed)].join(" | ")),
        ("[${},${n]", [other(1, Reason::NoName), other(5, Reason::NotClosed)].join(" | ")),
        ("[${n:-x}]", other(1, Reason::DefaultNotJson)),
        ("[${n:-}]", other(1, Reason::DefaultNotJson)),
        ("{\"a\":1,\"\\u0061\":2}", other(7, Reason::NameTwice("a".to_owned()))),
        ("{\"EB_SYS_EMBED_OBJECT\":{}}", other(23, Reason::MarkerValue)),
        ("{\"EB_SYS_EMBED_OBJECT\":\"\"}", other(23, Reason::MarkerValue)),
        ("{\"EB_SYS_EMBED_OBJECT\":\"${u}${u}\"}", other(23, Reason::MarkerValue)),
        ("{\"EB_SYS_EMBED_OBJECT\":\"${u:-x}\"}", other(23, Reason::MarkerValue)),
        ("{\"EB_SYS_EMBED_OBJECT\":\"${x}\"}", other(24, Reason::UnknownVariable("x".to_owned()))),
        (
            "{\"EB_SYS_EMBED_OBJECT\":\"${u}\",\"EB_SYS_EMBED_OBJECT\":\"${u}\"}",
            other(30, Reason::NameTwice(MARKER.to_owned())),
        ),
        (&deep, other(64, Reason::TooDeep)),
    ] {
        assert_eq!(fault_of_body(template(text)), expected, "{text}");
    }
}

#[test]
fn properties_that_cannot_be_are_refused() {
    let not_an_object = "properties are a JSON object, as in {\"name\":\"${variable}\"}";
    for (specification, expected) in [
        (form("CONSTANT", "a=b"), format!("Properties.Value: {not_an_object}")),
        (form("CONSTANT", "[1]"), format!("Properties.Value: {not_an_object}")),
        (template("[${n}]"), format!("Properties.Template: {not_an_object}")),
        (template("a=${n}"), format!("Properties.Template: {not_an_object}")),
        (template("a=b"), format!("Properties.Template: {not_an_object}")),
        (
            form("CONSTANT", r#"{"":"x"}"#),
            "Properties.Value: every message would be refused: a property has no name".to_owned(),
        ),
        (
            form("CONSTANT", r#"{"KEYS":"x","DELAY":"3"}"#),
            "Properties.Value: the property \"KEYS\" is set by the field Keys | Properties.Value: the property \
             \"DELAY\" cannot be set: RocketMQ keeps the name for itself, or this cluster does"
                .to_owned(),
        ),
        (
            template(r#"{"x":{"KEYS":1},"T\u0041GS":"${n}","CAUSEWAY":"${n}"}"#),
            "Properties.Template, at byte 16: the property \"TAGS\" is set by the field Tags | Properties.Template, at \
             byte 35: the property \"CAUSEWAY\" cannot be set: RocketMQ keeps the name for itself, or this cluster does"
                .to_owned(),
        ),
        (
            template(r#"{"a":"\u0001"}"#),
            "Properties.Template: every message would be refused: Properties cannot hold the characters U+0001 and \
             U+0002, as its property \"a\" does"
                .to_owned(),
        ),
    ] {
        assert_eq!(fault_of_properties(specification), expected, "{specification:?}");
    }
}
