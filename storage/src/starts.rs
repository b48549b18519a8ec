//! How often the node of a data directory has started: the file `STARTS`, a decimal number.
//!
//! It puts the starts of a node in order, so that the word of an earlier process that arrives late is known as one.

use std::path::Path;

use crate::durable_file;
use crate::error::Error;

const FILE: &str = "STARTS";
const MAXIMUM_BYTES: u64 = 32;

/// The number of a node's first start, when its data directory was empty.
pub const FIRST: u64 = 1;

/// Counts a start of a node that has data, and answers its number: higher than that of every start before. Durable when
/// it is answered.
///
/// # Errors
/// [`Error::Io`]; [`Error::Corrupt`] when the file holds no number.
pub fn count(directory: &Path) -> Result<u64, Error> {
    let path = directory.join(FILE);
    let last = match durable_file::read(&path, MAXIMUM_BYTES)? {
        // Only the first start, or one of a build that did not count, went without.
        None => FIRST,
        Some(bytes) => {
            let number = str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse::<u64>().ok());
            number.ok_or_else(|| Error::corrupt(path.display().to_string(), "it holds no number"))?
        }
    };
    let number = last.saturating_add(1);
    durable_file::replace(&path, &[format!("{number}\n").as_bytes()])?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_has_a_higher_number() {
        let directory = tempfile::tempdir().unwrap();
        let numbers: Vec<u64> = (0..3).map(|_| count(directory.path()).unwrap()).collect();
        assert_eq!(numbers, [FIRST + 1, FIRST + 2, FIRST + 3]);
    }

    #[test]
    fn a_file_without_a_number_is_told_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "x", "-1", "1 2", "99999999999999999999", &"1".repeat(64)] {
            let path = directory.path().join(FILE);
            std::fs::write(&path, text).unwrap();
            assert!(matches!(count(directory.path()), Err(Error::Corrupt { .. })), "{text:?}");
            assert_eq!(std::fs::read_to_string(path).unwrap(), text);
        }
    }
}
