//! Certificates of nodes, as an operator makes them and as none should be.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, date_time_ymd};

use crate::members::succeeded;
use crate::scenario::node::{NodeSettings, causeway};

/// An authority that `causeway certs init` made.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes one in an empty folder.
    ///
    /// # Panics
    /// When the command fails.
    pub fn create(folder: &Path) -> Self {
        succeeded(&causeway(&["certs", "init", "--directory", text(folder)]));
        Self { folder: folder.to_owned() }
    }

    /// Gives a node a certificate of `causeway certs issue`, in place of the one that it has.
    ///
    /// # Panics
    /// When the command fails.
    pub fn issue(&self, files: &NodeFiles) {
        let (folder, out, name) = (text(&self.folder), text(&files.folder), files.name.as_str());
        succeeded(&causeway(&["certs", "issue", "--name", name, "--directory", folder, "--out", out, "--replace"]));
    }

    /// Makes a node trust this authority, and no other one.
    pub fn trust(&self, files: &NodeFiles) {
        fs::copy(self.folder.join("ca.pem"), files.authority()).unwrap();
    }

    /// Gives a node a certificate that ended years ago.
    pub fn issue_expired(&self, files: &NodeFiles) {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap();
        let key = KeyPair::from_pem(&read("ca-key.pem")).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap();
        let mut params = CertificateParams::new(vec![format!("{}.node.causeway", files.name)]).unwrap();
        params.distinguished_name.push(DnType::CommonName, files.name.as_str());
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        let key = KeyPair::generate().unwrap();
        fs::write(files.certificate(), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        // The file that is there has the permissions that a key needs.
        fs::write(files.key(), key.serialize_pem()).unwrap();
    }
}

/// The three files of one node.
#[derive(Debug, Clone)]
pub struct NodeFiles {
    folder: PathBuf,
    name: String,
}

impl NodeFiles {
    /// Those of the node of this name, in a folder of their own.
    pub fn new(folder: &Path, name: &str) -> Self {
        fs::create_dir_all(folder).unwrap();
        Self { folder: folder.to_owned(), name: name.to_owned() }
    }

    /// The keys of the configuration that name them.
    pub fn settings(&self) -> NodeSettings {
        let settings = NodeSettings::default().text("cluster.certificate_authority_file", text(&self.authority()));
        let settings = settings.text("cluster.certificate_file", text(&self.certificate()));
        settings.text("cluster.key_file", text(&self.key()))
    }

    fn authority(&self) -> PathBuf {
        self.folder.join("authorities.pem")
    }

    fn certificate(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    fn key(&self) -> PathBuf {
        self.folder.join(format!("{}-key.pem", self.name))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the test's folders have names that are text")
}
