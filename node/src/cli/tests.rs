//! Commands against a small server with canned answers: exit codes, messages, and what is sent.

mod streams;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use causeway_core::ids::{NodeId, StreamId, Timestamp};
use causeway_core::name::Name;
use causeway_core::stream::DesiredState;

use super::*;
use crate::admin::model::error::{ErrorAnswer, ErrorBody};
use crate::admin::model::status::{DeletingStream, EndpointStatus, NodeStatus, RaftStatus, StreamFigures};
use crate::admin::model::{ConditionView, StatusAnswer, StreamStatus};
use crate::status::RunState;

/// What was written to an output.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("no panic").clone()).expect("text")
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A screen whose outputs can be read back.
pub(crate) fn captured(width: usize) -> (Screen, Written, Written) {
    let (out, err) = (Written::default(), Written::default());
    (Screen::new(Box::new(out.clone()), Box::new(err.clone()), width), out, err)
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

/// The stream `orders` in a state, with every figure at zero or unknown.
pub(crate) fn stream_in(state: RunState) -> StreamStatus {
    let end = |instance: &str| EndpointStatus {
        instance: name(instance),
        region: name(instance),
        topic: "orders".to_owned(),
    };
    StreamStatus {
        name: name("orders"),
        source: end("qingdao"),
        target: end("hohhot"),
        desired: DesiredState::Running,
        condition: ConditionView { state, since: Timestamp(0), why: None, code: None, help: None },
        partitions: 8,
        partition_states: BTreeMap::from([(state, 8)]),
        figures: StreamFigures::default(),
        catch_up: None,
        history: Vec::new(),
    }
}

/// What a node with these streams answers at 1970-01-01 01:00:00.
pub(crate) fn status_of(streams: Vec<StreamStatus>) -> StatusAnswer {
    StatusAnswer {
        at: Timestamp(3_600_000),
        node: NodeStatus {
            id: NodeId(1),
            name: name("node-1"),
            region: name("hohhot"),
            version: "0.1.0".to_owned(),
            started_at: Timestamp(0),
        },
        raft: RaftStatus {
            role: "leader".to_owned(),
            leader: Some(NodeId(1)),
            term: 2,
            applied_index: 9,
            nodes: 1,
            ..RaftStatus::default()
        },
        nodes: Vec::new(),
        moves: 0,
        instances: Vec::new(),
        flows: Vec::new(),
        streams,
        deleting: Vec::new(),
        events: Vec::new(),
    }
}

/// Answers each connection in turn with one of the answers, then is gone. Returns its address and what it was sent.
fn server(answers: Vec<(u16, String)>) -> (String, Written) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let received = Written::default();
    let mut requests = received.clone();
    std::thread::spawn(move || {
        for (status, body) in answers {
            let Ok((mut connection, _)) = listener.accept() else { return };
            let mut request = Vec::new();
            let mut chunk = [0; 4_096];
            while !complete(&request) {
                match connection.read(&mut chunk) {
                    Ok(count) if count > 0 => request.extend_from_slice(&chunk[..count]),
                    _ => break,
                }
            }
            let _ = requests.write_all(&request);
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body.as_bytes()));
        }
    });
    (address, received)
}

/// Whether the head and the body that it announces are there.
fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
        && (length.is_some() || !head.contains("transfer-encoding") || body.ends_with("0\r\n\r\n"))
}

/// Runs a command line against canned answers: exit, output, errors, requests.
pub(crate) fn run_against(answers: Vec<(u16, String)>, command: &[&str]) -> (Exit, String, String, String) {
    let (address, received) = server(answers);
    let (screen, out, err) = captured(100);
    let line = ["causeway", "--address", &address].into_iter().chain(command.iter().copied());
    let exit = execute(line.map(OsString::from), screen);
    (exit, out.text(), err.text(), received.text())
}

pub(crate) fn error(code: ErrorCode, message: &str) -> String {
    let answer = ErrorAnswer { error: ErrorBody::new(code, message, None), faults: Vec::new() };
    serde_json::to_string(&answer).expect("JSON")
}

#[test]
fn errors_of_a_node_end_with_their_exit_code_and_say_what_to_do() {
    for (status, code, number) in [
        (404, ErrorCode::NoSuchStream, 3),
        (401, ErrorCode::Unauthenticated, 4),
        (409, ErrorCode::VersionConflict, 5),
        (503, ErrorCode::Unavailable, 6),
        (504, ErrorCode::TimedOut, 7),
        (400, ErrorCode::InvalidRequest, 2),
        (500, ErrorCode::Internal, 1),
    ] {
        let answers = vec![(status, error(code, "what is true"))];
        let (exit, out, err, _) = run_against(answers, &["stream", "show", "orders"]);
        assert_eq!(exit.number(), number, "{code}");
        assert!(out.is_empty(), "{out}");
        assert!(err.starts_with(&format!("what is true\n  read: causeway explain {code}")), "{err}");
    }
}

