//! The text form of a place where a secret is found: `env:NAME` or `file:/path`.

use causeway_core::instance::SecretReference;

/// A text that names no place. It is not repeated here: it may be a secret that was typed by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReference {
    /// Neither of the two forms.
    #[error("a secret is given by where it is found: env:NAME or file:/path")]
    Form,
    /// `env:` without the name of a variable.
    #[error("env: is followed by the name of a variable: letters, digits and '_', not starting with a digit")]
    Variable,
    /// `file:` without an absolute path.
    #[error("file: is followed by a path that begins with '/', because each node reads it for itself")]
    Path,
}

/// Reads a reference.
///
/// # Errors
/// [`InvalidReference`] for anything else, a secret in clear included.
pub fn parse_reference(text: &str) -> Result<SecretReference, InvalidReference> {
    match text.split_once(':') {
        Some(("env", name)) => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let starts_well = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
            if !starts_well || !name.bytes().all(allowed) {
                return Err(InvalidReference::Variable);
            }
            Ok(SecretReference::Environment(name.to_owned()))
        }
        Some(("file", path)) if path.len() > 1 && path.starts_with('/') && !path.contains('\0') => {
            Ok(SecretReference::File(path.to_owned()))
        }
        Some(("file", _)) => Err(InvalidReference::Path),
        _ => Err(InvalidReference::Form),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_two_forms_are_read_and_nothing_else() {
        assert_eq!(parse_reference("env:QD_SK"), Ok(SecretReference::Environment("QD_SK".to_owned())));
        assert_eq!(parse_reference("file:/run/a:b"), Ok(SecretReference::File("/run/a:b".to_owned())));
        for (bad, expected) in [
            ("hunter2", InvalidReference::Form),
            ("value:hunter2", InvalidReference::Form),
            ("", InvalidReference::Form),
            ("env:", InvalidReference::Variable),
            ("env:A=B", InvalidReference::Variable),
            ("env:1A", InvalidReference::Variable),
            ("file:relative", InvalidReference::Path),
            ("file:/", InvalidReference::Path),
        ] {
            assert_eq!(parse_reference(bad), Err(expected), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(text in "(env:[A-Z_][A-Z0-9_]{0,10}|file:/[a-z/. ]{1,20})") {
            let reference = parse_reference(&text).expect("one of the forms");
            prop_assert_eq!(reference.to_string(), text);
        }
    }
}
