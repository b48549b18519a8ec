//! Numbers as people read them: grouped, in the unit that fits. What is not known says so. Paths as a shell reads them.

use std::path::Path;
use std::time::Duration;

use causeway_core::ids::Timestamp;

use crate::telemetry::rates::approximate;

/// What stands for a figure that nobody knows.
pub const UNKNOWN: &str = "unknown";

/// `1,204,331`.
#[must_use]
pub fn grouped(number: u64) -> String {
    group(&number.to_string())
}

/// `-1,204`.
#[must_use]
pub fn grouped_signed(number: i64) -> String {
    let digits = grouped(number.unsigned_abs());
    if number < 0 { format!("-{digits}") } else { digits }
}

fn group(digits: &str) -> String {
    let length = digits.len();
    let mut out = String::with_capacity(length.saturating_add(length / 3));
    for (position, digit) in digits.chars().enumerate() {
        let left = length.saturating_sub(position);
        if position > 0 && left.is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `12 messages`, `1 message`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A number that may not be known.
#[must_use]
pub fn or_unknown(number: Option<u64>) -> String {
    number.map_or_else(|| UNKNOWN.to_owned(), grouped)
}

/// `58,200/s`, and `0.4/s` where it is slow.
#[must_use]
pub fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => UNKNOWN.to_owned(),
        Some(value) if value > 0.0 && value < 9.95 => format!("{value:.1}/s"),
        Some(value) => format!("{}/s", group(&format!("{:.0}", value.max(0.0)))),
    }
}

/// `20 MiB`, `1.5 GiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        let one = 1_u64 << shift;
        if number >= one {
            let value = approximate(number) / approximate(one);
            let text = if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") };
            return format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text));
        }
    }
    format!("{number} B")
}

/// `8 ms`, `3.2 s`, `42 s`, `3 min 20 s`, `2 h 3 min`, `5 d 1 h`.
#[must_use]
pub fn seconds(value: f64) -> String {
    let value = value.max(0.0);
    if value < 0.1 {
        return format!("{:.0} ms", value * 1_000.0);
    }
    if value < 9.95 {
        return format!("{value:.1} s");
    }
    let whole = Duration::try_from_secs_f64(value.round()).unwrap_or(Duration::MAX).as_secs();
    let (minutes, hours, days) = (whole / 60, whole / 3_600, whole / 86_400);
    match () {
        () if minutes == 0 => format!("{whole} s"),
        () if hours == 0 => format!("{minutes} min {} s", whole % 60),
        () if days == 0 => format!("{hours} h {} min", minutes % 60),
        () => format!("{} d {} h", grouped(days), hours % 24),
    }
}

/// A span that may not be known.
#[must_use]
pub fn seconds_or_unknown(value: Option<f64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), seconds)
}

/// How long ago a time was.
#[must_use]
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let milliseconds = u64::try_from(now.0.saturating_sub(then.0)).unwrap_or(0);
    seconds(Duration::from_millis(milliseconds).as_secs_f64())
}

/// `2026-11-20 08:00:05 UTC`.
#[must_use]
pub fn time(at: Timestamp) -> String {
    let whole = at.0.div_euclid(1_000);
    let (days, second) = (whole.div_euclid(86_400), whole.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
///
/// Counts in eras of 400 years whose years begin in March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Days from 1970-01-01 to a date; the inverse of [`civil`].
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Reads `2026-11-20T08:00:05Z` (or a space for the `T`); none for anything else, dates that do not exist included.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z').or_else(|| text.strip_suffix(" UTC"))?;
    let (date, clock) = text.split_once(['T', ' '])?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let days = days_from_civil(year, month, day);
    let exists = civil(days) == (year, month, day) && (1..=12).contains(&month);
    if !exists || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(Timestamp((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000))
}

fn numbers(text: &str, separator: char, lengths: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let mut next = |length: usize| {
        let part = parts.next()?;
        let digits = part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse::<i64>().ok() } else { None }
    };
    let found = [next(lengths[0])?, next(lengths[1])?, next(lengths[2])?];
    parts.next().is_none().then_some(found)
}

/// `████████████░░░░░░░░`, never full before 100 percent.
#[must_use]
pub fn bar(percent: f64, cells: u32) -> String {
    let filled = percent.clamp(0.0, 100.0) / 100.0 * f64::from(cells);
    (1..=cells).map(|cell| if f64::from(cell) <= filled { '█' } else { '░' }).collect()
}

/// A path as it is typed in a shell: in quotes where a shell would take it apart.
#[must_use]
pub fn word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+:@%".contains(letter);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_grouped_and_carry_their_unit() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_204_331, "1,204,331")];
        for (number, text) in cases {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(grouped_signed(-1_204), "-1,204");
        assert_eq!(counted(1, "message"), "1 message");
        assert_eq!(rate(Some(2_000.6)), "2,001/s");
        assert_eq!(rate(Some(0.44)), "0.4/s");
        assert_eq!(rate(Some(0.0)), "0/s");
        assert_eq!(rate(None), "unknown");
        for (number, text) in [(512, "512 B"), (20 << 20, "20 MiB"), (1_610_612_736, "1.5 GiB"), (1_024, "1 KiB")] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn spans_use_the_unit_that_fits() {
        let cases = [
            (0.0, "0 ms"),
            (0.0082, "8 ms"),
            (0.41, "0.4 s"),
            (9.96, "10 s"),
            (42.4, "42 s"),
            (200.0, "3 min 20 s"),
            (7_380.0, "2 h 3 min"),
            (435_600.0, "5 d 1 h"),
            (-3.0, "0 ms"),
        ];
        for (value, text) in cases {
            assert_eq!(seconds(value), text);
        }
        assert_eq!(seconds(f64::INFINITY), seconds(f64::MAX));
    }

    #[test]
    fn times_known_by_heart() {
        assert_eq!(time(Timestamp(0)), "1970-01-01 00:00:00 UTC");
        assert_eq!(time(Timestamp(951_782_400_000)), "2000-02-29 00:00:00 UTC");
        assert_eq!(time(Timestamp(-1)), "1969-12-31 23:59:59 UTC");
        assert_eq!(parse_time("2000-02-29T00:00:00Z"), Some(Timestamp(951_782_400_000)));
        for bad in [
            "2001-02-29T00:00:00Z",
            "2000-13-01T00:00:00Z",
            "2000-01-01T24:00:00Z",
            "2000-01-01",
            "now",
            "2000-1-01T00:00:00Z",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        assert_eq!(bar(0.0, 4), "░░░░");
        assert_eq!(bar(61.0, 20), "████████████░░░░░░░░");
        assert_eq!(bar(99.9, 4), "███░");
        assert_eq!(bar(100.0, 4), "████");
        assert_eq!(bar(f64::NAN, 2), "░░");
    }

    proptest! {
        #[test]
        fn every_time_is_read_back(second in 0_i64..253_402_300_800) {
            let at = Timestamp(second * 1_000);
            prop_assert_eq!(parse_time(&time(at)), Some(at));
        }
    }

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        for (path, typed) in [
            ("certs/n1.pem", "certs/n1.pem"),
            ("", "''"),
            ("my certs", "'my certs'"),
            ("a;b", "'a;b'"),
            ("it's", "'it'\\''s'"),
        ] {
            assert_eq!(word(Path::new(path)), typed);
        }
    }
}
