//! The placeholders of a text: `${name}`, `${name:-default}`, `${:-text}`, and `$${` for the text `${`.
//!
//! As Apache's `StringSubstitutor` reads them: the first `}` ends a placeholder, the first `:-` begins its default,
//! and a `$` before `${` is taken off and makes text of it. What is inserted is never looked at again.

const BEGIN: &str = "${";
const END: char = '}';
const DEFAULT: &str = ":-";
const ESCAPE: char = '$';

/// A stretch of a text. Positions are bytes from the start of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stretch<'a> {
    /// Text that stays.
    Text { position: usize, text: &'a str },
    /// Something to insert.
    Placeholder { position: usize, name: &'a str, default: Option<&'a str> },
}

/// Why a placeholder is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// There is no `}` behind it.
    NotClosed { position: usize },
    /// There is neither a name nor a default.
    NoName { position: usize },
}

/// Splits a text at its placeholders. An empty text has no stretches.
pub(super) fn split(text: &str) -> Vec<Result<Stretch<'_>, Broken>> {
    let mut stretches = Vec::new();
    let mut done = 0_usize;
    while let Some((before, behind)) = text.get(done..).and_then(|rest| rest.split_once(BEGIN)) {
        let position = done.saturating_add(before.len());
        let inside = position.saturating_add(BEGIN.len());
        if let Some(kept) = before.strip_suffix(ESCAPE) {
            push_text(&mut stretches, done, kept);
            push_text(&mut stretches, position, BEGIN);
            done = inside;
            continue;
        }
        push_text(&mut stretches, done, before);
        let Some((expression, _)) = behind.split_once(END) else {
            stretches.push(Err(Broken::NotClosed { position }));
            return stretches;
        };
        done = inside.saturating_add(expression.len()).saturating_add(END.len_utf8());
        match expression.split_once(DEFAULT) {
            Some(("", default)) => push_text(&mut stretches, inside.saturating_add(DEFAULT.len()), default),
            Some((name, default)) => {
                stretches.push(Ok(Stretch::Placeholder { position, name, default: Some(default) }));
            }
            None if expression.is_empty() => stretches.push(Err(Broken::NoName { position })),
            None => stretches.push(Ok(Stretch::Placeholder { position, name: expression, default: None })),
        }
    }
    push_text(&mut stretches, done, text.get(done..).unwrap_or_default());
    stretches
}

fn push_text<'a>(stretches: &mut Vec<Result<Stretch<'a>, Broken>>, position: usize, text: &'a str) {
    if !text.is_empty() {
        stretches.push(Ok(Stretch::Text { position, text }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut shown = String::new();
        for stretch in split(text) {
            shown.push_str(&match stretch {
                Ok(Stretch::Text { text, .. }) => text.to_owned(),
                Ok(Stretch::Placeholder { name, default, .. }) => format!("<{name}|{}>", default.unwrap_or("none")),
                Err(broken) => format!("<{broken:?}>"),
            });
        }
        shown
    }

    #[test]
    fn placeholders_are_read_as_apache_reads_them() {
        for (text, expected) in [
            ("", ""),
            ("text", "text"),
            ("${a}", "<a|none>"),
            ("x${a}y${b}z", "x<a|none>y<b|none>z"),
            ("${a:-b}", "<a|b>"),
            ("${a:-}", "<a|>"),
            ("${a:-b:-c}", "<a|b:-c>"),
            ("${a:-{}}", "<a|{>}"),
            ("${ a b }", "< a b |none>"),
            ("${a:b}", "<a:b|none>"),
            ("$${a}", "${a}"),
            ("$$${a}", "$${a}"),
            ("${a}$${b}", "<a|none>${b}"),
            ("$${", "${"),
            ("$5 {a} $", "$5 {a} $"),
            ("${:-$}${a}", "$<a|none>"),
            ("${:-}", ""),
            ("ü${ü:-ö}", "ü<ü|ö>"),
            ("a ${b", "a <NotClosed { position: 2 }>"),
            ("${a${b}", "<a${b|none>"),
            ("ü${}${b}", "ü<NoName { position: 2 }><b|none>"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn each_stretch_says_where_it_stands() {
        let text = "ab$${c}${d:-e}${:-f}g";
        for stretch in split(text).into_iter().flatten() {
            let (position, begin) = match stretch {
                Stretch::Text { position, text } => (position, text),
                Stretch::Placeholder { position, .. } => (position, BEGIN),
            };
            assert!(text[position..].starts_with(begin), "{stretch:?}");
        }
    }
}
