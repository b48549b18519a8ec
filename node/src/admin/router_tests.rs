//! The API as a client meets it: every route behind the same middleware that the server has.

use actix_web::App;
use actix_web::body::to_bytes;
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::web::Data;
use causeway_core::command::Command;
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;
use causeway_core::ids::Epoch;
use serde_json::{Value, json};

use super::seam::{ProposeError, Site};
use super::server::routes;
use super::tests::{Fixture, NOW, TOKEN, create_orders};
use super::{auth, guard};

/// A request of a test: method, path, body, further headers.
pub(super) struct Ask<'a>(
    pub(super) Method,
    pub(super) &'a str,
    pub(super) Option<Value>,
    pub(super) &'a [(&'a str, &'a str)],
);

fn get(path: &str) -> Ask<'_> {
    Ask(Method::GET, path, None, &[])
}

fn post(path: &str, body: Option<Value>) -> Ask<'_> {
    Ask(Method::POST, path, body, &[])
}

/// Runs requests one after the other against one site and returns status, headers as text, and body.
pub(super) async fn run(fixture: &Fixture, asks: Vec<Ask<'_>>) -> Vec<(StatusCode, String, Value)> {
    let site = Data::new(Site::new(fixture.context()));
    let app = App::new()
        .configure(|config| routes(config, &site))
        .wrap(from_fn(auth::require_token))
        .wrap(from_fn(guard::protect));
    let app = init_service(app).await;
    let mut answers = Vec::new();
    for ask in asks {
        let response = try_call_service(&app, built(ask).to_request()).await.unwrap();
        let (status, headers) = (response.status(), format!("{:?}", response.headers()));
        let bytes = to_bytes(response.into_body()).await.ok().unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        answers.push((status, headers, serde_json::from_slice(&bytes).unwrap_or(Value::String(text))));
    }
    answers
}

fn built(Ask(method, path, body, headers): Ask<'_>) -> TestRequest {
    let mut request = TestRequest::default().method(method).uri(path).insert_header(("Host", "localhost:7500"));
    if !headers.iter().any(|(name, _)| *name == "Authorization") {
        request = request.insert_header(("Authorization", format!("Bearer {TOKEN}")));
    }
    for (name, value) in headers {
        request = request.insert_header((*name, *value));
    }
    match body {
        Some(body) => request.set_json(body),
        None => request,
    }
}

#[actix_web::test]
async fn everything_but_the_page_and_the_health_check_needs_a_token() {
    let fixture = Fixture::with_two_streams();
    let none: &[(&str, &str)] = &[("Authorization", "")];
    let closed = [
        (Method::GET, "/v1/status"),
        (Method::GET, "/v1/version"),
        (Method::GET, "/metrics"),
        (Method::GET, "/v1/streams"),
        (Method::POST, "/v1/streams"),
        (Method::GET, "/v1/streams/orders"),
        (Method::DELETE, "/v1/streams/orders"),
        (Method::POST, "/v1/streams/orders:pause"),
        (Method::POST, "/v1/streams/orders:resume"),
        (Method::GET, "/v1/streams/orders:status"),
        (Method::GET, "/v1/streams/orders/partitions"),
        (Method::POST, "/v1/streams/orders/partitions/broker-a/0:resolve"),
        (Method::GET, "/v1/instances"),
        (Method::POST, "/v1/instances"),
        (Method::PUT, "/v1/instances/qingdao"),
        (Method::DELETE, "/v1/instances/qingdao"),
        (Method::POST, "/v1/instances/qingdao:test"),
        (Method::GET, "/nowhere"),
        (Method::GET, "//"),
        (Method::GET, "/healthz/"),
        (Method::GET, "/assets/"),
        (Method::GET, "/assets/../v1/status"),
        (Method::GET, "/errors/CWY-9999"),
    ];
    let asks = closed.iter().map(|(method, path)| Ask(method.clone(), path, None, none)).collect();
    for ((method, path), (status, headers, body)) in closed.iter().zip(run(&fixture, asks).await) {
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
        assert_eq!(body["error"]["code"], "CWY-0201", "{method} {path}");
        assert!(headers.contains("www-authenticate"), "{headers}");
    }
    let open = ["/", "/healthz", "/assets/console.js", "/assets/console.css", "/errors/CWY-0201"];
    let asks = open.iter().map(|path| Ask(Method::GET, path, None, none)).collect();
    assert!(run(&fixture, asks).await.iter().all(|(status, ..)| *status == StatusCode::OK));
}

