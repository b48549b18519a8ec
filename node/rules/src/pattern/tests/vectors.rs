//! The table of vectors.

use super::*;

const VECTORS: &str = include_str!("../vectors.txt");

/// How many of the vectors Apache's evaluator was asked.
const RUN: usize = 46;

#[test]
fn vectors_have_the_noted_results() {
    let rows: Vec<_> = VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(rows.len() > RUN, "{} rows", rows.len());
    for (number, row) in rows.iter().enumerate() {
        let columns: Vec<_> = row.split(" | ").collect();
        let (pattern, event, apache, here) = (columns[0], columns[1], columns[2], columns[3]);
        let pattern = if pattern == "(empty)" { "" } else { pattern };
        let event = Json::parse(event).unwrap_or_else(|error| panic!("{event}: {error}"));
        let found = match Pattern::compile(pattern) {
            Ok(compiled) => compiled.matches(&event).unwrap().to_string(),
            Err(_) => "error".to_owned(),
        };
        assert_eq!(found, here, "{row}");
        assert!(["true", "false", "error"].contains(&apache) || number >= RUN, "{row}");
        let differs = apache != here && apache != "-";
        assert_eq!(columns.get(4).is_some_and(|why| !why.is_empty()), differs, "a difference has a reason: {row}");
    }
}
