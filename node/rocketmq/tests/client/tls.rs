//! TLS: verified by an own authority, with and without a client certificate, and never silently plain.

use std::path::PathBuf;
use std::sync::Arc;

use causeway_rocketmq::stub::{Stub, StubOptions};
use causeway_rocketmq::wire::code::request::SEND_BATCH_MESSAGE;
use causeway_rocketmq::{
    Client, ClientCertificate, ClientSettings, Error, OutgoingBatch, Refusal, SendOutcome, TlsSettings, Trust,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;

use crate::permits::grants;
use crate::{PATIENT, batch, from, queue, settings};

struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Certificate and key in PEM for one name.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn client_certificate(&self) -> ClientCertificate {
        let (chain, key) = (self.folder.path().join("client.pem"), self.folder.path().join("client.key"));
        let (certificate, secret) = self.issue("client");
        std::fs::write(&chain, certificate).unwrap();
        std::fs::write(&key, secret).unwrap();
        ClientCertificate { chain, key }
    }

    fn server(&self, name: &str, asks_clients: bool) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue(name);
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
        let builder = if asks_clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap(),
            )
        } else {
            builder.with_no_client_auth()
        };
        Arc::new(builder.with_single_cert(chain, key).unwrap())
    }

    fn trusting(&self) -> TlsSettings {
        TlsSettings { trust: Trust::AuthorityFile(self.path()), client_certificate: None, server_name: None }
    }
}

async fn stub(tls: Option<Arc<ServerConfig>>) -> Stub {
    let stub = Stub::start(StubOptions { tls, ..StubOptions::default() }).await.unwrap();
    stub.store().create_topic("t", 2);
    stub
}

async fn route(stub: &Stub, tls: TlsSettings) -> Result<(), Error> {
    Client::new(ClientSettings { tls: Some(tls), ..settings(stub) })?.route("t").await.map(drop)
}

#[tokio::test]
async fn everything_works_over_tls() {
    let authority = Authority::new();
    let stub = stub(Some(authority.server("127.0.0.1", false))).await;
    let client = Client::new(ClientSettings { tls: Some(authority.trusting()), ..settings(&stub) }).unwrap();
    let body = "x".repeat(200_000);
    let outcome = client.send(&queue(0), batch(&[&*body; 5])).await;
    assert!(matches!(outcome, SendOutcome::Stored { offset: 0, .. }), "{outcome:?}");
    assert_eq!(crate::bodies(&client.pull(&queue(0), &from(0)).await.unwrap())[0], body);
}

#[tokio::test]
async fn over_tls_too_a_permit_withdrawn_before_the_last_bytes_keeps_them_back() {
    let authority = Authority::new();
    let stub = stub(Some(authority.server("127.0.0.1", false))).await;
    let client = Client::new(ClientSettings { tls: Some(authority.trusting()), ..settings(&stub) }).unwrap();
    let body = "x".repeat(300_000);
    let permitted = |writes| OutgoingBatch { permit: Some(grants(writes).0), ..batch(&[&*body]) };
    let outcome = client.send(&queue(0), permitted(1)).await;
    assert_eq!(outcome, SendOutcome::NotStored(Refusal::PermitWithdrawn));
    let outcome = client.send(&queue(0), permitted(usize::MAX)).await;
    assert!(matches!(outcome, SendOutcome::Stored { offset: 0, .. }), "{outcome:?}");
    assert_eq!(stub.requests(SEND_BATCH_MESSAGE), 1, "half a frame was taken for a whole one");
    assert_eq!(crate::bodies(&client.pull(&queue(0), &from(0)).await.unwrap()), [body]);
}

#[tokio::test]
async fn a_certificate_must_come_from_the_authority_and_carry_the_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    let stub = stub(Some(authority.server("broker.example", false))).await;
    let wrong_name = route(&stub, authority.trusting()).await;
    assert!(matches!(wrong_name, Err(Error::Tls { .. })), "{wrong_name:?}");
    let named =
        |authority: &Authority| TlsSettings { server_name: Some("broker.example".into()), ..authority.trusting() };
    let wrong_authority = route(&stub, named(&other)).await;
    assert!(matches!(wrong_authority, Err(Error::Tls { .. })), "{wrong_authority:?}");
    route(&stub, named(&authority)).await.unwrap();
    let insecure = TlsSettings { trust: Trust::AnyCertificateInsecure, client_certificate: None, server_name: None };
    route(&stub, insecure).await.unwrap();
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let authority = Authority::new();
    let stub = stub(Some(authority.server("127.0.0.1", true))).await;
    let without = route(&stub, authority.trusting()).await;
    assert!(matches!(without, Err(Error::Tls { .. })), "{without:?}");
    let client_certificate = Some(authority.client_certificate());
    route(&stub, TlsSettings { client_certificate, ..authority.trusting() }).await.unwrap();
}

#[tokio::test]
async fn tls_never_falls_back_to_plain_text_nor_the_other_way_round() {
    let authority = Authority::new();
    let plain = stub(None).await;
    let patient = ClientSettings { connect_timeout: PATIENT, tls: Some(authority.trusting()), ..settings(&plain) };
    assert!(matches!(Client::new(patient).unwrap().route("t").await, Err(Error::Tls { .. })));
    let secured = stub(Some(authority.server("127.0.0.1", false))).await;
    let plain = Client::new(settings(&secured)).unwrap().route("t").await;
    assert!(matches!(plain, Err(Error::ConnectionLost { .. } | Error::Malformed { .. })), "{plain:?}");
}

#[tokio::test]
async fn files_that_are_no_certificates_are_named() {
    let authority = Authority::new();
    let stub = stub(None).await;
    let empty = authority.folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for path in [empty, PathBuf::from("/nowhere/ca.pem")] {
        let tls =
            TlsSettings { trust: Trust::AuthorityFile(path.clone()), client_certificate: None, server_name: None };
        let Err(Error::Tls { address, .. }) = route(&stub, tls).await else { panic!("accepted {path:?}") };
        assert_eq!(address, path.display().to_string());
    }
}
