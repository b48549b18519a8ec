//! Compression of batches, where it pays.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The level of Zstandard: the quickest that compresses well. The relay must not become slower than the line.
const ZSTD_LEVEL: i32 = 1;

/// Less than this is not worth the attempt, in bytes.
const WORTH_TRYING: usize = 512;

/// After batches that did not get smaller, at most so many are sent without an attempt.
const LONGEST_REST: u32 = 64;

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    Off,
    /// LZ4: costs little on both sides.
    #[default]
    Lz4,
    /// Zstandard: fewer bytes for more work, where the line is the bottleneck.
    Zstd,
}

/// How the records of a batch are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Packing {
    /// Not at all.
    Plain,
    /// As one LZ4 block.
    Lz4 {
        /// Bytes of what is in it.
        bytes: u64,
    },
    /// As one Zstandard frame.
    Zstd {
        /// Bytes of what is in it.
        bytes: u64,
    },
}

/// Decides for one stream whether to compress: bodies are alike from batch to batch, so when one did not get smaller
/// the next ones are not tried, twice as many each time.
#[derive(Debug)]
pub(crate) struct Packer {
    compression: Compression,
    /// Batches that are not tried.
    resting: u32,
    rest: u32,
}

impl Packer {
    pub(crate) fn new(compression: Compression) -> Self {
        Self { compression, resting: 0, rest: 1 }
    }

    /// The compression to try for this batch.
    pub(crate) fn choose(&mut self, bytes: usize) -> Compression {
        if bytes < WORTH_TRYING {
            return Compression::Off;
        }
        if self.resting > 0 {
            self.resting = self.resting.saturating_sub(1);
            return Compression::Off;
        }
        self.compression
    }

    /// What came of an attempt: whether it paid.
    pub(crate) fn learn(&mut self, pays: bool) {
        if pays {
            self.rest = 1;
        } else {
            self.resting = self.rest;
            self.rest = self.rest.saturating_mul(2).min(LONGEST_REST);
        }
    }
}

/// The bytes in a smaller form; none where that saves less than an eighth.
pub(crate) fn pack(compression: Compression, bytes: &[u8]) -> Option<(Packing, Vec<u8>)> {
    let length = u64::try_from(bytes.len()).ok()?;
    let (packing, packed) = match compression {
        Compression::Off => return None,
        Compression::Lz4 => (Packing::Lz4 { bytes: length }, lz4_flex::block::compress(bytes)),
        Compression::Zstd => (Packing::Zstd { bytes: length }, zstd::bulk::compress(bytes, ZSTD_LEVEL).ok()?),
    };
    (packed.len() < bytes.len() - bytes.len() / 8).then_some((packing, packed))
}

/// What is in a batch, of at most `maximum` bytes; none when it is not what it says.
pub(crate) fn unpack(packing: Packing, bytes: &[u8], maximum: usize) -> Option<Cow<'_, [u8]>> {
    let (Packing::Lz4 { bytes: length } | Packing::Zstd { bytes: length }) = packing else {
        return Some(Cow::Borrowed(bytes));
    };
    let length = usize::try_from(length).ok().filter(|length| *length <= maximum)?;
    let mut unpacked = vec![0; length];
    let written = match packing {
        Packing::Zstd { .. } => zstd::bulk::decompress_to_buffer(bytes, &mut unpacked).ok()?,
        _ => lz4_flex::block::decompress_into(bytes, &mut unpacked).ok()?,
    };
    (written == length).then_some(Cow::Owned(unpacked))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::{Compression, LONGEST_REST, Packer, Packing, pack, unpack};

    const BOTH: [Compression; 2] = [Compression::Lz4, Compression::Zstd];

    fn said(compression: Compression, length: usize) -> Packing {
        let bytes = u64::try_from(length).unwrap();
        if compression == Compression::Zstd { Packing::Zstd { bytes } } else { Packing::Lz4 { bytes } }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(word in prop::collection::vec(any::<u8>(), 1..20), times in 100_usize..2_000) {
            let bytes = word.repeat(times);
            for compression in BOTH {
                let (packing, packed) = pack(compression, &bytes).expect("it repeats itself");
                assert_eq!(packing, said(compression, bytes.len()));
                assert_eq!(unpack(packing, &packed, bytes.len()).unwrap(), bytes);
                assert!(unpack(packing, &packed, bytes.len() - 1).is_none(), "above the cap");
                for other in [bytes.len() - 1, bytes.len() + 1] {
                    assert!(unpack(said(compression, other), &packed, usize::MAX).is_none());
                }
            }
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500), length in 0_usize..5_000) {
            for compression in BOTH {
                if let Some(unpacked) = unpack(said(compression, length), &bytes, 4_000) {
                    assert_eq!(unpacked.len(), length);
                }
            }
        }
    }

    #[test]
    fn what_does_not_get_smaller_is_left_as_it_is_and_tried_less_and_less() {
        let mut state = 7_u32;
        let noise: Vec<u8> = (0..10_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        for compression in BOTH {
            assert_eq!(pack(compression, &noise), None);
        }
        assert_eq!(pack(Compression::Off, &[0; 9_999]), None);
        let mut packer = Packer::new(Compression::Lz4);
        let tries = |packer: &mut Packer| packer.choose(noise.len()) == Compression::Lz4;
        let tried = (0..1_000).filter(|_| {
            let tried = tries(&mut packer);
            if tried {
                packer.learn(false);
            }
            tried
        });
        let tried = tried.count();
        assert!((10..30).contains(&tried), "{tried}");
        assert!((0..=LONGEST_REST).any(|_| tries(&mut packer)), "it is tried again");
        packer.learn(true);
        assert!(tries(&mut packer));
        assert_eq!(packer.choose(10), Compression::Off);
        assert_eq!(Packer::new(Compression::Off).choose(10_000), Compression::Off);
    }
}