#[actix_web::test]
async fn every_answer_carries_the_security_headers() {
    let fixture = Fixture::with_two_streams();
    for (status, headers, _) in
        run(&fixture, vec![get("/"), get("/v1/status"), get("/nowhere"), post("/healthz", None)]).await
    {
        for wanted in ["content-security-policy", "nosniff", "no-referrer", "cache-control", "same-origin", "DENY"] {
            assert!(headers.contains(wanted), "{status} lacks {wanted}: {headers}");
        }
        assert!(!headers.contains("unsafe-inline"));
    }
}

#[actix_web::test]
async fn foreign_names_and_pages_are_turned_away_even_with_the_token() {
    let fixture = Fixture::with_two_streams();
    let asks = vec![
        Ask(Method::GET, "/v1/status", None, &[("Host", "evil.example")]),
        Ask(Method::GET, "/v1/status", None, &[("Origin", "http://evil.example")]),
        Ask(Method::GET, "/v1/status", None, &[("Origin", "http://localhost:7500")]),
    ];
    let answers = run(&fixture, asks).await;
    let statuses: Vec<_> = answers.iter().map(|(status, ..)| status.as_u16()).collect();
    assert_eq!(statuses, [403, 403, 200]);
    assert_eq!(
        (&answers[0].2["error"]["code"], &answers[1].2["error"]["code"]),
        (&json!("CWY-0204"), &json!("CWY-0204"))
    );
}

#[actix_web::test]
async fn a_stream_lives_from_creation_to_deletion() {
    let fixture = Fixture::with_two_streams();
    let version = fixture.next_version();
    let current = format!("\"{version}\"");
    let answers = run(
        &fixture,
        vec![
            post("/v1/streams", Some(create_orders("fresh"))),
            post("/v1/streams", Some(create_orders("fresh"))),
            get("/v1/streams/fresh"),
            Ask(Method::POST, "/v1/streams/fresh:pause", None, &[("If-Match", "\"1\"")]),
            Ask(Method::POST, "/v1/streams/fresh:pause", None, &[("If-Match", &current)]),
            post("/v1/streams/fresh:resume?dry_run=true", None),
            post("/v1/streams/fresh:resume", None),
            Ask(Method::DELETE, "/v1/streams/fresh?dry_run=true", None, &[]),
            Ask(Method::DELETE, "/v1/streams/fresh", None, &[]),
            get("/v1/streams/fresh"),
        ],
    )
    .await;
    let statuses: Vec<_> = answers.iter().map(|(status, ..)| status.as_u16()).collect();
    assert_eq!(statuses, [201, 409, 200, 412, 200, 200, 200, 200, 200, 404]);
    let bodies: Vec<_> = answers.iter().map(|(.., body)| body).collect();
    assert_eq!((bodies[0]["state"].as_str(), bodies[0]["version"].as_u64()), (Some("ready"), Some(version)));
    assert_eq!(bodies[1]["error"]["code"], "CWY-0103");
    assert!(answers[2].1.contains(&format!("\\\"{version}\\\"")), "the version as ETag: {}", answers[2].1);
    assert_eq!(bodies[3]["error"]["code"], "CWY-0108");
    assert_eq!((bodies[4]["state"].as_str(), bodies[4]["version"].as_u64()), (Some("paused"), Some(version + 1)));
    assert_eq!(bodies[5]["dry_run"], true);
    assert_eq!(bodies[6]["desired"], "running");
    assert_eq!((bodies[7]["dry_run"].as_bool(), bodies[8]["dry_run"].as_bool()), (Some(true), Some(false)));
    assert_eq!(bodies[9]["error"]["code"], "CWY-0105");
}

