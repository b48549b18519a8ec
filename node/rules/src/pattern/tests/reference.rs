//! A slow evaluator, straight from the description of the language: it walks the JSON of pattern and event together.

use crate::json::Json;

/// Whether an event matches a pattern that compiles.
pub(super) fn matches(pattern: &Json, event: &Json) -> bool {
    object(pattern, Some(event), &mut Vec::new())
}

fn object(pattern: &Json, event: Option<&Json>, path: &mut Vec<String>) -> bool {
    match pattern {
        Json::Object(members) => members.iter().all(|(name, below)| {
            path.push(name.clone());
            let matched = object(below, event.and_then(|event| event.get(name)), path);
            path.pop();
            matched
        }),
        Json::Array(alternatives) => alternatives.iter().any(|alternative| alternative_holds(alternative, event, path)),
        other => panic!("{other} in a pattern"),
    }
}

fn alternative_holds(alternative: &Json, field: Option<&Json>, path: &[String]) -> bool {
    if let Some(Json::Bool(wanted)) = alternative.get("exists") {
        return *wanted == field.is_some();
    }
    let values = match field {
        None => Vec::new(),
        Some(Json::Array(elements)) => elements.iter().collect(),
        Some(value) => vec![value],
    };
    let is_property = path.len() == 3 && path[0] == "data" && path[1].ends_with("Properties");
    let scalars = values.into_iter().filter(|value| !matches!(value, Json::Array(_) | Json::Object(_)));
    scalars.into_iter().any(|value| value_holds(alternative, value, is_property))
}

fn value_holds(alternative: &Json, value: &Json, is_property: bool) -> bool {
    let Json::Object(members) = alternative else { return equal(alternative, value) };
    let (name, operand) = &members[0];
    let in_text = |test: &dyn Fn(&str, &str) -> bool, operand: &Json| match (value, operand) {
        (Json::Text(text), Json::Text(part)) => test(text, part),
        _ => false,
    };
    match (name.as_str(), operand) {
        ("prefix", part) => in_text(&|text, part| text.starts_with(part), part),
        ("suffix", part) => in_text(&|text, part| text.ends_with(part), part),
        ("contains", part) => in_text(&|text, part| text.contains(part), part),
        ("anything-but", Json::Array(excluded)) => !excluded.iter().any(|excluded| equal(excluded, value)),
        ("anything-but", condition @ Json::Object(_)) => !value_holds(condition, value, is_property),
        ("anything-but", excluded) => !equal(excluded, value),
        ("numeric", Json::Array(parts)) => {
            let number = match value {
                Json::Number(number) => number.as_str(),
                Json::Text(text) if is_property && matches!(Json::parse(text), Ok(Json::Number(_))) => text.trim(),
                _ => return false,
            };
            parts.chunks(2).all(|pair| compare(number, &pair[0].to_text(), &pair[1].to_text()))
        }
        ("cidr", Json::Text(block)) => matches!(value, Json::Text(text) if within(block, text)),
        other => panic!("{other:?} in a pattern"),
    }
}

fn equal(wanted: &Json, value: &Json) -> bool {
    match (wanted, value) {
        (Json::Null, Json::Null) => true,
        (Json::Null, _) | (_, Json::Null) => false,
        _ => wanted.to_text() == value.to_text(),
    }
}

fn compare(value: &str, operator: &str, number: &str) -> bool {
    let difference = value.parse::<f64>().unwrap() - number.parse::<f64>().unwrap();
    let same = difference.abs() <= 1e-7;
    match operator {
        "=" => same,
        "!=" => !same,
        "<" => !same && difference < 0.0,
        "<=" => same || difference < 0.0,
        ">" => !same && difference > 0.0,
        ">=" => same || difference > 0.0,
        other => panic!("{other} in a pattern"),
    }
}

/// Compares the written bits of dotted addresses; the blocks of these tests are all IPv4.
fn within(block: &str, address: &str) -> bool {
    let bits = |text: &str| {
        let octets: Option<Vec<u8>> = text.split('.').map(|octet| octet.parse().ok()).collect();
        octets
            .filter(|octets| octets.len() == 4)
            .map(|octets| octets.iter().map(|octet| format!("{octet:08b}")).collect())
    };
    let (network, length) = block.split_once('/').unwrap_or((block, "32"));
    let network: Option<String> = bits(network);
    let address: Option<String> = bits(address);
    let length: usize = length.parse().unwrap();
    network.is_some() && address.is_some() && network.unwrap()[..length] == address.unwrap()[..length]
}
