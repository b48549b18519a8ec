//! Commands about streams and the faults of their partitions.

use super::*;

#[test]
fn a_stream_is_created_with_what_was_typed() {
    let command = [
        "stream",
        "create",
        "orders",
        "--from",
        "qingdao/orders",
        "--to",
        "hohhot/copies",
        "--tag",
        "paid || shipped",
        "--start",
        "offset:7",
        "--born-timestamp",
        "exact",
        "-o",
        "json",
    ];
    let (exit, _, _, sent) = run_against(vec![(201, "{}".to_owned())], &command);
    assert_eq!(exit, Exit::Done);
    let (head, body) = sent.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("POST /v1/streams HTTP/1.1"), "{head}");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(
        body["source"],
        json!({ "instance": "qingdao", "topic": "orders", "start": { "offset": 7 }, "filter": { "tag": "paid || shipped" } })
    );
    assert_eq!(body["target"], json!({ "instance": "hohhot", "topic": "copies" }));
    assert_eq!(body["run"]["born_timestamp"], "exact");
}

#[test]
fn waiting_ends_when_the_stream_runs_or_needs_a_decision() {
    let status = |state| (200, serde_json::to_string(&status_of(vec![stream_in(state)])).expect("JSON"));
    let answers = vec![(200, "{}".to_owned()), status(RunState::Starting), status(RunState::Running)];
    let (exit, out, _, _) = run_against(answers, &["stream", "resume", "orders", "--wait"]);
    assert_eq!(exit, Exit::Done);
    assert!(out.starts_with("orders starting\norders running"), "{out}");
    let answers = vec![(200, "{}".to_owned()), status(RunState::Faulted)];
    let (exit, _, err, _) = run_against(answers, &["stream", "resume", "orders", "--wait"]);
    assert_eq!(exit, Exit::Failed);
    assert!(err.contains("causeway partition list orders"), "{err}");
    let answers = vec![(200, "{}".to_owned()), status(RunState::Starting)];
    let (exit, _, err, _) = run_against(answers, &["stream", "resume", "orders", "--wait", "--timeout-seconds", "0"]);
    assert_eq!(exit, Exit::TimedOut);
    assert!(err.contains("orders starting") && err.contains("causeway explain CWY-0308"), "{err}");
    let mut blocked = stream_in(RunState::Blocked);
    blocked.condition.code = Some(ErrorCode::TopicMissing.to_string());
    let blocked = serde_json::to_string(&status_of(vec![blocked])).expect("JSON");
    let answers = vec![(200, "{}".to_owned()), (200, blocked)];
    let (exit, _, err, _) = run_against(answers, &["stream", "resume", "orders", "--wait", "--timeout-seconds", "0"]);
    assert_eq!(exit, Exit::TimedOut);
    assert!(err.contains("causeway explain CWY-0303"), "what keeps it, not that it was too late: {err}");
}

