//! The examples of `docs/api.md` are what the API really takes and answers, field by field.

use std::collections::BTreeSet;

use actix_web::http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::model::rule::{RuleTest, RuleTestAnswer};
use super::model::{
    ChangePlan, CreateInstance, CreateStream, ErrorAnswer, InstanceTest, InstanceView, MoveView, NodeList, NodeView,
    PartitionView, ResolveAnswer, ResolveRequest, StatusAnswer, StreamPlan, StreamView, VersionAnswer,
};
use super::router_tests::{Ask, run};
use super::tests::Fixture;

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
        "NodeList" => same::<NodeList>(example),
        "CreateStream" => same::<CreateStream>(example),
        "StreamPlan" => same::<StreamPlan>(example),
        "NodeView" => same::<NodeView>(example),
        "MoveView" => same::<MoveView>(example),
        "StreamView" => same::<StreamView>(example),
        "ChangePlan" => same::<ChangePlan>(example),
        "PartitionView" => same::<PartitionView>(example),
        "ResolveRequest" => same::<ResolveRequest>(example),
        "ResolveAnswer" => same::<ResolveAnswer>(example),
        "RuleTest" => same::<RuleTest>(example),
        "RuleTestAnswer" => same::<RuleTestAnswer>(example),
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
    assert_eq!(seen.len(), 18, "{seen:?}");
    assert!(!PAGE.contains("```json\n"), "a block without a type is not checked");
}

/// The requests in the tables of the page: method and path, without the query.
fn requests_of_the_page() -> BTreeSet<(String, String)> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `")).map(|row| row.split(" |").next().unwrap());
    let requests = rows.flat_map(|cell| cell.split('`').filter_map(|part| part.split_once(' ')));
    requests
        .filter(|(_, path)| path.starts_with('/'))
        .map(|(method, path)| (method.to_owned(), path.split('?').next().unwrap().to_owned()))
        .collect()
}

#[actix_web::test]
async fn the_page_has_every_request_that_is_served_and_no_other() {
    let wanted = requests_of_the_page();
    let paths: Vec<_> = wanted
        .iter()
        .map(|(method, path)| {
            let name = if path.starts_with("/v1/instances") { "qingdao" } else { "orders" };
            let method: Method = method.parse().unwrap();
            (method, path.replace("NAME", name).replace("BROKER", "broker-a").replace("QUEUE", "0"))
        })
        .collect();
    let asks = paths.iter().map(|(method, path)| Ask(method.clone(), path, None, &[])).collect();
    for ((method, path), (status, _, body)) in paths.iter().zip(run(&Fixture::with_two_streams(), asks).await) {
        assert_ne!(body["error"]["code"], "CWY-0112", "{method} {path} is on the page and answers {status}");
    }
    let sources = [
        include_str!("instances.rs"),
        include_str!("nodes.rs"),
        include_str!("streams.rs"),
        include_str!("partitions.rs"),
        include_str!("rules.rs"),
        include_str!("status.rs"),
    ]
    .concat();
    // Health checks may ask with HEAD as well.
    let served = sources.matches(".route(web::").count() - sources.matches(".route(web::head()").count();
    assert_eq!(served, wanted.len(), "the page has {wanted:?}");
}
