//! TLS towards name servers and brokers.
//!
//! Parts: [`TlsSettings`]; `Connector`, the settings loaded and ready to shake hands.
//! The cryptography is given explicitly, so nothing depends on a process-wide default. Never falls back to plain text,
//! and never skips verification unless [`Trust::AnyCertificateInsecure`] was chosen by name.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::Error;

/// How to speak TLS to one cluster.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// Whose certificates are accepted.
    pub trust: Trust,
    /// Shown to servers that ask for a client certificate.
    pub client_certificate: Option<ClientCertificate>,
    /// The name that server certificates must carry, instead of the host part of the address. Brokers are usually
    /// registered by IP address while their certificates carry a name.
    pub server_name: Option<String>,
}

/// Whose certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Those that lead to an authority in this PEM file.
    AuthorityFile(PathBuf),
    /// Any certificate of anyone: encrypts, but proves nothing about who is at the other end. For test clusters.
    AnyCertificateInsecure,
}

/// A client certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate chain, the client's own first.
    pub chain: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Settings loaded into memory. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    connector: TlsConnector,
    server_name: Option<ServerName<'static>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl Connector {
    /// Reads the files and builds the configuration.
    pub(crate) fn new(settings: &TlsSettings) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| fault("protocol versions", error))?;
        let builder = match &settings.trust {
            Trust::AuthorityFile(path) => builder.with_root_certificates(authorities(path)?),
            Trust::AnyCertificateInsecure => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny { provider }))
            }
        };
        let config = match &settings.client_certificate {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let key = PrivateKeyDer::from_pem_file(&client.key).map_err(|error| file(&client.key, error))?;
                builder
                    .with_client_auth_cert(certificates(&client.chain)?, key)
                    .map_err(|error| file(&client.chain, error))?
            }
        };
        let server_name = match &settings.server_name {
            None => None,
            Some(name) => Some(ServerName::try_from(name.clone()).map_err(|error| fault(name, error))?),
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), server_name })
    }

    /// Shakes hands on a fresh connection to `address` (`host:port`).
    pub(crate) async fn connect(&self, address: &str, stream: TcpStream) -> Result<TlsStream<TcpStream>, Error> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => {
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                ServerName::try_from(host).map_err(|error| fault(address, error))?
            }
        };
        self.connector.connect(name, stream).await.map_err(|error| fault(address, error))
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| file(path, error))?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(|error| file(path, error))?.collect();
    let found = found.map_err(|error| file(path, error))?;
    if found.is_empty() { Err(file(path, "holds no certificate")) } else { Ok(found) }
}

fn file(path: &Path, reason: impl ToString) -> Error {
    fault(&path.display().to_string(), reason)
}

fn fault(address: &str, reason: impl ToString) -> Error {
    Error::Tls { address: address.to_owned(), reason: reason.to_string() }
}

/// Accepts every certificate but still checks that the peer holds its key.
#[derive(Debug)]
struct AcceptAny {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
