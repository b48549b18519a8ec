//! Cuts a text that is known to be JSON into its values.
//!
//! The grammar was judged before; what is left to find here are two things that it allows and a value cannot have: half
//! of a surrogate pair and a depth without end. A text that is no JSON ends in an error, never in a panic.

use super::{Error, Json, MAXIMUM_DEPTH, Number};

/// The value that is the whole text.
pub(super) fn whole(text: &str) -> Result<Json, Error> {
    Cutter { text, position: 0 }.value(0)
}

struct Cutter<'t> {
    text: &'t str,
    /// Bytes before the next one.
    position: usize,
}

impl<'t> Cutter<'t> {
    fn value(&mut self, depth: usize) -> Result<Json, Error> {
        match self.next_visible() {
            Some(b'{' | b'[') if depth >= MAXIMUM_DEPTH => {
                Err(self.error(self.position, &format!("nested deeper than {MAXIMUM_DEPTH}")))
            }
            Some(b'{') => self.object(depth.saturating_add(1)),
            Some(b'[') => self.array(depth.saturating_add(1)),
            Some(b'"') => self.string().map(Json::Text),
            Some(_) => self.word(),
            None => Err(self.error(self.position, "a value is missing")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, Error> {
        let mut members = Vec::new();
        self.items(b'}', |this| {
            let name = this.string()?;
            this.next_visible();
            // Over the colon.
            this.advance(1);
            members.push((name, this.value(depth)?));
            Ok(())
        })?;
        Ok(Json::Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Json, Error> {
        let mut elements = Vec::new();
        self.items(b']', |this| {
            elements.push(this.value(depth)?);
            Ok(())
        })?;
        Ok(Json::Array(elements))
    }

    /// What stands between an opening bracket and its closing one, separated by commas.
    fn items(&mut self, closing: u8, mut item: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        loop {
            // Over the opening bracket, or the comma.
            self.advance(1);
            if self.next_visible() == Some(closing) {
                break;
            }
            item(self)?;
            if self.next_visible() != Some(b',') {
                break;
            }
        }
        self.advance(1);
        Ok(())
    }

    fn string(&mut self) -> Result<String, Error> {
        let (start, rest) = (self.position, self.rest());
        let mut escaped = false;
        let mut inside = false;
        let mut has_escapes = false;
        let end = rest.bytes().position(|byte| {
            let closes = inside && !escaped && byte == b'"';
            escaped = inside && !escaped && byte == b'\\';
            has_escapes |= escaped;
            inside = true;
            closes
        });
        let quoted = end.and_then(|end| rest.get(..=end));
        let Some(quoted) = quoted else { return Err(self.error(start, "a string has no end")) };
        self.advance(quoted.len());
        if has_escapes {
            return serde_json::from_str(quoted)
                .map_err(|_| self.error(start, "a string with half of a surrogate pair"));
        }
        Ok(quoted.trim_matches('"').to_owned())
    }

    /// `null`, `true`, `false` or a number.
    fn word(&mut self) -> Result<Json, Error> {
        let rest = self.rest();
        let ends = |letter: char| matches!(letter, ',' | ']' | '}' | ' ' | '\t' | '\r' | '\n');
        let word = rest.get(..rest.find(ends).unwrap_or(rest.len())).unwrap_or_default();
        let value = match word {
            "null" => Json::Null,
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            number if Number::double(number).is_some() => Json::Number(Number(number.into())),
            _ => return Err(self.error(self.position, "a value is missing")),
        };
        self.advance(word.len());
        Ok(value)
    }

    /// Passes over space and gives the byte after it.
    fn next_visible(&mut self) -> Option<u8> {
        let rest = self.rest();
        let visible = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.advance(rest.len().saturating_sub(visible.len()));
        visible.bytes().next()
    }

    fn advance(&mut self, bytes: usize) {
        self.position = self.position.saturating_add(bytes);
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn error(&self, position: usize, reason: &str) -> Error {
        let before = self.text.get(..position).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline.saturating_add(1));
        Error {
            line: before.matches('\n').count().saturating_add(1),
            column: before.len().saturating_sub(line_start).saturating_add(1),
            reason: reason.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Also a text that nobody judged before ends.
        #[test]
        fn any_text_is_cut_or_refused(text in "[\\[\\]{}:,\"\\\\nul10 x]{0,30}") {
            let _ = whole(&text);
        }
    }
}
