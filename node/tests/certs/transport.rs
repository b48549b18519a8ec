//! The transport between nodes takes what the program makes, and takes it again while it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use causeway_cluster::transport::{
    Answer, Caller, CertificateProblem, ConnectionError, Error, Handler, Identity, Peer, Security, Settings, Tls,
    TlsFileError, TlsFiles, Transport, certificate_name,
};
use causeway_core::ids::{ClusterId, NodeId};
use causeway_core::name::Name;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use crate::workshop::Workshop;

/// Answers every request with its body.
struct Echo;

impl Handler for Echo {
    fn raft(&self, _from: NodeId, _message: Vec<u8>) {}

    async fn request(&self, _from: Arc<Peer>, body: Vec<u8>) -> Vec<u8> {
        body
    }

    fn unreachable(&self, _to: NodeId) {}
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn identity(node: &str) -> Identity {
    // Any number but 0, and another one for each name of these tests.
    let id = node.bytes().fold(1, |id, byte| id * 31 % 1_000_003 + u64::from(byte));
    let region = name("eu");
    Identity { cluster: Some(ClusterId(7)), node: NodeId(id), name: name(node), region, command_version: 1 }
}

/// Loads the files of a node as the node does.
fn load(files: &Workshop, node: &str, authorities: &Path) -> Result<Arc<Tls>, TlsFileError> {
    let (chain, key) = (files.path(&format!("{node}.pem")), files.path(&format!("{node}-key.pem")));
    Tls::load(TlsFiles { authorities: authorities.to_owned(), chain, key }, name(node)).map(Arc::new)
}

fn load_own(files: &Workshop, node: &str) -> Arc<Tls> {
    load(files, node, &files.path("ca.pem")).unwrap()
}

async fn listen(node: &str, tls: &Arc<Tls>) -> Transport {
    let security = Security::Tls(Arc::clone(tls));
    let anywhere = ([127, 0, 0, 1], 0).into();
    Transport::bind(
        Settings::default(),
        security,
        identity(node),
        anywhere,
        Arc::new(Echo),
        tokio::runtime::Handle::current(),
    )
    .await
    .unwrap()
}

/// Asks a node over a new connection, and says who answered.
async fn ask(from: (&str, &Arc<Tls>), to: &Transport, expected: &str) -> Result<Answer, Error> {
    let (node, tls) = from;
    let caller = Caller::new(Settings::default(), Security::Tls(Arc::clone(tls)), identity(node)).unwrap();
    let (address, patient) = (to.address().to_string(), Duration::from_secs(30));
    let answer = caller.request_at(&address, Some(name(expected)), b"hello".to_vec(), patient).await?;
    assert_eq!((&answer.body[..], answer.from.identity.name.as_str()), (&b"hello"[..], expected));
    Ok(answer)
}

/// When the program says that a certificate ends.
fn end(item: &Value) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(item["not_after"].as_u64().unwrap())
}

#[tokio::test]
async fn nodes_of_one_authority_meet_each_other_by_name_and_nobody_else() {
    let own = Workshop::with_authority();
    let nodes = ["n1", "n2", "Hohhot_3.a"];
    let mut ends = Vec::new();
    for node in nodes {
        ends.push(end(&own.json(&format!("issue --name {node} --host 10.0.0.5"))["items"][0]));
    }
    for (server, end) in nodes.into_iter().zip(ends) {
        let tls = load_own(&own, server);
        assert_eq!(tls.expiry().certificate, end);
        let transport = listen(server, &tls).await;
        for client in nodes.into_iter().filter(|client| *client != server) {
            let answer = ask((client, &load_own(&own, client)), &transport, server).await.unwrap();
            assert_eq!(answer.from.certificate_expires_at, Some(end), "{client} {server}");
        }
    }
    let n1 = listen("n1", &load_own(&own, "n1")).await;
    let mistaken = ask(("n2", &load_own(&own, "n2")), &n1, "n3").await.unwrap_err();
    assert_eq!(mistaken, Error::NotSent(ConnectionError::Certificate(CertificateProblem::OtherName)));

    let foreign = Workshop::with_authority();
    foreign.done("issue --name n2");
    let refused = load(&foreign, "n2", &own.path("ca.pem")).unwrap_err();
    let unknown = CertificateProblem::UnknownAuthority;
    assert!(matches!(&refused, TlsFileError::Certificate { problem, .. } if *problem == unknown), "{refused}");
    // The stranger trusts both authorities; it is the others that do not trust the stranger.
    fs::write(foreign.path("both.pem"), own.text("ca.pem") + &foreign.text("ca.pem")).unwrap();
    let stranger = load(&foreign, "n2", &foreign.path("both.pem")).unwrap();
    let as_client = ask(("n2", &stranger), &n1, "n1").await.unwrap_err();
    assert!(matches!(as_client, Error::NotSent(ConnectionError::CertificateRefused { .. })), "{as_client}");
    let as_server = ask(("n1", &load_own(&own, "n1")), &listen("n2", &stranger).await, "n2").await.unwrap_err();
    assert_eq!(as_server, Error::NotSent(ConnectionError::Certificate(unknown)));
}

