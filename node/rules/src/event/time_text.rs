//! The text of a time, as CloudEvents want it (RFC 3339, UTC, milliseconds).

use time::OffsetDateTime;

/// `2021-04-08T06:01:20.766Z` for milliseconds since 1970; `None` outside the years 0 to 9999, for which there is no
/// such text.
pub(super) fn rfc3339(milliseconds: i64) -> Option<String> {
    let nanoseconds = i128::from(milliseconds).checked_mul(1_000_000)?;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?;
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second, millisecond) = (time.hour(), time.minute(), time.second(), time.millisecond());
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_milliseconds_and_years_four_digits() {
        for (milliseconds, expected) in [
            (1_617_861_680_766, Some("2021-04-08T06:01:20.766Z")),
            (0, Some("1970-01-01T00:00:00.000Z")),
            (-1, Some("1969-12-31T23:59:59.999Z")),
            (951_782_400_000, Some("2000-02-29T00:00:00.000Z")),
            (253_402_300_799_999, Some("9999-12-31T23:59:59.999Z")),
            (253_402_300_800_000, None),
            (-62_167_219_200_000, Some("0000-01-01T00:00:00.000Z")),
            (-62_167_219_200_001, None),
            (i64::MAX, None),
            (i64::MIN, None),
        ] {
            assert_eq!(rfc3339(milliseconds).as_deref(), expected, "{milliseconds}");
        }
    }
}
