//! What this crate reads in certificates: the names they carry and when they end.

use std::time::{Duration, SystemTime};

use causeway_core::name::Name;
use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, ServerName};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// What stands behind a node's name in the DNS name of its certificate.
pub const NAME_SUFFIX: &str = ".node.causeway";

/// What is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// Its time is over.
    #[error("has expired")]
    Expired,
    /// Its time has not begun. One of the two clocks may be wrong.
    #[error("is not valid yet")]
    NotYetValid,
    /// None of the known authorities signed it.
    #[error("was not signed by an authority that this node knows")]
    UnknownAuthority,
    /// It does not carry the name of the node that was looked for.
    #[error("does not carry the expected name")]
    OtherName,
    /// None was shown.
    #[error("is missing: none was shown")]
    Missing,
    /// Anything else.
    #[error("cannot be used: {reason}")]
    Unusable {
        /// What the library said.
        reason: String,
    },
}

impl From<&CertificateError> for CertificateProblem {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            // A foreign authority that has the same name as a known one shows itself by its signature only.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
            other => Self::Unusable { reason: other.to_string() },
        }
    }
}

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The DNS names that it is for, as they are written in it.
    names: Vec<String>,
    /// The end of its validity.
    pub(crate) expires_at: SystemTime,
}

impl Facts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`CertificateProblem::Unusable`] for other bytes.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Self, CertificateProblem> {
        let unusable = |reason: String| CertificateProblem::Unusable { reason };
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| unusable(error.to_string()))?;
        let alternatives = parsed.subject_alternative_name().map_err(|error| unusable(error.to_string()))?;
        let names = alternatives.iter().flat_map(|names| &names.value.general_names);
        let dns = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        };
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or_default();
        let expires_at = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .ok_or_else(|| unusable("it ends at a time that has no form here".to_owned()))?;
        Ok(Self { names: names.filter_map(dns).collect(), expires_at })
    }

    /// Whether the certificate is for this node. Compared exactly, unlike DNS names in general: two nodes may have
    /// names that differ in case only, and a wildcard would let one node speak for every other.
    pub(crate) fn is_for(&self, name: &Name) -> bool {
        let wanted = certificate_name(name);
        self.names.contains(&wanted)
    }
}

/// The DNS name that a node's certificate has to carry.
#[must_use]
pub fn certificate_name(name: &Name) -> String {
    format!("{name}{NAME_SUFFIX}")
}

/// The same name as the TLS library takes it; none when the node's name has no DNS form: a part of it is longer than
/// 63 bytes, is empty, or begins or ends with a hyphen.
pub(crate) fn server_name(name: &Name) -> Option<ServerName<'static>> {
    ServerName::try_from(certificate_name(name)).ok()
}

#[cfg(test)]
mod tests {
    use causeway_core::name::Name;
    use proptest::prelude::{any, prop, proptest};
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::pki_types::CertificateDer;

    use super::{Facts, certificate_name, server_name};

    fn certificate(names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = date_time_ymd(2030, 1, 2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn a_certificate_is_for_the_names_that_are_written_in_it_and_no_other() {
        let facts = Facts::read(&certificate(&["a-1.node.causeway", "10.0.0.1", "*.node.causeway"])).unwrap();
        assert!(facts.is_for(&name("a-1")));
        for other in ["A-1", "a", "b", "a-1.node.causeway"] {
            assert!(!facts.is_for(&name(other)), "{other}");
        }
        let expires = facts.expires_at.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(expires.as_secs(), 1_893_542_400);
    }

    #[test]
    fn names_without_a_dns_form_are_known() {
        assert_eq!(certificate_name(&name("eu.a_1")), "eu.a_1.node.causeway");
        for (text, usable) in [("a", true), ("eu.a_1", true), ("a-", false), ("a..b", false), (&"x".repeat(64), false)]
        {
            assert_eq!(server_name(&name(text)).is_some(), usable, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..700) {
            let _ = Facts::read(&CertificateDer::from(bytes));
            let whole = certificate(&["a.node.causeway"]);
            let _ = Facts::read(&CertificateDer::from(whole.get(..cut).unwrap_or(&whole).to_vec()));
        }
    }
}
