//! The other side of a connection by hand: bytes and TLS that no transport would send.

use std::io;
use std::sync::Arc;

use causeway_cluster::transport::{Identity, PROTOCOL};
use causeway_core::codec;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::certificates::{Authority, Issued};
use crate::node::PATIENT;

pub(crate) const HELLO: u8 = 1;
pub(crate) const REFUSED: u8 = 2;
pub(crate) const PING: u8 = 3;
pub(crate) const RAFT: u8 = 4;
pub(crate) const REQUEST: u8 = 7;

pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[kind], body].concat()
}

pub(crate) fn hello(identity: &Identity, process: u128) -> Vec<u8> {
    hello_of_version(PROTOCOL, identity, process)
}

/// Of a connection for byte streams.
pub(crate) fn streams_hello(identity: &Identity, process: u128) -> Vec<u8> {
    frame(HELLO, &[&PROTOCOL.to_be_bytes()[..], &codec::encode(&(identity, process, 1_u32)).unwrap()].concat())
}

pub(crate) fn hello_of_version(version: u16, identity: &Identity, process: u128) -> Vec<u8> {
    frame(HELLO, &[&version.to_be_bytes()[..], &codec::encode(&(identity, process, 0_u32)).unwrap()].concat())
}

/// One frame that the other side sends: kind and body. Pings are passed over.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    timeout(PATIENT, async {
        loop {
            let length = stream.read_u32().await?;
            let mut bytes = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut bytes).await?;
            if bytes[0] != PING {
                return Ok((bytes[0], bytes[1..].to_vec()));
            }
        }
    })
    .await
    .expect("a frame or the end of the connection")
}

/// Reads until the other side ends the connection.
pub(crate) async fn ended(stream: &mut (impl AsyncRead + Unpin)) {
    let mut sink = [0; 4096];
    let reading = async { while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {} };
    timeout(PATIENT, reading).await.expect("the other side ends the connection");
}

/// A plain connection after the first frames of both sides.
pub(crate) async fn introduced(address: &str, identity: &Identity, process: u128) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (kind, _) = introduce(&mut stream, identity, process).await.unwrap();
    assert_eq!(kind, HELLO);
    stream
}

/// Says who speaks, and gives what the other side answers.
pub(crate) async fn introduce(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    identity: &Identity,
    process: u128,
) -> io::Result<(u8, Vec<u8>)> {
    // The other side may have closed already; what it said counts.
    let _ = stream.write_all(&hello(identity, process)).await;
    read(stream).await
}

fn roots(authority: &Authority) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    Arc::new(roots)
}

fn pair(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = vec![CertificateDer::from_pem_slice(issued.chain.as_bytes()).unwrap()];
    (chain, PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap())
}

/// A TLS connection to a node that trusts `trusted` and shows whatever it is given.
pub(crate) async fn tls_client(
    address: &str,
    to: &str,
    trusted: &Authority,
    shown: Option<&Issued>,
) -> io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots(trusted), Arc::clone(&provider)).build().unwrap();
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_webpki_verifier(verifier);
    let config = match shown.map(pair) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let name = ServerName::try_from(format!("{to}.node.causeway")).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A TLS server that shows whatever it is given, and asks for no certificate. Returns its address.
pub(crate) async fn tls_server(shown: &Issued) -> String {
    let (chain, key) = pair(shown);
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                ended(&mut stream).await;
            }
        }
    });
    address
}
