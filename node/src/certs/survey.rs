//! What certificates lie in a directory, and what is wrong with each.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use causeway_core::ids::Timestamp;
use causeway_core::name::Name;

use super::authority::Authority;
use super::certificate::Certificate;
use super::files::NO_DIRECTORY;
use super::key::read_public_key;
use super::span::Span;
use super::subject::{CERTIFICATE_END, KEY_END, Subject, certificate_file};
use super::{AUTHORITY_FILE, AUTHORITY_KEY_FILE, Error};
use crate::cli::human;

/// The most files of a directory that are looked at.
const MAXIMUM_FILES: usize = 10_000;

/// How long before its end a certificate is warned about.
pub const SOON: Span = Span::days(30);

/// What there is of the key of a certificate.
#[derive(Debug)]
pub enum KeyState {
    /// It is not here; it may be where it is needed.
    Elsewhere,
    /// It is here, and its owner alone may read it.
    Here,
    /// It is here, and others may read it: these are its permission bits.
    Open(u32),
    /// What is here is the key of another certificate.
    Other,
    /// What is here cannot be used.
    Unusable(Error),
}

/// A certificate of the directory, or a file that should hold one.
#[derive(Debug)]
pub struct Entry {
    /// The name of the file.
    pub file: String,
    /// The certificate, or why the file cannot be read.
    pub certificate: Result<Certificate, Error>,
    /// Whether an authority of `ca.pem` vouches for it.
    pub trusted: bool,
    /// What there is of its key.
    pub key: KeyState,
    /// What makes it useless as it is, as sentences without a final dot.
    pub problems: Vec<String>,
    /// Whether it is valid and ends soon.
    pub ends_soon: bool,
}

/// Looks at every certificate of a directory: those of `ca.pem` first, then the others in the order of their names.
///
/// # Errors
/// [`Error`] when the directory cannot be listed.
pub fn survey(directory: &Path, now: Timestamp) -> Result<Vec<Entry>, Error> {
    let files = list(directory)?;
    let authorities = read(directory, AUTHORITY_FILE);
    let (mut entries, bundle) = match authorities {
        Ok(found) => (authority_entries(directory, &found, now), Some(found)),
        Err(error) => (vec![unreadable(AUTHORITY_FILE, error)], None),
    };
    for file in &files {
        match read(directory, file) {
            Err(error) => entries.push(unreadable(file, error)),
            Ok(found) => entries.extend(file_entries(directory, file, &found, bundle.as_deref(), now)),
        }
    }
    Ok(entries)
}

