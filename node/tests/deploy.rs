//! What lies in `deploy/` fits the program: its configuration is accepted, its command lines can be followed, its
//! alerts ask for metrics that exist.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use causeway::cli::args::Arguments;
use causeway::cli::exit::Exit;
use causeway::config;
use causeway::status::RunState;
use causeway_core::error_code::ErrorCode;
use clap::Parser;

const DATA_DIRECTORY: &str = "/var/lib/causeway";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The values of a setting of a unit, in their order.
fn settings<'a>(unit: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    unit.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn the_configuration_is_accepted_and_names_secrets_only_by_their_place() {
    let file = root().join("deploy/causeway.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    let output = command.env_clear().args(["check-config", "--offline", "--config"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let loaded = config::parse(&read("deploy/causeway.toml"), "causeway.toml", []).unwrap();
    assert_eq!(loaded.notes, Vec::<String>::new());
    assert_eq!(loaded.config.node.data_directory, PathBuf::from(DATA_DIRECTORY));
    assert_eq!(loaded.config.instances.len(), 2);
    assert!(loaded.config.instances.iter().all(|instance| instance.spec.credentials.is_some()));
}

#[test]
fn the_unit_starts_the_program_on_the_directory_of_the_configuration() {
    let unit = read("deploy/causeway.service");
    let start = settings(&unit, "ExecStart").next().unwrap();
    Arguments::try_parse_from(start.split(' ')).unwrap();
    let faulty = Exit::of(ErrorCode::InvalidConfiguration).number();
    let not_to_be_tried_again = format!("{faulty} {}", Exit::Refused.number());
    assert_eq!(settings(&unit, "RestartPreventExitStatus").collect::<Vec<_>>(), [not_to_be_tried_again.as_str()]);
    assert_eq!(settings(&unit, "StateDirectory").collect::<Vec<_>>(), [DATA_DIRECTORY.rsplit('/').next().unwrap()]);
    for hardened in ["NoNewPrivileges=yes", "ProtectSystem=strict", "Restart=on-failure", "CapabilityBoundingSet="] {
        assert!(unit.lines().any(|line| line == hardened), "{hardened}");
    }
    let grace = config::parse("version = 1", "defaults", []).unwrap().config.schedule.shutdown_grace.as_secs();
    let patience: u64 = settings(&unit, "TimeoutStopSec").next().unwrap().parse().unwrap();
    assert!(patience >= 2 * grace + 30, "partitions are given away, then sends are answered, each within the grace");
    let credential = "/run/credentials/causeway.service/";
    let config = read("deploy/causeway.toml");
    let named: BTreeSet<&str> = config.split(credential).skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let loaded = read("deploy/credentials.conf");
    let given: BTreeSet<&str> = settings(&loaded, "LoadCredential").filter_map(|line| line.split(':').next()).collect();
    assert_eq!(named, given, "credentials of the configuration and of the unit");
}

#[test]
fn the_container_is_built_from_what_exists_with_the_compiler_of_the_workspace() {
    let text = read("deploy/Containerfile");
    let copied = text.lines().filter_map(|line| line.strip_prefix("COPY "));
    for line in copied.filter(|line| !line.starts_with("--from")) {
        let paths: Vec<&str> = line.split(' ').collect();
        for path in paths.split_last().unwrap().1 {
            assert!(root().join(path).exists(), "{path}");
        }
    }
    let manifest = read("Cargo.toml");
    let version = manifest.split_once("rust-version = \"").unwrap().1.split('"').next().unwrap();
    assert!(text.contains(&format!("/rust:{version}-")), "the workspace needs Rust {version}");
    let quoted = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        serde_json::from_str::<Vec<String>>(line).unwrap()
    };
    Arguments::try_parse_from([quoted("ENTRYPOINT "), quoted("CMD ")].concat()).unwrap();
}

#[test]
fn the_nodes_of_the_compose_file_have_configurations_of_one_cluster() {
    let compose = read("deploy/compose.yaml");
    let mut regions = BTreeSet::new();
    for name in ["node-1", "node-2", "node-3"] {
        let text = read(&format!("deploy/nodes/{name}/causeway.toml"));
        let loaded = config::parse(&text, name, []).unwrap();
        let cluster = loaded.config.cluster.unwrap();
        assert_eq!(loaded.config.node.name.as_str(), name);
        assert_eq!(loaded.config.node.data_directory, PathBuf::from(DATA_DIRECTORY));
        assert_eq!(cluster.address(), format!("{name}:7501"), "what the others call it");
        assert!(cluster.tls.is_some());
        assert!(compose.contains(&format!("- ./nodes/{name}:/etc/causeway:ro")), "{name} is given its files");
        regions.insert(loaded.config.node.region);
    }
    assert_eq!(regions.len(), 2);
    let check = compose.lines().find_map(|line| line.trim().strip_prefix("test: [CMD, ")?.strip_suffix(']')).unwrap();
    Arguments::try_parse_from(check.split(", ")).unwrap();
}

/// The names in a text that begin like a metric of ours.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("causeway_")).collect()
}

#[test]
fn every_alert_asks_for_metrics_labels_and_states_that_exist() {
    let page = read("docs/specs/telemetry.md");
    let mut known = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `causeway_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells.get(1).unwrap().trim_matches('`');
        known.insert(name.to_owned());
        if cells.get(2) == Some(&"histogram") {
            known.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
        }
    }
    let rules = read("deploy/alerts.yml");
    let expressions: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(rules.matches("- alert: ").count(), expressions.len(), "each alert has its expression in one line");
    assert!(known.len() > 20 && expressions.len() > 5);
    for expression in &expressions {
        let unknown: Vec<&str> = metrics(expression).into_iter().filter(|name| !known.contains(*name)).collect();
        assert_eq!(unknown, Vec::<&str>::new(), "{expression}");
        assert!(expression.contains("causeway"), "{expression}");
    }
    let values = |label: &str| {
        let begin = format!("{label}=\"");
        let found = rules.split(&begin).skip(1).filter_map(|rest| rest.split('"').next()).collect::<BTreeSet<_>>();
        assert!(!found.is_empty(), "{label}");
        found
    };
    let is_state = |word: &&str| serde_json::from_value::<RunState>((*word).into()).is_ok();
    assert!(values("state").iter().all(is_state));
    let is_class = |word: &&str| ["CWY-", "0"].iter().any(|next| page.contains(&format!("`{word}` ({next}")));
    assert!(values("class").iter().all(is_class));
    for label in ["$labels.node", "$labels.stream"] {
        assert!(rules.contains(label), "an alert says where to look");
    }
}
