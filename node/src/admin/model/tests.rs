//! The JSON of the model: what is written reads back the same, secrets stay out of `Debug`, misspelt options are found.

use std::collections::BTreeMap;

use causeway_core::ids::Timestamp;
use causeway_core::stream::{DesiredState, StartPosition};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::instance::{CreateInstance, SecretInput};
use super::partition::ResolveRequest;
use super::status::{CatchUp, ConditionView, EndpointStatus, HistoryPoint, StreamFigures, StreamStatus};
use super::stream::CreateStream;
use super::{ErrorAnswer, ErrorBody};
use crate::admin::tests::{name, orders};
use crate::status::RunState;

fn same<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
}

#[test]
fn start_positions_are_written_as_the_documentation_says() {
    for (start, text) in [
        (StartPosition::Earliest, json!("earliest")),
        (StartPosition::Latest, json!("latest")),
        (StartPosition::Timestamp(1_763_800_000_000), json!({ "timestamp": 1_763_800_000_000_i64 })),
        (StartPosition::Offset(42), json!({ "offset": 42 })),
    ] {
        let mut body = serde_json::to_value(CreateStream::from(&orders().spec)).unwrap();
        body["source"]["start"] = text;
        assert_eq!(serde_json::from_value::<CreateStream>(body).unwrap().source.start, start);
    }
}

#[test]
fn a_stream_request_reads_back_and_refuses_misspelt_options() {
    let request = CreateStream::from(&orders().spec);
    same(&request);
    for path in ["/", "/source", "/source/filter", "/target", "/run"] {
        let mut body = serde_json::to_value(&request).unwrap();
        let place = if path == "/" { &mut body } else { body.pointer_mut(path).unwrap() };
        place["tgas"] = json!("x");
        assert!(serde_json::from_value::<CreateStream>(body).is_err(), "{path}");
    }
}

#[test]
fn decisions_are_written_as_one_named_object() {
    let restart = ResolveRequest::Restart { start: StartPosition::Offset(7) };
    for (decision, text) in [
        (ResolveRequest::Retry {}, json!({ "retry": {} })),
        (ResolveRequest::Skip {}, json!({ "skip": {} })),
        (restart, json!({ "restart": { "start": { "offset": 7 } } })),
    ] {
        assert_eq!(serde_json::to_value(decision).unwrap(), text);
        same(&decision);
    }
    for bad in
        [json!({ "skip": { "to": 1 } }), json!({ "retry": {}, "skip": {} }), json!("retry"), json!({ "restart": {} })]
    {
        assert!(serde_json::from_value::<ResolveRequest>(bad.clone()).is_err(), "{bad}");
    }
}

#[test]
fn a_secret_is_sent_but_never_shown() {
    let body = json!({
        "name": "qd", "region": "qd",
        "rocketmq": { "name_servers": ["h:1"], "access_key": { "env": "AK" }, "secret": { "value": "planted" } },
    });
    let request: CreateInstance = serde_json::from_value(body.clone()).unwrap();
    assert_eq!(serde_json::to_value(&request).unwrap(), body);
    assert!(!format!("{request:?}").contains("planted"));
}

#[test]
fn secrets_on_command_lines_are_references_only() {
    assert_eq!("env:QD".parse(), Ok(SecretInput::Env("QD".to_owned())));
    assert_eq!("file:/run/a:b".parse(), Ok(SecretInput::File("/run/a:b".to_owned())));
    for bad in ["", "env:", "value:x", "hunter2"] {
        assert!(bad.parse::<SecretInput>().is_err(), "{bad}");
    }
}

#[test]
fn one_error_has_no_list_and_several_have_all() {
    let body = |field| ErrorBody::new(causeway_core::error_code::ErrorCode::InvalidRequest, "x", Some(field));
    assert!(ErrorAnswer::of(Vec::new()).is_none());
    let one = serde_json::to_value(ErrorAnswer::of(vec![body("a")]).unwrap()).unwrap();
    assert!(one.get("faults").is_none());
    same(&ErrorAnswer::of(vec![body("a"), body("b")]).unwrap());
}

fn figure() -> impl Strategy<Value = Option<f64>> {
    proptest::option::of((0_u32..u32::MAX).prop_map(|number| f64::from(number) / 8.0))
}

fn state() -> impl Strategy<Value = RunState> {
    use RunState::{Blocked, CatchingUp, Deleting, Faulted, Paused, Pausing, Ready, Running, Starting};
    prop_oneof![
        Just(Blocked),
        Just(CatchingUp),
        Just(Deleting),
        Just(Faulted),
        Just(Paused),
        Just(Pausing),
        Just(Ready),
        Just(Running),
        Just(Starting)
    ]
}

prop_compose! {
    fn stream_status()(
        state in state(),
        why in proptest::option::of(".{0,40}"),
        counts in proptest::collection::btree_map(state(), 0_usize..9, 0..5),
        copied in any::<u32>(),
        rate in figure(),
        lag in proptest::option::of(any::<u32>()),
        seconds in figure(),
    ) -> StreamStatus {
        let end = |text: &str| EndpointStatus { instance: name(text), region: name(text), topic: "orders".to_owned() };
        let lag = lag.map(u64::from);
        StreamStatus {
            name: name("orders"),
            source: end("qingdao"),
            target: end("hohhot"),
            desired: DesiredState::Running,
            condition: ConditionView { state, since: Timestamp(1), why, code: None, help: None },
            partitions: counts.values().sum(),
            partition_states: counts,
            figures: StreamFigures { copied_messages: u64::from(copied), lag_messages: lag, lag_seconds: seconds, ..StreamFigures::default() },
            catch_up: Some(CatchUp { percent: rate, remaining_messages: lag, eta_seconds: seconds }),
            history: vec![HistoryPoint { at: Timestamp(2), copied_messages_per_second: rate, lag_messages: lag, lag_seconds: seconds }],
        }
    }
}

proptest! {
    /// Flattened and map-keyed parts are what serde gets wrong most easily.
    #[test]
    fn a_stream_status_reads_back_the_same(status in stream_status()) {
        let value: Value = serde_json::to_value(&status).unwrap();
        prop_assert!(value.get("state").is_some() && value.get("condition").is_none());
        prop_assert_eq!(serde_json::from_value::<StreamStatus>(value).unwrap(), status);
    }
}

#[test]
fn partition_states_are_named_as_people_see_them() {
    let states: BTreeMap<RunState, usize> = [(RunState::CatchingUp, 2)].into();
    assert_eq!(serde_json::to_value(states).unwrap(), json!({ "catching_up": 2 }));
}
