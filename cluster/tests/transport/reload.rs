//! Certificates are replaced while requests run.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use causeway_cluster::transport::{Caller, CertificateProblem, Security, TlsFileError};
use causeway_core::ids::NodeId;

use crate::certificates::{Authority, at, now, write_key};
use crate::node::{Node, PATIENT, eventually, identity, name, settings};

const B: NodeId = NodeId(2);

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_loses_no_request_and_new_connections_show_it() {
    let authority = Authority::new("one");
    let (first_end, second_end) = (now() + 1_000_000, now() + 2_000_000);
    let tls = authority.tls_with("b", at(first_end));
    let a = Arc::new(Node::tls(1, "a", authority.security("a")).await);
    let b = Node::tls(2, "b", Security::Tls(Arc::clone(&tls))).await;
    a.know(&[(B, b.at())]);
    assert_eq!(a.connected(B).await.certificate_expires_at.map(seconds), Some(first_end));
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (a, stop, answered) = (Arc::clone(&a), Arc::clone(&stop), Arc::clone(&answered));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(a.ask(B, b"x").await.unwrap(), b"re:x");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let more = |least: usize| {
        let answered = Arc::clone(&answered);
        async move { eventually("answers", || (answered.load(Ordering::Relaxed) > least).then_some(())).await }
    };
    more(20).await;
    authority.write("b", &authority.issue("b", at(second_end)));
    tls.reload().unwrap();
    assert_eq!(seconds(tls.expiry().certificate), second_end);
    more(answered.load(Ordering::Relaxed) + 20).await;
    assert_eq!(a.connected(B).await.certificate_expires_at.map(seconds), Some(first_end), "the connection goes on");

    let newcomer = Caller::new(settings(), authority.security("c"), identity(3, "c")).unwrap();
    let answer = newcomer.request_at(&b.address(), Some(name("b")), b"y".to_vec(), PATIENT).await.unwrap();
    assert_eq!(answer.from.certificate_expires_at.map(seconds), Some(second_end));
    stop.store(true, Ordering::Relaxed);
    for task in asking {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn a_reload_that_fails_names_the_file_and_keeps_what_was_loaded() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let end = now() + 1_000_000;
    let tls = authority.tls_with("b", at(end));
    let b = Node::tls(2, "b", Security::Tls(Arc::clone(&tls))).await;
    let caller = Caller::new(settings(), authority.security("a"), identity(1, "a")).unwrap();
    let (chain, key) = (authority.path().join("b.pem"), authority.path().join("b.key"));
    let good = (fs::read(&chain).unwrap(), fs::read_to_string(&key).unwrap());
    let problem = |error: &TlsFileError| match error {
        TlsFileError::Certificate { problem, .. } => Some(problem.clone()),
        _ => None,
    };
    let damage: [(&str, &str, &dyn Fn()); 5] = [
        ("malformed", "b.pem", &|| fs::write(&chain, "damaged").unwrap()),
        ("missing", "b.pem", &|| fs::remove_file(&chain).unwrap()),
        ("open to others", "b.key", &|| fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap()),
        ("foreign", "b.pem", &|| drop(authority.write("b", &other.issue("b", |_| ())))),
        ("expired", "b.pem", &|| drop(authority.write("b", &authority.issue("b", at(1_500_000_000))))),
    ];
    for (kind, file, damage) in damage {
        damage();
        let error = tls.reload().unwrap_err();
        assert!(error.to_string().contains(file), "{error}");
        let is_expected = match kind {
            "malformed" => matches!(error, TlsFileError::Malformed { .. }),
            "missing" => matches!(error, TlsFileError::Unreadable { .. }),
            "open to others" => matches!(error, TlsFileError::KeyPermissions { mode: 0o644, .. }),
            "foreign" => problem(&error) == Some(CertificateProblem::UnknownAuthority),
            _ => problem(&error) == Some(CertificateProblem::Expired),
        };
        assert!(is_expected, "{kind}: {error}");
        let answer = caller.request_at(&b.address(), Some(name("b")), b"x".to_vec(), PATIENT).await.unwrap();
        assert_eq!(answer.from.certificate_expires_at.map(seconds), Some(end));
        fs::write(&chain, &good.0).unwrap();
        write_key(&key, &good.1);
    }
    tls.reload().unwrap();
}

#[tokio::test]
async fn when_the_authority_ends_is_known_too() {
    let authority = Authority::new("one");
    let expiry = authority.tls_with("a", at(now() + 1_000_000)).expiry();
    assert!(expiry.authorities > expiry.certificate + Duration::from_secs(1_000_000));
}
