//! A configuration with faults: all of them at once, each with its code, and the process ends.

use std::fs;
use std::process::Output;

use causeway_tests::scenario::node::causeway;
use serde_json::Value;

use super::assert_documented;

const FAULTY: &str = r#"
version = 1
colour = "blue"

[node]
nmae = "node-1"
id = 0

[http]
listen = "0.0.0.0:7500"

[schedule]
checkpoint_interval_ms = "often"
checkpoint_intervall_ms = 100

[[instances]]
name = "qingdao"
region = "qingdao"
name_servers = ["10.0.0.5"]
secret = "typed-in-clear"
"#;

/// Where each fault is, and its code.
const FAULTS: [(&str, &str); 8] = [
    ("colour", "CWY-0101"),
    ("node.nmae", "CWY-0101"),
    ("node.id", "CWY-0101"),
    ("http.listen", "CWY-0203"),
    ("schedule.checkpoint_interval_ms", "CWY-0101"),
    ("schedule.checkpoint_intervall_ms", "CWY-0101"),
    ("instances[0].name_servers", "CWY-0101"),
    ("instances[0].secret", "CWY-0101"),
];

fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn all_faults_of_a_configuration_are_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("causeway.toml");
    fs::write(&file, FAULTY).unwrap();
    let file = file.display().to_string();
    // A command that cannot be followed ends with 2; a check that found something with 1.
    for (command, exit) in
        [(&["run", "--config", &file][..], 2), (&["check-config", "--offline", "--config", &file], 1)]
    {
        let output = causeway(command);
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(exit), "{command:?}: {text}");
        for (place, code) in FAULTS {
            assert!(text.contains(place), "{command:?} does not name {place}: {text}");
            assert!(text.contains(code), "{command:?} does not say {code}: {text}");
            assert_documented(code);
        }
        assert!(!text.contains("typed-in-clear"), "{command:?} shows a secret: {text}");
        assert!(text.contains("checkpoint_interval_ms?"), "{command:?} does not suggest the right key: {text}");
    }
    assert!(!folder.path().join("causeway-data").exists(), "a node with faults made a data directory");
}

#[test]
fn scripts_read_the_faults_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("causeway.toml");
    fs::write(&file, FAULTY).unwrap();
    let output = causeway(&["check-config", "--offline", "-o", "json", "--config", &file.display().to_string()]);
    let text = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let start = text.find('{').unwrap_or_else(|| panic!("no JSON: {text}"));
    let answer: Value = serde_json::Deserializer::from_str(&text[start..]).into_iter().next().unwrap().unwrap();
    let faults = answer["faults"].as_array().unwrap_or_else(|| panic!("no faults: {answer:#}"));
    assert!(faults.len() >= FAULTS.len(), "{answer:#}");
    for fault in faults {
        assert_documented(fault["code"].as_str().unwrap_or_else(|| panic!("a fault without a code: {fault}")));
    }
}

#[test]
fn a_missing_file_and_text_that_is_no_toml_are_faults_too() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, garbage) = (folder.path().join("none.toml"), folder.path().join("garbage.toml"));
    fs::write(&garbage, b"version = 1\n[[[\xff\x00").unwrap();
    for file in [missing, garbage] {
        let output = causeway(&["run", "--config", &file.display().to_string()]);
        let text = printed(&output);
        assert_eq!(output.status.code(), Some(2), "{}: {text}", file.display());
        assert!(text.contains("CWY-0101"), "{text}");
    }
}
