//! The text that Java makes of the bytes of a property.

use std::borrow::Cow;

/// Decodes UTF-8 as Java's `String` does: every longest beginning of a character that is broken off becomes one U+FFFD,
/// and so does a surrogate, whole or broken off. Only broken bytes are copied.
pub(super) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(replace(bytes)),
    }
}

fn replace(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    // Rust takes the first byte of a surrogate as broken off, and then each of the others.
    let mut of_surrogate = 0_u8;
    for chunk in bytes.utf8_chunks() {
        if !chunk.valid().is_empty() {
            of_surrogate = 0;
            text.push_str(chunk.valid());
        }
        match chunk.invalid() {
            [] => {}
            [0x80..=0xbf] if of_surrogate > 0 => of_surrogate -= 1,
            broken => {
                text.push(char::REPLACEMENT_CHARACTER);
                of_surrogate = if broken == [0xed] { 2 } else { 0 };
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn broken_bytes_are_replaced_as_java_does() {
        for (bytes, expected) in [
            (&b"a\xffb"[..], "a\u{fffd}b"),
            (b"\xe4\xb8", "\u{fffd}"),
            (b"\xe4\xb8a", "\u{fffd}a"),
            (b"\xe4a", "\u{fffd}a"),
            (b"\xc0\x80", "\u{fffd}\u{fffd}"),
            (b"\xf0\x90\x80", "\u{fffd}"),
            (b"\xf0\x80\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            (b"\xf5\x80", "\u{fffd}\u{fffd}"),
            (b"\xed\xa0\x80", "\u{fffd}"),
            (b"\xed\xa0\x80\xed\xb0\x80", "\u{fffd}\u{fffd}"),
            (b"\xed\xa0", "\u{fffd}"),
            (b"\xed\xa0a\x80", "\u{fffd}a\u{fffd}"),
            (b"\xed\xa0\x80\x80", "\u{fffd}\u{fffd}"),
            (b"\xed", "\u{fffd}"),
            (b"\xed\x80", "\u{fffd}"),
        ] {
            assert_eq!(decode(bytes), expected, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn a_valid_text_is_not_copied(text in "\\PC{0,20}") {
            prop_assert!(matches!(decode(text.as_bytes()), Cow::Borrowed(same) if same == text));
        }

        #[test]
        fn without_surrogates_it_is_what_rust_does(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            prop_assume!(!bytes.contains(&0xed));
            prop_assert_eq!(decode(&bytes), String::from_utf8_lossy(&bytes));
        }
    }
}
