//! The words of an expression: names, keywords, numbers, texts and operators, each with its place.
//!
//! At every place the longest word counts. Space is the five characters ` `, tab, line feed, carriage return and form
//! feed. A comment is `/* ... */`, or `--` up to the end of its line; without an end of line `--` is two signs.

use super::error::Error;

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
    /// Digits, perhaps with an `L`.
    WholeNumber,
    /// Digits with a point or an exponent.
    DecimalNumber,
    Text,
    Name,
    Equal,
    Unequal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Open,
    Comma,
    Close,
    Plus,
    Minus,
}

/// A word, and the byte at which it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'e> {
    pub(super) kind: Kind,
    pub(super) text: &'e str,
    pub(super) position: usize,
}

const KEYWORDS: [(&str, Kind); 12] = [
    ("NOT", Kind::Not),
    ("AND", Kind::And),
    ("OR", Kind::Or),
    ("BETWEEN", Kind::Between),
    ("IN", Kind::In),
    ("TRUE", Kind::True),
    ("FALSE", Kind::False),
    ("NULL", Kind::Null),
    ("IS", Kind::Is),
    ("CONTAINS", Kind::Contains),
    ("STARTSWITH", Kind::StartsWith),
    ("ENDSWITH", Kind::EndsWith),
];

/// Longer operators before their beginnings.
const OPERATORS: [(&str, Kind); 11] = [
    ("<>", Kind::Unequal),
    ("<=", Kind::LessOrEqual),
    (">=", Kind::GreaterOrEqual),
    ("<", Kind::Less),
    (">", Kind::Greater),
    ("=", Kind::Equal),
    ("(", Kind::Open),
    (",", Kind::Comma),
    (")", Kind::Close),
    ("+", Kind::Plus),
    ("-", Kind::Minus),
];

/// Reads the words of an expression one by one.
#[derive(Debug)]
pub(super) struct Lexer<'e> {
    rest: &'e str,
    position: usize,
}

impl<'e> Lexer<'e> {
    pub(super) fn new(expression: &'e str) -> Self {
        Self { rest: expression, position: 0 }
    }

    /// The next word; at the end of the expression [`Kind::End`], again and again.
    pub(super) fn next(&mut self) -> Result<Word<'e>, Error> {
        self.skip()?;
        let Some(first) = self.rest.chars().next() else { return Ok(self.word(Kind::End, 0)) };
        if first == '\'' {
            let length = text_length(self.rest).ok_or(Error::OpenText { position: self.position })?;
            return Ok(self.word(Kind::Text, length));
        }
        if is_name_start(first) {
            let word =
                self.word(Kind::Name, leading(self.rest, |character| is_name_start(character) || is_digit(character)));
            let keyword = KEYWORDS.iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word.text));
            return Ok(Word { kind: keyword.map_or(Kind::Name, |(_, kind)| *kind), ..word });
        }
        if let Some((kind, length)) = number(self.rest) {
            return Ok(self.word(kind, length));
        }
        match OPERATORS.iter().find(|(operator, _)| self.rest.starts_with(operator)) {
            Some((operator, kind)) => Ok(self.word(*kind, operator.len())),
            None => Err(Error::UnknownCharacter { position: self.position, character: first }),
        }
    }

    fn word(&mut self, kind: Kind, length: usize) -> Word<'e> {
        let position = self.position;
        Word { kind, text: self.take(length), position }
    }

    /// Takes off the first `length` bytes.
    fn take(&mut self, length: usize) -> &'e str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.rest = rest;
        self.position += taken.len();
        taken
    }

    fn skip(&mut self) -> Result<(), Error> {
        loop {
            self.take(leading(self.rest, is_space));
            let length = if let Some(comment) = self.rest.strip_prefix("--") {
                comment.find(['\n', '\r']).map(|end| end + 2)
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                Some(comment.find("*/").ok_or(Error::OpenComment { position: self.position })? + 4)
            } else {
                None
            };
            match length {
                Some(length) => self.take(length),
                None => return Ok(()),
            };
        }
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{c}')
}

fn is_name_start(character: char) -> bool {
    character.is_ascii_alphabetic() || matches!(character, '_' | '$')
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

/// How many bytes from the start of a text consist of such characters.
fn leading(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|character| !is(character)).unwrap_or(text.len())
}

/// The length of the text in quotes that starts here; none if it has no end. Two quotes stand for one inside.
fn text_length(text: &str) -> Option<usize> {
    let mut quotes = text.match_indices('\'').map(|(at, _)| at).skip(1).peekable();
    while let Some(at) = quotes.next() {
        if quotes.next_if_eq(&(at + 1)).is_none() {
            return Some(at + 1);
        }
    }
    None
}

