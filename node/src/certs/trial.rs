//! What a node would say of its files: asked of the transport itself, whose judgement is the one that counts.

use std::path::Path;

use causeway_cluster::transport::{Tls, TlsFiles};

use super::AUTHORITY_FILE;
use super::subject::key_file;
use super::survey::{Entry, KeyState};

/// Why a node would not start with a certificate that looks well, as a sentence without a final dot; none where it
/// would, or where its key is not here to try. What it holds now counts, at the time that it is now.
#[must_use]
pub fn refusal(directory: &Path, entry: &Entry) -> Option<String> {
    let (Ok(certificate), KeyState::Here, true) = (&entry.certificate, &entry.key, entry.problems.is_empty()) else {
        return None;
    };
    let [node] = certificate.nodes.as_slice() else { return None };
    let files = TlsFiles {
        authorities: directory.join(AUTHORITY_FILE),
        chain: directory.join(&entry.file),
        key: directory.join(key_file(node)),
    };
    let refused = Tls::load(files, node.clone()).err()?;
    Some(format!("nodes refuse it: {refused}"))
}
