//! `causeway check-config`: the file, this machine, and the instances, without changing anything.
//!
//! Where a node runs at the file's address already, it tests the instances that are registered there; that needs its
//! token. The other instances of the file are connected to from here, with the secrets of this environment.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use causeway_cluster::transport::Tls;
use causeway_core::error_code::ErrorCode;
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::state::State;
use serde_json::{Value, json};

use crate::admin::model::{InstanceTest, InstanceView};
use crate::admin::probe;
use crate::cli::args::{Format, Shared};
use crate::cli::exit::{Exit, Failure, read};
use crate::cli::http::{Api, segment};
use crate::cli::human::time;
use crate::cli::instance::{conclusion, findings};
use crate::cli::interrupt;
use crate::cli::screen::Screen;
use crate::cli::table::{Cell, Column, Table, Tone};
use crate::clock;
use crate::config::{self, Faults, NodeConfig};
use crate::connect::Instances;
use crate::secrets::{KEY_FILE, SecretStore};

/// One thing that was looked at.
struct Check {
    what: String,
    /// What is wrong, if something is.
    code: Option<ErrorCode>,
    found: String,
}

/// Checks a configuration file, or the defaults.
pub fn check(path: Option<&Path>, offline: bool, shared: &Shared, screen: &mut Screen) -> Exit {
    let loaded = match config::load(path) {
        Ok(loaded) => loaded,
        Err(faults) => return refuse(&faults, shared.output, screen),
    };
    let config = loaded.config;
    let name = path.map_or_else(|| "the defaults".to_owned(), |path| path.display().to_string());
    let found =
        format!("{name}: no fault; node {} named {} in {}", config.node.id, config.node.name, config.node.region);
    let mut checks = vec![Check { what: "configuration".to_owned(), code: None, found }];
    checks.extend(loaded.notes.into_iter().map(|found| Check { what: "note".to_owned(), code: None, found }));
    let mut tests = Vec::new();
    if !offline {
        checks.push(data_directory(&config.node.data_directory));
        checks.extend(key_file(&config.node.data_directory));
        checks.extend(certificates(&config));
        let (listen, node_runs) = listen(config.http.listen);
        checks.push(listen);
        if node_runs {
            tests.extend(from_node(config.http.listen, shared, &mut checks));
        }
        // What is registered already is tested by the node, with the node's secrets and from where it stands.
        let registered: BTreeSet<Name> = tests.iter().map(|test| test.instance.clone()).collect();
        tests.extend(from_here(&config, &registered, &mut checks));
    }
    report(&checks, &tests, shared.output, screen)
}

fn refuse(faults: &Faults, format: Format, screen: &mut Screen) -> Exit {
    if format == Format::Json {
        let each = faults.iter().map(|fault| {
            json!({ "key": fault.key, "where": fault.origin.to_string(), "value": fault.value, "code": fault.code,
                    "reason": fault.reason, "remedy": fault.remedy })
        });
        screen.json(&json!({ "passed": false, "faults": each.collect::<Vec<_>>() }));
    } else {
        screen.remark(faults.to_string());
    }
    Exit::Failed
}

fn report(checks: &[Check], tests: &[InstanceTest], format: Format, screen: &mut Screen) -> Exit {
    let passed = checks.iter().all(|check| check.code.is_none()) && tests.iter().all(|test| test.passed);
    if format == Format::Json {
        let rows = checks.iter().map(|check| json!({ "check": check.what, "code": check.code, "found": check.found }));
        screen.json(&json!({ "passed": passed, "checks": rows.collect::<Vec<_>>(), "instances": tests }));
    } else {
        let mut table =
            Table::new(vec![Column::left("CHECK"), Column::left("RESULT"), Column::left("FOUND").wrapped()]);
        for Check { what, code, found } in checks {
            let result = match code {
                None => Cell::toned("ok", Tone::Good),
                Some(_) => Cell::toned("failed", Tone::Bad),
            };
            table.row(vec![what.as_str().into(), result, found.as_str().into()]);
            if let Some(code) = code {
                table.note(read(&code.to_string()), Tone::Quiet);
            }
        }
        screen.table(&table);
        for test in tests {
            screen.line("");
            screen.line(format!("instance {}", test.instance));
            screen.table(&findings(test));
            screen.line(conclusion(test));
        }
    }
    if passed { Exit::Done } else { Exit::Failed }
}

/// Whether the node could keep its data there.
fn data_directory(directory: &Path) -> Check {
    let what = "data directory".to_owned();
    let shown = directory.display();
    let failed = |found| Check { what: what.clone(), code: Some(ErrorCode::DataDirectory), found };
    if directory.exists() && !directory.is_dir() {
        return failed(format!("{shown} is not a directory"));
    }
    let Some(existing) = directory.ancestors().map(or_here).find(|path| path.is_dir()) else {
        return failed(format!("no part of {shown} exists"));
    };
    match try_writing(&existing) {
        Err(error) => failed(format!("{} cannot be written to: {error}", existing.display())),
        Ok(()) if directory.is_dir() => {
            Check { what, code: None, found: format!("{shown} exists and can be written to") }
        }
        Ok(()) => Check { what, code: None, found: format!("{shown} does not exist yet and can be made") },
    }
}

