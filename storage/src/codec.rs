//! How one value becomes rows of the database: small pieces, each with a checksum over its key and content.
//!
//! sled keeps values of 128 KiB and more in files that it never syncs, and merges smaller large ones into such files
//! when it rewrites pages, so no row is larger than [`MAXIMUM_ROW_BYTES`]. A longer value is cut into fragments that
//! the caller writes in one atomic batch. The checksum covers the key, so a row that turns up under another key is
//! damage too.
//!
//! ```text
//!   row key    = value key . fragment number (u32, big endian; 0 is the head)
//!   whole      = 1 . crc32 . value
//!   head       = 2 . crc32 . length of the value (u32) . crc32 of the value
//!   fragment   = 3 . crc32 . piece of the value
//! ```

/// The largest row, in bytes.
pub const MAXIMUM_ROW_BYTES: usize = 4096;
/// The largest value, in bytes; above the largest Raft entry, below anything that would have to be streamed.
pub const MAXIMUM_VALUE_BYTES: usize = 64 * 1024 * 1024;

const HEADER_BYTES: usize = 5;
const PIECE_BYTES: usize = MAXIMUM_ROW_BYTES - HEADER_BYTES;
const FRAGMENT_NUMBER_BYTES: usize = 4;

const WHOLE: u8 = 1;
const HEAD: u8 = 2;
const FRAGMENT: u8 = 3;

/// Why rows are not a value, or a value cannot become rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A row is shorter than its own header.
    #[error("a row of {0} bytes is too short")]
    TooShort(usize),
    /// The content is not what was written under this key.
    #[error("the checksum does not fit")]
    Checksum,
    /// A row of a kind that does not belong here.
    #[error("row kind {0} is not expected here")]
    Kind(u8),
    /// A piece of the value is missing.
    #[error("fragment {0} is missing")]
    MissingFragment(u32),
    /// The pieces do not add up to the value.
    #[error("the fragments hold {found} bytes, not {expected}")]
    Length {
        /// What the pieces hold.
        found: usize,
        /// What the head says.
        expected: usize,
    },
    /// The value is above [`MAXIMUM_VALUE_BYTES`].
    #[error("{0} bytes are above the maximum of {MAXIMUM_VALUE_BYTES}")]
    TooLarge(usize),
}

/// One row: key and content.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// How many fragments a value of this length has behind its head; none when it fits one row.
pub(crate) fn fragments(value_bytes: usize) -> u32 {
    if value_bytes <= PIECE_BYTES { 0 } else { u32::try_from(value_bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX) }
}

/// The key of one row of a value.
pub(crate) fn row_key(key: &[u8], fragment: u32) -> Vec<u8> {
    [key, &fragment.to_be_bytes()].concat()
}

/// Takes a row key apart.
pub(crate) fn split_row_key(row_key: &[u8]) -> Result<(&[u8], u32), Error> {
    let (key, number) = row_key.split_last_chunk::<FRAGMENT_NUMBER_BYTES>().ok_or(Error::TooShort(row_key.len()))?;
    Ok((key, u32::from_be_bytes(*number)))
}

/// The rows of a value, the head first.
pub(crate) fn encode(key: &[u8], value: &[u8]) -> Result<Vec<Row>, Error> {
    if value.len() > MAXIMUM_VALUE_BYTES {
        return Err(Error::TooLarge(value.len()));
    }
    if value.len() <= PIECE_BYTES {
        return Ok(vec![seal(row_key(key, 0), WHOLE, value)]);
    }
    let length = u32::try_from(value.len()).map_err(|_| Error::TooLarge(value.len()))?;
    let head = [length.to_le_bytes(), crc32fast::hash(value).to_le_bytes()].concat();
    let mut rows = vec![seal(row_key(key, 0), HEAD, &head)];
    for (piece, number) in value.chunks(PIECE_BYTES).zip(1..) {
        rows.push(seal(row_key(key, number), FRAGMENT, piece));
    }
    Ok(rows)
}

/// How many fragments follow this head row.
pub(crate) fn fragments_of(key: &[u8], head: &[u8]) -> Result<u32, Error> {
    match open(&row_key(key, 0), head)? {
        (WHOLE, _) => Ok(0),
        (HEAD, content) => Ok(fragments(parse_head(content)?.0)),
        (kind, _) => Err(Error::Kind(kind)),
    }
}

/// Puts a value together from its head row; `fetch` answers the content of further rows by their key.
pub(crate) fn decode<F, R, E>(key: &[u8], head: &[u8], mut fetch: F) -> Result<Vec<u8>, E>
where
    F: FnMut(&[u8]) -> Result<Option<R>, E>,
    R: AsRef<[u8]>,
    E: From<Error>,
{
    let content = match open(&row_key(key, 0), head)? {
        (WHOLE, content) => return Ok(content.to_vec()),
        (HEAD, content) => content,
        (kind, _) => return Err(Error::Kind(kind).into()),
    };
    let (expected, checksum) = parse_head(content)?;
    let mut value = Vec::with_capacity(expected);
    for number in 1..=fragments(expected) {
        let row_key = row_key(key, number);
        let row = fetch(&row_key)?.ok_or(Error::MissingFragment(number))?;
        match open(&row_key, row.as_ref())? {
            (FRAGMENT, piece) => value.extend_from_slice(piece),
            (kind, _) => return Err(Error::Kind(kind).into()),
        }
    }
    if value.len() != expected {
        return Err(Error::Length { found: value.len(), expected }.into());
    }
    if crc32fast::hash(&value) != checksum {
        return Err(Error::Checksum.into());
    }
    Ok(value)
}

