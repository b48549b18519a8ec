//! What the commands make, refuse and show.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{Error, RootCertStore};
use serde_json::Value;

use crate::workshop::Workshop;

/// Whether a program that connects to a host would take a node's certificate for it.
fn accept_as(workshop: &Workshop, node: &str, host: &str) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(workshop.path("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let certificate = CertificateDer::from_pem_file(workshop.path(&format!("{node}.pem"))).unwrap();
    let host = ServerName::try_from(host.to_owned()).unwrap();
    verifier.verify_server_cert(&certificate, &[], &host, &[], UnixTime::now()).map(|_| ())
}

#[test]
fn a_renewed_certificate_has_the_same_names_and_another_key() {
    let workshop = Workshop::with_authority();
    workshop.done("issue --name n1 --host n1.example.com --host 10.0.0.5 --valid-for 20d");
    workshop.done("issue --name n2 --valid-for 31d");
    let (certificate, key, other) = (workshop.text("n1.pem"), workshop.text("n1-key.pem"), workshop.text("n2.pem"));

    let tried = workshop.done("renew --all --dry-run");
    assert!(tried.contains("node n1 would get a new certificate") && !tried.contains("n2"), "{tried}");
    assert_eq!(workshop.text("n1.pem"), certificate);
    let items = workshop.json("renew --all")["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 1, "{items}");
    assert_eq!(items[0]["hosts"], serde_json::json!(["n1.example.com", "10.0.0.5"]));
    assert!(workshop.text("n1.pem") != certificate && workshop.text("n1-key.pem") != key);
    assert_eq!(workshop.text("n2.pem"), other, "it ends later");
    assert_eq!(workshop.mode("n1-key.pem"), 0o600);
    assert_eq!(workshop.everything().len(), 6, "nothing is left beside the files");
    let shown = workshop.json("show");
    assert_eq!(shown["items"][1]["hosts"], serde_json::json!(["n1.example.com", "10.0.0.5"]));
    assert_eq!(shown["items"][1]["days_left"], 364);

    assert!(workshop.done("renew --all").starts_with("nothing ends within 30 days; the first to end is n2.pem"));
    workshop.done("renew --all --within 40d");
    assert_ne!(workshop.text("n2.pem"), other);
    let told = workshop.done("renew --name n1 --valid-for 90d");
    assert!(told.contains("the one before is valid until"), "{told}");
    for host in ["n1.example.com", "10.0.0.5"] {
        accept_as(&workshop, "n1", host).unwrap();
    }
    assert!(accept_as(&workshop, "n2", "n1.example.com").is_err());
}

#[test]
fn a_renewal_of_all_leaves_what_it_may_not_renew_and_says_so() {
    let (own, foreign) = (Workshop::with_authority(), Workshop::with_authority());
    own.done("issue --name n1 --valid-for 20d");
    foreign.done("issue --name n2 --valid-for 20d");
    for file in ["n2.pem", "n2-key.pem"] {
        fs::copy(foreign.path(file), own.path(file)).unwrap();
    }
    fs::write(own.path("n3.pem"), "damaged").unwrap();
    let (n1, n2) = (own.text("n1.pem"), own.text("n2.pem"));
    let output = own.run("renew --all");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("n2.pem was not signed by an authority of ca.pem"), "{complaint}");
    assert!(complaint.contains("n3.pem holds no certificate"), "{complaint}");
    assert!(own.text("n1.pem") != n1 && own.text("n2.pem") == n2);
}

#[test]
fn files_have_the_right_modes_and_are_never_overwritten_unasked() {
    let workshop = Workshop::new();
    let tried = workshop.done("init --dry-run");
    assert!(tried.contains("would be made") && !workshop.path("").exists(), "{tried}");
    let made = workshop.done("init --organisation ACME");
    assert!(made.contains("of ACME, valid until") && made.contains("certs/ca-key.pem"), "{made}");
    assert_eq!((workshop.mode(""), workshop.mode("ca-key.pem")), (0o700, 0o600));
    let told = workshop.refused("init", 5);
    assert!(told.contains("certs/ca.pem exists already") && told.contains("certs/ca-key.pem exists already"), "{told}");
    assert!(told.contains("CWY-0103") && told.contains("never overwritten"), "{told}");

    workshop.done("issue --name n1 --dry-run");
    assert_eq!(workshop.everything().len(), 2);
    workshop.done("issue --name n1");
    assert_eq!(workshop.mode("n1-key.pem"), 0o600);
    let told = workshop.refused("issue --name n1 --host n1.lan", 5);
    assert!(told.contains("causeway certs renew --name n1") && told.contains("--replace"), "{told}");
    let before = (workshop.text("n1.pem"), workshop.text("n1-key.pem"));
    workshop.done("issue --name n1 --host n1.lan --replace");
    assert!(before.0 != workshop.text("n1.pem") && before.1 != workshop.text("n1-key.pem"));
    workshop.done("issue --name n2 --out elsewhere");
    assert!(workshop.0.path().join("elsewhere/n2.pem").exists() && !workshop.path("n2.pem").exists());
    workshop.done("renew --name n2 --out elsewhere");
    let told = workshop.refused("renew --name n2", 1);
    assert!(told.contains("-> make one with: causeway certs issue --name n2\n"), "{told}");
    let told = workshop.refused("issue --name n2 --out elsewhere", 5);
    assert!(told.contains("causeway certs renew --name n2 --out elsewhere;"), "{told}");
    fs::create_dir(workshop.0.path().join("empty")).unwrap();
    let told = workshop.refused("show --directory empty", 1);
    assert!(told.contains("-> make an authority first: causeway certs init --directory empty"), "{told}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_nothing_is_made() {
    let workshop = Workshop::new();
    let told = workshop.refused("issue --name a/b --host 10.0.0.5:7600 --host n2.node.causeway --valid-for 3x", 2);
    for part in [
        "--name: \"a/b\" is refused",
        "--host: \"10.0.0.5:7600\" is refused",
        "--host: \"n2.node.causeway\" is refused",
        "--valid-for: \"3x\" is refused",
        "certs/ca.pem does not exist",
        "certs/ca-key.pem does not exist",
        "causeway certs init",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = workshop.refused("renew --all --within 1m --valid-for 0d", 2);
    assert!(told.contains("--within:") && told.contains("--valid-for:") && told.contains("ca.pem does not exist"));
    let told = workshop.refused("renew --name ca --valid-for 0d", 2);
    assert!(
        told.contains("--name:") && told.contains("--valid-for:") && told.contains("ca.pem does not exist"),
        "{told}"
    );
    let told = workshop.refused("init --valid-for 1000y --organisation  --directory no/where", 2);
    assert!(told.contains("--valid-for:") && told.contains("--organisation:") && told.contains("no does not exist"));
    let json: Value = serde_json::from_str(&workshop.refused("issue --name a/b --valid-for 3x -o json", 2)).unwrap();
    assert_eq!((&json["error"]["field"], json["faults"].as_array().map(Vec::len)), (&"--name".into(), Some(4)));
    assert_eq!(workshop.refused("show", 1).lines().next(), Some("certs does not exist"));
    fs::write(workshop.0.path().join("file"), "x").unwrap();
    for line in ["init --directory file", "issue --name n1 --directory file", "renew --all --directory file/below"] {
        let told = workshop.refused(line, 1);
        assert!(!told.contains("os error"), "{line}: {told}");
    }
    for line in ["init --directory file", "issue --name n1 --directory file", "show --directory file"] {
        let told = workshop.refused(line, 1);
        assert!(told.starts_with("file is not a directory\n") && told.lines().count() == 2, "{line}: {told}");
    }
    assert!(!workshop.path("").exists());
}

#[test]
fn what_is_wrong_with_files_is_shown_and_ends_the_command_with_a_failure() {
    let (own, foreign) = (Workshop::with_authority(), Workshop::with_authority());
    for line in ["issue --name n1", "issue --name n2 --valid-for 20d", "issue --name n3"] {
        own.done(line);
    }
    let shown = own.done("show");
    assert!(shown.contains("n2.pem") && shown.contains("ends within 30 days"), "{shown}");
    assert!(shown.contains("1 node certificate ends within 30 days: causeway certs renew --all"), "{shown}");
    fs::set_permissions(own.path("n1-key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::copy(own.path("n1-key.pem"), own.path("n3-key.pem")).unwrap();
    foreign.done("issue --name n4");
    fs::copy(foreign.path("n4.pem"), own.path("n4.pem")).unwrap();
    let output = own.run("show");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let shown = String::from_utf8(output.stdout).unwrap();
    for part in [
        "may read certs/n1-key.pem (mode 644); run: chmod 600 certs/n1-key.pem",
        "certs/n3-key.pem is not its key",
        "no authority of ca.pem signed it",
        "3 of them cannot be used as they are",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let output = own.run("show -o json");
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys: Vec<&str> = shown["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap()).collect();
    assert_eq!((&shown["passed"], keys), (&false.into(), vec!["here", "open", "here", "other", "elsewhere"]));
}

#[test]
fn a_configuration_is_checked_with_its_certificates() {
    let workshop = Workshop::with_authority();
    workshop.done("issue --name n1");
    let file = |name: &str| workshop.path(name).display().to_string();
    let [authority, certificate, key] = ["ca.pem", "n1.pem", "n1-key.pem"].map(file);
    let check = |node: &str| {
        let config = format!(
            "version = 1\n[node]\nname = \"{node}\"\n[http]\nlisten = \"127.0.0.1:0\"\n[cluster]\nlisten = \"10.0.0.5:7501\"\n\
             certificate_authority_file = \"{authority}\"\ncertificate_file = \"{certificate}\"\nkey_file = \"{key}\"\n"
        );
        fs::write(workshop.path("causeway.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
        let command = command.env_clear().current_dir(workshop.0.path());
        let output = command.args(["check-config", "--config", "certs/causeway.toml"]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, told) = check("n1");
    assert!(code == Some(0) && told.contains("can be used until 20"), "{told}");
    let (code, told) = check("n2");
    let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code == Some(1) && words.contains("does not carry the name n2.node.causeway"), "{told}");
    assert!(told.contains("CWY-0205"), "{told}");
}

#[test]
fn an_authority_whose_key_others_may_read_signs_nothing() {
    let workshop = Workshop::with_authority();
    fs::set_permissions(workshop.path("ca-key.pem"), fs::Permissions::from_mode(0o640)).unwrap();
    let told = workshop.refused("issue --name n1", 1);
    assert!(told.contains("run: chmod 600 certs/ca-key.pem") && told.contains("CWY-0205"), "{told}");
    fs::set_permissions(workshop.path("ca-key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(workshop.path(""), fs::Permissions::from_mode(0o770)).unwrap();
    assert!(workshop.refused("issue --name n1", 1).contains("run: chmod go-w certs"));
}