fn or_here(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

fn try_writing(directory: &Path) -> std::io::Result<()> {
    let probe = directory.join(format!(".causeway-check-{}", std::process::id()));
    std::fs::OpenOptions::new().write(true).create_new(true).open(&probe)?;
    std::fs::remove_file(probe)
}

/// Whether this node and others would take its certificates, where it has some.
fn certificates(config: &NodeConfig) -> Option<Check> {
    let files = config.cluster.as_ref()?.tls.as_ref()?.files();
    let what = "certificates".to_owned();
    Some(match Tls::load(files, config.node.name.clone()) {
        Ok(tls) => {
            let end = clock::timestamp(tls.expiry().certificate);
            Check { what, code: None, found: format!("can be used until {}", time(end)) }
        }
        Err(error) => Check { what, code: Some(ErrorCode::CertificateUnusable), found: error.to_string() },
    })
}

fn key_file(directory: &Path) -> Option<Check> {
    let path = directory.join(KEY_FILE);
    if !path.exists() {
        return None;
    }
    let (code, found) = match SecretStore::open(directory) {
        Ok(_) => (None, format!("{} can be used", path.display())),
        Err(error) => (Some(error.code()), error.to_string()),
    };
    Some(Check { what: "sealing key".to_owned(), code, found })
}

/// Whether the address is free, or a node runs there.
fn listen(address: SocketAddr) -> (Check, bool) {
    let what = "listen address".to_owned();
    let ok = |found: String| Check { what: what.clone(), code: None, found };
    match TcpListener::bind(address) {
        Ok(_) => (ok(format!("{address} is free")), false),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && node_answers(address) => {
            (ok(format!("a node runs at {address} already")), true)
        }
        Err(error) => {
            let found = format!("{address} cannot be listened on: {error}");
            (Check { what, code: Some(ErrorCode::AddressUnusable), found }, false)
        }
    }
}

fn node_answers(address: SocketAddr) -> bool {
    let answer = Api::new(&address.to_string(), None).and_then(|api| api.get("/v1/version"));
    // Without a token a node refuses, in its own words.
    match answer {
        Ok(_) => true,
        Err(failure) => failure.faults.iter().any(|fault| fault.code == ErrorCode::Unauthenticated.to_string()),
    }
}

fn from_here(config: &NodeConfig, registered: &BTreeSet<Name>, checks: &mut Vec<Check>) -> Vec<InstanceTest> {
    let specs = config.instances.iter().map(|instance| &instance.spec);
    let specs: Vec<&InstanceSpec> = specs.filter(|spec| !registered.contains(&spec.name)).collect();
    if specs.is_empty() {
        return Vec::new();
    }
    let prepared = SecretStore::without_key_file()
        .map_err(|error| Failure::new(error.code(), error.to_string()))
        .and_then(|secrets| Ok((secrets, interrupt::runtime()?)));
    let (secrets, runtime) = match prepared {
        Ok(prepared) => prepared,
        Err(failure) => {
            checks.push(broken("instances", &failure));
            return Vec::new();
        }
    };
    let (_nothing_registered, view) = tokio::sync::watch::channel(Arc::new(State::default()));
    let instances = Arc::new(Instances::new(view, Arc::new(secrets), config.connection));
    specs.into_iter().map(|spec| runtime.block_on(probe::test(&instances, spec, None))).collect()
}

fn from_node(address: SocketAddr, shared: &Shared, checks: &mut Vec<Check>) -> Vec<InstanceTest> {
    let here = Shared { address: address.to_string(), ..shared.clone() };
    let tested = crate::cli::connect(&here).and_then(|api| {
        let instances = api.list("/v1/instances")?;
        let names = instances.iter().map(|item| api.read::<InstanceView>(item).map(|instance| instance.name));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let test = |name: &Name| {
            let path = format!("/v1/instances/{}:test", segment(name.as_str()));
            api.post(&path, None::<&Value>).and_then(|answer| api.read::<InstanceTest>(&answer))
        };
        names.iter().map(test).collect::<Result<Vec<_>, _>>()
    });
    tested.unwrap_or_else(|failure| {
        checks.push(broken("registered instances", &failure));
        Vec::new()
    })
}

fn broken(what: &str, failure: &Failure) -> Check {
    let first = failure.faults.first();
    let code = first.and_then(|fault| crate::cli::exit::known(&fault.code)).unwrap_or(ErrorCode::Internal);
    let mut found = first.map_or_else(String::new, |fault| fault.message.clone());
    if let Some(advice) = &failure.advice {
        found.push_str("; ");
        found.push_str(advice);
    }
    Check { what: what.to_owned(), code: Some(code), found }
}
