//! What a certificate says, read from a file and checked.
//!
//! Whatever is shown of it is free of control characters: a file may come from anywhere.

use std::net::IpAddr;
use std::path::Path;

use causeway_cluster::transport::NAME_SUFFIX;
use causeway_core::ids::Timestamp;
use causeway_core::name::Name;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::x509::X509Name;

use super::subject::{Host, Subject};
use super::{Error, files};

/// The most certificates that are read from one file.
pub const MAXIMUM_CERTIFICATES: usize = 500;

/// The longest name of a subject or issuer that is shown, in characters.
const LONGEST_SHOWN: usize = 64;

/// A certificate that could be read. Being read proves nothing; see [`Certificate::is_issued_by`].
#[derive(Debug, Clone)]
pub struct Certificate {
    der: CertificateDer<'static>,
    /// Whom it is about, as its common name says, or its whole name.
    pub subject: String,
    /// Who signed it, likewise, as the certificate claims.
    pub issuer: String,
    /// From when on it is valid, to the second.
    pub not_before: Timestamp,
    /// Until when it is valid, to the second.
    pub not_after: Timestamp,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// The nodes that it names; exactly one in a certificate of a node.
    pub nodes: Vec<Name>,
    /// The other hosts that it names.
    pub hosts: Vec<Host>,
    /// How many names it carries besides, which mean nothing here.
    pub other_names: usize,
    public_key: Vec<u8>,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What is wrong with it, to stand behind its name.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, &'static str> {
        let parsed = parse(der)?;
        let names = parsed.subject_alternative_name().map_err(|_| "holds a certificate with damaged names")?;
        let (mut nodes, mut hosts, mut other_names) = (Vec::new(), Vec::new(), 0_usize);
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            match meaning(name) {
                Some(Meaning::Node(node)) => nodes.push(node),
                Some(Meaning::Host(host)) => hosts.push(host),
                None => other_names = other_names.saturating_add(1),
            }
        }
        let seconds = |at: i64| Timestamp(at.saturating_mul(1_000));
        Ok(Self {
            der: der.clone().into_owned(),
            subject: shown(parsed.subject()),
            issuer: shown(parsed.issuer()),
            not_before: seconds(parsed.validity().not_before.timestamp()),
            not_after: seconds(parsed.validity().not_after.timestamp()),
            is_authority: signs_certificates(&parsed)?,
            nodes,
            hosts,
            other_names,
            public_key: parsed.public_key().raw.to_vec(),
        })
    }

    /// Reads all certificates of a file, in order; none where it does not exist.
    ///
    /// # Errors
    /// [`Error`] when the file cannot be read, or one of the certificates, or when there is none.
    pub fn read_all(path: &Path) -> Result<Option<Vec<Self>>, Error> {
        let Some(content) = files::read(path)? else { return Ok(None) };
        let unusable = |what| Error::unusable(path, what);
        let mut found = Vec::new();
        for each in CertificateDer::pem_slice_iter(&content.bytes) {
            if found.len() >= MAXIMUM_CERTIFICATES {
                return Err(unusable("holds more than 500 certificates"));
            }
            let der = each.map_err(|_| unusable("is damaged: it is not in PEM"))?;
            found.push(Self::parse(&der).map_err(unusable)?);
        }
        if found.is_empty() { Err(unusable("holds no certificate in PEM")) } else { Ok(Some(found)) }
    }

    /// The certificate itself.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// Whether this public key, as a `SubjectPublicKeyInfo` in DER, is its own.
    #[must_use]
    pub fn has_public_key(&self, key: &[u8]) -> bool {
        self.public_key == key
    }

    /// Whether an authority signed it: names it as the issuer, and its key verifies the signature. Says nothing about
    /// times.
    #[must_use]
    pub fn is_issued_by(&self, authority: &Self) -> bool {
        let (Ok(own), Ok(other)) = (parse(&self.der), parse(&authority.der)) else { return false };
        authority.is_authority
            && own.issuer().as_raw() == other.subject().as_raw()
            && own.verify_signature(Some(other.public_key())).is_ok()
    }

    /// Whom a node certificate is about; none where it is no certificate of exactly one node, or carries names that
    /// would be lost.
    #[must_use]
    pub fn node_subject(&self) -> Option<Subject> {
        match self.nodes.as_slice() {
            [node] if self.other_names == 0 && !self.is_authority => {
                Some(Subject::new(node.clone(), self.hosts.iter().cloned()))
            }
            _ => None,
        }
    }

    /// Whether it is valid at a time.
    #[must_use]
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        self.not_before <= at && at <= self.not_after
    }

    /// Whether each part of its subject stands alone, which a signer needs who writes it into other certificates.
    #[must_use]
    pub fn has_plain_subject(&self) -> bool {
        let Ok(parsed) = parse(&self.der) else { return false };
        let mut kinds: Vec<String> = Vec::new();
        parsed.subject().iter_rdn().all(|part| {
            let mut kind = part.iter().map(|attribute| attribute.attr_type().to_id_string());
            let (first, second) = (kind.next(), kind.next());
            let plain = second.is_none() && first.as_ref().is_some_and(|first| !kinds.contains(first));
            kinds.extend(first);
            plain
        })
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, &'static str> {
    match parse_x509_certificate(der) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err("holds a damaged certificate"),
    }
}

