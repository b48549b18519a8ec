//! Definite JSONPath, as Jayway takes it: a path that names one value of an event.
//!
//! `$` is the whole, `.name`, `['name']` and `["name"]` take a member of an object, `[0]` an element of an array and
//! `[-1]` one from its end. Names are compared as they are; a dotted name ends where another step begins. A path is
//! compiled once and knows which part of the event it looks at, so that a body which no path names is never parsed.
//!
//! | expression | Apache | here | why |
//! |---|---|---|---|
//! | `$..x`, `[*]`, `[0,1]`, `[0:2]`, `[?(…)]`: more than one value | copied as a literal | refused | nobody means the text `$.a[*]` in each message |
//! | `$x`, `$.a b`, `$.a]`, `[x]`: no path | copied as a literal or an exception for each event | refused | it is a slip |
//! | `$['a','b']` at the end | an object of both | refused | a template says the same and gives names |
//! | `$.a.length()` and other functions | evaluated | refused | no rule of RocketMQ's sink needs one |
//! | `$.1st`, `$.a-b`, `$.['a']`, spaces in brackets and around the path | taken | taken | |

use crate::event::{self, Field, Fields};
use crate::json::{self, Step};

/// The longest path, in bytes.
pub const MAXIMUM_PATH_BYTES: usize = 10_240;

/// The most steps of a path: to the body of an event, and as deep into that as JSON is read.
pub const MAXIMUM_STEPS: usize = 2 + json::MAXIMUM_DEPTH;

/// Why a text is no definite path. Positions are bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is longer than [`MAXIMUM_PATH_BYTES`].
    #[error("a path of {0} bytes is longer than {MAXIMUM_PATH_BYTES}")]
    TooLong(usize),
    /// It has more steps than [`MAXIMUM_STEPS`].
    #[error("a path has at most {MAXIMUM_STEPS} steps")]
    TooDeep,
    /// It does not begin with `$`.
    #[error("a path begins with $, as in $.data.body")]
    NoRoot,
    /// Something other than a step.
    #[error("at byte {position}: a step is .name, ['name'] or [0]")]
    NoStep {
        /// Where the step should begin.
        position: usize,
    },
    /// It stands for any number of values.
    #[error("at byte {position}: {found} stands for any number of values: name one, as in .name or [0]")]
    Indefinite {
        /// Where that begins.
        position: usize,
        /// What was found.
        found: &'static str,
    },
    /// A function is called.
    #[error("at byte {position}: functions are not evaluated: name a value, or quote the name as in ['name()']")]
    Function {
        /// Where the parenthesis is.
        position: usize,
    },
    /// A name without quotes holds a character that looks like something else.
    #[error("at byte {position}: a name with {character:?} is quoted, as in ['my name']")]
    Unquoted {
        /// Where the character is.
        position: usize,
        /// The character.
        character: char,
    },
    /// A bracket or a quote is not closed.
    #[error("at byte {position}: {expected} is missing")]
    NotClosed {
        /// Where it should be.
        position: usize,
        /// What closes it.
        expected: char,
    },
    /// A number that is no index.
    #[error("at byte {position}: an index is a number from -2147483648 to 2147483647, as in [0] or [-1]")]
    Index {
        /// Where the number begins.
        position: usize,
    },
    /// A `\u` without a character.
    #[error("at byte {position}: \\u needs the four digits of one character: write the character itself")]
    Escape {
        /// Where the backslash is.
        position: usize,
    },
}

impl Error {
    /// Where it is, in bytes; none for what concerns the whole path.
    #[must_use]
    pub const fn position(&self) -> Option<usize> {
        match self {
            Self::TooLong(_) | Self::TooDeep => None,
            Self::NoRoot => Some(0),
            Self::NoStep { position }
            | Self::Indefinite { position, .. }
            | Self::Function { position }
            | Self::Unquoted { position, .. }
            | Self::NotClosed { position, .. }
            | Self::Index { position }
            | Self::Escape { position } => Some(*position),
        }
    }
}

/// The part of an event that a path looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The whole event, or all of its data.
    Everything,
    /// An attribute beside the data, such as `$.id`.
    Attribute,
    /// The body.
    Body,
    /// Anything else in the data: topic, properties, identifiers.
    Data,
}

impl Part {
    /// The part at the end of some steps from the whole event.
    #[must_use]
    pub fn of(steps: &[Step]) -> Self {
        let name = |at: usize| steps.get(at).and_then(Step::member);
        match (steps.len(), name(0), name(1)) {
            (0, ..) | (1, Some("data"), _) => Self::Everything,
            (_, Some("data"), Some("body")) => Self::Body,
            (_, Some("data"), _) => Self::Data,
            _ => Self::Attribute,
        }
    }

    /// Whether the body has to be known for it.
    #[must_use]
    pub const fn needs_body(self) -> bool {
        matches!(self, Self::Everything | Self::Body)
    }
}

/// A compiled path; by default `$`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path {
    steps: Box<[Step]>,
}

