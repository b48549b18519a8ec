//! Templates that are JSON with placeholders: whatever the values are, the result is JSON.
//!
//! Inside a string a placeholder stands for text and the value is escaped; outside of one it stands for a whole value
//! and that is written as JSON. Which of both it is, is read off the template once. A default is part of the template:
//! inside a string it is written as JSON escapes it, outside it is JSON itself.

use super::MARKER;
use super::fault::Reason;
use super::placeholder::{Stretch, split};
use super::template::{Findings, Insertion, MAXIMUM_DEPTH, Piece, Spread, Writing, broken, resolve};
use super::variables::Variables;
use crate::json::Json;

/// The text does not go on as JSON; the fault is told.
struct Stop;

/// Whether a template is JSON rather than text.
pub(super) fn is_json(text: &str) -> bool {
    match text.trim_start_matches(is_space).chars().next() {
        Some('{' | '[') => true,
        Some('"') => Json::parse(text).is_ok(),
        _ => false,
    }
}

/// Compiles a template; what is wrong with it is in the findings.
pub(super) fn compile(text: &str, variables: &mut Variables, findings: &mut Findings) -> Vec<Piece> {
    findings.may_be_object = text.trim_start_matches(is_space).starts_with('{');
    let mut compiler = Compiler { text, position: 0, pieces: Vec::new(), variables, findings };
    compiler.keep_space();
    if compiler.value(0).is_ok() {
        compiler.keep_space();
        if !compiler.rest().is_empty() {
            compiler.stop::<()>("the end").ok();
        }
    }
    compiler.pieces
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

struct Compiler<'a> {
    text: &'a str,
    position: usize,
    pieces: Vec<Piece>,
    variables: &'a mut Variables,
    findings: &'a mut Findings,
}