fn signs_certificates(parsed: &X509Certificate<'_>) -> Result<bool, &'static str> {
    let usage = parsed.key_usage().map_err(|_| "holds a certificate with a damaged key usage")?;
    Ok(parsed.is_ca() && usage.is_none_or(|usage| usage.value.key_cert_sign()))
}

/// What one name of a certificate means here.
enum Meaning {
    Node(Name),
    Host(Host),
}

/// The name of a node counts as it is written, as the transport compares it: another case makes it nobody's.
fn meaning(name: &GeneralName<'_>) -> Option<Meaning> {
    match name {
        GeneralName::DNSName(text) => match text.strip_suffix(NAME_SUFFIX) {
            Some(label) => Name::new(label).ok().map(Meaning::Node),
            None => match Host::new(text) {
                Ok(Host::Name(name)) => Some(Meaning::Host(Host::Name(name))),
                _ => None,
            },
        },
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| Meaning::Host(Host::Address(address))),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn shown(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|part| part.as_str().ok());
    let text = common.map_or_else(|| name.to_string(), str::to_owned);
    text.chars().filter(|letter| !letter.is_control()).take(LONGEST_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn signed(params: &CertificateParams) -> Certificate {
        let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
        Certificate::parse(&der).unwrap()
    }

    fn with_names(names: Vec<SanType>) -> Certificate {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        signed(&params)
    }

    fn dns(text: &str) -> SanType {
        SanType::DnsName(text.try_into().unwrap())
    }

    #[test]
    fn only_a_certificate_of_exactly_one_node_is_one_of_a_node() {
        let one = with_names(vec![dns("n1.node.causeway"), dns("n1.lan"), SanType::IpAddress([10, 0, 0, 1].into())]);
        let subject = one.node_subject().unwrap();
        let hosts: Vec<String> = subject.hosts.iter().map(ToString::to_string).collect();
        assert_eq!((subject.node.as_str(), hosts), ("n1", vec!["n1.lan".to_owned(), "10.0.0.1".to_owned()]));
        for other in [
            vec![],
            vec![dns("n1.lan")],
            vec![dns("n1.node.causeway"), dns("n2.NODE.causeway")],
            vec![dns("n1.NODE.causeway")],
            vec![dns("n1.node.causeway"), dns("*.example.com")],
            vec![dns("n1.node.causeway"), SanType::URI("https://x".try_into().unwrap())],
            vec![dns("node.causeway")],
            vec![dns("*.node.causeway")],
            vec![dns("-.node.causeway")],
        ] {
            assert_eq!(with_names(other.clone()).node_subject(), None, "{other:?}");
        }
    }

    #[test]
    fn what_is_shown_has_no_control_characters_and_an_end() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("\u{1b}[2Jevil\u{7}{}", "x".repeat(100)));
        let certificate = signed(&params);
        assert!(certificate.subject.starts_with("[2Jevilx"), "{}", certificate.subject);
        assert!(certificate.subject.chars().count() == LONGEST_SHOWN && !certificate.subject.contains('\u{1b}'));
    }

    #[test]
    fn a_subject_whose_parts_cannot_be_told_apart_is_found() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationName, "one");
        assert!(signed(&params).has_plain_subject());
        // Another kind with the same identifier stands for a second organisation.
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 10]), "two");
        assert!(!signed(&params).has_plain_subject());
    }

    #[test]
    fn files_are_read_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.pem");
        assert!(Certificate::read_all(&path).unwrap().is_none());
        let key = KeyPair::generate().unwrap();
        let pem = CertificateParams::default().self_signed(&key).unwrap().pem();
        std::fs::write(&path, format!("a comment\n{pem}{}{pem}", key.serialize_pem())).unwrap();
        assert_eq!(Certificate::read_all(&path).unwrap().unwrap().len(), 2, "a key is passed over");
        let damaged = pem.replacen("MII", "AAA", 1);
        for (bad, why) in [
            (String::new(), "no certificate"),
            (key.serialize_pem(), "no certificate"),
            (format!("{pem}{damaged}"), "damaged"),
            (pem.replace("-----END", "-----"), "damaged"),
            (pem.repeat(MAXIMUM_CERTIFICATES + 1), "more than 500"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let error = Certificate::read_all(&path).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
