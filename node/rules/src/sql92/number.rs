//! Numbers in the text of a property, as Java's `Integer.valueOf`, `Long.valueOf` and `Double.valueOf` read them.

/// The code points of the digit zero that Java 17 knows outside ASCII; nine more digits follow each. A digit beyond the
/// basic plane is none for it.
const ZEROS: [u32; 36] = [
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6, 0x0E50,
    0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50,
    0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10,
];

/// The whole number that `Integer.valueOf` reads, if it reads one.
pub(super) fn integer(text: &str) -> Option<i32> {
    long(text).and_then(|value| i32::try_from(value).ok())
}

/// The whole number that `Long.valueOf` reads, if it reads one: a sign at most, then digits, no space.
pub(super) fn long(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text);
    if digits.is_empty() {
        return None;
    }
    // The negative side is the larger one.
    let mut value: i64 = 0;
    for character in digits.chars() {
        value = value.checked_mul(10)?.checked_sub(i64::from(digit(character)?))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// The number that `Double.valueOf` reads, if it reads one: space around it, `NaN`, `Infinity`, hexadecimal digits with
/// a binary exponent, and one of the letters `d` and `f` at the end are allowed.
pub(super) fn double(text: &str) -> Option<f64> {
    let (negative, magnitude) = sign(text.trim_matches(|character| character <= ' '));
    let value = match magnitude {
        "NaN" => return Some(f64::NAN),
        "Infinity" => f64::INFINITY,
        _ => {
            let number = magnitude.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(magnitude);
            match number.strip_prefix("0x").or_else(|| number.strip_prefix("0X")) {
                // A hexadecimal number without its exponent may end in these letters, but it is none.
                Some(hexadecimal) => self::hexadecimal(hexadecimal)?,
                None => decimal(number)?,
            }
        }
    };
    Some(if negative { -value } else { value })
}

/// The order of `Double.compareTo`: -0.0 is below 0.0, and `NaN` equals itself and is above all others.
pub(super) fn compare(left: f64, right: f64) -> std::cmp::Ordering {
    match (left.is_nan(), right.is_nan()) {
        (false, false) => left.total_cmp(&right),
        (left, right) => left.cmp(&right),
    }
}

/// The nearest double of a whole number, ties to even.
pub(super) fn nearest(value: i64) -> f64 {
    let [a, b, c, d, e, f, g, h] = value.to_be_bytes();
    let high = f64::from(i32::from_be_bytes([a, b, c, d]));
    let low = f64::from(u32::from_be_bytes([e, f, g, h]));
    // Both parts are exact, so that only the sum rounds.
    high * 4_294_967_296.0 + low
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn digit(character: char) -> Option<u32> {
    let code = u32::from(character);
    character.to_digit(10).or_else(|| ZEROS.iter().filter_map(|zero| code.checked_sub(*zero)).find(|digit| *digit < 10))
}

/// Rust reads the same decimal numbers and rounds the same way, but also knows words.
fn decimal(text: &str) -> Option<f64> {
    let allowed = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    let starts_well = text.starts_with(|character: char| character.is_ascii_digit() || character == '.');
    if starts_well && text.bytes().all(allowed) { text.parse().ok() } else { None }
}

/// A hexadecimal number after its `0x`: digits, perhaps a point, and a binary exponent in decimal digits.
fn hexadecimal(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut number = Binary::default();
    for digit in whole.chars() {
        number.push(digit.to_digit(16)?, 4);
    }
    for digit in fraction.chars() {
        number.push(digit.to_digit(16)?, 0);
    }
    let (negative, exponent) = sign(exponent);
    if exponent.is_empty() || !exponent.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let exponent: i64 = exponent.parse().unwrap_or(i64::MAX).min(1 << 40);
    number.exponent += if negative { -exponent } else { exponent };
    Some(number.round())
}

/// `significand * 2^exponent`, and whether digits that are not zero follow.
#[derive(Debug, Default)]
struct Binary {
    significand: u64,
    exponent: i64,
    more: bool,
}

impl Binary {
    /// Appends a digit. `weight` is by how many bits the digit moves the point: 4 before it, 0 after it.
    fn push(&mut self, digit: u32, weight: i64) {
        if self.significand >> 60 == 0 {
            self.significand = (self.significand << 4) | u64::from(digit);
            self.exponent += weight - 4;
        } else {
            self.more |= digit != 0;
            self.exponent += weight;
        }
    }

    /// The nearest double, ties to even.
    fn round(&self) -> f64 {
        let bits = 64 - i64::from(self.significand.leading_zeros());
        if bits == 0 {
            return 0.0;
        }
        // The exponent of the highest bit, and how many of the bits fit: fewer below the smallest normal number.
        let highest = self.exponent.saturating_add(bits - 1);
        if highest > 1023 {
            return f64::INFINITY;
        }
        let precision = if highest >= -1022 { 53 } else { highest + 1075 };
        if precision < 0 {
            return 0.0;
        }
        let wide = u128::from(self.significand) << 53;
        let dropped = u32::try_from(bits - precision + 53).unwrap_or(0);
        let kept = wide >> dropped;
        let rest = wide & ((1 << dropped) - 1);
        let half = (1_u128 << dropped) >> 1;
        let up = dropped > 0 && (rest > half || (rest == half && (self.more || kept & 1 == 1)));
        let kept = u64::try_from(kept).unwrap_or(0) + u64::from(up);
        // A normal number's highest bit is implied: added to the exponent field below it, it raises that by one.
        let field = u64::try_from(highest + 1022).unwrap_or(0);
        f64::from_bits((field << 52) + kept)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_numbers_are_read_as_java_does() {
        for (text, expected) in [
            ("5", Some(5)),
            ("+5", Some(5)),
            ("-5", Some(-5)),
            ("007", Some(7)),
            ("-0", Some(0)),
            ("2147483647", Some(i32::MAX)),
            ("-2147483648", Some(i32::MIN)),
            ("2147483648", None),
            ("\u{661}\u{ff12}", Some(12)),
            ("\u{1d7ce}", None),
            ("", None),
            ("+", None),
            ("-", None),
            ("+-5", None),
            (" 5", None),
            ("5 ", None),
            ("5L", None),
            ("5.0", None),
            ("1e3", None),
            ("0x5", None),
            ("five", None),
        ] {
            assert_eq!(integer(text), expected, "{text:?}");
        }
        assert_eq!(long("9223372036854775807"), Some(i64::MAX));
        assert_eq!(long("-9223372036854775808"), Some(i64::MIN));
        assert_eq!(long("9223372036854775808"), None);
        assert_eq!(long("99999999999999999999999999"), None);
    }

    #[test]
    fn decimal_numbers_are_read_as_java_does() {
        for (text, expected) in [
            ("5", Some(5.0)),
            (" 5.5\n", Some(5.5)),
            ("\u{1}5\0", Some(5.0)),
            ("+.5", Some(0.5)),
            ("-5.", Some(-5.0)),
            ("1e3", Some(1000.0)),
            ("1E-3d", Some(0.001)),
            ("1.5f", Some(1.5)),
            ("1D", Some(1.0)),
            ("1e400", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("0x1p3", Some(8.0)),
            ("0X.8P1f", Some(1.0)),
            ("-0xA.p0", Some(-10.0)),
            ("0x1.fffffffffffff8p0", Some(2.0)),
            ("0x1.00000000000008p0", Some(1.0)),
            ("0x1.000000000000080000000001p0", Some(1.0 + f64::EPSILON)),
            ("0x1p-1074", Some(5e-324)),
            ("0x1p-1075", Some(0.0)),
            ("0x1.1p-1075", Some(5e-324)),
            ("0x1p-1076", Some(0.0)),
            ("0x1p1024", Some(f64::INFINITY)),
            ("0x1.fffffffffffff8p1023", Some(f64::INFINITY)),
            ("0x1p99999999999999999999", Some(f64::INFINITY)),
            ("0x0p99999999999999999999", Some(0.0)),
            ("0x1p-99999999999999999999", Some(0.0)),
            ("", None),
            (" ", None),
            (".", None),
            ("e5", None),
            ("5e", None),
            ("5e+", None),
            ("1dd", None),
            ("d", None),
            ("1_0", None),
            ("1 0", None),
            ("inf", None),
            ("nan", None),
            ("infinity", None),
            ("Infinityd", None),
            ("0x1", None),
            ("0x1d", None),
            ("0xp1", None),
            ("0x.p1", None),
            ("0x1p", None),
            ("0x1p+-1", None),
            ("0x1.2.3p1", None),
            ("\u{661}", None),
        ] {
            assert_eq!(double(text), expected, "{text:?}");
        }
        assert!(double("-NaN").is_some_and(f64::is_nan));
        assert!(double("-0").is_some_and(|value| value == 0.0 && value.is_sign_negative()));
    }

    #[test]
    fn doubles_have_a_total_order() {
        use std::cmp::Ordering::{Equal, Greater, Less};
        assert_eq!(compare(-0.0, 0.0), Less);
        assert_eq!(compare(f64::NAN, -f64::NAN), Equal);
        assert_eq!(compare(f64::NAN, f64::INFINITY), Greater);
        assert_eq!(compare(f64::NEG_INFINITY, -f64::NAN), Less);
    }

    proptest! {
        #[test]
        fn a_hexadecimal_number_is_the_same_double(value in any::<i64>(), shift in -1020_i32..950) {
            let text = format!("{}0x{:x}p{shift}", if value < 0 { "-" } else { "" }, value.unsigned_abs());
            // All of these are normal numbers, so that only the whole number rounds.
            let expected = nearest(value) * 2_f64.powi(shift / 2) * 2_f64.powi(shift - shift / 2);
            prop_assert_eq!(double(&text), Some(expected));
        }

        #[test]
        #[allow(clippy::as_conversions)]
        fn a_whole_number_becomes_the_nearest_double(value in any::<i64>()) {
            prop_assert_eq!(nearest(value), value as f64);
        }

        #[test]
        fn what_is_written_is_read(value in any::<f64>(), whole in any::<i64>()) {
            prop_assume!(value.is_finite());
            prop_assert_eq!(double(&format!("{value:e}")), Some(value));
            prop_assert_eq!(long(&whole.to_string()), Some(whole));
        }
    }
}
