//! The one table of everything that can be set: path, form, default, and what it means.
//!
//! The file reader, the environment, the example and the tests all work from it, so none of them can drift.
//! A key's unit is the end of its name: `_ms` milliseconds, `_bytes` bytes, or what is counted. Values are plain
//! integers of that unit; no suffixes are read, so that one value is written in one way only.

mod instance;
mod node;
mod relay;
mod replication;

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An integer in this closed range.
    Integer {
        /// The least.
        minimum: i64,
        /// The greatest.
        maximum: i64,
    },
    /// `true` or `false`.
    Switch,
    /// A name: see [`causeway_core::name::Name`].
    Name,
    /// A path on this machine.
    Path,
    /// An IP address and a port.
    Address,
    /// `host:port`.
    HostAndPort,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A log level or directives.
    LogFilter,
    /// A list of `host:port`.
    HostsAndPorts,
    /// 16 hexadecimal digits.
    Identity,
    /// Where a secret is found: `env:NAME` or `file:/path`. The value is never shown.
    SecretReference,
    /// Any text.
    Text,
}

/// A value as the file or a default gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An integer.
    Integer(i64),
    /// `true` or `false`.
    Switch(bool),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
}

/// What holds where a key is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// An integer.
    Integer(i64),
    /// `true` or `false`.
    Switch(bool),
    /// A text.
    Text(&'static str),
    /// Nothing: the key may be left out.
    Nothing,
    /// The key has to be set.
    Required,
}

/// One thing that can be set.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Section and name, joined by dots.
    pub path: &'static str,
    /// What a value looks like.
    pub form: Form,
    /// What holds where it is not set.
    pub preset: Preset,
    /// What it means, in sentences; line breaks are made where it is printed.
    pub doc: &'static str,
    /// A value to show where there is no default.
    pub sample: &'static str,
}

/// Sections in the order in which they are printed, with what they are about.
pub const SECTIONS: &[(&str, &str)] = &[
    ("node", "Who this node is and where it keeps its data."),
    ("cluster", "Other nodes of the same Causeway cluster. Without an address the node is alone."),
    ("http", "The HTTP interface: API, status page and metrics."),
    ("connection", "Connections to name servers and brokers of every instance."),
    ("replication", "How messages are copied. These hold for every stream of this node."),
    (
        "relay",
        "How messages cross the distance to another region: a node beside the source reads them and sends them to the \
         owner of the partition, which stands beside the target. Only in a cluster of several nodes.",
    ),
    ("schedule", "How often things are looked at and written down."),
    ("log", "What is logged, always to standard error."),
];

const fn integer(path: &'static str, preset: i64, minimum: i64, maximum: i64, doc: &'static str) -> Key {
    Key { path, form: Form::Integer { minimum, maximum }, preset: Preset::Integer(preset), doc, sample: "" }
}

const fn switch(path: &'static str, preset: bool, doc: &'static str) -> Key {
    Key { path, form: Form::Switch, preset: Preset::Switch(preset), doc, sample: "" }
}

const fn text(path: &'static str, form: Form, preset: &'static str, doc: &'static str) -> Key {
    Key { path, form, preset: Preset::Text(preset), doc, sample: "" }
}

const fn optional(path: &'static str, form: Form, sample: &'static str, doc: &'static str) -> Key {
    Key { path, form, preset: Preset::Nothing, doc, sample }
}

const fn required(path: &'static str, form: Form, sample: &'static str, doc: &'static str) -> Key {
    Key { path, form, preset: Preset::Required, doc, sample }
}

/// The version key, which stands before all sections.
pub const VERSION_KEY: &str = "version";

/// The array of tables that names instances.
pub const INSTANCES: &str = "instances";

impl Key {
    /// The section and the name in it.
    #[must_use]
    pub fn split(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }

    /// Whether its value must not be shown.
    #[must_use]
    pub fn hides_value(&self) -> bool {
        self.form == Form::SecretReference
    }
}

/// Every key outside `[[instances]]`.
pub fn all() -> impl Iterator<Item = &'static Key> {
    node::KEYS.iter().chain(replication::KEYS).chain(relay::KEYS)
}

/// Every key of an `[[instances]]` entry.
pub fn of_instance() -> impl Iterator<Item = &'static Key> {
    instance::KEYS.iter()
}

/// The key of this path outside `[[instances]]`.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    all().find(|key| key.path == path)
}

/// The key of this path inside an `[[instances]]` entry.
#[must_use]
pub fn find_in_instance(path: &str) -> Option<&'static Key> {
    of_instance().find(|key| key.path == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_a_section_is_documented_and_has_its_unit_in_its_name() {
        for key in all() {
            let (section, name) = key.split();
            assert!(SECTIONS.iter().any(|(known, _)| *known == section), "{}", key.path);
            assert!(key.doc.ends_with('.'), "{}", key.path);
            if matches!(key.form, Form::Integer { .. }) {
                let units = ["_ms", "_bytes", "_messages", "_connections", "_streams", "_count"];
                let has_unit = name == "id" || units.iter().any(|unit| name.ends_with(unit));
                assert!(has_unit, "{} has no unit", key.path);
            }
        }
        let mut paths: Vec<&str> = all().map(|key| key.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), all().count());
    }
}
