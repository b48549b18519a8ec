//! What holds for any specification and any event.

use proptest::prelude::*;

use super::*;

/// Values of an event, nasty ones among them.
fn json() -> impl Strategy<Value = Json> {
    let text = prop_oneof!["\\PC{0,8}", "[\"\\\\{}$:,\u{1}\u{2}\n]{0,6}", Just("{\"a\":1}".to_owned())];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        "-?[1-9][0-9]{0,20}(\\.[0-9]{1,3})?".prop_map(|number| Json::parse(&number).unwrap()),
        text.clone().prop_map(Json::Text),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((prop_oneof!["[a-d]", text.clone()], inner), 0..4).prop_map(Json::Object),
        ]
    })
}

const NAMES: &str = r#"{"a":"$.a","b":"$.b","c":"$.b.c","l":"literal \"","n":1.50}"#;

fn event(a: Json, b: Json) -> Json {
    Json::Object(vec![("a".to_owned(), a), ("b".to_owned(), b)])
}

fn placeholder() -> impl Strategy<Value = String> {
    ("[abcln]", prop_oneof![3 => Just(""), 1 => Just(":-0")])
        .prop_map(|(name, default)| format!("${{{name}{default}}}"))
}

/// A JSON template with placeholders in strings, names and values, and with markers.
fn json_template() -> impl Strategy<Value = String> {
    let string = prop::collection::vec(prop_oneof![placeholder(), "[a-z \\PC]{0,4}".prop_map(json_escaped)], 0..4);
    let string = string.prop_map(|parts| format!("\"{}\"", parts.concat()));
    let leaf = prop_oneof![placeholder(), string.clone(), Just("null".to_owned()), Just("1.50".to_owned())];
    let value = leaf.prop_recursive(3, 24, 4, move |inner| {
        let members = prop::collection::btree_map(prop_oneof![string.clone(), "\"[a-d]\""], inner.clone(), 0..4);
        let marker = prop::option::of("[abc]");
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|elements| format!("[ {}]", elements.join(" ,\n"))),
            (members, marker).prop_map(|(members, marker)| {
                let marker = marker.map(|name| format!("\"{MARKER}\":\"${{{name}}}\""));
                let members = members.into_iter().map(|(name, value)| format!("{name} : {value}"));
                format!("{{{} }}", members.chain(marker).collect::<Vec<_>>().join(" , "))
            }),
        ]
    });
    value.prop_map(|value| format!("[{value}]"))
}

fn json_escaped(text: String) -> String {
    let quoted = Json::Text(text).to_string();
    quoted[1..quoted.len() - 1].replace('$', "\\u0024")
}

fn with_body(template: &str, limits: Limits) -> Result<Transform, Vec<Fault>> {
    let body = FieldSpecification { form: Some("TEMPLATE"), value: Some(NAMES), template: Some(template) };
    Transform::parse(&Specification { body: Some(body), ..Specification::default() }, limits)
}

const WIDE: Limits = Limits { body_bytes: 1 << 20, properties_bytes: 32_767 };

