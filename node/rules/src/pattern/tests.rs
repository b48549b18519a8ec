//! The pattern language: Apache's vectors, each operator, each fault, and a slow evaluator to agree with.

use super::*;

mod body;
mod faults;
mod operators;
mod properties;
mod reference;
mod vectors;

/// Whether a pattern matches an event that is there as JSON.
fn matches(pattern: &str, event: &str) -> bool {
    let compiled = Pattern::compile(pattern).unwrap_or_else(|faults| panic!("{pattern}: {faults:?}"));
    let event = Json::parse(event).unwrap();
    let matches = compiled.matches(&event).unwrap();
    let explained = compiled.explain(&event).unwrap();
    assert_eq!(explained.is_none(), matches, "{pattern}: {explained:?}");
    matches
}
