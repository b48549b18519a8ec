//! An authority and what it signs.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use causeway_cluster::transport::{Security, Tls, TlsFiles, certificate_name};
use causeway_core::name::Name;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

pub(crate) struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Certificate and key in PEM.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// A time in seconds since 1970 as certificates take it.
pub(crate) fn at(seconds: u64) -> impl FnOnce(&mut CertificateParams) {
    move |params| params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
}

pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("authorities.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn issue(&self, node: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(vec![certificate_name(&Name::new(node).unwrap())]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { chain, key: key.serialize_pem() }
    }

    /// Writes a certificate of a node where its files are.
    pub(crate) fn write(&self, node: &str, issued: &Issued) -> TlsFiles {
        let path = |end: &str| self.folder.path().join(format!("{node}.{end}"));
        let files =
            TlsFiles { authorities: self.folder.path().join("authorities.pem"), chain: path("pem"), key: path("key") };
        fs::write(&files.chain, &issued.chain).unwrap();
        write_key(&files.key, &issued.key);
        files
    }

    pub(crate) fn files(&self, node: &str) -> TlsFiles {
        self.write(node, &self.issue(node, |_| ()))
    }

    pub(crate) fn tls_with(&self, node: &str, change: impl FnOnce(&mut CertificateParams)) -> Arc<Tls> {
        let files = self.write(node, &self.issue(node, change));
        Arc::new(Tls::load(files, Name::new(node).unwrap()).unwrap())
    }

    pub(crate) fn security(&self, node: &str) -> Security {
        Security::Tls(self.tls_with(node, |_| ()))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

pub(crate) fn write_key(path: &Path, key: &str) {
    fs::write(path, key).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}