impl<'a> Compiler<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn fault(&mut self, position: usize, reason: Reason) {
        self.findings.faults.push((position, reason));
    }

    fn stop<T>(&mut self, expected: &'static str) -> Result<T, Stop> {
        self.fault(self.position, Reason::TemplateNotJson(expected));
        Err(Stop)
    }

    /// Passes over what is known to be there.
    fn pass(&mut self, length: usize) -> &'a str {
        let passed = self.rest().get(..length).unwrap_or_default();
        self.position = self.position.saturating_add(length);
        passed
    }

    fn keep(&mut self, length: usize) {
        let kept = self.pass(length).to_owned();
        self.pieces.push(Piece::Text(kept));
    }

    fn keep_space(&mut self) {
        self.keep(self.rest().len().saturating_sub(self.rest().trim_start_matches(is_space).len()));
    }

    /// One value; `depth` arrays and objects are around it.
    fn value(&mut self, depth: usize) -> Result<(), Stop> {
        match self.rest().chars().next() {
            Some('{' | '[') if depth == MAXIMUM_DEPTH => {
                self.fault(self.position, Reason::TooDeep);
                Err(Stop)
            }
            Some('{') => self.object(depth.saturating_add(1)),
            Some('[') => self.array(depth.saturating_add(1)),
            Some('"') => self.string().map(|_| ()),
            Some('$') => self.placeholder(),
            _ => self.scalar(),
        }
    }

    fn scalar(&mut self) -> Result<(), Stop> {
        let ends = |character: char| is_space(character) || ",:[]{}\"$".contains(character);
        let length = self.rest().find(ends).unwrap_or(self.rest().len());
        if Json::parse(self.rest().get(..length).unwrap_or_default()).is_err() {
            return self.stop("a value");
        }
        self.keep(length);
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), Stop> {
        self.keep(1);
        self.keep_space();
        if self.rest().starts_with(']') {
            self.keep(1);
            return Ok(());
        }
        loop {
            self.keep_space();
            self.value(depth)?;
            self.keep_space();
            match self.rest().chars().next() {
                Some(',') => self.keep(1),
                Some(']') => {
                    self.keep(1);
                    return Ok(());
                }
                _ => return self.stop(", or ]"),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), Stop> {
        self.keep(1);
        self.keep_space();
        let mut names: Vec<Vec<Piece>> = Vec::new();
        let mut fixed: Vec<String> = Vec::new();
        let mut marker = None;
        let mut ended = self.rest().starts_with('}');
        while !ended {
            let before = self.pieces.len();
            if !names.is_empty() {
                self.pieces.push(Piece::Text(",".to_owned()));
            }
            self.keep_space();
            let (position, begin) = (self.position, self.pieces.len());
            if !self.rest().starts_with('"') {
                return self.stop("a name in quotes");
            }
            let name = self.string()?;
            let name_pieces = self.pieces.get(begin..).unwrap_or_default().to_vec();
            self.keep_space();
            if !self.rest().starts_with(':') {
                return self.stop(":");
            }
            self.keep(1);
            self.keep_space();
            if name.as_deref() == Some(MARKER) {
                let variable = self.marker(depth)?;
                marker = marker.or(Some(variable));
                self.keep_space();
                self.pieces.truncate(before);
            } else {
                self.value(depth)?;
                self.keep_space();
                names.push(name_pieces);
            }
            if let Some(name) = name {
                if fixed.contains(&name) {
                    self.fault(position, Reason::NameTwice(name.clone()));
                }
                if depth == 1 && name != MARKER {
                    self.findings.names.push((position, name.clone()));
                }
                fixed.push(name);
            }
            match self.rest().chars().next() {
                Some(',') => {
                    self.pass(1);
                }
                Some('}') => ended = true,
                _ => return self.stop(", or }"),
            }
        }
        if let Some(Some(variable)) = marker {
            self.pieces.push(Piece::Spread(Spread { variable, names }));
        }
        self.keep(1);
        Ok(())
    }

    /// The variable of a marker's value, which is one placeholder; its pieces are thrown away.
    fn marker(&mut self, depth: usize) -> Result<Option<usize>, Stop> {
        let (position, begin) = (self.position, self.pieces.len());
        self.value(depth)?;
        let quote = |piece: &Piece| matches!(piece, Piece::Text(text) if text == "\"" || text.is_empty());
        let found: Vec<_> = self.pieces.get(begin..).unwrap_or_default().iter().filter(|piece| !quote(piece)).collect();
        match *found {
            [Piece::Value(Insertion { variable, default: None, .. })] => return Ok(Some(*variable)),
            // Its placeholder is a fault already.
            [] if self.findings.faults.iter().any(|fault| fault.0 >= position) => {}
            _ => self.fault(position, Reason::MarkerValue),
        }
        Ok(None)
    }

    /// A string; what it says if it has no placeholders.
    fn string(&mut self) -> Result<Option<String>, Stop> {
        let Some(length) = string_length(self.rest()) else { return self.stop("the \" that ends the string") };
        let start = self.position.saturating_add(1);
        let content = self.pass(length);
        let content = content.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
        let mut fixed = Some(String::new());
        self.pieces.push(Piece::Text("\"".to_owned()));
        for stretch in split(content) {
            match stretch {
                Ok(Stretch::Text { position, text }) => {
                    let decoded = self.in_string(start.saturating_add(position), text)?;
                    fixed = fixed.map(|fixed| fixed + &decoded);
                    self.pieces.push(Piece::Text(text.to_owned()));
                }
                Ok(Stretch::Placeholder { position, name, default }) => {
                    fixed = None;
                    let position = start.saturating_add(position);
                    if let Some(default) = default {
                        self.in_string(position, default)?;
                    }
                    self.insert(position, name, default, Writing::InString);
                }
                Err(error) => {
                    fixed = None;
                    let (position, reason) = broken(error, start);
                    self.fault(position, reason);
                }
            }
        }
        self.pieces.push(Piece::Text("\"".to_owned()));
        Ok(fixed)
    }

    /// What a part of a string says.
    fn in_string(&mut self, position: usize, text: &str) -> Result<String, Stop> {
        match Json::parse(&format!("\"{text}\"")) {
            Ok(Json::Text(decoded)) => Ok(decoded),
            _ => {
                self.position = position;
                self.stop("text as a JSON string holds it")
            }
        }
    }

    /// A placeholder outside of strings.
    fn placeholder(&mut self) -> Result<(), Stop> {
        let length = self.rest().find('}').map_or(self.rest().len(), |end| end.saturating_add(1));
        let position = self.position;
        match split(self.rest().get(..length).unwrap_or_default()).first() {
            Some(Ok(Stretch::Placeholder { position: 0, name, default })) => {
                if default.is_some_and(|default| Json::parse(default).is_err()) {
                    self.fault(position, Reason::DefaultNotJson);
                }
                self.pass(length);
                self.insert(position, name, *default, Writing::Json);
                Ok(())
            }
            Some(Err(error)) => {
                let (at, reason) = broken(*error, position);
                self.fault(at, reason.clone());
                self.pass(length);
                if reason == Reason::NotClosed { Err(Stop) } else { Ok(()) }
            }
            _ => self.stop("a value"),
        }
    }

    fn insert(&mut self, position: usize, name: &str, default: Option<&str>, writing: Writing) {
        if let Some(variable) = resolve(name, position, self.variables, &mut self.findings.faults) {
            let default = default.map(str::to_owned);
            self.pieces.push(Piece::Value(Insertion { variable, default, writing }));
        }
    }
}

/// The length of the string that begins here, with its quotes.
fn string_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })?;
    end.checked_add(2)
}
