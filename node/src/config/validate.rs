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
    nodes_talk_in_private(config, draft, faults);
    settles_after_sends(config, draft, faults);
    reads_ahead_enough(config, draft, faults);
    relay_windows_fit(config, draft, faults);
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

/// What nodes say to each other decides who writes: nobody else may join in.
fn nodes_talk_in_private(config: &NodeConfig, draft: &Draft, faults: &mut Vec<Fault>) {
    let files = ["cluster.certificate_authority_file", "cluster.certificate_file", "cluster.key_file"];
    let is_set = |path: &str| draft.settings.contains_key(path);
    if files.iter().any(|path| is_set(path)) {
        for path in files.into_iter().filter(|path| !is_set(path)) {
            faults.push(fault(draft, path, "the other two files are of no use without this one", "set all three"));
        }
    }
    if !is_set("cluster.listen") {
        for path in files.into_iter().chain(["cluster.advertise"]).filter(|path| is_set(path)) {
            let remedy = "set cluster.listen, or remove this key";
            faults.push(fault(draft, path, "without cluster.listen the node is alone", remedy));
        }
    }
    let Some(cluster) = &config.cluster else { return };
    if !cluster.listen.ip().is_loopback() && cluster.tls.is_none() && !files.iter().any(|path| is_set(path)) {
        let reason = "other machines could reach this address, and without certificates anybody there could decide \
                      for this cluster";
        let remedy = "make certificates with causeway certs init and issue, and set the three files of this section";
        faults.push(fault(draft, "cluster.listen", reason, remedy).code(ErrorCode::UnsafeBind));
    }
    if cluster.listen.ip().is_unspecified() && cluster.advertise.is_none() {
        let reason = "other nodes cannot reach a node under an address that stands for every one";
        faults.push(fault(draft, "cluster.listen", reason, "set cluster.advertise to how they reach it"));
    }
}

/// The kernel may deliver a dead owner's bytes for so long; a tail that is read before misses them.
fn settles_after_sends(config: &NodeConfig, draft: &Draft, faults: &mut Vec<Fault>) {
    let (settle, kept) = (config.replication.settle, config.connection.unacknowledged);
    if settle > kept {
        return;
    }
    let reason = format!(
        "a new owner would read the target's tail after {} ms, while an old owner's send may still arrive for {} ms \
         (connection.unacknowledged_ms)",
        settle.as_millis(),
        kept.as_millis(),
    );
    faults.push(fault(draft, "replication.settle_ms", reason, "make settle_ms longer than unacknowledged_ms"));
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

/// A window that never grows to its size would silently be a smaller one.
fn relay_windows_fit(config: &NodeConfig, draft: &Draft, faults: &mut Vec<Fault>) {
    let (one, all) = (config.relay.settings.window_bytes, config.relay.settings.node_window_bytes);
    if one > all {
        let reason = format!("one stream's window may have {one} bytes (relay.window_bytes), all of them only {all}");
        let remedy = "give the node at least one whole window";
        faults.push(fault(draft, "relay.node_window_bytes", reason, remedy));
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

    #[test]
    fn the_node_s_windows_hold_at_least_one() {
        let parsed = |one: u32, all: u32| {
            let text = format!("version = 1\n[relay]\nwindow_bytes = {one}\nnode_window_bytes = {all}\n");
            parse(&text, "f", []).map(|loaded| loaded.config.relay.settings)
        };
        let faults = parsed(64 << 20, 32 << 20).expect_err("never a whole window").to_string();
        assert!(faults.contains("relay.node_window_bytes = 33554432"), "{faults}");
        let settings = parsed(64 << 10, 1 << 20).expect("valid");
        assert_eq!(settings.first_window_bytes, 64 << 10, "a stream begins with no more than its largest window");
    }

    #[test]
    fn a_cluster_is_reached_in_private_or_not_at_all() {
        let faults = |lines: &str| {
            let text = format!("version = 1\n[cluster]\n{lines}");
            parse(&text, "f", []).map_or_else(|faults| faults.to_string(), |_| String::new())
        };
        let files = "certificate_authority_file = \"ca\"\ncertificate_file = \"c\"\nkey_file = \"k\"\n";
        assert_eq!(faults("listen = \"127.0.0.1:7501\"\n"), "", "nobody else reaches loopback");
        assert_eq!(faults(&format!("listen = \"10.0.0.5:7501\"\n{files}")), "");
        assert!(faults("listen = \"10.0.0.5:7501\"\n").contains("CWY-0203"));
        let incomplete = faults("listen = \"10.0.0.5:7501\"\nkey_file = \"k\"\n");
        for missing in ["cluster.certificate_authority_file", "cluster.certificate_file"] {
            assert!(incomplete.contains(missing), "{incomplete}");
        }
        assert!(faults(files).contains("without cluster.listen the node is alone"));
        assert!(faults(&format!("listen = \"0.0.0.0:7501\"\n{files}")).contains("cluster.advertise"));
        let reachable = "listen = \"0.0.0.0:7501\"\nadvertise = \"node-1.example:7501\"\n";
        assert_eq!(faults(&format!("{reachable}{files}")), "");
        assert!(faults("listen = \"127.0.0.1:7501\"\nadvertise = \"nowhere\"\n").contains("host and a port"));
    }
}