proptest! {
    /// A JSON template gives JSON, whatever is inserted.
    #[test]
    fn a_json_template_gives_json_or_a_typed_error(template in json_template(), a in json(), b in json()) {
        let transform = match with_body(&template, WIDE) {
            Ok(transform) => transform,
            // Two names that are written otherwise can be the same; nothing else is wrong with these templates.
            Err(faults) => {
                let is_known = |fault: &Fault| matches!(fault.reason, Reason::NameTwice(_));
                prop_assert!(faults.iter().all(is_known), "{template} {faults:?}");
                return Ok(());
            }
        };
        match transform.apply(&event(a, b)) {
            Ok(outgoing) => {
                let body = String::from_utf8(outgoing.body.unwrap()).unwrap();
                let judged: Result<&serde_json::value::RawValue, _> = serde_json::from_str(&body);
                prop_assert!(judged.is_ok(), "{template}: {body}");
                prop_assert!(!body.contains(MARKER), "{template}: {body}");
            }
            Err(RecordError::NotSpreadable { field: OutgoingField::Body, variable }) => {
                let marker = format!("\"{MARKER}\":\"${{{variable}}}\"");
                prop_assert!(template.contains(&marker));
            }
            Err(error) => prop_assert!(false, "{template}: {error}"),
        }
    }

    /// A template without placeholders is its own result, be it text or JSON.
    #[test]
    fn a_template_without_placeholders_is_its_own_result(text in "\\PC{0,40}|[a-z$}: \n]{0,40}", value in json()) {
        for template in [text, value.to_string()] {
            prop_assume!(!template.contains("${") && !template.contains(MARKER));
            let transform = match with_body(&template, WIDE) {
                Ok(transform) => transform,
                Err(faults) => {
                    let begins_like_json = template.trim_start().starts_with(['{', '[']);
                    prop_assert!(begins_like_json, "{template} {faults:?}");
                    continue;
                }
            };
            let body = transform.apply(&Json::Null).unwrap().body.unwrap();
            prop_assert_eq!(String::from_utf8(body).unwrap(), template);
        }
    }

    /// Whatever a specification says, it is compiled or refused, and a message is within the limits or an error.
    #[test]
    fn anything_is_within_the_limits_or_an_error(
        forms in prop::collection::vec("CONSTANT|JSONPATH|TEMPLATE|ORIGINAL|\\PC{0,3}", 5),
        values in prop::collection::vec(
            prop_oneof![Just(NAMES.to_owned()), json().prop_map(|json| json.to_string()), "\\$[.\\[\\]abc'0*]{0,8}"], 5),
        templates in prop::collection::vec(
            prop_oneof!["\\PC{0,20}", "[{}\"$:,abcl \\[\\]\\\\-]{0,20}", json_template(), placeholder()], 5),
        (a, b) in (json(), json()),
        limits in (0_usize..200, 0_usize..100),
    ) {
        let field = |at: usize| Some(FieldSpecification {
            form: Some(&forms[at]), value: Some(&values[at]), template: Some(&templates[at]),
        });
        let limits = Limits { body_bytes: limits.0, properties_bytes: limits.1 };
        let kept = |only: usize, at: usize| field(at).filter(|_| only == at || only == 5);
        // Each field by itself, because together they seldom are all without a fault.
        for only in 0..=5 {
            let specification = Specification {
                body: kept(only, 0), properties: kept(only, 1), keys: kept(only, 2), tags: kept(only, 3),
                sharding_key: kept(only, 4),
            };
            let transform = match Transform::parse(&specification, limits) {
                Ok(transform) => transform,
                Err(faults) => {
                    prop_assert!(!faults.is_empty());
                    for fault in faults {
                        let text = match fault.member {
                            Member::Template => &templates,
                            Member::Value | Member::Form => &values,
                        };
                        let position = fault.position.filter(|_| fault.variable.is_none()).unwrap_or(0);
                        let at = usize::from(fault.field > OutgoingField::Body)
                            + usize::from(fault.field > OutgoingField::Properties)
                            + usize::from(fault.field > OutgoingField::Keys)
                            + usize::from(fault.field > OutgoingField::Tags);
                        prop_assert!(text[at].is_char_boundary(position), "{fault}");
                    }
                    continue;
                }
            };
            let Ok(outgoing) = transform.apply(&event(a.clone(), b.clone())) else { continue };
            prop_assert!(outgoing.body.is_none_or(|body| body.len() <= limits.body_bytes));
            let changes = [("KEYS", outgoing.keys), ("TAGS", outgoing.tags), ("__SHARDINGKEY", outgoing.sharding_key)];
            let mut stored: Vec<_> = outgoing.properties.unwrap_or_default();
            for (name, _) in &stored {
                prop_assert!(!name.is_empty() && properties::refusal(name).is_none(), "{name}");
            }
            stored.extend(changes.into_iter().filter_map(|(name, change)| match change {
                Change::Set(value) => Some((name.to_owned(), value)),
                Change::Keep | Change::Remove => None,
            }));
            let clean = |text: &str| !text.is_empty() && !text.contains(['\u{1}', '\u{2}']);
            prop_assert!(stored.iter().all(|(name, value)| clean(name) && clean(value)), "{stored:?}");
            let length: usize = stored.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
            prop_assert!(length <= limits.properties_bytes);
        }
    }
}
