//! Turns values into types and fills in defaults. What is out of range or malformed becomes a fault, and the default
//! takes its place, so that the rest can be judged too.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use causeway_core::ids::NodeId;
use causeway_core::name::Name;

use crate::config::fault::{Fault, Origin};
use crate::config::file::{Draft, Setting, Settings};
use crate::config::keys::{self, Form, Key, Preset, Value};
use crate::config::{
    ClusterSection, ClusterTls, ConnectionSection, HttpSection, LogFormat, LogSection, NodeConfig, NodeSection,
    ScheduleSection, instance, relay, replication,
};

/// The configuration that the draft and the defaults make; none only if a default is not valid, which tests rule out.
#[must_use]
pub fn resolve(draft: &Draft, faults: &mut Vec<Fault>) -> Option<NodeConfig> {
    let instances = draft
        .instances
        .iter()
        .enumerate()
        .filter_map(|(position, entry)| instance::resolve(entry, position, faults))
        .collect();
    let mut values = Values::new(&draft.settings, "", faults);
    Some(NodeConfig {
        node: NodeSection {
            id: NodeId(values.count("node.id")),
            name: values.name("node.name")?,
            region: values.name("node.region")?,
            data_directory: PathBuf::from(values.text("node.data_directory")),
        },
        cluster: cluster(&mut values),
        http: HttpSection { listen: values.address("http.listen") },
        connection: ConnectionSection {
            connect_timeout: values.milliseconds("connection.connect_timeout_ms"),
            request_timeout: values.milliseconds("connection.request_timeout_ms"),
            unacknowledged: values.milliseconds("connection.unacknowledged_ms"),
            send_connections: values.size("connection.send_connections"),
        },
        replication: replication::resolve(&mut values),
        relay: relay::resolve(&mut values),
        schedule: ScheduleSection {
            checkpoint_interval: values.milliseconds("schedule.checkpoint_interval_ms"),
            discovery_interval: values.milliseconds("schedule.discovery_interval_ms"),
            shutdown_grace: values.milliseconds("schedule.shutdown_grace_ms"),
        },
        log: LogSection {
            level: values.text("log.level"),
            format: if values.text("log.format") == "json" { LogFormat::Json } else { LogFormat::Text },
        },
        instances,
    })
}

/// Files that are set in part are judged with the rest.
fn cluster(values: &mut Values<'_>) -> Option<ClusterSection> {
    let advertise = values.optional_host_and_port("cluster.advertise");
    let authority = values.optional_text("cluster.certificate_authority_file");
    let certificate = values.optional_text("cluster.certificate_file");
    let key = values.optional_text("cluster.key_file");
    values.optional_text("cluster.listen")?;
    let tls = authority.zip(certificate).zip(key).map(|((authority, certificate), key)| ClusterTls {
        certificate_authority_file: PathBuf::from(authority),
        certificate_file: PathBuf::from(certificate),
        key_file: PathBuf::from(key),
    });
    Some(ClusterSection { listen: values.address("cluster.listen"), advertise, tls })
}

