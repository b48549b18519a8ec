//! What is wrong with a configuration, said so that a person can mend it: where, which value, why, what to do.
//!
//! Never shows the value of a key that may hold a secret.

use std::fmt;

use causeway_core::error_code::ErrorCode;

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file and a line in it, the first being 1.
    Line {
        /// The file as the operator named it.
        file: String,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// Nowhere: a default, or something that is missing.
    Nowhere,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(formatter, "{file} line {line}"),
            Self::Variable(name) => write!(formatter, "environment variable {name}"),
            Self::Nowhere => formatter.write_str("not set"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The stable code.
    pub code: ErrorCode,
    /// The key's path, or what stands in its place.
    pub key: String,
    /// Where the value came from.
    pub origin: Origin,
    /// The value as given; none where there is none or it may be a secret.
    pub value: Option<String>,
    /// What is true.
    pub reason: String,
    /// What to do.
    pub remedy: String,
}

impl Fault {
    /// A fault of a key, without a value to show.
    pub fn new(key: impl Into<String>, origin: Origin, reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            code: ErrorCode::InvalidConfiguration,
            key: key.into(),
            origin,
            value: None,
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }

    /// The same with the value that was given, shortened to what fits a line.
    #[must_use]
    pub fn value(mut self, value: impl fmt::Display) -> Self {
        const LONGEST: usize = 80;
        let text = value.to_string();
        let mut shown: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        if text.chars().nth(LONGEST).is_some() {
            shown.push_str("...");
        }
        self.value = Some(shown);
        self
    }

    /// The same under another code.
    #[must_use]
    pub fn code(mut self, code: ErrorCode) -> Self {
        self.code = code;
        self
    }
}

/// Two lines: what is true, and what to do.
impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(formatter, " = {value}")?;
        }
        if self.origin != Origin::Nowhere {
            write!(formatter, "  ({})", self.origin)?;
        }
        write!(formatter, "\n    {}: {}\n    -> {}", self.code, self.reason, self.remedy)
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Takes the faults: unknown keys first because they explain others, then in the order of the file.
    #[must_use]
    pub fn new(mut faults: Vec<Fault>) -> Self {
        let line = |fault: &Fault| if let Origin::Line { line, .. } = &fault.origin { *line } else { usize::MAX };
        faults.sort_by_key(|fault| (fault.reason != UNKNOWN, line(fault)));
        Self(faults)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

/// The reason of every unknown key.
pub(crate) const UNKNOWN: &str = "there is no such key";

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let noun = if count == 1 { "fault" } else { "faults" };
        write!(formatter, "the configuration has {count} {noun}:")?;
        for fault in &self.0 {
            write!(formatter, "\n  {fault}")?;
        }
        Ok(())
    }
}