#[test]
fn a_deletion_is_waited_for_until_its_last_send_has_ended_and_told_once() {
    let gone = |deleting: Vec<DeletingStream>| {
        (200, serde_json::to_string(&StatusAnswer { deleting, ..status_of(Vec::new()) }).expect("JSON"))
    };
    let sends = DeletingStream { id: StreamId(7), partitions: 2 };
    let stream = json!({ "id": 7 }).to_string();
    let plan = json!({ "dry_run": false, "effects": ["stream orders was removed"] }).to_string();
    let answers = vec![(200, stream), (200, plan), gone(vec![sends]), gone(Vec::new())];
    let command = ["stream", "delete", "orders", "--wait"];
    let (exit, out, _, _) = run_against(answers.clone(), &command);
    assert_eq!(exit, Exit::Done);
    assert!(out.contains("orders deleting: sends of 2 partitions are under way\norders is no more"), "{out}");
    let (_, out, _, _) = run_against(answers, &[&command[..], &["-o", "json"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&out).expect("one JSON value"), json!({ "deleted": "orders" }));
}

/// A partition of `broker-a` that waits for a decision.
fn faulted(queue: u32, since: i64) -> Value {
    json!({
        "source": { "broker": "broker-a", "queue": queue }, "target": { "broker": "broker-x", "queue": queue },
        "state": "faulted", "since": since, "why": null, "code": null, "help": null, "owner": 1, "epoch": 3, "generation": 0,
        "start": "earliest", "source_incarnation": 0, "target_incarnation": 0, "checkpoint": null, "resolved": [],
        "rewinds": 0, "figures": null, "fault": fault(since),
    })
}

fn fault(since: i64) -> Value {
    json!({ "code": "CWY-0401", "message": "a hole", "help": "/errors/CWY-0401", "since": since,
            "detail": { "source_gap": { "from": 5, "to": 9 } }, "skip_to": 9 })
}

fn resolved(since: i64) -> String {
    json!({ "dry_run": false, "fault": fault(since), "decision": { "skip": {} }, "effect": "4 messages are left out",
            "continues_at": 9, "left_out_messages": 4, "epoch": 4 })
    .to_string()
}

#[test]
fn a_stream_is_shown_with_the_partitions_that_wait_for_a_decision() {
    let stream = json!({
        "name": "orders", "id": 7, "source": { "instance": "qd", "topic": "orders" },
        "target": { "instance": "ht", "topic": "orders" }, "run": {}, "desired": "running", "state": "faulted", "since": 0,
        "why": null, "code": null, "help": null, "partitions": 2, "partition_states": { "running": 1, "faulted": 1 },
        "figures": StreamFigures::default(), "generation": 0, "rule_version": 0, "version": 1, "created_at": 0,
        "changed_at": 0,
    });
    let mut whole = faulted(0, 0);
    (whole["state"], whole["fault"]) = (json!("running"), Value::Null);
    let list = json!({ "items": [whole, faulted(1, 77)], "next": null }).to_string();
    let (exit, out, _, _) = run_against(vec![(200, stream.to_string()), (200, list)], &["stream", "show", "orders"]);
    assert_eq!(exit, Exit::Done);
    assert!(out.contains("broker-a/1") && out.contains(": a hole  CWY-0401"), "{out}");
    assert!(out.contains("--partition broker-a/1 --fault-since 77") && !out.contains("broker-a/0"), "{out}");
}

#[test]
fn a_decision_about_one_partition_names_the_fault_that_was_read_or_typed() {
    let command = ["stream", "resolve", "orders", "--partition", "broker-a/1", "--skip"];
    let answers = vec![(200, faulted(1, 77).to_string()), (200, resolved(77))];
    let (exit, out, _, sent) = run_against(answers, &command);
    assert_eq!(exit, Exit::Done);
    assert!(out.contains("broker-a/1: 4 messages are left out"), "{out}");
    assert!(
        sent.contains("POST /v1/streams/orders/partitions/broker-a/1:resolve?dry_run=false&fault_since=77 "),
        "{sent}"
    );

    let refused = error(ErrorCode::VersionConflict, "it is another fault by now");
    let command = [&command[..], &["--fault-since", "55"]].concat();
    let (exit, _, err, sent) = run_against(vec![(412, refused)], &command);
    assert_eq!(exit, Exit::Conflict);
    assert!(err.contains("another fault") && sent.contains("fault_since=55 "), "{err} {sent}");
}

#[test]
fn deciding_about_every_fault_is_asked_for_and_one_refusal_keeps_none_from_the_others() {
    let (screen, _, err) = captured(100);
    let unseen = ["causeway", "stream", "resolve", "orders", "--skip"].map(OsString::from);
    assert_eq!(execute(unseen, screen), Exit::Usage);
    assert!(err.text().contains("--partition") && err.text().contains("--all"), "{}", err.text());

    let list = json!({ "items": [faulted(0, 70), faulted(1, 71), faulted(2, 72)], "next": null }).to_string();
    let refused = error(ErrorCode::CannotResolve, "this fault cannot be skipped");
    let answers = vec![(200, list), (200, resolved(70)), (409, refused), (200, resolved(72))];
    let (exit, out, err, sent) = run_against(answers.clone(), &["stream", "resolve", "orders", "--all", "--skip"]);
    assert_eq!(exit, Exit::Refused);
    assert!(out.contains("broker-a/0: 4 messages") && out.contains("broker-a/2: 4 messages"), "{out}");
    assert!(out.contains("broker-a/1: not decided: this fault cannot be skipped"), "{out}");
    assert!(err.contains("1 of 3 decisions were not taken"), "{err}");
    assert!(["fault_since=70 ", "fault_since=71 ", "fault_since=72 "].iter().all(|part| sent.contains(part)), "{sent}");
    let (exit, out, _, _) = run_against(answers, &["stream", "resolve", "orders", "--all", "--skip", "-o", "json"]);
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((exit, told["items"].as_array().map(Vec::len)), (Exit::Refused, Some(3)));
    assert_eq!(
        (&told["items"][1]["source"]["queue"], &told["items"][1]["error"]["code"]),
        (&json!(1), &json!("CWY-0111"))
    );
}