/// Reads typed values out of settings and notes what is wrong with them.
pub(super) struct Values<'a> {
    settings: &'a Settings,
    /// What stands before a key's path in messages.
    prefix: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Values<'a> {
    pub(super) fn new(settings: &'a Settings, prefix: &'a str, faults: &'a mut Vec<Fault>) -> Self {
        Self { settings, prefix, faults }
    }

    fn key(&self, path: &str) -> Option<&'static Key> {
        if self.prefix.is_empty() { keys::find(path) } else { keys::find_in_instance(path) }
    }

    fn default_integer(&self, path: &str) -> i64 {
        match self.key(path).map(|key| key.preset) {
            Some(Preset::Integer(value)) => value,
            _ => 0,
        }
    }

    /// An integer in the key's range.
    pub(super) fn integer(&mut self, path: &str) -> i64 {
        let default = self.default_integer(path);
        let (Some(key), Some(setting)) = (self.key(path), self.settings.get(path)) else {
            return default;
        };
        let (Form::Integer { minimum, maximum }, Value::Integer(value)) = (key.form, &setting.value) else {
            return default;
        };
        if (minimum..=maximum).contains(value) {
            return *value;
        }
        let reason = if maximum == i64::MAX {
            format!("the value has to be at least {minimum}")
        } else {
            format!("the value has to be from {minimum} to {maximum}")
        };
        self.refuse(path, setting, reason, format!("the default is {default}"));
        default
    }

    /// A number that is not negative.
    pub(super) fn count(&mut self, path: &str) -> u64 {
        u64::try_from(self.integer(path)).unwrap_or_default()
    }

    /// A number of things in memory.
    pub(super) fn size(&mut self, path: &str) -> usize {
        usize::try_from(self.integer(path)).unwrap_or(usize::MAX)
    }

    /// A number of at most 32 bits.
    pub(super) fn small(&mut self, path: &str) -> u32 {
        u32::try_from(self.integer(path)).unwrap_or(u32::MAX)
    }

    /// A span of time.
    pub(super) fn milliseconds(&mut self, path: &str) -> Duration {
        Duration::from_millis(self.count(path))
    }

    /// Whether something is on.
    pub(super) fn switch(&mut self, path: &str) -> bool {
        let default = matches!(self.key(path).map(|key| key.preset), Some(Preset::Switch(true)));
        match self.settings.get(path).map(|setting| &setting.value) {
            Some(Value::Switch(value)) => *value,
            _ => default,
        }
    }

    /// A text as it was given, or the default.
    pub(super) fn text(&mut self, path: &str) -> String {
        let default = match self.key(path).map(|key| key.preset) {
            Some(Preset::Text(text)) => text.to_owned(),
            _ => String::new(),
        };
        self.optional_text(path).unwrap_or(default)
    }

    /// A text that may be left out.
    pub(super) fn optional_text(&mut self, path: &str) -> Option<String> {
        let setting = self.settings.get(path)?;
        let Value::Text(text) = &setting.value else {
            return None;
        };
        if text.trim().is_empty() {
            self.refuse(path, setting, "the value is empty", "give a value or remove the key");
            return None;
        }
        if let Some(Form::Choice(words)) = self.key(path).map(|key| key.form)
            && !words.contains(&text.as_str())
        {
            self.refuse(
                path,
                setting,
                "this is none of the words it can be",
                format!("use one of: {}", words.join(", ")),
            );
            return None;
        }
        Some(text.clone())
    }

    /// A name that may be left out.
    pub(super) fn optional_name(&mut self, path: &str) -> Option<Name> {
        let text = self.optional_text(path)?;
        match Name::new(text) {
            Ok(name) => Some(name),
            Err(invalid) => {
                let setting = self.settings.get(path)?;
                self.refuse(path, setting, invalid.to_string(), "choose another name");
                None
            }
        }
    }

    fn name(&mut self, path: &str) -> Option<Name> {
        self.optional_name(path).or_else(|| match self.key(path)?.preset {
            Preset::Text(text) => Name::new(text).ok(),
            _ => None,
        })
    }

    /// A `host:port` that may be left out.
    fn optional_host_and_port(&mut self, path: &str) -> Option<String> {
        let text = self.optional_text(path)?;
        if instance::is_host_and_port(&text) {
            return Some(text);
        }
        let setting = self.settings.get(path)?;
        self.refuse(path, setting, "this is not a host and a port", "write it as node-1.example:7501");
        None
    }

    fn address(&mut self, path: &str) -> SocketAddr {
        let text = self.text(path);
        match SocketAddr::from_str(text.trim()) {
            Ok(address) => address,
            Err(_) => {
                if let Some(setting) = self.settings.get(path) {
                    let reason = "this is not an IP address and a port";
                    self.refuse(path, setting, reason, "write it as 127.0.0.1:7500 or [::1]:7500");
                }
                SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))
            }
        }
    }

    /// Notes that a value cannot be used.
    pub(super) fn refuse(
        &mut self,
        path: &str,
        setting: &Setting,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let fault = Fault::new(self.shown(path), setting.origin.clone(), reason, remedy);
        let hidden = self.key(path).is_none_or(Key::hides_value);
        self.faults.push(if hidden { fault } else { fault.value(display(&setting.value)) });
    }

    /// Notes that a key which has to be set is not.
    pub(super) fn missing(&mut self, path: &str, origin: &Origin) {
        let sample = self.key(path).map_or("", |key| key.sample);
        let last = path.rsplit('.').next().unwrap_or(path);
        let remedy = format!("set it, for example: {last} = {sample}");
        self.faults.push(Fault::new(self.shown(path), origin.clone(), "the key has to be set", remedy));
    }

    fn shown(&self, path: &str) -> String {
        if self.prefix.is_empty() { path.to_owned() } else { format!("{}.{path}", self.prefix) }
    }
}

/// A value as it would be written in the file.
pub(super) fn display(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Switch(value) => value.to_string(),
        Value::Text(text) => format!("{text:?}"),
        Value::Texts(texts) => format!("{texts:?}"),
    }
}