#[actix_web::test]
async fn all_faults_of_a_request_are_answered_at_once() {
    let fixture = Fixture::with_two_streams();
    let mut body = create_orders("orders");
    body["target"]["instance"] = json!("nowhere");
    let (status, _, answer) = run(&fixture, vec![post("/v1/streams", Some(body))]).await.remove(0);
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let fields: Vec<_> =
        answer["faults"].as_array().unwrap().iter().map(|fault| fault["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["name", "target.instance"]);
    assert_eq!(answer["error"], answer["faults"][0]);
}

#[actix_web::test]
async fn an_instance_is_registered_without_its_secrets_ever_coming_back() {
    let fixture = Fixture::with_two_streams();
    let body = json!({
        "name": "third", "region": "third",
        "rocketmq": { "name_servers": ["127.0.0.1:1"], "access_key": { "env": "AK" }, "secret": { "value": "planted-secret" } },
    });
    let mut changed = body.clone();
    changed["rocketmq"] =
        json!({ "name_servers": ["127.0.0.1:2"], "access_key": { "kept": {} }, "secret": { "kept": {} } });
    let version = fixture.next_version();
    let current = format!("\"{version}\"");
    let answers = run(
        &fixture,
        vec![
            post("/v1/instances?dry_run=true", Some(body.clone())),
            post("/v1/instances", Some(changed.clone())),
            post("/v1/instances", Some(body.clone())),
            post("/v1/instances", Some(body)),
            get("/v1/instances/third"),
            get("/v1/instances?limit=2"),
            get("/v1/instances?limit=2&after=qingdao"),
            Ask(Method::PUT, "/v1/instances/third", Some(changed.clone()), &[]),
            Ask(Method::PUT, "/v1/instances/third", Some(changed), &[("If-Match", &current)]),
            get("/v1/instances/third"),
            Ask(Method::DELETE, "/v1/instances/qingdao", None, &[]),
            Ask(Method::DELETE, "/v1/instances/third", None, &[]),
            get("/v1/instances/third"),
        ],
    )
    .await;
    let statuses: Vec<_> = answers.iter().map(|(status, ..)| status.as_u16()).collect();
    assert_eq!(statuses, [200, 400, 201, 409, 200, 200, 200, 400, 200, 200, 409, 200, 404]);
    assert_eq!(answers[1].2["faults"][0]["field"], "rocketmq.access_key", "nothing is there to be kept");
    assert_eq!(answers[4].2["rocketmq"]["access_key"], "env:AK");
    assert_eq!(answers[4].2["rocketmq"]["secret"], "sealed");
    assert_eq!(answers[5].2["next"], "qingdao");
    assert_eq!((answers[6].2["items"][0]["name"].as_str(), &answers[6].2["next"]), (Some("third"), &Value::Null));
    assert_eq!(answers[8].2["version"], version + 1);
    let changed = &answers[9].2["rocketmq"];
    assert_eq!(
        (&changed["name_servers"][0], &changed["access_key"], &changed["secret"]),
        (&json!("127.0.0.1:2"), &json!("env:AK"), &json!("sealed"))
    );
    assert_eq!(answers[10].2["error"]["code"], "CWY-0107");
    let everything = format!("{answers:?} {:?} {}", fixture.cluster_state(), fixture.files());
    assert!(!everything.contains("planted-secret"));
}

#[actix_web::test]
async fn a_fault_is_shown_explained_and_resolved() {
    let fixture = Fixture::with_two_streams();
    let partition = fixture.context().cluster.view().partitions.keys().next().unwrap().clone();
    let fault = Fault::SourceGap { from: 3, to: 9 };
    fixture.cluster.apply(Command::RaiseFault { partition, epoch: Epoch(1), fault });
    let one = "/v1/streams/orders/partitions/broker-a/0";
    let (resolve, dry) = (format!("{one}:resolve"), format!("{one}:resolve?dry_run=true"));
    let answers = run(
        &fixture,
        vec![
            get("/v1/streams/orders/partitions"),
            get("/v1/status"),
            post(&dry, Some(json!({ "skip": {} }))),
            post(&resolve, Some(json!({ "skip": { "to": 3 } }))),
            post(&resolve, Some(json!("skip"))),
            post(&format!("{resolve}?fault_since=5"), Some(json!({ "skip": {} }))),
            post(&format!("{resolve}?fault_since={}", NOW.0), Some(json!({ "skip": {} }))),
            post(&resolve, Some(json!({ "skip": {} }))),
            get(one),
            get("/v1/streams/orders/partitions/broker-a/77"),
            get("/v1/streams/orders/partitions/broker-a/99999999999"),
        ],
    )
    .await;
    let statuses: Vec<_> = answers.iter().map(|(status, ..)| status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 200, 400, 400, 412, 200, 409, 200, 404, 404]);
    let shown = &answers[0].2["items"][0];
    assert_eq!((shown["state"].as_str(), shown["fault"]["code"].as_str()), (Some("faulted"), Some("CWY-0401")));
    assert_eq!(shown["fault"]["skip_to"], 9);
    assert_eq!(answers[1].2["streams"][0]["state"], "faulted");
    assert!(answers[1].2["streams"][0]["help"].as_str().unwrap().ends_with("/CWY-0401"));
    assert_eq!((&answers[2].2["dry_run"], &answers[2].2["epoch"]), (&json!(true), &Value::Null));
    assert_eq!(answers[5].2["error"]["code"], "CWY-0108", "another fault than the one that was judged");
    assert_eq!((&answers[6].2["dry_run"], &answers[6].2["epoch"]), (&json!(false), &json!(2)));
    assert_eq!(answers[7].2["error"]["code"], "CWY-0111");
    assert_eq!(answers[8].2["resolved"][0]["decision"], json!({ "skip": {} }));
}

#[actix_web::test]
async fn partitions_are_listed_page_by_page() {
    let fixture = Fixture::with_two_streams();
    let list = "/v1/streams/orders/partitions";
    let (first, rest) = (format!("{list}?limit=1"), format!("{list}?limit=1&after=broker-a%2F0"));
    let answers = run(&fixture, vec![get(list), get(&first), get(&rest)]).await;
    let queues = |answer: &Value| -> Vec<_> {
        answer["items"].as_array().unwrap().iter().map(|item| item["source"]["queue"].as_u64().unwrap()).collect()
    };
    let told: Vec<_> = answers.iter().map(|(.., body)| (queues(body), body["next"].as_str())).collect();
    assert_eq!(told, [(vec![0, 1], None), (vec![0], Some("broker-a/0")), (vec![1], None)]);
}

#[actix_web::test]
async fn a_change_that_loses_the_race_is_refused_like_one_that_comes_late() {
    let fixture = Fixture::with_two_streams();
    let expected = Some(0);
    let view = fixture.context().cluster.view();
    let instance = view.instances.values().next().unwrap();
    let command = Command::PutInstance { spec: instance.spec.clone(), identity: instance.identity, expected };
    // What a request meets that was checked before another one's change was agreed on.
    let refused = Site::new(fixture.context()).change(command).await.unwrap_err();
    assert_eq!(refused.answer().error.code, "CWY-0108");
    assert_eq!(actix_web::ResponseError::status_code(&refused), StatusCode::PRECONDITION_FAILED);
}

#[actix_web::test]
async fn without_a_leader_changes_say_who_it_is_and_reads_go_on() {
    let fixture = Fixture::with_two_streams();
    let leader = Some(causeway_core::ids::NodeId(2));
    let error = ProposeError { why: "node 2 leads".to_owned(), leader, outcome_is_unknown: false };
    *fixture.cluster.down.lock().unwrap() = Some(error);
    let answers = run(&fixture, vec![post("/v1/streams/orders:pause", None), get("/v1/streams")]).await;
    assert_eq!(answers[0].0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answers[0].2["error"]["code"], ErrorCode::Unavailable.to_string());
    assert!(answers[0].1.contains("causeway-leader") && answers[0].1.contains("retry-after"));
    assert_eq!((answers[1].0, answers[1].2["items"].as_array().unwrap().len()), (StatusCode::OK, 2));

    // Whoever sends it again without looking may do it twice.
    let error = ProposeError { why: "no answer".to_owned(), leader: None, outcome_is_unknown: true };
    *fixture.cluster.down.lock().unwrap() = Some(error);
    let unknown = run(&fixture, vec![post("/v1/streams/orders:pause", None)]).await.remove(0);
    assert_eq!(unknown.0, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!unknown.1.contains("retry-after"), "{}", unknown.1);
}

#[actix_web::test]
async fn wrong_paths_methods_queries_and_bodies_are_refused_with_codes() {
    let fixture = Fixture::with_two_streams();
    let large = json!({ "name": "x".repeat(super::body::MAXIMUM_BODY_BYTES) });
    let asks = vec![
        (get("/v1/nothing"), 404, "CWY-0112"),
        (get("/v1/streams/a%2Fb"), 404, "CWY-0112"),
        (get("/v1/streams/unknown"), 404, "CWY-0105"),
        (get("/v1/instances/unknown"), 404, "CWY-0104"),
        (Ask(Method::PATCH, "/v1/streams", None, &[]), 405, "CWY-0112"),
        (get("/v1/streams/orders:pause"), 405, "CWY-0112"),
        (post("/v1/streams/orders:stop", None), 404, "CWY-0112"),
        (get("/v1/streams?limit=0"), 400, "CWY-0102"),
        (get("/v1/streams/orders/partitions?limit=0"), 400, "CWY-0102"),
        (get("/v1/streams/orders/partitions?after=broker-a"), 400, "CWY-0102"),
        (get("/v1/streams/orders/partitions?since=1"), 400, "CWY-0102"),
        (get("/v1/status?since=1"), 400, "CWY-0102"),
        (post("/v1/streams", None), 400, "CWY-0102"),
        (post("/v1/streams", Some(json!([]))), 400, "CWY-0102"),
        (post("/v1/streams", Some(large)), 413, "CWY-0113"),
    ];
    let expected: Vec<_> = asks.iter().map(|(ask, status, code)| (ask.1.to_owned(), *status, *code)).collect();
    let answers = run(&fixture, asks.into_iter().map(|(ask, ..)| ask).collect()).await;
    for ((path, status, code), answer) in expected.iter().zip(answers) {
        assert_eq!((answer.0.as_u16(), answer.2["error"]["code"].as_str()), (*status, Some(*code)), "{path}");
        assert!(answer.2["error"]["help"].as_str().is_some_and(|help| help.starts_with("/errors/CWY-")), "{path}");
    }
}
