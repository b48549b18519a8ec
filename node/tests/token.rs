//! `causeway token reset`: the program itself on the data of a node, between two of its lives.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use causeway::app::Node;
use causeway::config;

/// A configuration file beside the data directory that it names.
fn configuration(folder: &Path) -> PathBuf {
    let file = folder.join("causeway.toml");
    let data = folder.join("data").display().to_string();
    let text = format!("version = 1\n[node]\ndata_directory = {data:?}\n[http]\nlisten = \"127.0.0.1:0\"\n");
    fs::write(&file, text).unwrap();
    file
}

async fn start(file: &Path) -> Node {
    Node::start(config::load(Some(file)).unwrap().config).await.unwrap()
}

/// What the program does with a configuration file, without anything of this process's environment.
fn reset(file: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
    command.env_clear().args(["token", "reset", "--config"]).arg(file).output().unwrap()
}

/// The token in an output, if there is one.
fn token_in(output: &Output) -> Option<String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().find_map(|line| line.trim().strip_prefix("token")).map(|token| token.trim().to_owned())
}

/// The HTTP status that a request with a token gets.
async fn status(node: &Node, token: &str) -> u16 {
    let (url, authorization) = (format!("http://{}/v1/status", node.address()), format!("Bearer {token}"));
    let asking = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        agent.get(url).header("Authorization", authorization).call().unwrap().status().as_u16()
    });
    asking.await.unwrap()
}

#[tokio::test]
async fn a_reset_token_replaces_the_old_one_and_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = configuration(folder.path());
    let node = start(&file).await;
    let old = node.first_token().unwrap();
    assert_eq!(status(&node, &old).await, 200);

    let refused = reset(&file);
    assert_eq!((refused.status.code(), token_in(&refused)), (Some(1), None), "the node is running");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("CWY-0505"), "{refused:?}");
    assert_eq!(status(&node, &old).await, 200, "a refused reset changes nothing");
    node.stop().await.unwrap();

    let done = reset(&file);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let new = token_in(&done).unwrap();
    assert!(new.starts_with("cwy_") && new != old, "{new}");
    for _life in 0..2 {
        let node = start(&file).await;
        assert_eq!(node.first_token(), None);
        assert_eq!((status(&node, &new).await, status(&node, &old).await), (200, 401));
        node.stop().await.unwrap();
    }
    assert_ne!(token_in(&reset(&file)), Some(new), "each is drawn anew");
}

#[test]
fn without_a_nodes_data_nothing_is_drawn_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = configuration(folder.path());
    let refused = reset(&file);
    assert_eq!((refused.status.code(), token_in(&refused)), (Some(1), None));
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(why.contains("holds no node's data") && why.contains("CWY-0505"), "{why}");
    assert!(!folder.path().join("data").exists());
    let missing = reset(&folder.path().join("nowhere.toml"));
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
}

#[tokio::test]
async fn a_node_that_is_to_found_a_cluster_gets_its_token_before_its_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = configuration(folder.path());
    let text =
        fs::read_to_string(&file).unwrap() + "[cluster]\nlisten = \"127.0.0.1:0\"\nadvertise = \"127.0.0.1:7501\"\n";
    fs::write(&file, text).unwrap();
    causeway::app::enroll::found(&config::load(Some(&file)).unwrap().config).unwrap();
    let token = token_in(&reset(&file)).unwrap();
    let node = start(&file).await;
    assert_eq!(node.first_token(), None, "nothing lands in a log");
    assert_eq!(status(&node, &token).await, 200);
    node.stop().await.unwrap();
}
