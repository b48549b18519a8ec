//! The rules of the house that a compiler does not check: who may name what, how long a file may be, what stands at
//! the top level, what may depend on what, and that every error code has its page.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use causeway_core::error_code::ErrorCode;

const MAXIMUM_LINES: usize = 500;
const MAXIMUM_COLUMNS: usize = 120;
const TOP_LEVEL: &[&str] =
    &["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "cluster", "deploy", "docs", "node", "storage", "tests"];

/// A word that only the crates below these folders may use in code.
const OWNED_WORDS: &[(&str, &[&str])] = &[
    ("sled::", &["storage/"]),
    ("raft::", &["cluster/src/", "cluster/tests/", "cluster/examples/"]),
    ("rocketmq_protocol", &["node/rocketmq/"]),
    ("rocketmq_broker", &["node/sandbox/"]),
    ("rocketmq_namesrv", &["node/sandbox/"]),
    ("actix_web", &["node/src/", "node/tests/"]),
    ("clap::", &["node/", "tests/"]),
];

/// Dependencies that a crate must not have, so that its rule holds.
const FORBIDDEN_DEPENDENCIES: &[(&str, &[&str])] = &[
    ("cluster/core/Cargo.toml", &["tokio", "actix", "sled", "raft", "rand", "getrandom"]),
    ("node/rules/Cargo.toml", &["tokio", "causeway-rocketmq", "actix", "sled", "raft"]),
    ("node/rocketmq/Cargo.toml", &["causeway-core", "causeway-storage", "causeway-cluster", "actix"]),
    ("node/Cargo.toml", &["rocketmq-broker", "rocketmq-namesrv", "sled", "raft"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests live below the root").to_owned()
}

/// Every file that is part of the repository: tracked, or new and not ignored.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the files");
    assert!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
    let all = String::from_utf8(listed.stdout).expect("paths are text");
    all.lines().filter(|path| root().join(path).is_file()).map(str::to_owned).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn assert_none(findings: Vec<String>, rule: &str) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

#[test]
fn no_source_file_is_longer_than_the_limit() {
    let source = |path: &&String| [".rs", ".java", ".js", ".css", ".html"].iter().any(|end| path.ends_with(end));
    let lines = |path: &String| read(path).lines().count();
    let long = files().iter().filter(source).filter(|path| lines(path) > MAXIMUM_LINES).cloned().collect();
    assert_none(long, "files above 500 lines");
}

/// Text in strings and tables of a comment may be longer: breaking it helps nobody.
#[test]
fn no_comment_is_wider_than_the_code() {
    let mut findings = Vec::new();
    for path in files().iter().filter(|path| path.ends_with(".rs")) {
        for (number, line) in read(path).lines().enumerate() {
            let comment = line.trim_start().strip_prefix("//").map(|text| text.trim_start_matches(['/', '!', ' ']));
            if comment.is_some_and(|text| !text.starts_with('|')) && line.chars().count() > MAXIMUM_COLUMNS {
                findings.push(format!("{path}:{}", number + 1));
            }
        }
    }
    assert_none(findings, "comments wider than 120 columns");
}

#[test]
fn the_top_level_holds_what_it_should() {
    let found: BTreeSet<String> = files().iter().filter_map(|path| path.split('/').next().map(str::to_owned)).collect();
    let known = |name: &String| name.starts_with('.') || TOP_LEVEL.contains(&name.as_str()) || is_tool_setting(name);
    assert_none(found.into_iter().filter(|name| !known(name)).collect(), "unknown names at the top level");
}

fn is_tool_setting(name: &str) -> bool {
    ["rust-toolchain.toml", "rustfmt.toml", "clippy.toml", "deny.toml"].contains(&name)
}

#[test]
fn only_the_owner_of_a_library_names_it() {
    let mut findings = Vec::new();
    for path in files().iter().filter(|path| path.ends_with(".rs") && !path.ends_with("tests/architecture.rs")) {
        for (number, line) in read(path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (word, owners) in OWNED_WORDS {
                if names(code, word) && !owners.iter().any(|owner| path.starts_with(owner)) {
                    findings.push(format!("{path}:{} names {word}", number + 1));
                }
            }
        }
    }
    assert_none(findings, "libraries named outside their crate");
}

/// Whether code names a library: the word at the start of a path, not inside an identifier and not a module of ours.
fn names(code: &str, word: &str) -> bool {
    let is_identifier = |text: &str| text.ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
    code.match_indices(word).any(|(at, _)| {
        let before = &code[..at];
        !is_identifier(before.strip_suffix("::").unwrap_or(before))
    })
}

#[test]
fn a_library_is_named_at_the_start_of_a_path_only() {
    for named in ["use raft::Config;", "let x = ::raft::Config {}", "x:raft::Config", "<raft::Config as T>"] {
        assert!(names(named, "raft::"), "{named}");
    }
    for other in ["use crate::raft::settings;", "draft::new()", "use super::raft::ready;", "raft.turn()"] {
        assert!(!names(other, "raft::"), "{other}");
    }
}

#[test]
fn crates_do_not_depend_on_what_their_rule_forbids() {
    let mut findings = Vec::new();
    for (manifest, forbidden) in FORBIDDEN_DEPENDENCIES {
        let text = read(manifest);
        let product = text.split("[dev-dependencies]").next().unwrap_or_default();
        for line in product.lines() {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if forbidden.contains(&name) {
                findings.push(format!("{manifest} depends on {name}"));
            }
        }
    }
    assert_none(findings, "forbidden dependencies");
}

#[test]
fn nobody_depends_on_the_tests_or_on_a_version_of_its_own() {
    let mut findings = Vec::new();
    for path in
        files().iter().filter(|path| path.ends_with("Cargo.toml") && !path.contains("fuzz") && *path != "Cargo.toml")
    {
        for line in read(path).lines() {
            let is_dependency = line.contains('=') && !line.starts_with(['#', '[']);
            if is_dependency && line.starts_with("causeway-tests") {
                findings.push(format!("{path} depends on the tests"));
            }
            if line.contains("version = \"") && line.contains('{') {
                findings.push(format!("{path}: {line}"));
            }
        }
    }
    assert_none(findings, "dependencies that belong into [workspace.dependencies]");
}

#[test]
fn every_workspace_dependency_is_pinned() {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).expect("the section exists");
    let section = section.split("\n[").next().unwrap_or_default();
    let loose = |line: &&str| line.contains('=') && !line.contains("path = ") && !line.contains("\"=");
    assert_none(section.lines().filter(loose).map(str::to_owned).collect(), "dependencies without an exact version");
}

#[test]
fn every_error_code_has_a_page_and_every_page_a_code() {
    let pages: BTreeSet<String> = files()
        .iter()
        .filter_map(|path| path.strip_prefix("docs/errors/CWY-")?.strip_suffix(".md"))
        .map(|number| format!("CWY-{number}"))
        .collect();
    let codes: BTreeSet<String> = ErrorCode::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(codes.difference(&pages).collect::<Vec<_>>(), Vec::<&String>::new(), "codes without a page");
    assert_eq!(pages.difference(&codes).collect::<Vec<_>>(), Vec::<&String>::new(), "pages without a code");
    for page in &pages {
        let text = read(&format!("docs/errors/{page}.md"));
        for heading in ["## What it means", "## What to do"] {
            assert!(text.contains(heading), "{page} has no section {heading}");
        }
    }
}

#[test]
fn product_code_has_no_stubs() {
    let marks = ["todo!(", "unimplemented!(", "#[ignore", "FIXME", "XXX:"];
    let mut findings = Vec::new();
    for path in files().iter().filter(|path| path.ends_with(".rs") && !path.ends_with("tests/architecture.rs")) {
        let text = read(path);
        findings.extend(marks.iter().filter(|mark| text.contains(**mark)).map(|mark| format!("{path}: {mark}")));
    }
    assert_none(findings, "stubs, ignored tests and left-over marks");
}
