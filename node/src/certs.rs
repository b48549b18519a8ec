//! A private certificate authority for the mutual TLS between nodes, kept as PEM files of one directory.
//!
//! Parts: [`span`] (how long something is valid), [`subject`] (who a node certificate is about), [`files`] (how files
//! are read, made and replaced), [`key`] and [`certificate`] (what they hold), [`authority`] (what signs), [`survey`]
//! (what lies in a directory and what is wrong with it), [`trial`] (what a node says of it).
//! A node is recognised by the DNS name `NODE.node.causeway` of its certificate; addresses prove nothing between nodes.
//! Never shows a key, and never replaces an authority.

pub mod authority;
pub mod certificate;
pub mod files;
pub mod key;
pub mod span;
pub mod subject;
pub mod survey;
pub mod trial;

use std::path::{Path, PathBuf};

use causeway_core::error_code::ErrorCode;

/// The file that holds the certificate of the authority, or a bundle of several while moving to another one.
pub const AUTHORITY_FILE: &str = "ca.pem";

/// The file that holds the key of the authority. Only issuing needs it; it belongs on no node.
pub const AUTHORITY_KEY_FILE: &str = "ca-key.pem";

/// Why something about certificates cannot be done. Messages name files, never contents of keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something has this name, and is not overwritten.
    #[error("{path} exists already")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory that is needed is not there.
    #[error("{path} does not exist")]
    Missing {
        /// The file or directory.
        path: PathBuf,
    },
    /// What is in a file, or who may read it, makes it useless.
    #[error("{path} {what}")]
    Unusable {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system refused.
    #[error("{path} cannot be {doing}: {error}")]
    System {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as `read`.
        doing: &'static str,
        /// What it said.
        error: std::io::Error,
    },
    /// No key or certificate could be made.
    #[error("no certificate can be made: {0}")]
    Making(String),
}

impl Error {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Exists { .. } => ErrorCode::NameTaken,
            Self::Missing { .. } | Self::Unusable { .. } | Self::System { .. } => ErrorCode::CertificateUnusable,
            Self::Making(_) => ErrorCode::Internal,
        }
    }

    pub(crate) fn missing(path: &Path) -> Self {
        Self::Missing { path: path.to_owned() }
    }

    pub(crate) fn unusable(path: &Path, what: impl Into<String>) -> Self {
        Self::Unusable { path: path.to_owned(), what: what.into() }
    }

    fn system(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::System { path, doing, error }
    }
}
