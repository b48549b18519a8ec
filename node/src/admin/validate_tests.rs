//! Every fault is found, all at once, with the field and the code that belong to it; no secret is repeated.

use causeway_core::ids::Timestamp;
use causeway_core::instance::SecretReference;
use causeway_core::state::State;
use causeway_core::stream::StartPosition;
use serde_json::json;

use super::{check_start, instance, stream};
use crate::admin::model::instance::CreateInstance;
use crate::admin::model::stream::CreateStream;
use crate::admin::tests::{NOW, create_orders, name, secret_store, two_streams};

fn found(request: serde_json::Value) -> Vec<(String, String)> {
    let request: CreateStream = serde_json::from_value(request).unwrap();
    let faults = stream(&request, &two_streams(), NOW).unwrap_err();
    faults.into_iter().map(|fault| (fault.field.unwrap(), fault.code.to_string())).collect()
}

fn pair(field: &str, code: &str) -> (String, String) {
    (field.to_owned(), code.to_owned())
}

#[test]
fn a_good_stream_passes_with_its_defaults() {
    let request: CreateStream = serde_json::from_value(create_orders("fresh")).unwrap();
    let spec = stream(&request, &two_streams(), NOW).unwrap();
    assert_eq!((spec.start, spec.tag_expression.as_str()), (StartPosition::Latest, "*"));
    assert_eq!(CreateStream::from(&spec), request);
}

#[test]
fn all_faults_of_a_stream_are_told_at_once() {
    let request = json!({
        "name": "a b",
        "source": { "instance": "nowhere", "topic": "rmq_sys_x", "start": { "offset": -1 }, "filter": { "tag": "a | b" } },
        "target": { "instance": "-", "topic": "no.dots" },
    });
    let expected = [
        pair("name", "CWY-0102"),
        pair("source.instance", "CWY-0104"),
        pair("source.topic", "CWY-0102"),
        pair("source.start", "CWY-0102"),
        pair("source.filter.tag", "CWY-0110"),
        pair("target.instance", "CWY-0102"),
        pair("target.topic", "CWY-0102"),
    ];
    assert_eq!(found(request), expected);
}

#[test]
fn what_another_stream_copies_and_a_cluster_with_two_names_are_refused() {
    let with = |tag: &str, source: &str, target: &str| {
        json!({
            "name": "second",
            "source": { "instance": source, "topic": "orders", "filter": { "tag": tag } },
            "target": { "instance": target, "topic": "orders" },
        })
    };
    assert_eq!(found(with("*", "qingdao", "hohhot")), [pair("target.topic", "CWY-0114")]);
    assert_eq!(found(with("paid", "qingdao", "hohhot")), [pair("target.topic", "CWY-0114")]);

    // The cluster of qingdao under a second name.
    let mut view = two_streams();
    let mut alias = view.instances[&name("qingdao")].clone();
    alias.spec.name = name("alias");
    view.instances.insert(name("alias"), alias);
    let codes_in = |view: &State, request: serde_json::Value| -> Vec<_> {
        let request: CreateStream = serde_json::from_value(request).unwrap();
        let faults = stream(&request, view, NOW).err().unwrap_or_default();
        faults.into_iter().map(|fault| fault.code.to_string()).collect()
    };
    assert_eq!(codes_in(&view, with("*", "qingdao", "alias")), ["CWY-0109"]);
    assert_eq!(codes_in(&view, with("*", "alias", "hohhot")), ["CWY-0114"]);
    assert!(codes_in(&view, with("*", "hohhot", "alias")).is_empty(), "the way back is another stream");

    // Tags that the other one leaves out are nobody's yet.
    view.streams.get_mut(&name("orders")).unwrap().spec.tag_expression = "paid || sent".into();
    assert!(codes_in(&view, with("lost", "qingdao", "hohhot")).is_empty());
    assert_eq!(codes_in(&view, with("lost || sent", "qingdao", "hohhot")), ["CWY-0114"]);
}

#[test]
fn taken_names_and_a_topic_onto_itself_are_refused() {
    let request = json!({
        "name": "orders",
        "source": { "instance": "qingdao", "topic": "t" },
        "target": { "instance": "qingdao", "topic": "t" },
    });
    assert_eq!(found(request), [pair("name", "CWY-0103"), pair("target.topic", "CWY-0109")]);
}

#[test]
fn start_positions_that_cannot_be_meant_are_refused() {
    for good in [
        StartPosition::Earliest,
        StartPosition::Latest,
        StartPosition::Offset(0),
        StartPosition::Timestamp(NOW.0 - 1000),
        StartPosition::Timestamp(NOW.0 + 1000),
    ] {
        assert_eq!(check_start(good, NOW), Ok(()), "{good:?}");
    }
    let seconds = StartPosition::Timestamp(NOW.0 / 1000);
    assert!(check_start(seconds, NOW).unwrap_err().contains("seconds"));
    assert!(check_start(StartPosition::Timestamp(NOW.0 * 2), NOW).unwrap_err().contains("future"));
    assert!(check_start(StartPosition::Offset(-1), Timestamp(0)).is_err());
}

#[test]
fn secrets_are_referred_to_or_sealed() {
    let (_directory, secrets) = secret_store();
    let request: CreateInstance = serde_json::from_value(json!({
        "name": "qd", "region": "qingdao", "identity": "00000000000000aa",
        "rocketmq": {
            "name_servers": ["10.0.0.5:9876", "[fd00::1]:9876"],
            "access_key": { "env": "QD_AK" }, "secret": { "value": "hunter2" }, "security_token": { "file": "/run/t" },
        },
    }))
    .unwrap();
    let (spec, identity) = instance(&request, None, &secrets).unwrap();
    assert_eq!(identity.unwrap().0, 0xaa);
    let credentials = spec.credentials.unwrap();
    assert_eq!(credentials.access_key, SecretReference::Environment("QD_AK".to_owned()));
    assert_eq!(credentials.security_token, Some(SecretReference::File("/run/t".to_owned())));
    assert!(matches!(credentials.secret, SecretReference::Sealed(_)));
    assert_eq!(secrets.reveal(&credentials.secret).unwrap().as_str(), "hunter2");
}

#[test]
fn all_faults_of_an_instance_are_told_at_once_and_no_secret_is() {
    let (_directory, secrets) = secret_store();
    let request: CreateInstance = serde_json::from_value(json!({
        "name": "", "region": "a b", "identity": "xyz",
        "rocketmq": {
            "name_servers": ["http://h:1", "h:1", "h:1", "h"],
            "access_key": { "env": "hunter2 hunter2" },
            "security_token": { "file": "hunter2" },
            "tls": { "certificate_authority_file": "ca.pem", "key_file": "/k" },
        },
    }))
    .unwrap();
    let faults = instance(&request, None, &secrets).unwrap_err();
    let fields: Vec<_> = faults.iter().map(|fault| fault.field.as_deref().unwrap()).collect();
    let expected = [
        "name",
        "region",
        "identity",
        "rocketmq.name_servers[0]",
        "rocketmq.name_servers[2]",
        "rocketmq.name_servers[3]",
        "rocketmq.secret",
        "rocketmq.access_key",
        "rocketmq.security_token",
        "rocketmq.tls.certificate_authority_file",
        "rocketmq.tls.certificate_file",
    ];
    assert_eq!(fields, expected);
    assert!(!format!("{faults:?}").contains("hunter2"));
}
