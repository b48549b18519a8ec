//! The sysFlag bits of a message (Apache `MessageSysFlag`, `CompressionType`).
//!
//! Must never let a bit through to a target that would hide or corrupt the copy: see [`for_resend`].

/// The body is compressed.
pub const COMPRESSED: i32 = 0x1;
/// Set by a broker from the filter type of the topic.
pub const MULTI_TAGS: i32 = 0x2;
/// Both transaction bits.
pub const TRANSACTION: i32 = 0xC;
/// Half message of a transaction, or (8) a committed, (12) a rolled back one.
pub const TRANSACTION_PREPARED: i32 = 0x4;
/// Message of a committed transaction.
pub const TRANSACTION_COMMIT: i32 = 0x8;
/// The born host is an IPv6 address.
pub const BORN_HOST_V6: i32 = 0x10;
/// The store host is an IPv6 address.
pub const STORE_HOST_V6: i32 = 0x20;
/// The record must be unwrapped before it is shown to a consumer.
pub const NEED_UNWRAP: i32 = 0x40;
/// The body is a batch of inner messages.
pub const INNER_BATCH: i32 = 0x80;
/// Which compression, see [`Compression`].
pub const COMPRESSION_TYPE: i32 = 0x700;

/// How a body is compressed on the wire and in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zlib stream; also of clients older than the type bits.
    Zlib,
    /// LZ4 frame (not a bare block).
    Lz4,
    /// zstd stream.
    Zstd,
    /// A type that no known version writes.
    Unknown(i32),
}

/// The compression of the body, if it is compressed.
#[must_use]
pub fn compression(sys_flag: i32) -> Option<Compression> {
    (sys_flag & COMPRESSED != 0).then_some(match sys_flag & COMPRESSION_TYPE {
        0 | 0x300 => Compression::Zlib,
        0x100 => Compression::Lz4,
        0x200 => Compression::Zstd,
        other => Compression::Unknown(other >> 8),
    })
}

/// The bits that a copy may be sent with: compressed, and its type. PREPARED and ROLLBACK would hide the copy for ever,
/// the address bits would corrupt its record (the target sets them for its own connection), the rest is the target's to
/// set.
#[must_use]
pub const fn for_resend(sys_flag: i32) -> i32 {
    if sys_flag & COMPRESSED == 0 { 0 } else { sys_flag & (COMPRESSED | COMPRESSION_TYPE) }
}

/// Whether the record is one of the inside of a transaction (half or rolled back) rather than one that consumers see.
#[must_use]
pub const fn is_undecided_transaction(sys_flag: i32) -> bool {
    sys_flag & TRANSACTION_PREPARED != 0
}

/// Whether the body holds inner messages ([`super::batch::decode`] reads them).
#[must_use]
pub const fn is_inner_batch(sys_flag: i32) -> bool {
    sys_flag & INNER_BATCH != 0
}

/// Whether the born host of a record takes 16 address bytes.
#[must_use]
pub const fn born_host_is_v6(sys_flag: i32) -> bool {
    sys_flag & BORN_HOST_V6 != 0
}

/// Whether the store host of a record takes 16 address bytes.
#[must_use]
pub const fn store_host_is_v6(sys_flag: i32) -> bool {
    sys_flag & STORE_HOST_V6 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_compression_survives_a_resend() {
        assert_eq!(for_resend(COMPRESSED | 0x100 | TRANSACTION_COMMIT | BORN_HOST_V6 | STORE_HOST_V6), 0x101);
        assert_eq!(for_resend(-1), 0x701);
        assert_eq!(for_resend(0x300 | MULTI_TAGS | NEED_UNWRAP | INNER_BATCH), 0);
    }

    #[test]
    fn compression_types() {
        assert_eq!(compression(0x300), None);
        assert_eq!([0x1, 0x301].map(compression), [Some(Compression::Zlib); 2]);
        assert_eq!(compression(0x101), Some(Compression::Lz4));
        assert_eq!(compression(0x201), Some(Compression::Zstd));
        assert_eq!(compression(0x501), Some(Compression::Unknown(5)));
    }

    #[test]
    fn half_and_rolled_back_but_not_committed_messages_are_undecided() {
        assert_eq!([0x4, 0xC, 0x8, 0].map(is_undecided_transaction), [true, true, false, false]);
    }
}
