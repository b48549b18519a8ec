//! `causeway instance change`: changes what was typed, on the version that was read, and keeps the rest.

use std::io::BufRead;

use serde_json::Value;

use crate::admin::model::instance::{RocketmqSettings, RocketmqView, TlsSettings};
use crate::admin::model::{CreateInstance, InstanceView, SecretInput};
use crate::cli::Session;
use crate::cli::args::{ChangeInstance, Format};
use crate::cli::exit::{Exit, Failure};
use crate::cli::http::segment;
use crate::cli::instance::secrets;
use crate::cli::stream_text::{effects, query};

/// Does what was typed.
///
/// # Errors
/// [`Failure`]; a conflict where somebody else changed the instance meanwhile.
pub fn execute(session: &mut Session, change: ChangeInstance, input: &mut dyn BufRead) -> Result<Exit, Failure> {
    if !change.changes_something() {
        return Err(Failure::usage("say what changes, for example --name-server HOST:PORT or --secret WHERE"));
    }
    let one = format!("/v1/instances/{}", segment(&change.name));
    let answer = session.api.get(&one)?;
    let now: InstanceView = session.api.read(&answer)?;
    let (version, dry_run) = (now.version, change.change.dry_run);
    let body = changed(now, change, input)?;
    let answer: Value = session.api.put(&format!("{one}{}", query(dry_run)), version, &body)?;
    if dry_run {
        return effects(session, &answer);
    }
    if session.format == Format::Json {
        session.screen.json(&answer);
        return Ok(Exit::Done);
    }
    session.screen.line(format!("instance {} is changed; its streams reconnect", body.name));
    session.screen.line(format!("  try it: causeway instance test {}", body.name));
    Ok(Exit::Done)
}

fn changed(now: InstanceView, change: ChangeInstance, input: &mut dyn BufRead) -> Result<CreateInstance, Failure> {
    let RocketmqView { name_servers, access_key, secret, security_token, tls } = now.rocketmq;
    let tls = changed_tls(tls, &change)?;
    let [new_key, new_secret, new_token] = secrets([change.access_key, change.secret, change.security_token], input)?;
    let part =
        |typed: Option<SecretInput>, registered: Option<String>| typed.or(registered.map(|_| SecretInput::Kept {}));
    let rocketmq = RocketmqSettings {
        name_servers: if change.name_servers.is_empty() { name_servers } else { change.name_servers },
        access_key: part(new_key, access_key),
        secret: part(new_secret, secret),
        security_token: part(new_token, security_token),
        tls,
    };
    let region = change.region.unwrap_or_else(|| now.region.to_string());
    Ok(CreateInstance { name: now.name.to_string(), region, identity: None, rocketmq })
}

fn changed_tls(now: Option<TlsSettings>, change: &ChangeInstance) -> Result<Option<TlsSettings>, Failure> {
    let authority = change.tls_certificate_authority_file.clone();
    let certificate_file = change.tls_certificate_file.clone();
    let key_file = change.tls_key_file.clone();
    let server_name = change.tls_server_name.clone();
    let Some(certificate_authority_file) = authority.or(now.as_ref().map(|now| now.certificate_authority_file.clone()))
    else {
        if certificate_file.is_some() || key_file.is_some() || server_name.is_some() {
            return Err(Failure::usage("TLS is off; turn it on with --tls-certificate-authority-file FILE"));
        }
        return Ok(None);
    };
    let kept = |part: fn(TlsSettings) -> Option<String>| now.clone().and_then(part);
    Ok(Some(TlsSettings {
        certificate_authority_file,
        certificate_file: certificate_file.or_else(|| kept(|now| now.certificate_file)),
        key_file: key_file.or_else(|| kept(|now| now.key_file)),
        server_name: server_name.or_else(|| kept(|now| now.server_name)),
    }))
}
