//! What signs: a certificate and a key of one authority, made here or brought along.

use std::path::{Path, PathBuf};

use causeway_cluster::transport::certificate_name;
use causeway_core::ids::Timestamp;
use causeway_core::name::Name;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, SanType,
};
use x509_parser::time::ASN1Time;

use super::certificate::Certificate;
use super::files::Pair;
use super::key::Key;
use super::span::Span;
use super::subject::{Host, Subject};
use super::{AUTHORITY_FILE, AUTHORITY_KEY_FILE, Error};
use crate::cli::human::{self, word};

/// How far back the validity of a new certificate begins, in milliseconds: the clocks of nodes differ.
const BACKDATED_MILLISECONDS: i64 = 5 * 60 * 1_000;

/// The length of a serial number, in bytes, all of them random.
const SERIAL_BYTES: usize = 16;

/// How much of a serial number tells authorities apart for people, in bytes.
const SHOWN_BYTES: usize = 4;

/// A new certificate and its key.
pub struct Made {
    /// As it is written to files.
    pub pair: Pair,
    /// What the certificate says.
    pub certificate: Certificate,
}

/// Makes an authority for an organisation, named after it and after the beginning of its serial number, so that two of
/// one organisation have different names.
///
/// # Errors
/// [`Error::Making`].
pub fn make(organisation: &str, span: Span, now: Timestamp) -> Result<Made, Error> {
    let serial = draw_serial()?;
    let short: String = serial.iter().take(SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, organisation);
    subject.push(DnType::CommonName, format!("CA {short}"));
    let mut params = valid(now, span.after(now))?;
    params.distinguished_name = subject;
    params.serial_number = Some(serial.to_vec().into());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = Key::draw()?;
    let certificate = params.self_signed(key.pair()).map_err(making)?;
    made(&certificate, &key)
}

/// An authority that can sign.
pub struct Authority {
    /// Its certificate.
    pub certificate: Certificate,
    /// Everything in the same file, its own certificate included: several while moving to another authority.
    pub bundle: Vec<Certificate>,
    key: Key,
    path: PathBuf,
}

impl Authority {
    /// Opens the authority of a directory: its key, and the certificate in the bundle that the key belongs to.
    ///
    /// # Errors
    /// Everything that is wrong with the two files.
    pub fn open(directory: &Path, now: Timestamp) -> Result<Self, Vec<Error>> {
        let (path, key_path) = (directory.join(AUTHORITY_FILE), directory.join(AUTHORITY_KEY_FILE));
        let bundle = Certificate::read_all(&path).and_then(|found| found.ok_or_else(|| Error::missing(&path)));
        let (bundle, key) = match (bundle, read_key(&key_path)) {
            (Ok(bundle), Ok(key)) => (bundle, key),
            (bundle, key) => return Err(bundle.err().into_iter().chain(key.err()).collect()),
        };
        let public_key = key.public_key();
        let Some(certificate) = bundle.iter().find(|certificate| certificate.has_public_key(&public_key)).cloned()
        else {
            let what = format!("is not the key of a certificate in {}", path.display());
            return Err(vec![Error::unusable(&key_path, what)]);
        };
        let authority = Self { certificate, bundle, key, path };
        authority.check(now).map_err(|error| vec![error])?;
        Ok(authority)
    }

    /// Whether it can sign now.
    fn check(&self, now: Timestamp) -> Result<(), Error> {
        let own = &self.certificate;
        let unusable = |what: String| Err(Error::unusable(&self.path, what));
        match () {
            () if !own.is_authority => unusable("is no authority: it may not sign certificates".to_owned()),
            () if !own.has_plain_subject() => {
                unusable("cannot be used to sign here: its subject has several values in one place".to_owned())
            }
            () if own.not_after <= now => {
                unusable(format!("ended at {}; a new authority is needed", human::time(own.not_after)))
            }
            () if own.not_before > now => unusable(format!(
                "is valid from {} on, and this machine's clock says {}",
                human::time(own.not_before),
                human::time(now)
            )),
            () => Ok(()),
        }
    }

    /// Whether a certificate was signed by it, or by another one of its bundle.
    #[must_use]
    pub fn knows(&self, certificate: &Certificate) -> bool {
        self.bundle.iter().any(|authority| certificate.is_issued_by(authority))
    }