#[test]
fn with_json_an_error_is_json_too() {
    let answers = vec![(404, error(ErrorCode::NoSuchStream, "there is no stream orders"))];
    let (exit, _, err, _) = run_against(answers, &["stream", "show", "orders", "-o", "json"]);
    assert_eq!(exit, Exit::NotFound);
    let value: Value = serde_json::from_str(&err).expect("JSON");
    assert_eq!(value["error"]["code"], "CWY-0105");
    assert_eq!(value["exit_code"], 3);
}

#[test]
fn nobody_there_is_exit_code_6_and_a_wrong_command_2() {
    let (screen, _, err) = captured(100);
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let line = ["causeway", "status", "--address", &free.to_string()].map(OsString::from);
    assert_eq!(execute(line, screen), Exit::Unavailable);
    assert!(err.text().contains("no node listens at"), "{}", err.text());
    assert!(err.text().contains("causeway run --config"), "{}", err.text());
    for wrong in [&["causeway", "frobnicate"][..], &["causeway", "stream", "resolve", "orders"], &["causeway"]] {
        let (screen, out, err) = captured(100);
        assert_eq!(execute(wrong.iter().map(OsString::from), screen), Exit::Usage, "{wrong:?}");
        assert!(out.text().is_empty() && !err.text().is_empty());
    }
}

#[test]
fn something_that_is_not_causeway_is_told_apart() {
    let (exit, _, err, _) = run_against(vec![(200, "<html>".to_owned())], &["status"]);
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("CWY-0304") && err.contains("causeway version"), "{err}");
    let (exit, _, err, _) = run_against(vec![(404, "not found".to_owned())], &["instance", "list"]);
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("HTTP status 404"), "{err}");
}

#[test]
fn the_token_is_sent_and_never_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    std::fs::write(&file, "s3cr3t-token\n").expect("writes");
    let path = file.display().to_string();
    let answers = vec![(401, error(ErrorCode::Unauthenticated, "the token is not known"))];
    let (_, out, err, sent) = run_against(answers, &["stream", "list", "--token-file", &path]);
    assert!(sent.to_lowercase().contains("authorization: bearer s3cr3t-token\r\n"), "{sent}");
    assert!(!out.contains("s3cr3t") && !err.contains("s3cr3t"));
    assert!(err.contains("causeway token reset"), "a wrong token is not a missing one: {err}");
    let (screen, _, err) = captured(100);
    let line = ["causeway", "stream", "list", "--token-file", "/no/such/file"].map(OsString::from);
    assert_eq!(execute(line, screen), Exit::Usage);
    assert!(err.text().contains("/no/such/file"));
}

#[test]
fn a_list_is_read_page_by_page() {
    let view = |text: &str| {
        json!({ "name": text, "region": "r", "identity": "00000000000000aa", "streams": [], "version": 1, "created_at": 0,
                "rocketmq": { "name_servers": ["h:1"], "access_key": null, "secret": null, "security_token": null, "tls": null } })
    };
    let pages = vec![
        (200, json!({ "items": [view("a")], "next": "a" }).to_string()),
        (200, json!({ "items": [view("b")], "next": null }).to_string()),
    ];
    let (exit, out, _, sent) = run_against(pages, &["instance", "list"]);
    assert_eq!(exit, Exit::Done);
    assert!(out.contains("\n  a ") && out.contains("\n  b "), "{out}");
    assert!(
        sent.contains("GET /v1/instances?limit=1000 ") && sent.contains("GET /v1/instances?limit=1000&after=a "),
        "{sent}"
    );
}

