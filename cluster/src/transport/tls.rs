//! Mutual TLS 1.3 between nodes: whom a node trusts, what it shows, and how both are replaced while it runs.
//!
//! The cryptography is given explicitly, so nothing depends on a process-wide default. Nothing is resumed: every
//! connection is a full handshake, so a certificate that was replaced or has expired counts from the next one on.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use causeway_core::name::Name;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::certificate::{CertificateProblem, Facts, certificate_name, server_name};
use super::error::ConnectionError;
use super::pem::{TlsFileError, certificates, key};
use super::socket::{Stream, linger};

/// Where a node's certificates and key are, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities whose certificates are accepted.
    pub authorities: PathBuf,
    /// The node's certificate first, then those between it and an authority.
    pub chain: PathBuf,
    /// The node's key. Nobody but its owner may have any permission on the file.
    pub key: PathBuf,
}

/// When certificates end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// The node's certificate.
    pub certificate: SystemTime,
    /// The first of the authorities to end.
    pub authorities: SystemTime,
}

/// Certificates and key of one node, loaded and ready to shake hands.
pub struct Tls {
    files: TlsFiles,
    name: Name,
    active: RwLock<Arc<Active>>,
}

struct Active {
    acceptor: TlsAcceptor,
    /// For a peer whose name is known: the handshake itself compares it.
    to_known: TlsConnector,
    /// For a peer whose name is not known yet: its first frame is compared with its certificate.
    to_unknown: TlsConnector,
    expiry: Expiry,
}

impl Tls {
    /// Reads the files and checks that other nodes would accept what they hold.
    ///
    /// # Errors
    /// [`TlsFileError`], which names the file.
    pub fn load(files: TlsFiles, name: Name) -> Result<Self, TlsFileError> {
        let active = RwLock::new(Arc::new(Active::load(&files, &name)?));
        Ok(Self { files, name, active })
    }

    /// Reads the files again. Connections that exist go on; new ones use what was read. Reads files, so it must not
    /// be called where blocking for some milliseconds does harm.
    ///
    /// # Errors
    /// [`TlsFileError`], which names the file; what was loaded before stays in use.
    pub fn reload(&self) -> Result<(), TlsFileError> {
        let new = Arc::new(Active::load(&self.files, &self.name)?);
        *self.active.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// When the certificates in use end.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        self.active().expiry
    }

    /// The name that the certificate was checked for.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    fn active(&self) -> Arc<Active> {
        Arc::clone(&self.active.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shakes hands as the side that opened the connection.
    pub(crate) async fn connect(&self, tcp: TcpStream, to: Option<&Name>) -> Result<(Stream, Facts), ConnectionError> {
        let active = self.active();
        let (connector, name) = match to {
            Some(name) => (&active.to_known, server_name(name)),
            None => (&active.to_unknown, server_name(&self.name)),
        };
        let Some(name) = name else {
            return Err(ConnectionError::UnusableName { name: to.unwrap_or(&self.name).clone() });
        };
        let stream = connector.connect(name, tcp).await?;
        let facts = facts(stream.get_ref().1.peer_certificates())?;
        Ok((Box::new(stream), facts))
    }

    /// Shakes hands as the side that accepted the connection.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> Result<(Stream, Facts), ConnectionError> {
        let active = self.active();
        match active.acceptor.accept(tcp).into_fallible().await {
            Ok(stream) => {
                let facts = facts(stream.get_ref().1.peer_certificates())?;
                Ok((Box::new(stream), facts))
            }
            Err((error, tcp)) => {
                linger(tcp).await;
                Err(error.into())
            }
        }
    }
}

/// Neither key nor certificates: what they are is in the files.
impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, name, .. } = self;
        formatter.debug_struct("Tls").field("files", files).field("name", name).finish_non_exhaustive()
    }
}

