//! Reads the text of a configuration file into values, each with its line. Knows the keys, not their meaning.
//!
//! Goes on after every fault, so that all of them are found. Never echoes a line of the file: it might hold a secret.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeArray, DeTable, DeValue};

use crate::config::fault::{Fault, Faults, Origin, UNKNOWN};
use crate::config::keys::{self, Form, Key, Value};
use crate::config::suggest::nearest;
use crate::config::{MAXIMUM_FILE_BYTES, VERSION};

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The value.
    pub value: Value,
    /// Where it was given.
    pub origin: Origin,
}

/// Values by key path.
pub type Settings = BTreeMap<&'static str, Setting>;

/// An `[[instances]]` entry.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its values.
    pub settings: Settings,
    /// Where it begins.
    pub origin: Origin,
}

/// What a file and the environment say, before defaults.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// Everything outside `[[instances]]`.
    pub settings: Settings,
    /// The instances in the order of the file.
    pub instances: Vec<Entry>,
}

/// How many syntax faults are reported; what follows one is often only its consequence.
const MAXIMUM_SYNTAX_FAULTS: usize = 5;

/// Reads a file of at most [`MAXIMUM_FILE_BYTES`].
///
/// # Errors
/// One fault that says what is wrong with the file as a whole.
pub fn read(path: &Path) -> Result<String, Faults> {
    let whole = |reason: String, remedy: &str| {
        Faults::new(vec![Fault::new(path.display().to_string(), Origin::Nowhere, reason, remedy)])
    };
    let unreadable = |error: std::io::Error| {
        whole(
            format!("the file cannot be read: {error}"),
            "name a file that exists and may be read, or print a new one with: causeway config example",
        )
    };
    let mut text = String::new();
    let limit = MAXIMUM_FILE_BYTES.saturating_add(1);
    std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text)).map_err(unreadable)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAXIMUM_FILE_BYTES {
        return Err(whole(
            format!("the file is larger than {MAXIMUM_FILE_BYTES} bytes"),
            "name a configuration file, not something else",
        ));
    }
    Ok(text)
}

/// Turns text into a draft, adding whatever is wrong to `faults`.
#[must_use]
pub fn parse(text: &str, file: &str, faults: &mut Vec<Fault>) -> Draft {
    let mut reader = Reader { text, file, faults, draft: Draft::default(), depth_known: true };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(MAXIMUM_SYNTAX_FAULTS) {
        reader.syntax(error);
    }
    reader.depth_known = errors.is_empty();
    reader.version(document.get_ref());
    reader.table(document.get_ref(), "");
    reader.draft
}

struct Reader<'a> {
    text: &'a str,
    file: &'a str,
    faults: &'a mut Vec<Fault>,
    draft: Draft,
    /// False after a syntax fault: what is missing may then only be unreadable.
    depth_known: bool,
}

