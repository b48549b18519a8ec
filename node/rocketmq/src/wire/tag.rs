//! The tag hash that consume queues hold (Apache `MessageExtBrokerInner.tagsString2tagsCode`): Java's
//! `String.hashCode`.
//!
//! Different tags can have one hash, so a filter by hash passes too much and the tag itself must still be compared.

/// Java's `String.hashCode` of a tag: the sum of `s[i]*31^(n-1-i)` over its UTF-16 units, in wrapping 32-bit
/// arithmetic.
#[must_use]
pub fn hash(tag: &str) -> i32 {
    tag.encode_utf16().fold(0_i32, |sum, unit| sum.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    #[test]
    fn hashes_are_those_of_java() {
        for (tag, hash) in [("", 0), ("TagA", 2598919), ("Aa", 2112), ("BB", 2112), ("é😀", 1996812)] {
            assert_eq!(super::hash(tag), hash, "{tag}");
        }
    }
}