/// The names of the files that should hold a certificate, `ca.pem` left out. A key without its certificate stands for
/// it.
fn list(directory: &Path) -> Result<Vec<String>, Error> {
    let listed = fs::read_dir(directory).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::missing(directory),
        ErrorKind::NotADirectory => Error::unusable(directory, NO_DIRECTORY),
        _ => Error::system(directory, "listed")(error),
    })?;
    let mut files = Vec::new();
    for (position, entry) in listed.enumerate() {
        if position >= MAXIMUM_FILES {
            return Err(Error::unusable(
                directory,
                "holds more than 10,000 files; keep certificates in one of their own",
            ));
        }
        let name = entry.map_err(Error::system(directory, "listed"))?.file_name();
        let Some(name) = name.to_str().filter(|name| may_be_certificate(name)) else { continue };
        let certificate =
            name.strip_suffix(KEY_END).map_or_else(|| name.to_owned(), |stem| format!("{stem}{CERTIFICATE_END}"));
        if certificate != AUTHORITY_FILE {
            files.push(certificate);
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// Hidden files are unfinished ones, and what has a control character in its name was not made for a node.
fn may_be_certificate(name: &str) -> bool {
    !name.starts_with('.') && name.ends_with(CERTIFICATE_END) && !name.chars().any(char::is_control)
}

fn read(directory: &Path, file: &str) -> Result<Vec<Certificate>, Error> {
    let path = directory.join(file);
    Certificate::read_all(&path)?.ok_or_else(|| Error::missing(&path))
}

fn unreadable(file: &str, error: Error) -> Entry {
    Entry {
        file: file.to_owned(),
        trusted: false,
        key: KeyState::Elsewhere,
        problems: vec![error.to_string()],
        ends_soon: false,
        certificate: Err(error),
    }
}

/// The certificates of `ca.pem`. The key in `ca-key.pem`, if it is there, belongs to one of them.
fn authority_entries(directory: &Path, found: &[Certificate], now: Timestamp) -> Vec<Entry> {
    let keys: Vec<KeyState> = found.iter().map(|each| key_state(&directory.join(AUTHORITY_KEY_FILE), each)).collect();
    let nobodys = keys.iter().all(|key| matches!(key, KeyState::Other));
    let entry = |(certificate, key): (&Certificate, KeyState)| {
        let key = if matches!(key, KeyState::Other) && !nobodys { KeyState::Elsewhere } else { key };
        let trusted = certificate.is_authority;
        let what = (!trusted).then(|| "it is no authority: it may not sign certificates".to_owned());
        judged(AUTHORITY_FILE, certificate, trusted, (key, &directory.join(AUTHORITY_KEY_FILE)), what, now)
    };
    found.iter().zip(keys).map(entry).collect()
}

/// The certificate of a node with what vouches for it behind it, or a bundle of authorities. Without those of
/// `ca.pem`, nobody knows who is trusted.
fn file_entries(
    directory: &Path,
    file: &str,
    found: &[Certificate],
    bundle: Option<&[Certificate]>,
    now: Timestamp,
) -> Vec<Entry> {
    let stem = file.strip_suffix(CERTIFICATE_END).unwrap_or(file);
    let key_path = directory.join(format!("{stem}{KEY_END}"));
    if found.first().is_some_and(|first| first.is_authority) {
        let entry = |certificate| judged(file, certificate, true, (KeyState::Elsewhere, &key_path), None, now);
        return found.iter().map(entry).collect();
    }
    let Some(certificate) = found.first() else { return Vec::new() };
    let trusted = bundle.is_some_and(|bundle| is_trusted(certificate, found, bundle));
    let untrusted = || format!("no authority of {AUTHORITY_FILE} signed it, so nodes with that file refuse it");
    let what = (!trusted && bundle.is_some()).then(untrusted).into_iter().chain(misnamed(file, certificate));
    vec![judged(file, certificate, trusted, (key_state(&key_path, certificate), &key_path), what, now)]
}

/// Whether an authority of the bundle signed it, or signed one behind it in the same file that did, and so on.
fn is_trusted(certificate: &Certificate, chain: &[Certificate], bundle: &[Certificate]) -> bool {
    let mut current = certificate;
    // Each step goes up by one, so there are no more of them than certificates.
    for _step in chain {
        if bundle.iter().any(|authority| current.is_issued_by(authority)) {
            return true;
        }
        let Some(next) = chain.iter().find(|next| current.is_issued_by(next)) else { return false };
        current = next;
    }
    false
}

fn misnamed(file: &str, certificate: &Certificate) -> Option<String> {
    match certificate.nodes.as_slice() {
        [] => Some("it names no node (NODE.node.causeway)".to_owned()),
        [node] if certificate_file(node) == file => None,
        [node] => Some(format!("it is the certificate of node {node}, whose file is {}", certificate_file(node))),
        _ => Some("it names several nodes, so whoever has its key can pass for each of them".to_owned()),
    }
}

fn judged(
    file: &str,
    certificate: &Certificate,
    trusted: bool,
    (key, key_path): (KeyState, &Path),
    what: impl IntoIterator<Item = String>,
    now: Timestamp,
) -> Entry {
    let when = if certificate.not_after < now {
        Some(format!("it ended at {}", human::time(certificate.not_after)))
    } else if certificate.not_before > now {
        Some(format!("it is valid from {} on only", human::time(certificate.not_before)))
    } else {
        None
    };
    let (path, typed) = (key_path.display(), human::word(key_path));
    let access = match &key {
        KeyState::Here | KeyState::Elsewhere => None,
        KeyState::Open(mode) => Some(format!("other users may read {path} (mode {mode:o}); run: chmod 600 {typed}")),
        KeyState::Other => Some(format!("{path} is not its key")),
        KeyState::Unusable(error) => Some(error.to_string()),
    };
    Entry {
        file: file.to_owned(),
        certificate: Ok(certificate.clone()),
        trusted,
        key,
        ends_soon: certificate.is_valid_at(now) && certificate.not_after <= SOON.after(now),
        problems: when.into_iter().chain(what).chain(access).collect(),
    }
}

fn key_state(path: &Path, certificate: &Certificate) -> KeyState {
    match read_public_key(path) {
        Ok(None) => KeyState::Elsewhere,
        Ok(Some((key, _))) if !certificate.has_public_key(&key) => KeyState::Other,
        Ok(Some((_, content))) if content.open_to_others() => KeyState::Open(content.mode),
        Ok(Some(_)) => KeyState::Here,
        Err(error) => KeyState::Unusable(error),
    }
}

/// Whom the certificate in a file is about, if the authority may renew it: it signed it, or another of its bundle did,
/// and the file is called as a node's is. `places` are the options that say where both are, as they are typed.
///
/// # Errors
/// [`Error`] that says what to do instead.
pub fn renewable(
    directory: &Path,
    node: &Name,
    certificate: &Certificate,
    authority: &Authority,
    places: &str,
) -> Result<Subject, Error> {
    let path = directory.join(certificate_file(node));
    let instead = format!("make a new one with: causeway certs issue --name {node} --replace{places}");
    if !authority.knows(certificate) {
        let what = format!("was not signed by an authority of {AUTHORITY_FILE}; {instead}");
        return Err(Error::unusable(&path, what));
    }
    match certificate.node_subject() {
        Some(subject) if subject.node == *node => Ok(subject),
        Some(subject) => Err(Error::unusable(&path, format!("is the certificate of node {}; {instead}", subject.node))),
        None => {
            let what = format!("is not a certificate as causeway certs issue makes them; {instead}");
            Err(Error::unusable(&path, what))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::authority::tests::{NOW, about, establish, span};
    use super::super::files::{Folder, PairNames};
    use super::super::subject::{key_file, node};
    use super::*;

    fn issue(directory: &Path, authority: &Authority, name: &str, valid_for: &str) {
        let subject = about(name, &[]);
        let made = authority.sign(&subject, span(valid_for), NOW).unwrap();
        let names = PairNames { certificate: certificate_file(&subject.node), key: key_file(&subject.node) };
        Folder::open_or_make(directory).unwrap().replace(&names, &made.pair).unwrap();
    }

    /// What is wrong with a file, at a time.
    fn problems(directory: &Path, file: &str, now: Timestamp) -> String {
        let entries = survey(directory, now).unwrap();
        let entry = entries.iter().find(|entry| entry.file == file).unwrap();
        entry.problems.join("\n")
    }

    #[test]
    fn what_is_well_has_no_problem_with_or_without_its_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let authority = establish(path);
        issue(path, &authority, "n2", "30d");
        issue(path, &authority, "n1", "31d");
        fs::write(path.join(".n3.pem.unfinished"), "x").unwrap();
        fs::write(path.join("\u{1b}[31m.pem"), "x").unwrap();
        fs::write(path.join("readme.txt"), "x").unwrap();
        let told = |entries: Vec<Entry>| {
            let told = |entry: &Entry| (entry.file.clone(), format!("{:?}", entry.key), entry.ends_soon, entry.trusted);
            assert!(entries.iter().all(|entry| entry.problems.is_empty()));
            entries.iter().map(told).collect::<Vec<_>>()
        };
        let expected = |key: &str| {
            [("ca.pem", false), ("n1.pem", false), ("n2.pem", true)]
                .map(|(file, soon)| (file.to_owned(), key.to_owned(), soon, true))
        };
        assert_eq!(told(survey(path, NOW).unwrap()), expected("Here"));
        for key in ["ca-key.pem", "n1-key.pem", "n2-key.pem"] {
            fs::remove_file(path.join(key)).unwrap();
        }
        assert_eq!(told(survey(path, NOW).unwrap()), expected("Elsewhere"));
    }

    #[test]
    fn each_problem_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let path = directory.path();
        let authority = establish(path);
        issue(path, &authority, "n1", "1y");
        assert!(problems(path, "n1.pem", span("2y").after(NOW)).starts_with("it ended at 2027-11-20"));
        assert!(problems(path, "n1.pem", Timestamp(NOW.0 - 400_000)).starts_with("it is valid from"));
        fs::set_permissions(path.join("n1-key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(problems(path, "n1.pem", NOW).contains("/n1-key.pem (mode 644); run: chmod 600 /"));
        issue(path, &authority, "n2", "1y");
        fs::copy(path.join("n2-key.pem"), path.join("n1-key.pem")).unwrap();
        assert!(problems(path, "n1.pem", NOW).ends_with("/n1-key.pem is not its key"));
        fs::write(path.join("n1-key.pem"), "x").unwrap();
        assert!(problems(path, "n1.pem", NOW).contains("holds no unencrypted key"));
        fs::rename(path.join("n2.pem"), path.join("n3.pem")).unwrap();
        assert!(problems(path, "n3.pem", NOW).contains("certificate of node n2, whose file is n2.pem"));
        assert!(problems(path, "n2.pem", NOW).contains("does not exist"), "a key without its certificate");
        let other = establish(elsewhere.path());
        issue(path, &other, "n4", "1y");
        assert!(problems(path, "n4.pem", NOW).contains("no authority of ca.pem signed it"));
        fs::copy(elsewhere.path().join("ca-key.pem"), path.join("ca-key.pem")).unwrap();
        assert!(problems(path, "ca.pem", NOW).ends_with("/ca-key.pem is not its key"));
        fs::copy(path.join("n3.pem"), path.join("ca.pem")).unwrap();
        assert!(problems(path, "ca.pem", NOW).contains("it is no authority"));
        fs::remove_file(path.join("ca.pem")).unwrap();
        assert!(problems(path, "ca.pem", NOW).contains("does not exist"));
        assert_eq!(problems(path, "n4.pem", NOW), "", "nobody knows whom to trust, and that is told once");
    }

    #[test]
    fn of_a_bundle_both_are_trusted_and_the_key_belongs_to_one() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (first, second) = (establish(old.path()), establish(new.path()));
        let both = [old.path(), new.path()].map(|path| fs::read_to_string(path.join(AUTHORITY_FILE)).unwrap());
        fs::write(new.path().join(AUTHORITY_FILE), both.concat()).unwrap();
        issue(new.path(), &first, "n1", "1y");
        issue(new.path(), &second, "n2", "1y");
        let entries = survey(new.path(), NOW).unwrap();
        assert!(entries.iter().all(|entry| entry.trusted && entry.problems.is_empty()), "{entries:?}");
        let keys: Vec<String> = entries.iter().map(|entry| format!("{:?}", entry.key)).collect();
        assert_eq!(keys, ["Elsewhere", "Here", "Here", "Here"]);
    }

    #[test]
    fn only_what_the_authority_signed_for_this_node_is_renewed() {
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (own, other) = (establish(directory.path()), establish(elsewhere.path()));
        let (n1, n2) = (node("n1").unwrap(), node("n2").unwrap());
        let certificate = own.sign(&about("n1", &["n1.lan"]), span("1y"), NOW).unwrap().certificate;
        let subject = renewable(directory.path(), &n1, &certificate, &own, "").unwrap();
        assert_eq!(subject, about("n1", &["n1.lan"]));
        let told = |node, authority| {
            renewable(directory.path(), node, &certificate, authority, " --out x").unwrap_err().to_string()
        };
        assert!(told(&n2, &own).contains("is the certificate of node n1; make a new one"));
        assert!(told(&n2, &own).ends_with("causeway certs issue --name n2 --replace --out x"));
        assert!(told(&n1, &other).contains("was not signed by an authority of ca.pem; make a new one"));
        let authority = renewable(directory.path(), &n1, &own.certificate, &own, "").unwrap_err();
        assert!(authority.to_string().contains("is not a certificate as causeway certs issue makes them"));
    }
}