    /// When a certificate ends that is asked for now: after the span, and not after the authority itself.
    #[must_use]
    pub fn end(&self, span: Span, now: Timestamp) -> Timestamp {
        span.after(now).min(self.certificate.not_after)
    }

    /// Whether a certificate that is asked for now ends earlier than after the span, because the authority does.
    #[must_use]
    pub fn cuts(&self, span: Span, now: Timestamp) -> bool {
        span.after(now) > self.certificate.not_after
    }

    /// Makes a certificate and a new key for a node, which proves who it is as a server and as a client.
    ///
    /// # Errors
    /// [`Error::Making`], and [`Error::Unusable`] when the authority's own certificate does not verify what it signed.
    pub fn sign(&self, subject: &Subject, span: Span, now: Timestamp) -> Result<Made, Error> {
        let mut params = valid(now, self.end(span, now))?;
        params.distinguished_name = common_name(&subject.node);
        params.serial_number = Some(draw_serial()?.to_vec().into());
        params.subject_alt_names = alternative_names(subject)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_der(self.certificate.der(), self.key.pair()).map_err(making)?;
        let key = Key::draw()?;
        let made = made(&params.signed_by(key.pair(), &issuer).map_err(making)?, &key)?;
        if made.certificate.is_issued_by(&self.certificate) {
            Ok(made)
        } else {
            Err(Error::unusable(&self.path, "does not verify what it has just signed"))
        }
    }
}

/// Reads the key of an authority, which nobody else may read.
fn read_key(path: &Path) -> Result<Key, Error> {
    let (key, content) = Key::read(path)?.ok_or_else(|| Error::missing(path))?;
    if content.open_to_others() {
        let what = format!("is open to other users (mode {:o}); run: chmod 600 {}", content.mode, word(path));
        return Err(Error::unusable(path, what));
    }
    Ok(key)
}

/// Everything else is as the library has it.
fn valid(now: Timestamp, end: Timestamp) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.not_before = moment(Timestamp(now.0.saturating_sub(BACKDATED_MILLISECONDS)))?.to_datetime();
    params.not_after = moment(end)?.to_datetime();
    Ok(params)
}

fn moment(at: Timestamp) -> Result<ASN1Time, Error> {
    ASN1Time::from_timestamp(at.0.div_euclid(1_000))
        .map_err(|_| Error::Making(format!("{} is no time that a certificate can carry", at.0)))
}

fn common_name(node: &Name) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, node.as_str());
    subject
}

fn alternative_names(subject: &Subject) -> Result<Vec<SanType>, Error> {
    let name = |text: String| Ia5String::try_from(text).map(SanType::DnsName).map_err(making);
    let hosts = subject.hosts.iter().map(|host| match host {
        Host::Address(address) => Ok(SanType::IpAddress(*address)),
        Host::Name(text) => name(text.clone()),
    });
    std::iter::once(name(certificate_name(&subject.node))).chain(hosts).collect()
}

fn draw_serial() -> Result<[u8; SERIAL_BYTES], Error> {
    let mut serial = [0; SERIAL_BYTES];
    getrandom::fill(&mut serial)
        .map_err(|error| Error::Making(format!("the operating system gives no random bytes: {error}")))?;
    Ok(serial)
}

fn made(certificate: &rcgen::Certificate, key: &Key) -> Result<Made, Error> {
    let pair = Pair { certificate: certificate.pem(), key: key.to_pem() };
    let certificate = Certificate::parse(certificate.der()).map_err(|what| Error::Making(format!("it {what}")))?;
    Ok(Made { pair, certificate })
}

