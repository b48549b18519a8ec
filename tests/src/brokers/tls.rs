//! Certificates for a cluster: an authority, a server and a client, made anew for each cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// PEM files of one cluster.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate of the authority that signed the others.
    pub authority: PathBuf,
    /// The servers' certificate, valid for localhost, 127.0.0.1, 127.0.0.2 and ::1.
    pub server_certificate: PathBuf,
    /// The servers' key, PKCS #8.
    pub server_key: PathBuf,
    /// A client's certificate.
    pub client_certificate: PathBuf,
    /// The client's key, PKCS #8.
    pub client_key: PathBuf,
}

impl TlsFiles {
    /// Makes all files in `folder`.
    pub fn create(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "causeway test authority");
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let signed = |name: &str, usage: ExtendedKeyUsagePurpose| {
            let hosts: Vec<String> = ["localhost", "127.0.0.1", "127.0.0.2", "::1"].map(str::to_owned).into();
            let mut params = CertificateParams::new(hosts).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages.push(usage);
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            (write(&format!("{name}.pem"), certificate.pem()), write(&format!("{name}.key"), key.serialize_pem()))
        };
        let (server_certificate, server_key) = signed("server", ExtendedKeyUsagePurpose::ServerAuth);
        let (client_certificate, client_key) = signed("client", ExtendedKeyUsagePurpose::ClientAuth);
        let authority = write("authority.pem", authority.pem());
        Self { authority, server_certificate, server_key, client_certificate, client_key }
    }

    /// JVM options for a server that speaks nothing but TLS, and as a client to the other servers.
    pub(super) fn server_options(&self, require_client_certificate: bool) -> Vec<String> {
        let mut options = vec![
            "-Dtls.server.mode=enforcing".to_owned(),
            format!("-Dtls.server.certPath={}", self.server_certificate.display()),
            format!("-Dtls.server.keyPath={}", self.server_key.display()),
        ];
        if require_client_certificate {
            options.push("-Dtls.server.need.client.auth=require".to_owned());
            options.push("-Dtls.server.authClient=true".to_owned());
            options.push(format!("-Dtls.server.trustCertPath={}", self.authority.display()));
        }
        options.extend(self.client_options());
        options
    }

    /// JVM options for a client that verifies the servers and shows its certificate.
    pub fn client_options(&self) -> Vec<String> {
        vec![
            "-Dtls.enable=true".to_owned(),
            "-Dtls.test.mode.enable=false".to_owned(),
            "-Dtls.client.authServer=true".to_owned(),
            format!("-Dtls.client.trustCertPath={}", self.authority.display()),
            format!("-Dtls.client.certPath={}", self.client_certificate.display()),
            format!("-Dtls.client.keyPath={}", self.client_key.display()),
        ]
    }

    /// The same for the harness's own requests.
    pub(super) fn client_config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.authority).unwrap()).unwrap();
        let certificate = CertificateDer::from_pem_file(&self.client_certificate).unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.client_key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_root_certificates(roots).with_client_auth_cert(vec![certificate], key).unwrap())
    }
}
