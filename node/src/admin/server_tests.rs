//! The server on a real socket: where it listens, that it ends, what it does to clients that misbehave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use causeway_core::name::Name;
use tokio::sync::watch;

use super::{AdminServer, Error, bind, page_of, start};
use crate::admin::model::change::ListQuery;
use crate::admin::tests::{Fixture, TOKEN, name};
use crate::supervisor::lifeline::Lifeline;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A server on an address, and what tells that it ended.
fn started(fixture: &Fixture, listen: SocketAddr) -> (AdminServer, watch::Receiver<Option<&'static str>>) {
    let (ending, ended) = watch::channel(None);
    (start(fixture.context(), bind(listen).unwrap(), Lifeline::new("HTTP interface", &ending)).unwrap(), ended)
}

/// Sends bytes and reads until the server closes.
fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // A server that closes while a client still writes may reset the connection; what came before counts.
    let _ended = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
        .into_bytes()
}

async fn talk_aside(address: SocketAddr, bytes: Vec<u8>) -> String {
    tokio::task::spawn_blocking(move || talk(address, &bytes)).await.unwrap()
}

#[actix_web::test]
async fn it_answers_where_it_says_and_ends_when_told() {
    let fixture = Fixture::with_two_streams();
    let (server, ended) = started(&fixture, LOOPBACK);
    assert!(talk_aside(server.address, get("/healthz")).await.starts_with("HTTP/1.1 200"));
    let status = talk_aside(server.address, get("/v1/status")).await;
    assert!(status.contains("\"name\":\"orders\""), "{status}");
    assert_eq!(*ended.borrow(), None);
    server.stop().await;
    assert_eq!(*ended.borrow(), Some("HTTP interface"), "its end is noticed");
    server.stop().await;
    assert!(TcpStream::connect(server.address).is_err());
    started(&fixture, server.address).0.stop().await;
}

#[test]
fn only_loopback_addresses_are_bound_and_a_taken_one_is_told() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = bind(address.parse().unwrap()).unwrap_err();
        assert!(matches!(error, Error::UnsafeBind(_)), "{address}");
        assert_eq!(error.code(), ErrorCode::UnsafeBind);
    }
    let taken = TcpListener::bind(LOOPBACK).unwrap();
    let error = bind(taken.local_addr().unwrap()).unwrap_err();
    assert!(matches!(error, Error::Bind { .. }));
    assert_eq!(error.code(), ErrorCode::AddressUnusable);
}

#[actix_web::test]
async fn clients_that_misbehave_are_answered_and_closed() {
    let fixture = Fixture::with_two_streams();
    let (server, _ended) = started(&fixture, LOOPBACK);
    let announced = format!(
        "POST /v1/streams HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 2147483648\r\n\r\n"
    );
    assert!(talk_aside(server.address, announced.into_bytes()).await.starts_with("HTTP/1.1 413"));
    let endless = [b"GET /".as_slice(), &vec![b'x'; 300_000], b" HTTP/1.1\r\n\r\n"].concat();
    assert!(talk_aside(server.address, endless).await.starts_with("HTTP/1.1 4"));
    assert!(
        talk_aside(server.address, b"\x16\x03\x01\x02\x00\x01garbage\r\n\r\n".to_vec())
            .await
            .starts_with("HTTP/1.1 400")
    );
    assert!(
        talk_aside(
            server.address,
            b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_vec()
        )
        .await
        .starts_with("HTTP/1.1 403")
    );
    assert!(talk_aside(server.address, get("/healthz")).await.starts_with("HTTP/1.1 200"), "it goes on serving others");
    server.stop().await;
}

#[test]
fn lists_go_on_behind_the_last_name() {
    let names: Vec<Name> = ["a", "b", "c"].map(name).into();
    let ask = |after: Option<&str>, limit| {
        let query = ListQuery { after: after.map(str::to_owned), limit };
        page_of(names.iter().map(|name| (name, name)), &query, Name::to_string)
    };
    let whole = ask(None, None).unwrap();
    assert_eq!((whole.items.len(), whole.next), (3, None));
    let first = ask(None, Some(2)).unwrap();
    assert_eq!((first.items, first.next.as_deref()), (vec!["a".to_owned(), "b".to_owned()], Some("b")));
    let rest = ask(Some("b"), Some(2)).unwrap();
    assert_eq!((rest.items, rest.next), (vec!["c".to_owned()], None));
    assert!(ask(None, Some(0)).is_err() && ask(None, Some(1001)).is_err());
}