#[test]
fn a_change_of_an_instance_keeps_what_was_not_typed_and_names_the_version_that_was_read() {
    let view = json!({
        "name": "qd", "region": "r", "identity": "00000000000000aa", "streams": [], "version": 31, "created_at": 0,
        "rocketmq": { "name_servers": ["h:1"], "access_key": "env:AK", "secret": "sealed", "security_token": null,
                      "tls": { "certificate_authority_file": "/ca", "server_name": "mq" } },
    })
    .to_string();
    let command = ["instance", "change", "qd", "--secret", "env:SK", "--tls-certificate-authority-file", "/new"];
    let (exit, out, _, sent) = run_against(vec![(200, view.clone()), (200, view)], &command);
    assert_eq!(exit, Exit::Done);
    assert!(out.contains("instance qd is changed"), "{out}");
    let put = sent.split_once("PUT /v1/instances/qd HTTP/1.1").expect("a PUT").1;
    assert!(put.to_lowercase().contains("if-match: \"31\"\r\n"), "{put}");
    let body: Value = serde_json::from_str(put.split_once("\r\n\r\n").expect("a body").1).expect("JSON");
    let rocketmq = json!({
        "name_servers": ["h:1"], "access_key": { "kept": {} }, "secret": { "env": "SK" },
        "tls": { "certificate_authority_file": "/new", "server_name": "mq" },
    });
    assert_eq!(body, json!({ "name": "qd", "region": "r", "rocketmq": rocketmq }));
    let (screen, _, err) = captured(100);
    assert_eq!(execute(["causeway", "instance", "change", "qd"].map(OsString::from), screen), Exit::Usage);
    assert!(err.text().contains("say what changes"), "{}", err.text());
}

#[test]
fn a_file_without_a_fault_passes_and_one_with_faults_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("causeway.toml");
    let check = |text: &str, more: &[&str]| {
        std::fs::write(&file, text).expect("writes");
        let (screen, out, err) = captured(200);
        let path = file.display().to_string();
        let line = ["causeway", "check-config", "--config", &path].into_iter().chain(more.iter().copied());
        (execute(line.map(OsString::from), screen), out.text(), err.text())
    };
    let (exit, out, _) = check(&crate::config::example::example(), &["--offline"]);
    assert_eq!(exit, Exit::Done, "{out}");
    let (exit, _, err) = check("version = 1\n[http]\nlisten = \"0.0.0.0:1\"\n", &["--offline"]);
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("CWY-0203"), "{err}");
    let data = directory.path().join("data");
    let text = format!(
        "version = 1\n[http]\nlisten = \"127.0.0.1:0\"\n[node]\ndata_directory = {:?}\n",
        data.display().to_string()
    );
    let (exit, out, _) = check(&text, &["-o", "json"]);
    assert_eq!(exit, Exit::Done, "{out}");
    assert!(!data.exists(), "a check changes nothing");
    std::fs::write(&data, "a file").expect("writes");
    let (exit, out, _) = check(&text, &["-o", "json"]);
    assert_eq!(exit, Exit::Failed);
    let value: Value = serde_json::from_str(&out).expect("JSON");
    assert!(value["checks"].as_array().expect("rows").iter().any(|row| row["code"] == "CWY-0505"), "{out}");
}

#[test]
fn an_instance_of_the_file_that_nobody_answers_for_fails_the_check() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("causeway.toml");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let text = format!(
        "version = 1\n[http]\nlisten = \"127.0.0.1:0\"\n[node]\ndata_directory = {:?}\n[connection]\nconnect_timeout_ms = 200\n\
         [[instances]]\nname = \"qd\"\nregion = \"qd\"\nname_servers = [\"{free}\"]\n",
        directory.path().join("data").display().to_string()
    );
    std::fs::write(&file, text).expect("writes");
    let (screen, out, _) = captured(200);
    let line = ["causeway", "check-config", "--config", &file.display().to_string()].map(OsString::from);
    assert_eq!(execute(line, screen), Exit::Failed);
    assert!(out.text().contains("qd cannot be used yet"), "{}", out.text());
}

#[test]
fn every_command_has_help_and_no_output_format_that_does_not_work() {
    use clap::CommandFactory;
    fn walk(command: &clap::Command, path: &str) {
        assert!(command.get_about().is_some(), "{path} {} has no help", command.get_name());
        for argument in
            command.get_arguments().filter(|argument| !["help", "version"].contains(&argument.get_id().as_str()))
        {
            assert!(argument.get_help().is_some(), "{path} {} {}", command.get_name(), argument.get_id());
        }
        for inner in command.get_subcommands() {
            walk(inner, &format!("{path} {}", command.get_name()));
        }
    }
    let command = Arguments::command();
    command.clone().debug_assert();
    walk(&command, "");
}

#[test]
fn nothing_here_writes_past_the_screen() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli");
    for entry in std::fs::read_dir(directory).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_file() && path.file_name().is_some_and(|name| name != "tests.rs") {
            let text = std::fs::read_to_string(&path).expect("text");
            for forbidden in ["println!", "print!", "dbg!"] {
                assert!(!text.contains(forbidden), "{} in {}", forbidden, path.display());
            }
        }
    }
}
