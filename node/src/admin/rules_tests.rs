use actix_web::http::Method;
use serde_json::{Value, json};

use super::*;
use crate::admin::router_tests::{Ask, run};
use crate::admin::tests::Fixture;

fn message() -> RuleMessage {
    RuleMessage {
        topic: "orders".to_owned(),
        tag: Some("paid".to_owned()),
        properties: [("amount".to_owned(), "120".to_owned())].into(),
        body: r#"{"customer":{"city":"Hohhot"}}"#.to_owned(),
        body_format: RuleBodyFormat::Json,
        ..RuleMessage::default()
    }
}

fn test_of(filter: Value) -> RuleTest {
    RuleTest { filter: serde_json::from_value(filter).unwrap(), message: Some(message()), event: None }
}

/// The outcome and the reasons.
fn tried(asked: &RuleTest) -> (RuleOutcome, Vec<String>) {
    let answer = try_rules(asked).unwrap();
    (answer.outcome, answer.rules.into_iter().map(|rule| rule.why).collect())
}

/// Fields and sentences of the faults.
fn faults(asked: &RuleTest) -> Vec<(String, String)> {
    try_rules(asked).unwrap_err().into_iter().map(|fault| (fault.field.unwrap(), fault.message)).collect()
}

#[test]
fn each_rule_says_why() {
    use RuleOutcome::{Kept, LeftOut};
    for (filter, outcome, why) in [
        (json!({ "tag": "*" }), Kept, "every message is wanted"),
        (json!({ "tag": "paid||shipped" }), Kept, "its tag \"paid\" is listed"),
        (json!({ "tag": "shipped" }), LeftOut, "its tag \"paid\" is not listed"),
        (json!({ "sql": "amount > 100" }), Kept, "true; amount is \"120\""),
        (json!({ "sql": "amount > 200 AND TAGS = 'paid'" }), LeftOut, "false; TAGS is \"paid\", amount is \"120\""),
        (json!({ "sql": "price > 1" }), LeftOut, "neither true nor false; there is no price"),
        (json!({ "pattern": "{}" }), Kept, "every event is wanted"),
        (
            json!({ "pattern": r#"{"data":{"body":{"customer":{"city":[{"prefix":"Hoh"}]}}}}"# }),
            Kept,
            "every field that it names matches",
        ),
        (
            json!({ "pattern": r#"{"data":{"userProperties":{"amount":["1"]}}}"# }),
            LeftOut,
            "data.userProperties.amount is \"120\" and matches nothing of [\"1\"]",
        ),
    ] {
        assert_eq!(tried(&test_of(filter.clone())), (outcome, vec![why.to_owned()]), "{filter}");
    }
    let failing = tried(&test_of(json!({ "sql": "TAGS > 1" })));
    assert_eq!(failing.0, LeftOut);
    assert!(failing.1[0].starts_with("at byte 5: the text is no whole number"), "{failing:?}");
}

#[test]
fn a_message_is_kept_if_every_rule_keeps_it() {
    let both = |sql: &str| tried(&test_of(json!({ "tag": "paid", "sql": sql }))).0;
    assert_eq!((both("amount = 120"), both("amount = 121")), (RuleOutcome::Kept, RuleOutcome::LeftOut));
}

#[test]
fn a_body_that_is_not_what_the_format_says_fails_unless_another_rule_leaves_the_message_out() {
    let pattern = r#"{"data":{"body":{"n":[1]}}}"#;
    let broken = RuleMessage { body: "{".to_owned(), ..message() };
    let asked =
        |tag: &str| RuleTest { message: Some(broken.clone()), ..test_of(json!({ "tag": tag, "pattern": pattern })) };
    let (outcome, why) = tried(&asked("paid"));
    assert_eq!(outcome, RuleOutcome::Failed);
    assert!(why[1].starts_with("the body is no JSON"), "{why:?}");
    assert_eq!(tried(&asked("shipped")).0, RuleOutcome::LeftOut);
}

#[test]
fn an_event_has_the_properties_that_it_tells_of() {
    let event = r#"{"id":"1","data":{"systemProperties":{"TAGS":"paid"},"userProperties":{"amount":7},"body":"x"}}"#;
    let filter = json!({ "tag": "paid", "sql": "amount = 7", "pattern": r#"{"id":["1"],"data":{"body":["x"]}}"# });
    let asked = RuleTest { message: None, event: Some(event.to_owned()), ..test_of(filter) };
    assert_eq!(tried(&asked).0, RuleOutcome::Kept);
}

#[test]
fn all_faults_are_told_at_once() {
    let filter = json!({ "tag": "a | b", "sql": "a ==", "pattern": r#"{"nosuch":["a"],"source":[]}"# });
    let properties = [(String::new(), "x".to_owned()), ("TAGS".to_owned(), "paid".to_owned())].into();
    let asked = RuleTest { message: Some(RuleMessage { properties, ..message() }), ..test_of(filter) };
    let fields: Vec<_> = faults(&asked).into_iter().map(|(field, _)| field).collect();
    let pattern = "filter.pattern";
    assert_eq!(fields, ["filter.tag", "filter.sql", pattern, pattern, "message.properties", "message.properties"]);
    for (asked, field) in [
        (RuleTest { filter: RuleFilter::default(), ..test_of(json!({})) }, "filter"),
        (RuleTest { message: None, ..test_of(json!({ "tag": "*" })) }, "message"),
        (RuleTest { event: Some("{}".to_owned()), ..test_of(json!({ "tag": "*" })) }, "event"),
        (RuleTest { message: None, event: Some("[]".to_owned()), ..test_of(json!({ "tag": "*" })) }, "event"),
        (RuleTest { message: None, event: Some("{".to_owned()), ..test_of(json!({ "tag": "*" })) }, "event"),
    ] {
        let found = faults(&asked);
        assert!(found.len() == 1 && found[0].0 == field, "{found:?}");
    }
    let text = RuleMessage { body_format: RuleBodyFormat::Text, ..message() };
    let pattern = json!({ "pattern": r#"{"data":{"body":{"n":[1]}}}"# });
    assert_eq!(faults(&RuleTest { message: Some(text), ..test_of(pattern) })[0].0, "message.body_format");
}

#[actix_web::test]
async fn the_api_answers_and_refuses() {
    let fixture = Fixture::with_two_streams();
    for (body, status, key) in [
        (json!({ "filter": { "tag": "paid" }, "message": { "tag": "paid" } }), 200, "outcome"),
        (json!({ "filter": { "tag": "a|b" }, "message": {} }), 400, "error"),
        (json!({ "filter": { "tags": "a" }, "message": {} }), 400, "error"),
    ] {
        let ask = Ask(Method::POST, "/v1/rules:test", Some(body), &[]);
        let (found, _, answer) = run(&fixture, vec![ask]).await.remove(0);
        assert_eq!(found.as_u16(), status, "{answer}");
        assert!(answer.get(key).is_some(), "{answer}");
    }
}
