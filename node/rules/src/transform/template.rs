//! A template: text, and where the values of variables go into it.
//!
//! A template whose first character behind spaces is `{` or `[` is JSON, and so is one that is a JSON string as a
//! whole ([`super::json_template`]). Any other is text, into which values go as they are. Either way everything that
//! is not a placeholder stays as it is written, so a template without placeholders is its own result.

use std::fmt::{self, Write as _};

use super::fault::Reason;
use super::json_template;
use super::output::{Output, members};
use super::placeholder::{Broken, Stretch, split};
use super::variables::Variables;
use crate::event::{self, Field, Fields};
use crate::json::{self, Json};

/// The deepest nesting of arrays and objects in a template.
pub(super) const MAXIMUM_DEPTH: usize = 64;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Value(Insertion),
    Spread(Spread),
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// As text.
    Plain,
    /// As text inside the quotes of a JSON string.
    InString,
    /// As a JSON value.
    Json,
}

/// The value of a variable, or else the default, which is written as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Insertion {
    pub(super) variable: usize,
    pub(super) default: Option<String>,
    pub(super) writing: Writing,
}

/// The members of a variable's object, at the end of the object around them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) variable: usize,
    /// The names of the members before it, as JSON strings; these win.
    pub(super) names: Vec<Vec<Piece>>,
}

/// Why a template has no result for a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// It would be longer than the limit.
    TooLong,
    /// The event cannot be had.
    Event(event::Error),
    /// The variable of a marker is no object.
    NotSpreadable(String),
}

impl From<fmt::Error> for Unwritten {
    fn from(_: fmt::Error) -> Self {
        Self::TooLong
    }
}

/// A compiled template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    pieces: Vec<Piece>,
    variables: Variables,
}

/// What a compiled template says of itself before any message.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Faults with their positions.
    pub(super) faults: Vec<(usize, Reason)>,
    /// The names of the outermost object, with their positions, as far as they are fixed.
    pub(super) names: Vec<(usize, String)>,
    /// Whether the result can be a JSON object.
    pub(super) may_be_object: bool,
}

impl Template {
    pub(super) fn compile(text: &str, mut variables: Variables) -> (Self, Findings) {
        let mut findings = Findings::default();
        let pieces = if json_template::is_json(text) {
            json_template::compile(text, &mut variables, &mut findings)
        } else {
            plain(text, &mut variables, &mut findings)
        };
        (Self { pieces: merged(pieces), variables }, findings)
    }

    /// Its result, if that is the same for every message.
    pub(super) fn constant(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    pub(super) fn needs_body(&self) -> bool {
        self.variables.needs_body()
    }

    /// Its result for an event, at most `limit` bytes.
    pub(super) fn write(&self, event: &impl Fields, limit: usize) -> Result<String, Unwritten> {
        let values = self.variables.values(event).map_err(Unwritten::Event)?;
        let mut output = Output::new(limit);
        self.write_pieces(&self.pieces, &values, &mut output)?;
        Ok(output.into_text())
    }

    fn write_pieces(&self, pieces: &[Piece], values: &[Option<Field<'_>>], out: &mut Output) -> Result<(), Unwritten> {
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.write_str(text)?,
                Piece::Value(insertion) => insert(insertion, values, out)?,
                Piece::Spread(spread) => self.spread(spread, values, out)?,
            }
        }
        Ok(())
    }

    fn spread(&self, spread: &Spread, values: &[Option<Field<'_>>], out: &mut Output) -> Result<(), Unwritten> {
        let Some(Some(value)) = values.get(spread.variable) else { return Ok(()) };
        let not_spreadable = || Unwritten::NotSpreadable(self.variables.name(spread.variable).to_owned());
        let parsed: Json;
        let object = match value {
            Field::Json(json) if matches!(**json, Json::Object(_)) => &**json,
            // A body that is read as text can be the JSON of an object all the same.
            other => {
                parsed = Json::parse(&other.to_text()).map_err(|_: json::Error| not_spreadable())?;
                &parsed
            }
        };
        let Json::Object(object) = object else { return Err(not_spreadable()) };
        let mut taken = Vec::with_capacity(spread.names.len());
        for name in &spread.names {
            // Names are bounded by the template and by what the output of this message could hold anyway.
            let mut written = Output::new(out.limit().saturating_add(2));
            self.write_pieces(name, values, &mut written)?;
            if let Ok(Json::Text(name)) = Json::parse(&written.into_text()) {
                taken.push(name);
            }
        }
        let mut separator = if spread.names.is_empty() { "" } else { "," };
        for (name, value) in members(object, &taken) {
            write!(out, "{separator}\"")?;
            out.push_escaped(name)?;
            write!(out, "\":{value}")?;
            separator = ",";
        }
        Ok(())
    }
}

fn insert(insertion: &Insertion, values: &[Option<Field<'_>>], out: &mut Output) -> fmt::Result {
    match (values.get(insertion.variable).and_then(Option::as_ref), &insertion.default, insertion.writing) {
        (Some(value), _, Writing::Plain) => out.write_str(&value.to_text()),
        (Some(value), _, Writing::InString) => out.push_escaped(&value.to_text()),
        (Some(value), _, Writing::Json) => out.push_json(value),
        (None, Some(default), _) => out.write_str(default),
        (None, None, Writing::Json) => out.write_str("null"),
        (None, None, Writing::Plain | Writing::InString) => Ok(()),
    }
}

/// The number of a placeholder's variable; a fault if there is none.
pub(super) fn resolve(
    name: &str,
    position: usize,
    variables: &mut Variables,
    faults: &mut Vec<(usize, Reason)>,
) -> Option<usize> {
    let number = variables.number(name);
    if number.is_none() {
        faults.push((position, Reason::UnknownVariable(name.to_owned())));
    }
    number
}

/// The fault of a placeholder that is none, in a text that begins at `start`.
pub(super) fn broken(broken: Broken, start: usize) -> (usize, Reason) {
    match broken {
        Broken::NotClosed { position } => (start.saturating_add(position), Reason::NotClosed),
        Broken::NoName { position } => (start.saturating_add(position), Reason::NoName),
    }
}

fn plain(text: &str, variables: &mut Variables, findings: &mut Findings) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for stretch in split(text) {
        match stretch {
            Ok(Stretch::Text { text, .. }) => pieces.push(Piece::Text(text.to_owned())),
            Ok(Stretch::Placeholder { position, name, default }) => {
                if let Some(variable) = resolve(name, position, variables, &mut findings.faults) {
                    let default = default.map(str::to_owned);
                    pieces.push(Piece::Value(Insertion { variable, default, writing: Writing::Plain }));
                }
            }
            Err(error) => findings.faults.push(broken(error, 0)),
        }
    }
    // A text that begins with letters is never an object, whatever is inserted behind them.
    let begin = pieces.iter().find_map(|piece| match piece {
        Piece::Text(text) => text.trim_start().chars().next(),
        Piece::Value(_) | Piece::Spread(_) => Some('{'),
    });
    findings.may_be_object = begin.is_none_or(|begin| begin == '{');
    pieces
}

/// Neighbouring texts become one.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut merged: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (merged.last_mut(), piece) {
            (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
            (_, piece) => merged.push(piece),
        }
    }
    merged
}