fn making(error: rcgen::Error) -> Error {
    Error::Making(error.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use rustls::pki_types::CertificateDer;
    use x509_parser::parse_x509_certificate;

    use super::super::files::{Folder, PairNames};
    use super::super::subject;
    use super::*;

    /// A time in 2026, in milliseconds since 1970.
    pub(in crate::certs) const NOW: Timestamp = Timestamp(1_795_161_600_000);

    pub(in crate::certs) fn span(text: &str) -> Span {
        text.parse().unwrap()
    }

    /// Makes an authority in a directory and opens it.
    pub(in crate::certs) fn establish(directory: &Path) -> Authority {
        let names = PairNames { certificate: AUTHORITY_FILE.to_owned(), key: AUTHORITY_KEY_FILE.to_owned() };
        let made = make("ACME", span("10y"), NOW).unwrap();
        Folder::open_or_make(directory).unwrap().create(&names, &made.pair).unwrap();
        open(directory).unwrap()
    }

    fn open(directory: &Path) -> Result<Authority, String> {
        let told = |errors: Vec<Error>| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        Authority::open(directory, NOW).map_err(told)
    }

    pub(in crate::certs) fn about(node: &str, hosts: &[&str]) -> Subject {
        Subject::new(subject::node(node).unwrap(), hosts.iter().map(|host| Host::new(host).unwrap()))
    }

    fn later(span: &str) -> Timestamp {
        self::span(span).after(NOW)
    }

    #[test]
    fn an_authority_may_sign_nodes_only_and_each_is_another_one() {
        let made = make("ACME", span("10y"), NOW).unwrap();
        let der = made.certificate.der().clone();
        let (_, parsed) = parse_x509_certificate(&der).unwrap();
        let constraints = parsed.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = parsed.key_usage().unwrap().unwrap();
        assert_eq!(usage.value.to_string(), "Key Cert Sign, CRL Sign");
        assert!(parsed.subject().to_string().starts_with("O=ACME, CN=CA "), "{}", parsed.subject());
        assert!(made.certificate.is_authority && made.certificate.is_issued_by(&made.certificate));
        assert_eq!((made.certificate.not_before.0, made.certificate.not_after), (NOW.0 - 300_000, later("10y")));
        let other = make("ACME", span("10y"), NOW).unwrap();
        assert_ne!(other.certificate.subject, made.certificate.subject);
        assert!(!other.certificate.is_issued_by(&made.certificate));
        let serial = |made: &Made| parse_x509_certificate(made.certificate.der()).unwrap().1.raw_serial_as_string();
        assert_ne!(serial(&made), serial(&other));
        assert!(serial(&made).len() > 40, "{}", serial(&made));
    }

    #[test]
    fn a_node_certificate_says_who_the_node_is_in_both_directions() {
        let directory = tempfile::tempdir().unwrap();
        let authority = establish(directory.path());
        let subject = about("Hohhot_1", &["10.0.0.5", "fd00::5", "n1.example.com"]);
        let made = authority.sign(&subject, span("1y"), NOW).unwrap();
        assert_eq!(made.certificate.node_subject(), Some(subject));
        assert_eq!((made.certificate.not_before.0, made.certificate.not_after), (NOW.0 - 300_000, later("1y")));
        assert!(made.certificate.is_issued_by(&authority.certificate) && authority.knows(&made.certificate));
        let der = made.certificate.der().clone();
        let (_, parsed) = parse_x509_certificate(&der).unwrap();
        let purposes = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(purposes.server_auth && purposes.client_auth && !purposes.any);
        assert_eq!(parsed.key_usage().unwrap().unwrap().value.to_string(), "Digital Signature");
        assert!(!parsed.is_ca());
        assert_eq!(parsed.subject().to_string(), "CN=Hohhot_1");
        let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(names.len(), 4);
        assert!(matches!(names[0], x509_parser::extensions::GeneralName::DNSName("Hohhot_1.node.causeway")));
    }

    #[test]
    fn a_node_certificate_ends_with_its_authority_at_the_latest() {
        let directory = tempfile::tempdir().unwrap();
        let authority = establish(directory.path());
        let end = authority.certificate.not_after;
        assert_eq!((authority.end(span("20y"), NOW), authority.cuts(span("20y"), NOW)), (end, true));
        assert_eq!((authority.end(span("10y"), NOW), authority.cuts(span("10y"), NOW)), (end, false));
        let made = authority.sign(&about("n1", &[]), span("20y"), NOW).unwrap();
        assert_eq!(made.certificate.not_after, end);
    }

    #[test]
    fn of_a_bundle_the_one_signs_whose_key_is_there_and_the_others_are_known() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (first, second) = (establish(old.path()), establish(new.path()));
        let bundle = |one: &Path, other: &Path| {
            [one, other].map(|directory| fs::read_to_string(directory.join(AUTHORITY_FILE)).unwrap()).concat()
        };
        let both = bundle(old.path(), new.path());
        fs::write(new.path().join(AUTHORITY_FILE), both).unwrap();
        let opened = open(new.path()).unwrap();
        assert_eq!((&opened.certificate.subject, opened.bundle.len()), (&second.certificate.subject, 2));
        let of_old = first.sign(&about("n1", &[]), span("1y"), NOW).unwrap();
        assert!(opened.knows(&of_old.certificate) && !second.knows(&of_old.certificate));
    }

    #[test]
    fn everything_that_is_wrong_with_the_files_is_told_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(open(path).err().unwrap().lines().count(), 2);
        establish(path);
        let key = path.join(AUTHORITY_KEY_FILE);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        fs::write(path.join(AUTHORITY_FILE), "nothing").unwrap();
        let told = open(path).err().unwrap();
        assert!(told.contains("holds no certificate in PEM") && told.contains("(mode 640); run: chmod 600"), "{told}");
        fs::remove_file(&key).unwrap();
        fs::remove_file(path.join(AUTHORITY_FILE)).unwrap();
        establish(path);
        fs::write(&key, Key::draw().unwrap().to_pem().as_bytes()).unwrap();
        let told = open(path).err().unwrap();
        assert!(told.contains("is not the key of a certificate in"), "{told}");
    }

    #[test]
    fn an_authority_that_has_ended_or_not_begun_signs_nothing() {
        let directory = tempfile::tempdir().unwrap();
        establish(directory.path());
        let told = |now| Authority::open(directory.path(), now).err().unwrap()[0].to_string();
        let ended = told(later("10y"));
        assert!(ended.contains("ended at 2036-11-17 08:00:00 UTC"), "{ended}");
        let early = told(Timestamp(NOW.0 - 301_000));
        assert!(early.contains("is valid from 2026-11-20 07:55:00 UTC on"), "{early}");
    }

    /// Puts a certificate of somebody else's making into a directory, with its key.
    fn bring(directory: &Path, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = valid(NOW, later("1y")).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = Key::draw().unwrap();
        let certificate = params.self_signed(key.pair()).unwrap();
        let pair = Pair { certificate: certificate.pem(), key: key.to_pem() };
        let names = PairNames { certificate: AUTHORITY_FILE.to_owned(), key: AUTHORITY_KEY_FILE.to_owned() };
        Folder::open_or_make(directory).unwrap().replace(&names, &pair).unwrap();
    }

    #[test]
    fn an_authority_that_was_brought_along_signs_if_it_may() {
        let directory = tempfile::tempdir().unwrap();
        bring(directory.path(), |params| params.distinguished_name.push(DnType::OrganizationName, "Company"));
        let authority = open(directory.path()).unwrap();
        let made = authority.sign(&about("n1", &[]), span("1y"), NOW).unwrap();
        assert!(made.certificate.is_issued_by(&authority.certificate));
        bring(directory.path(), |params| params.is_ca = IsCa::NoCa);
        assert!(open(directory.path()).err().unwrap().contains("is no authority"));
        bring(directory.path(), |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
        assert!(open(directory.path()).err().unwrap().contains("is no authority"));
    }

    #[test]
    fn an_impostor_of_the_same_name_is_not_the_authority() {
        let directory = tempfile::tempdir().unwrap();
        let named = |params: &mut CertificateParams| params.distinguished_name = common_name(&about("x", &[]).node);
        bring(directory.path(), named);
        let first = open(directory.path()).unwrap();
        bring(directory.path(), named);
        let second = open(directory.path()).unwrap();
        assert_eq!(first.certificate.subject, second.certificate.subject);
        let made = second.sign(&about("n1", &[]), span("1y"), NOW).unwrap();
        assert!(second.knows(&made.certificate) && !first.knows(&made.certificate));
    }

    #[test]
    fn a_damaged_certificate_never_says_anything_else_in_the_name_of_its_authority() {
        let directory = tempfile::tempdir().unwrap();
        let authority = establish(directory.path());
        let made = authority.sign(&about("n1", &[]), span("1y"), NOW).unwrap();
        let says = |certificate: &Certificate| {
            let Certificate { subject, issuer, not_before, not_after, is_authority, .. } = certificate;
            format!("{subject} {issuer} {not_before:?} {not_after:?} {is_authority} {:?}", certificate.node_subject())
        };
        let der = made.certificate.der().to_vec();
        for at in 0..der.len() {
            for bit in 0..8 {
                let mut changed = der.clone();
                changed[at] ^= 1 << bit;
                let Ok(parsed) = Certificate::parse(&CertificateDer::from(changed)) else { continue };
                assert!(!authority.knows(&parsed) || says(&parsed) == says(&made.certificate), "byte {at} bit {bit}");
            }
            assert!(Certificate::parse(&CertificateDer::from(der[..at].to_vec())).is_err(), "cut at {at}");
        }
    }
}