impl Path {
    /// Compiles a path.
    ///
    /// # Errors
    /// [`Error`], with the position where there is one.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAXIMUM_PATH_BYTES {
            return Err(Error::TooLong(text.len()));
        }
        let mut reader = Reader { text, position: 0 };
        reader.skip_space();
        if !reader.take('$') {
            return Err(Error::NoRoot);
        }
        let mut steps = Vec::new();
        while !reader.rest().trim_matches(is_space).is_empty() {
            if steps.len() == MAXIMUM_STEPS {
                return Err(Error::TooDeep);
            }
            steps.push(reader.step()?);
        }
        Ok(Self { steps: steps.into() })
    }

    /// The steps from the whole event to the value.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Which part of an event it looks at.
    #[must_use]
    pub fn part(&self) -> Part {
        Part::of(&self.steps)
    }

    /// Whether the body has to be known.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        self.part().needs_body()
    }

    /// The value that it names in an event; `None` if there is none.
    ///
    /// # Errors
    /// [`event::Error`] if it needs the body and that cannot be had.
    pub fn find<'e>(&self, event: &'e impl Fields) -> Result<Option<Field<'e>>, event::Error> {
        event.field(&self.steps)
    }
}

impl std::str::FromStr for Path {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// What Jayway passes over in brackets and around a path.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

struct Reader<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position = self.position.saturating_add(character.len_utf8());
        Some(character)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.position = self.position.saturating_add(wanted.len_utf8());
        }
        found
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.next();
        }
    }

    fn step(&mut self) -> Result<Step, Error> {
        let position = self.position;
        if self.take('.') {
            return match self.peek() {
                Some('.') => Err(Error::Indefinite { position, found: ".." }),
                Some('*') => Err(Error::Indefinite { position, found: ".*" }),
                Some('[') => self.step(),
                _ => self.dotted(),
            };
        }
        if self.take('[') { self.bracketed() } else { Err(Error::NoStep { position }) }
    }

    /// A name without quotes, up to the next step.
    fn dotted(&mut self) -> Result<Step, Error> {
        let position = self.position;
        let length = self.rest().find(['.', '[']).unwrap_or(self.rest().len());
        let mut name = self.rest().get(..length).unwrap_or_default();
        if length == self.rest().len() {
            name = name.trim_end_matches(is_space);
        }
        let odd =
            |character: char| character.is_whitespace() || character.is_control() || "]()'\"*,?".contains(character);
        match name.char_indices().find(|(_, character)| odd(*character)) {
            _ if name.is_empty() => return Err(Error::NoStep { position }),
            Some((offset, '(')) => return Err(Error::Function { position: position.saturating_add(offset) }),
            Some((offset, character)) => {
                return Err(Error::Unquoted { position: position.saturating_add(offset), character });
            }
            None => {}
        }
        self.position = position.saturating_add(length);
        Ok(Step::Member(name.into()))
    }

    /// What stands in brackets, behind the first of them.
    fn bracketed(&mut self) -> Result<Step, Error> {
        self.skip_space();
        let position = self.position;
        let step = match self.peek() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote)?,
            Some('*') => return Err(Error::Indefinite { position, found: "[*]" }),
            Some('?') => return Err(Error::Indefinite { position, found: "a filter" }),
            Some('-' | ':' | '0'..='9') => self.index()?,
            _ => return Err(Error::NoStep { position }),
        };
        self.skip_space();
        let position = self.position;
        match self.peek() {
            Some(']') => {
                self.next();
                Ok(step)
            }
            Some(',') => Err(Error::Indefinite { position, found: "a list" }),
            Some(':') => Err(Error::Indefinite { position, found: "a slice" }),
            _ => Err(Error::NotClosed { position, expected: ']' }),
        }
    }

    fn index(&mut self) -> Result<Step, Error> {
        let position = self.position;
        let length = self.rest().find(|character: char| character != '-' && !character.is_ascii_digit());
        let digits = self.rest().get(..length.unwrap_or(self.rest().len())).unwrap_or_default();
        self.position = position.saturating_add(digits.len());
        if digits.is_empty() {
            // A slice may begin without a number; what follows tells.
            return Ok(Step::Element(0));
        }
        let number: i32 = digits.parse().map_err(|_| Error::Index { position })?;
        let distance = usize::try_from(number.unsigned_abs()).map_err(|_| Error::Index { position })?;
        Ok(if number < 0 { Step::ElementFromEnd(distance) } else { Step::Element(distance) })
    }

    fn quoted(&mut self, quote: char) -> Result<Step, Error> {
        self.next();
        let mut name = String::new();
        loop {
            let position = self.position;
            match self.next() {
                None => return Err(Error::NotClosed { position, expected: quote }),
                Some(end) if end == quote => return Ok(Step::Member(name.into())),
                Some('\\') => name.push(self.escaped(position, quote)?),
                Some(character) => name.push(character),
            }
        }
    }

    /// The character behind a backslash, as Java writes it.
    fn escaped(&mut self, position: usize, quote: char) -> Result<char, Error> {
        Ok(match self.next() {
            None => return Err(Error::NotClosed { position: self.position, expected: quote }),
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('u') => {
                let digits =
                    self.rest().get(..4).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
                let character = number.and_then(char::from_u32).ok_or(Error::Escape { position })?;
                self.position = self.position.saturating_add(4);
                character
            }
            Some(other) => other,
        })
    }
}

#[cfg(test)]
mod tests;