#[tokio::test]
async fn a_running_node_takes_a_renewed_certificate_and_keeps_the_old_one_while_half_is_renewed() {
    let workshop = Workshop::with_authority();
    let first = end(&workshop.json("issue --name n1 --valid-for 20d")["items"][0]);
    workshop.done("issue --name n2");
    let (tls, n2) = (load_own(&workshop, "n1"), load_own(&workshop, "n2"));
    let n1 = listen("n1", &tls).await;
    let shown = || async { ask(("n2", &n2), &n1, "n1").await.unwrap().from.certificate_expires_at };
    assert_eq!(shown().await, Some(first));

    let old = (workshop.text("n1.pem"), workshop.text("n1-key.pem"));
    let second = end(&workshop.json("renew --all")["items"][0]);
    assert!(second > first && workshop.text("n1-key.pem") != old.1, "the key is a new one");
    assert_eq!(workshop.mode("n1-key.pem"), 0o600);
    let renewed = workshop.text("n1.pem");
    // As after a crash between the two renames, or a copy to the node that has come half way.
    fs::write(workshop.path("n1.pem"), &old.0).unwrap();
    let refused = tls.reload().unwrap_err();
    assert!(matches!(refused, TlsFileError::KeyMismatch { .. }), "{refused}");
    assert_eq!(shown().await, Some(first), "what was loaded stays in use");
    fs::write(workshop.path("n1.pem"), &renewed).unwrap();
    tls.reload().unwrap();
    assert_eq!((shown().await, tls.expiry().certificate), (Some(second), second));

    fs::write(workshop.path("n1.pem"), &old.0).unwrap();
    let third = end(&workshop.json("renew --name n1 --valid-for 90d")["items"][0]);
    tls.reload().unwrap();
    assert_eq!(shown().await, Some(third), "renewing again mends what was half renewed");
}

/// As `docs/guides/certificates.md` has it: every node trusts both, every node is signed anew, every node trusts the
/// new one alone.
#[tokio::test]
async fn nodes_move_to_another_authority_without_an_outage() {
    let workshop = Workshop::with_authority();
    let nodes = ["n1", "n2"];
    nodes.iter().for_each(|node| drop(workshop.done(&format!("issue --name {node}"))));
    let old = workshop.text("ca.pem");
    let trusted = workshop.path("trusted.pem");
    fs::write(&trusted, &old).unwrap();
    let loaded = nodes.map(|node| load(&workshop, node, &trusted).unwrap());
    let listening = [listen("n1", &loaded[0]).await, listen("n2", &loaded[1]).await];
    let meet = || async {
        ask(("n1", &loaded[0]), &listening[1], "n2").await.unwrap();
        ask(("n2", &loaded[1]), &listening[0], "n1").await.unwrap();
    };
    workshop.done("init --directory new");
    let new = fs::read_to_string(workshop.0.path().join("new/ca.pem")).unwrap();
    fs::write(&trusted, old + &new).unwrap();
    // What somebody copied from the node before it moved.
    let leftover = load(&workshop, "n2", &trusted).unwrap();
    for tls in &loaded {
        tls.reload().unwrap();
        meet().await;
    }
    for (node, tls) in nodes.iter().zip(&loaded) {
        workshop.done(&format!("issue --name {node} --directory new --out certs --replace"));
        tls.reload().unwrap();
        meet().await;
    }
    fs::write(&trusted, &new).unwrap();
    for tls in &loaded {
        tls.reload().unwrap();
        meet().await;
    }
    let refused = ask(("n2", &leftover), &listening[0], "n1").await.unwrap_err();
    assert!(matches!(refused, Error::NotSent(ConnectionError::CertificateRefused { .. })), "{refused}");
}