fn facts(shown: Option<&[CertificateDer<'_>]>) -> Result<Facts, ConnectionError> {
    let first = shown.and_then(<[_]>::first).ok_or(ConnectionError::Certificate(CertificateProblem::Missing))?;
    Facts::read(first).map_err(ConnectionError::Certificate)
}

impl Active {
    fn load(files: &TlsFiles, name: &Name) -> Result<Self, TlsFileError> {
        let provider = Arc::new(ring::default_provider());
        let problem = |problem| TlsFileError::Certificate { path: files.chain.clone(), problem };
        let (roots, authorities) = authorities(files)?;
        let chain = certificates(&files.chain)?;
        let key = key(&files.key)?;
        let (own, between) = chain.split_first().ok_or_else(|| problem(CertificateProblem::Missing))?;
        let facts = Facts::read(own).map_err(problem)?;
        let expected = server_name(name).filter(|_| facts.is_for(name));
        let Some(expected) = expected else {
            return Err(TlsFileError::OtherName { path: files.chain.clone(), expected: certificate_name(name) });
        };
        let unusable = |error: VerifierBuilderError| TlsFileError::malformed(&files.authorities, error);
        let servers = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let servers = servers.build().map_err(unusable)?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let clients = clients.build().map_err(unusable)?;
        // What the others will find, found here first: as a server and as a client.
        let now = UnixTime::now();
        let refused = |error| problem(problem_of(&error));
        servers.verify_server_cert(own, between, &expected, &[], now).map_err(refused)?;
        clients.verify_client_cert(own, between, now).map_err(refused)?;

        let expiry = Expiry { certificate: facts.expires_at, authorities };
        let unknown = Arc::new(AnyNode { servers: Arc::clone(&servers), roots, provider: Arc::clone(&provider) });
        let acceptor = server(&provider, clients, &chain, &key).map_err(|error| own_fault(files, &error))?;
        let to_known = client(&provider, servers, &chain, &key).map_err(|error| own_fault(files, &error))?;
        let to_unknown = client(&provider, unknown, &chain, &key).map_err(|error| own_fault(files, &error))?;
        Ok(Self { acceptor, to_known, to_unknown, expiry })
    }
}

/// The trusted authorities, and when the first of them ends.
fn authorities(files: &TlsFiles) -> Result<(Arc<RootCertStore>, SystemTime), TlsFileError> {
    let path = &files.authorities;
    let mut roots = RootCertStore::empty();
    let mut first_end = None;
    for certificate in certificates(path)? {
        let end = Facts::read(&certificate).map_err(|error| TlsFileError::malformed(path, error))?.expires_at;
        first_end = Some(first_end.map_or(end, |first: SystemTime| first.min(end)));
        roots.add(certificate).map_err(|error| TlsFileError::malformed(path, error))?;
    }
    let first_end = first_end.ok_or_else(|| TlsFileError::malformed(path, "holds no certificate"))?;
    Ok((Arc::new(roots), first_end))
}

fn server(
    provider: &Arc<CryptoProvider>,
    clients: Arc<dyn ClientCertVerifier>,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, RustlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&[&TLS13])?;
    let builder = builder.with_client_cert_verifier(clients);
    let mut config = builder.with_single_cert(chain.to_vec(), key.clone_key())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn client(
    provider: &Arc<CryptoProvider>,
    servers: Arc<dyn ServerCertVerifier>,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<TlsConnector, RustlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider)).with_protocol_versions(&[&TLS13])?;
    let builder = builder.dangerous().with_custom_certificate_verifier(servers);
    let mut config = builder.with_client_auth_cert(chain.to_vec(), key.clone_key())?;
    config.resumption = Resumption::disabled();
    // The other side has one certificate only, and whom a node looks for is nobody else's business.
    config.enable_sni = false;
    Ok(TlsConnector::from(Arc::new(config)))
}

fn own_fault(files: &TlsFiles, error: &RustlsError) -> TlsFileError {
    match error {
        RustlsError::InconsistentKeys(_) => TlsFileError::KeyMismatch { path: files.key.clone() },
        other => TlsFileError::malformed(&files.key, other),
    }
}

fn problem_of(error: &RustlsError) -> CertificateProblem {
    match error {
        RustlsError::InvalidCertificate(problem) => problem.into(),
        other => CertificateProblem::Unusable { reason: other.to_string() },
    }
}

/// Accepts every certificate that an authority signed for a server, whatever its name.
#[derive(Debug)]
struct AnyNode {
    servers: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.servers.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        self.servers.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.servers.supported_verify_schemes()
    }
}