fn parse_head(content: &[u8]) -> Result<(usize, u32), Error> {
    let (length, checksum) = content.split_first_chunk::<4>().ok_or(Error::TooShort(content.len()))?;
    let checksum: [u8; 4] = checksum.try_into().map_err(|_| Error::TooShort(content.len()))?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| Error::Checksum)?;
    if length > MAXIMUM_VALUE_BYTES {
        return Err(Error::TooLarge(length));
    }
    Ok((length, u32::from_le_bytes(checksum)))
}

fn seal(row_key: Vec<u8>, kind: u8, content: &[u8]) -> Row {
    let mut row = Vec::with_capacity(HEADER_BYTES.saturating_add(content.len()));
    row.push(kind);
    row.extend_from_slice(&checksum(&row_key, kind, content).to_le_bytes());
    row.extend_from_slice(content);
    (row_key, row)
}

fn open<'a>(row_key: &[u8], row: &'a [u8]) -> Result<(u8, &'a [u8]), Error> {
    let (kind, rest) = row.split_first().ok_or(Error::TooShort(row.len()))?;
    let (stored, content) = rest.split_first_chunk::<4>().ok_or(Error::TooShort(row.len()))?;
    if checksum(row_key, *kind, content) != u32::from_le_bytes(*stored) {
        return Err(Error::Checksum);
    }
    Ok((*kind, content))
}

fn checksum(row_key: &[u8], kind: u8, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(row_key);
    hasher.update(&[kind]);
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
#[allow(clippy::as_conversions)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Error, MAXIMUM_ROW_BYTES, MAXIMUM_VALUE_BYTES, PIECE_BYTES, decode, encode, fragments, row_key};

    type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

    fn read(key: &[u8], rows: &Rows) -> Result<Vec<u8>, Error> {
        let head = rows.get(&row_key(key, 0)).ok_or(Error::MissingFragment(0))?;
        decode(key, head, |row_key| Ok(rows.get(row_key)))
    }

    #[test]
    fn values_around_every_boundary_come_back_and_no_row_is_too_large() {
        for length in
            [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 2 * PIECE_BYTES + 1, 1 << 20]
        {
            let value: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let rows = encode(b"key", &value).unwrap();
            assert_eq!(rows.len(), 1 + fragments(length) as usize);
            assert!(rows.iter().all(|(_, row)| row.len() <= MAXIMUM_ROW_BYTES));
            assert_eq!(read(b"key", &rows.into_iter().collect()).unwrap(), value);
        }
    }

    #[test]
    fn refuses_a_value_above_the_maximum_before_it_copies_anything() {
        let value = vec![0; MAXIMUM_VALUE_BYTES + 1];
        assert_eq!(encode(b"key", &value), Err(Error::TooLarge(value.len())));
    }

    #[test]
    fn a_head_that_announces_too_much_is_refused_before_allocation() {
        let mut content = u32::MAX.to_le_bytes().to_vec();
        content.extend_from_slice(&[0; 4]);
        let (key, row) = super::seal(row_key(b"key", 0), super::HEAD, &content);
        assert_eq!(read(b"key", &Rows::from([(key, row)])), Err(Error::TooLarge(u32::MAX as usize)));
    }

    #[test]
    fn a_row_under_another_key_is_damage() {
        let rows = encode(b"one", b"value").unwrap();
        assert_eq!(decode::<_, Vec<u8>, Error>(b"two", &rows[0].1, |_| Ok(None)), Err(Error::Checksum));
    }

    #[test]
    fn fragments_of_an_older_value_do_not_pass_for_the_newer_one() {
        let old: Rows = encode(b"key", &vec![1; 3 * PIECE_BYTES]).unwrap().into_iter().collect();
        let mut mixed: Rows = encode(b"key", &vec![2; 3 * PIECE_BYTES]).unwrap().into_iter().collect();
        let second = row_key(b"key", 2);
        mixed.insert(second.clone(), old[&second].clone());
        assert_eq!(read(b"key", &mixed), Err(Error::Checksum));
    }

    proptest! {
        #[test]
        fn one_flipped_bit_anywhere_is_detected(
            length in 0_usize..3 * PIECE_BYTES,
            row in any::<prop::sample::Index>(),
            byte in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let value: Vec<u8> = (0..length).map(|at| (at % 253) as u8).collect();
            let mut rows: Rows = encode(b"key", &value).unwrap().into_iter().collect();
            let target = row.index(rows.len());
            let row = rows.values_mut().nth(target).unwrap();
            let at = byte.index(row.len());
            row[at] ^= 1 << bit;
            prop_assert!(read(b"key", &rows).is_err());
        }

        #[test]
        fn arbitrary_rows_never_panic(row in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(read(b"key", &Rows::from([(row_key(b"key", 0), row)])).is_err());
        }

        #[test]
        fn a_missing_fragment_is_detected(length in PIECE_BYTES + 1..5 * PIECE_BYTES, gone in any::<prop::sample::Index>()) {
            let mut rows: Rows = encode(b"key", &vec![7; length]).unwrap().into_iter().collect();
            let number = 1 + gone.index(rows.len() - 1) as u32;
            rows.remove(&row_key(b"key", number));
            prop_assert_eq!(read(b"key", &rows), Err(Error::MissingFragment(number)));
        }
    }
}