#[tokio::test]
async fn certificates_for_longer_than_the_century_are_taken() {
    let workshop = Workshop::new();
    workshop.done("init --valid-for 100y");
    workshop.done("issue --name n1 --valid-for 100y");
    workshop.done("issue --name n2 --valid-for 1h");
    let n1 = listen("n1", &load_own(&workshop, "n1")).await;
    ask(("n2", &load_own(&workshop, "n2")), &n1, "n1").await.unwrap();
}

/// Puts a certificate that other software made, signed by the authority, where a node's is.
fn bring(workshop: &Workshop, node: &str, key_file: &str, change: impl FnOnce(&mut CertificateParams)) {
    let authority = KeyPair::from_pem(&workshop.text("ca-key.pem")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&workshop.text("ca.pem"), authority).unwrap();
    let mut params = CertificateParams::new(vec![certificate_name(&name(node))]).unwrap();
    change(&mut params);
    let key = KeyPair::from_pem(key_file).unwrap();
    fs::write(workshop.path(&format!("{node}.pem")), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    let path = workshop.path(&format!("{node}-key.pem"));
    fs::write(&path, key_file).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_certificate_that_has_ended_is_shown_refused_and_renewed() {
    let workshop = Workshop::with_authority();
    workshop.done("issue --name n2");
    let key = KeyPair::generate().unwrap().serialize_pem();
    bring(&workshop, "n1", &key, |params| params.not_after = date_time_ymd(2024, 2, 3));
    let output = workshop.run("show -o json");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &shown["passed"]), (Some(1), &false.into()), "{shown}");
    assert!(shown["items"][1]["days_left"].as_i64().unwrap() < 0, "{shown}");
    let told = String::from_utf8(workshop.run("show").stdout).unwrap();
    assert!(told.contains("it ended at 2024-02-03 00:00:00 UTC") && told.contains("  ended"), "{told}");
    let refused = load(&workshop, "n1", &workshop.path("ca.pem")).unwrap_err();
    let ended = CertificateProblem::Expired;
    assert!(matches!(&refused, TlsFileError::Certificate { problem, .. } if *problem == ended), "{refused}");

    let told = workshop.done("renew --all");
    assert!(told.contains("the one before ended at 2024-02-03 00:00:00 UTC"), "{told}");
    let n1 = listen("n1", &load_own(&workshop, "n1")).await;
    ask(("n2", &load_own(&workshop, "n2")), &n1, "n1").await.unwrap();
    workshop.done("show");
}

#[test]
fn show_says_of_certificates_that_others_made_what_a_node_would_say() {
    let workshop = Workshop::with_authority();
    let key = KeyPair::generate().unwrap().serialize_pem();
    bring(&workshop, "n1", &key, |_| ());
    let shown = workshop.done("show");
    assert!(shown.contains("node n1"), "a certificate without purposes is for all of them: {shown}");
    // The same key in the form that `openssl ecparam -genkey` writes: the last bytes of the other form.
    let whole = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let short = STANDARD.encode(&whole.secret_pkcs8_der()[whole.secret_pkcs8_der().len() - 109..]);
    let short = format!("-----BEGIN EC PRIVATE KEY-----\n{short}\n-----END EC PRIVATE KEY-----\n");
    fs::write(workshop.path("n1-key.pem"), short).unwrap();
    assert_eq!(workshop.json("show")["items"][1]["key"], "here");
    load_own(&workshop, "n1");

    bring(&workshop, "n2", &key, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    let output = workshop.run("show");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("nodes refuse it: certs/n2.pem: the certificate cannot be used"), "{shown}");
    assert!(shown.contains("1 of them cannot be used as it is"), "{shown}");
    workshop.done("renew --name n2");
    workshop.done("show");
}