/// The number that starts here: a whole number is `0`, or digits without a leading zero, perhaps with an `L`; a
/// decimal number has a point, an exponent or both.
fn number(text: &str) -> Option<(Kind, usize)> {
    let after = |length: usize| text.get(length..).unwrap_or("");
    let whole = leading(text, is_digit);
    if let Some(fraction) = after(whole).strip_prefix('.') {
        let fraction = leading(fraction, is_digit);
        if whole > 0 || fraction > 0 {
            let length = whole + 1 + fraction;
            return Some((Kind::DecimalNumber, length + exponent_length(after(length))));
        }
    }
    match (whole, exponent_length(after(whole))) {
        (0, _) => None,
        (_, 0) if text.starts_with('0') => Some((Kind::WholeNumber, 1)),
        (_, 0) => Some((Kind::WholeNumber, whole + usize::from(after(whole).starts_with(['l', 'L'])))),
        (_, exponent) => Some((Kind::DecimalNumber, whole + exponent)),
    }
}

/// The length of an exponent that starts here; 0 if none does.
fn exponent_length(text: &str) -> usize {
    let Some(exponent) = text.strip_prefix(['e', 'E']) else { return 0 };
    let digits = leading(exponent.strip_prefix(['+', '-']).unwrap_or(exponent), is_digit);
    if digits == 0 { 0 } else { 1 + usize::from(exponent.starts_with(['+', '-'])) + digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(expression: &str) -> Result<Vec<(Kind, &str)>, Error> {
        let mut lexer = Lexer::new(expression);
        let mut words = Vec::new();
        loop {
            let word = lexer.next()?;
            assert_eq!(&expression[word.position..word.position + word.text.len()], word.text);
            if word.kind == Kind::End {
                return Ok(words);
            }
            words.push((word.kind, word.text));
        }
    }

    #[test]
    fn keywords_ignore_case_and_names_do_not_need_space() {
        assert_eq!(words("nOt and1 $_x").unwrap(), [(Kind::Not, "nOt"), (Kind::Name, "and1"), (Kind::Name, "$_x")]);
        for (keyword, kind) in KEYWORDS {
            assert_eq!(words(keyword).unwrap(), [(kind, keyword)]);
            let lower = keyword.to_lowercase();
            assert_eq!(words(&lower).unwrap(), [(kind, lower.as_str())]);
        }
    }

    #[test]
    fn numbers_are_as_long_as_they_can_be() {
        use Kind::{DecimalNumber, Minus, Name, WholeNumber};
        for (expression, expected) in [
            ("0", vec![(WholeNumber, "0")]),
            ("10l", vec![(WholeNumber, "10l")]),
            ("10Lx", vec![(WholeNumber, "10L"), (Name, "x")]),
            ("0L", vec![(WholeNumber, "0"), (Name, "L")]),
            ("007", vec![(WholeNumber, "0"), (WholeNumber, "0"), (WholeNumber, "7")]),
            ("0x1F", vec![(WholeNumber, "0"), (Name, "x1F")]),
            ("5.", vec![(DecimalNumber, "5.")]),
            (".5", vec![(DecimalNumber, ".5")]),
            ("00.5", vec![(DecimalNumber, "00.5")]),
            ("5.5E10", vec![(DecimalNumber, "5.5E10")]),
            ("5.e-3", vec![(DecimalNumber, "5.e-3")]),
            ("5e+3", vec![(DecimalNumber, "5e+3")]),
            ("05e3", vec![(DecimalNumber, "05e3")]),
            ("5e", vec![(WholeNumber, "5"), (Name, "e")]),
            ("5.5e-", vec![(DecimalNumber, "5.5"), (Name, "e"), (Minus, "-")]),
            ("1.5f", vec![(DecimalNumber, "1.5"), (Name, "f")]),
            ("1.2.3", vec![(DecimalNumber, "1.2"), (DecimalNumber, ".3")]),
        ] {
            assert_eq!(words(expression).unwrap(), expected, "{expression:?}");
        }
    }

    #[test]
    fn texts_end_at_a_single_quote() {
        assert_eq!(words("'a''b'").unwrap(), [(Kind::Text, "'a''b'")]);
        assert_eq!(words("'a' 'b'").unwrap(), [(Kind::Text, "'a'"), (Kind::Text, "'b'")]);
        assert_eq!(words("''").unwrap(), [(Kind::Text, "''")]);
        assert_eq!(words("'\n-- ü'").unwrap(), [(Kind::Text, "'\n-- ü'")]);
        for open in ["'", "'a", "'''", "'a''"] {
            assert_eq!(words(open), Err(Error::OpenText { position: 0 }), "{open:?}");
        }
    }

    #[test]
    fn comments_are_space() {
        for expression in ["a/**/b", "a/* x * / y **/b", "a--x\nb", "a -- x\r\n b", "a\t\r\n\u{c}b", "a--\n--\n/*\n*/b"]
        {
            assert_eq!(words(expression).unwrap(), [(Kind::Name, "a"), (Kind::Name, "b")], "{expression:?}");
        }
        assert_eq!(words("a /*/"), Err(Error::OpenComment { position: 2 }));
        assert_eq!(words("--5").unwrap(), [(Kind::Minus, "-"), (Kind::Minus, "-"), (Kind::WholeNumber, "5")]);
    }

    #[test]
    fn other_characters_have_no_meaning() {
        for character in ['!', '"', '.', '/', ';', '\u{a0}', '\u{b}', '\0', 'ü', '\u{212a}', '😀'] {
            let expected = Error::UnknownCharacter { position: 2, character };
            assert_eq!(words(&format!("a {character}")), Err(expected), "{character:?}");
        }
    }
}
