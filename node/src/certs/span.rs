//! How long a certificate is valid, as people type it: `90d`, `1y`.

use std::fmt;
use std::str::FromStr;

use causeway_core::ids::Timestamp;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
/// 365 days: a certificate that ends a day early in a leap year surprises nobody, one that ends late might.
const YEAR: u64 = 365 * DAY;

/// The longest span, in seconds: whatever is longer is a typing error.
const LONGEST: u64 = 100 * YEAR;

/// A span of time in whole hours, from one hour to 100 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(u64);

/// A text that is no [`Span`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a number with h, d or y, as 90d or 1y, up to 100y")]
pub struct InvalidSpan;

impl Span {
    /// Whole days, at least one.
    #[must_use]
    pub const fn days(number: u16) -> Self {
        // Lossless; `From` is not const.
        #[allow(clippy::as_conversions, reason = "u16 always fits u64")]
        let number = number as u64;
        Self(if number == 0 { DAY } else { number * DAY })
    }

    /// In seconds.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// The time that is this much later.
    #[must_use]
    pub fn after(self, start: Timestamp) -> Timestamp {
        let milliseconds = i64::try_from(self.0.saturating_mul(1_000)).unwrap_or(i64::MAX);
        Timestamp(start.0.saturating_add(milliseconds))
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let (number, unit) = [('h', HOUR), ('d', DAY), ('y', YEAR)]
            .into_iter()
            .find_map(|(letter, unit)| Some((text.strip_suffix(letter)?, unit)))
            .ok_or(InvalidSpan)?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidSpan);
        }
        let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or(InvalidSpan)?;
        if (HOUR..=LONGEST).contains(&seconds) { Ok(Self(seconds)) } else { Err(InvalidSpan) }
    }
}

/// `10 years`, `90 days`, `12 hours`: the largest unit that divides it.
impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("year", YEAR), ("day", DAY), ("hour", HOUR)];
        let (noun, unit) = units.into_iter().find(|(_, unit)| self.0.is_multiple_of(*unit)).unwrap_or(("second", 1));
        let number = self.0 / unit;
        write!(formatter, "{number} {noun}{}", if number == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_type_them_and_said_in_words() {
        for (text, seconds, words) in [
            ("1h", HOUR, "1 hour"),
            ("36h", 36 * HOUR, "36 hours"),
            ("48h", 2 * DAY, "2 days"),
            ("30d", 30 * DAY, "30 days"),
            ("365d", YEAR, "1 year"),
            ("10y", 10 * YEAR, "10 years"),
            ("100y", LONGEST, "100 years"),
        ] {
            let span: Span = text.parse().expect(text);
            assert_eq!((span.seconds(), span.to_string().as_str()), (seconds, words), "{text}");
        }
        assert_eq!(Span::days(30), "30d".parse().expect("a span"));
        assert_eq!(Span::days(1).after(Timestamp(5)), Timestamp(86_400_005));
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for bad in [
            "",
            "d",
            "0d",
            "1",
            "1m",
            "1w",
            "-1d",
            "+1d",
            "1.5y",
            "1 d",
            "101y",
            "99999999999999999999y",
            "18446744073709551615h",
            "1Y",
            "ä",
        ] {
            assert_eq!(bad.parse::<Span>(), Err(InvalidSpan), "{bad}");
        }
    }
}
