//! The examples of `docs/api.md` are what the API really takes and answers, field by field.

use std::collections::BTreeSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::model::{
    ChangePlan, CreateInstance, CreateStream, ErrorAnswer, InstanceTest, InstanceView, PartitionView, ResolveAnswer,
    ResolveRequest, StatusAnswer, StreamPlan, StreamView, VersionAnswer,
};

const PAGE: &str = include_str!("../../../docs/api.md");

/// Reads an example as its type and writes it again: a field that is missing, unknown or of another form shows.
fn same<T: Serialize + DeserializeOwned>(example: &str) -> Result<(), String> {
    let value: Value = serde_json::from_str(example).map_err(|error| error.to_string())?;
    let typed: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    let written = serde_json::to_value(&typed).map_err(|error| error.to_string())?;
    if written == value { Ok(()) } else { Err(format!("the type writes {written}")) }
}

fn check(name: &str, example: &str) -> Result<(), String> {
    match name {
        "ErrorAnswer" => same::<ErrorAnswer>(example),
        "CreateInstance" => same::<CreateInstance>(example),
        "InstanceView" => same::<InstanceView>(example),
        "InstanceTest" => same::<InstanceTest>(example),
        "CreateStream" => same::<CreateStream>(example),
        "StreamPlan" => same::<StreamPlan>(example),
        "StreamView" => same::<StreamView>(example),
        "ChangePlan" => same::<ChangePlan>(example),
        "PartitionView" => same::<PartitionView>(example),
        "ResolveRequest" => same::<ResolveRequest>(example),
        "ResolveAnswer" => same::<ResolveAnswer>(example),
        "StatusAnswer" => same::<StatusAnswer>(example),
        "VersionAnswer" => same::<VersionAnswer>(example),
        _ => Err("no such type is checked".to_owned()),
    }
}

#[test]
fn every_example_is_its_type() {
    let mut seen = BTreeSet::new();
    for block in PAGE.split("```json ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let example = rest.split("```").next().unwrap();
        assert_eq!(check(name, example), Ok(()), "{name}");
        seen.insert(name);
    }
    assert_eq!(seen.len(), 13, "{seen:?}");
    assert!(!PAGE.contains("```json\n"), "a block without a type is not checked");
}

#[test]
fn every_path_of_the_page_is_served() {
    let sources = [
        include_str!("instances.rs"),
        include_str!("streams.rs"),
        include_str!("partitions.rs"),
        include_str!("status.rs"),
    ]
    .concat();
    for verb in [":test", ":pause", ":resume", ":status", ":resolve", "/v1/version", "/metrics", "/healthz"] {
        assert!(PAGE.contains(verb) && sources.contains(verb), "{verb}");
    }
}
