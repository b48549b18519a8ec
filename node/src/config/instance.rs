//! Turns an `[[instances]]` entry into what is registered.
//!
//! Secrets are references only: a file that people copy, mail and commit is no place for them, so anything that is not
//! `env:NAME` or `file:/path` is refused without being shown.

use std::str::FromStr;

use causeway_core::ids::InstanceIdentity;
use causeway_core::instance::{CredentialReferences, InstanceSpec, SecretReference, TlsSpec};

use crate::config::InstanceConfig;
use crate::config::fault::Fault;
use crate::config::file::Entry;
use crate::config::keys::Value;
use crate::config::resolve::Values;
use crate::secrets::parse_reference;

/// The instance of an entry; none, with faults noted, where something that it cannot do without is missing.
pub(super) fn resolve(entry: &Entry, position: usize, faults: &mut Vec<Fault>) -> Option<InstanceConfig> {
    let label = format!("{}[{position}]", super::keys::INSTANCES);
    let mut values = Values::new(&entry.settings, &label, faults);
    for path in ["name", "region", "name_servers"] {
        if !entry.settings.contains_key(path) {
            values.missing(path, &entry.origin);
        }
    }
    let name = values.optional_name("name");
    let region = values.optional_name("region");
    let name_servers = name_servers(entry, &mut values);
    let identity = identity(entry, &mut values);
    let access_key = reference(entry, &mut values, "access_key");
    let secret = reference(entry, &mut values, "secret");
    let security_token = reference(entry, &mut values, "security_token");
    let tls = tls(entry, &mut values);
    let given = |path: &str| entry.settings.contains_key(path);
    match (given("access_key"), given("secret")) {
        (true, false) => values.missing("secret", &entry.origin),
        (false, true) => values.missing("access_key", &entry.origin),
        (false, false) if given("security_token") => values.missing("access_key", &entry.origin),
        _ => {}
    }
    let credentials = match (access_key, secret) {
        (Some(access_key), Some(secret)) => Some(CredentialReferences { access_key, secret, security_token }),
        _ => None,
    };
    let spec = InstanceSpec { name: name?, region: region?, name_servers, credentials, tls };
    Some(InstanceConfig { spec, identity })
}

fn name_servers(entry: &Entry, values: &mut Values<'_>) -> Vec<String> {
    const PATH: &str = "name_servers";
    let Some(setting) = entry.settings.get(PATH) else {
        return Vec::new();
    };
    let Value::Texts(texts) = &setting.value else {
        return Vec::new();
    };
    if texts.is_empty() {
        values.refuse(PATH, setting, "the list is empty", "name at least one name server as host:port");
    }
    for text in texts.iter().filter(|text| !is_host_and_port(text)) {
        values.refuse(PATH, setting, format!("{text:?} is not host:port"), "write each as 10.0.0.5:9876");
    }
    texts.clone()
}

/// Whether a text has the shape `host:port`, with IPv6 hosts in brackets.
pub(super) fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
    let plain = !host.is_empty() && !host.contains([':', '/', '[', ']']);
    (bracketed || plain)
        && host.len() <= 255
        && !host.contains(|c: char| c.is_whitespace() || c.is_control())
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn identity(entry: &Entry, values: &mut Values<'_>) -> Option<InstanceIdentity> {
    const PATH: &str = "identity";
    let text = values.optional_text(PATH)?;
    match InstanceIdentity::from_str(&text) {
        Ok(identity) => Some(identity),
        Err(invalid) => {
            let setting = entry.settings.get(PATH)?;
            values.refuse(PATH, setting, invalid.to_string(), "remove the key to have one drawn at random");
            None
        }
    }
}

fn reference(entry: &Entry, values: &mut Values<'_>, path: &str) -> Option<SecretReference> {
    let text = values.optional_text(path)?;
    match parse_reference(&text) {
        Ok(reference) => Some(reference),
        Err(_) => {
            let setting = entry.settings.get(path)?;
            let reason = "this is not a reference to a secret (the value is not shown)";
            values.refuse(path, setting, reason, "write env:NAME or file:/path; change the secret if this was one");
            None
        }
    }
}

fn tls(entry: &Entry, values: &mut Values<'_>) -> Option<TlsSpec> {
    const AUTHORITY: &str = "tls.certificate_authority_file";
    let authority = values.optional_text(AUTHORITY);
    let certificate_file = values.optional_text("tls.certificate_file");
    let key_file = values.optional_text("tls.key_file");
    let server_name = values.optional_text("tls.server_name");
    let any = certificate_file.is_some() || key_file.is_some() || server_name.is_some();
    if any && !entry.settings.contains_key(AUTHORITY) {
        values.missing(AUTHORITY, &entry.origin);
    }
    match (&certificate_file, &key_file) {
        (Some(_), None) => values.missing("tls.key_file", &entry.origin),
        (None, Some(_)) => values.missing("tls.certificate_file", &entry.origin),
        _ => {}
    }
    Some(TlsSpec { certificate_authority_file: authority?, certificate_file, key_file, server_name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_secret_in_clear_is_refused_and_not_shown() {
        let text = "version = 1\n[[instances]]\nname = \"a\"\nregion = \"r\"\nname_servers = [\"h:1\"]\n\
                    access_key = \"env:AK\"\nsecret = \"hunter2\"\n";
        let faults = parse(text, "f", []).expect_err("a secret in clear");
        let text = format!("{faults} {faults:?}");
        assert!(text.contains("instances[0].secret"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }

    #[test]
    fn addresses_need_a_host_and_a_port() {
        for good in ["127.0.0.1:9876", "[::1]:9876", "broker.example:10911"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in ["", ":1", "host", "host:0", "host:70000", "::1:9876", "[::1:9876", "http://host:80", "a b:1"] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }

    #[test]
    fn halves_of_pairs_are_found() {
        let text = "version = 1\n[[instances]]\nname = \"a\"\nregion = \"r\"\nname_servers = [\"h:1\"]\n\
                    secret = \"env:SK\"\ntls = { key_file = \"/k\" }\n";
        let faults = parse(text, "f", []).expect_err("halves");
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
        let expected = ["access_key", "tls.certificate_authority_file", "tls.certificate_file"];
        assert!(expected.iter().all(|key| keys.contains(&format!("instances[0].{key}").as_str())), "{keys:?}");
        assert_eq!(keys.len(), expected.len());
    }
}
