//! Judges settings against each other, after each was found good by itself.

use std::collections::{BTreeMap, BTreeSet};

use causeway_core::error_code::ErrorCode;

use crate::config::NodeConfig;
use crate::config::fault::{Fault, Origin};
use crate::config::file::Draft;
use crate::config::keys::INSTANCES;
use crate::config::resolve::display;

/// Adds every contradiction to `faults`.
pub fn validate(config: &NodeConfig, draft: &Draft, faults: &mut Vec<Fault>) {
    listens_on_loopback(config, draft, faults);
    settles_after_sends(config, draft, faults);
    reads_ahead_enough(config, draft, faults);
    retries_grow(config, draft, faults);
    log_filter_parses(config, draft, faults);
    instance_names_differ(config, faults);
    instance_identities_differ(config, faults);
}

fn fault(draft: &Draft, path: &str, reason: impl Into<String>, remedy: impl Into<String>) -> Fault {
    match draft.settings.get(path) {
        Some(setting) => Fault::new(path, setting.origin.clone(), reason, remedy).value(display(&setting.value)),
        None => Fault::new(path, Origin::Nowhere, reason, remedy),
    }
}

/// The API's token travels in clear, so nobody else may be on the wire.
fn listens_on_loopback(config: &NodeConfig, draft: &Draft, faults: &mut Vec<Fault>) {
    if config.http.listen.ip().is_loopback() {
        return;
    }
    let port = config.http.listen.port();
    let reason = "other machines could reach this address, and the API has no TLS in this release: its token would \
                  travel in clear";
    let remedy = format!("listen on 127.0.0.1:{port} and let a TLS proxy or an SSH tunnel on this machine reach it");
    faults.push(fault(draft, "http.listen", reason, remedy).code(ErrorCode::UnsafeBind));
}

/// The kernel may deliver a dead owner's bytes until the request timeout; a tail that is read before misses them.
fn settles_after_sends(config: &NodeConfig, draft: &Draft, faults: &mut Vec<Fault>) {
    let (settle, request) = (config.replication.settle, config.connection.request_timeout);
    if settle > request {
        return;
    }
    let reason = format!(
        "a new owner would read the target's tail after {} ms, while an old owner's send may still arrive for {} ms \
         (connection.request_timeout_ms)",
        settle.as_millis(),
        request.as_millis(),
    );
    faults.push(fault(draft, "replication.settle_ms", reason, "make settle_ms longer than request_timeout_ms"));
}

/// A batch is filled from what was read ahead.
fn reads_ahead_enough(config: &NodeConfig, draft: &Draft, faults: &mut Vec<Fault>) {
    let replication = &config.replication;
    let batch = replication.batch_bytes;
    for (path, ahead) in [
        ("replication.read_ahead_bytes", replication.read_ahead_bytes),
        ("replication.node_read_ahead_bytes", replication.node_read_ahead_bytes),
    ] {
        if ahead < batch {
            let reason =
                format!("a batch may hold {batch} bytes (replication.batch_bytes), but only {ahead} are read ahead");
            faults.push(fault(draft, path, reason, "read ahead at least one batch"));
        }
    }
}

fn retries_grow(config: &NodeConfig, draft: &Draft, faults: &mut Vec<Fault>) {
    if config.replication.retry_longest >= config.replication.retry_first {
        return;
    }
    let reason = "the longest wait between two attempts is shorter than the first one";
    faults.push(fault(draft, "replication.retry_longest_ms", reason, "make it at least retry_first_ms"));
}

fn log_filter_parses(config: &NodeConfig, draft: &Draft, faults: &mut Vec<Fault>) {
    if let Err(reason) = crate::telemetry::logs::check_filter(&config.log.level) {
        let remedy = "use error, warn, info, debug or trace, or for example \"info,causeway::replicate=debug\"";
        faults.push(fault(draft, "log.level", reason, remedy));
    }
}

fn instance_names_differ(config: &NodeConfig, faults: &mut Vec<Fault>) {
    let mut names = BTreeSet::new();
    for instance in &config.instances {
        if !names.insert(&instance.spec.name) {
            let reason = format!("two instances are named {}", instance.spec.name);
            faults.push(Fault::new(INSTANCES, Origin::Nowhere, reason, "give each its own name"));
        }
    }
}

/// Loops are recognised by identities.
fn instance_identities_differ(config: &NodeConfig, faults: &mut Vec<Fault>) {
    let mut owners = BTreeMap::new();
    for instance in &config.instances {
        let (name, Some(identity)) = (&instance.spec.name, instance.identity) else { continue };
        if let Some(other) = owners.insert(identity, name).filter(|other| *other != name) {
            let reason = format!("instances {other} and {name} have the identity {identity}");
            let remedy = "give each its own, or remove the key to have one drawn at random";
            faults.push(Fault::new(INSTANCES, Origin::Nowhere, reason, remedy));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn two_instances_of_the_file_never_have_one_identity() {
        let instance = |name: &str, identity: &str| {
            format!(
                "[[instances]]\nname = \"{name}\"\nregion = \"r\"\nname_servers = [\"h:1\"]\nidentity = \"{identity}\"\n"
            )
        };
        let file =
            |second: &str| format!("version = 1\n{}{}", instance("a", "00000000000000aa"), instance("b", second));
        let faults = parse(&file("00000000000000aa"), "f", []).expect_err("one identity twice").to_string();
        assert!(faults.contains("a and b have the identity 00000000000000aa"), "{faults}");
        assert!(parse(&file("00000000000000ab"), "f", []).is_ok());
    }
}