impl Reader<'_> {
    fn origin(&self, span: &Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count().saturating_add(1);
        Origin::Line { file: self.file.to_owned(), line }
    }

    fn syntax(&mut self, error: &toml::de::Error) {
        let origin = error.span().map_or(Origin::Nowhere, |span| self.origin(&span));
        let reason = format!("this is not TOML: {}", error.message().replace('\n', ", "));
        self.faults.push(Fault::new("syntax", origin, reason, "compare with: causeway config example"));
    }

    fn version(&mut self, document: &DeTable<'_>) {
        let remedy = format!("begin the file with: version = {VERSION}");
        match document.get(keys::VERSION_KEY) {
            None if self.depth_known => {
                let reason = "the file does not say which version of the format it is written in";
                self.faults.push(Fault::new(keys::VERSION_KEY, Origin::Nowhere, reason, remedy));
            }
            Some(version) if integer(version.get_ref()) != Some(VERSION) => {
                let reason = format!("this release reads version {VERSION} of the format");
                let origin = self.origin(&version.span());
                self.faults.push(Fault::new(keys::VERSION_KEY, origin, reason, remedy));
            }
            _ => {}
        }
    }

    fn table(&mut self, table: &DeTable<'_>, section: &str) {
        for (name, value) in table {
            let path = join(section, name.get_ref());
            let is_section = keys::SECTIONS.iter().any(|(known, _)| *known == path);
            match (keys::find(&path), value.get_ref()) {
                (Some(key), found) => {
                    let origin = self.origin(&value.span());
                    if let Some(setting) = read_value(key, key.path, found, origin, self.faults) {
                        self.draft.settings.insert(key.path, setting);
                    }
                }
                (None, DeValue::Table(inner)) if is_section => self.table(inner, &path),
                (None, _) if is_section => self.not_a_section(&path, &value.span()),
                (None, DeValue::Array(entries)) if path == keys::INSTANCES => self.instances(entries),
                (None, _) if path == keys::INSTANCES => {
                    let origin = self.origin(&value.span());
                    let reason = "instances are given as tables, one for each";
                    self.faults.push(Fault::new(path, origin, reason, "begin each with a line: [[instances]]"));
                }
                (None, _) if path == keys::VERSION_KEY => {}
                (None, _) => {
                    let origin = self.origin(&name.span());
                    let known = keys::all().map(|key| key.path).chain(keys::SECTIONS.iter().map(|(name, _)| *name));
                    let fault = unknown(path.clone(), &path, origin, known.chain([keys::INSTANCES, keys::VERSION_KEY]));
                    self.faults.push(fault);
                }
            }
        }
    }

    fn not_a_section(&mut self, path: &str, span: &Range<usize>) {
        let origin = self.origin(span);
        let reason = "this is the name of a section, not of a value";
        self.faults.push(Fault::new(path, origin, reason, format!("write the section as [{path}]")));
    }

    fn instances(&mut self, entries: &DeArray<'_>) {
        for (position, entry) in entries.iter().enumerate() {
            let origin = self.origin(&entry.span());
            let label = format!("{}[{position}]", keys::INSTANCES);
            let DeValue::Table(table) = entry.get_ref() else {
                let reason = "an instance is a table";
                self.faults.push(Fault::new(label, origin, reason, "begin it with a line: [[instances]]"));
                continue;
            };
            let mut settings = Settings::new();
            self.instance(table, "", &label, &mut settings);
            self.draft.instances.push(Entry { settings, origin });
        }
    }

    fn instance(&mut self, table: &DeTable<'_>, section: &str, label: &str, settings: &mut Settings) {
        for (name, value) in table {
            let path = join(section, name.get_ref());
            let shown = format!("{label}.{path}");
            match (keys::find_in_instance(&path), value.get_ref()) {
                (Some(key), found) => {
                    let origin = self.origin(&value.span());
                    if let Some(setting) = read_value(key, &shown, found, origin, self.faults) {
                        settings.insert(key.path, setting);
                    }
                }
                (None, DeValue::Table(inner)) if path == "tls" => self.instance(inner, &path, label, settings),
                (None, _) => {
                    let origin = self.origin(&name.span());
                    let known = keys::of_instance().map(|key| key.path).chain(["tls"]);
                    self.faults.push(unknown(shown, &path, origin, known));
                }
            }
        }
    }
}

fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

fn unknown<'a>(shown: String, path: &str, origin: Origin, known: impl IntoIterator<Item = &'a str>) -> Fault {
    let remedy = match nearest(path, known) {
        Some(word) => format!("did you mean {word}?"),
        None => "remove it; causeway config example lists every key".to_owned(),
    };
    let shown: String = shown.chars().filter(|c| !c.is_control()).take(80).collect();
    Fault::new(shown, origin, UNKNOWN, remedy)
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let integer = value.as_integer()?;
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn read_value(key: &Key, shown: &str, found: &DeValue<'_>, origin: Origin, faults: &mut Vec<Fault>) -> Option<Setting> {
    let value = match key.form {
        Form::Integer { .. } => integer(found).map(Value::Integer),
        Form::Switch => found.as_bool().map(Value::Switch),
        Form::HostsAndPorts => texts(found).map(Value::Texts),
        _ => found.as_str().map(|text| Value::Text(text.to_owned())),
    };
    let wanted = match key.form {
        Form::Integer { .. } => "an integer of 64 bits, without quotes and without a unit",
        Form::Switch => "true or false, without quotes",
        Form::HostsAndPorts => "a list of texts, such as [\"10.0.0.5:9876\"]",
        _ => "a text in quotes",
    };
    match value {
        Some(value) => Some(Setting { value, origin }),
        None => {
            let reason = format!("the value is of type {}", found.type_str());
            let fault = Fault::new(shown, origin, reason, format!("write {wanted}"));
            let given = if key.hides_value() { None } else { plain(found) };
            faults.push(match given {
                Some(given) => fault.value(given),
                None => fault,
            });
            None
        }
    }
}

/// A value as it was written, where it is one word.
fn plain(found: &DeValue<'_>) -> Option<String> {
    match found {
        DeValue::String(text) => Some(format!("{text:?}")),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn texts(found: &DeValue<'_>) -> Option<Vec<String>> {
    found.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
}
