//! A block of IP addresses: `10.0.0.0/24`, `2001:db8::/32`, or one address.

use std::net::IpAddr;

/// Addresses with the same leading bits. Its first and last address belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// Of IPv4.
    V4 { network: u32, mask: u32 },
    /// Of IPv6.
    V6 { network: u128, mask: u128 },
}

impl Block {
    /// Reads an address and the number of its leading bits that count, or an address of which all do. Bits after them
    /// are passed over.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) if length.bytes().all(|digit| digit.is_ascii_digit()) => {
                (address, Some(length.parse::<u32>().ok()?))
            }
            Some(_) => return None,
            None => (text, None),
        };
        match address.parse().ok()? {
            IpAddr::V4(address) => {
                let ignored = u32::BITS.checked_sub(length.unwrap_or(u32::BITS))?;
                let mask = u32::MAX.checked_shl(ignored).unwrap_or(0);
                Some(Self::V4 { network: address.to_bits() & mask, mask })
            }
            IpAddr::V6(address) => {
                let ignored = u128::BITS.checked_sub(length.unwrap_or(u128::BITS))?;
                let mask = u128::MAX.checked_shl(ignored).unwrap_or(0);
                Some(Self::V6 { network: address.to_bits() & mask, mask })
            }
        }
    }

    /// Whether a text is an address of the block, without a port or anything else.
    pub(super) fn contains(self, text: &str) -> bool {
        match (self, text.parse()) {
            (Self::V4 { network, mask }, Ok(IpAddr::V4(address))) => address.to_bits() & mask == network,
            (Self::V6 { network, mask }, Ok(IpAddr::V6(address))) => address.to_bits() & mask == network,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_its_first_and_last_address_and_none_around() {
        for (block, inside, outside) in [
            ("10.0.0.0/24", vec!["10.0.0.0", "10.0.0.7", "10.0.0.255"], vec!["9.255.255.255", "10.0.1.0", "::a00:0"]),
            ("10.0.0.9/24", vec!["10.0.0.0", "10.0.0.255"], vec!["10.0.1.0"]),
            ("10.0.0.1", vec!["10.0.0.1"], vec!["10.0.0.0", "10.0.0.2"]),
            ("10.0.0.1/32", vec!["10.0.0.1"], vec!["10.0.0.0", "10.0.0.2"]),
            ("10.0.0.0/31", vec!["10.0.0.0", "10.0.0.1"], vec!["10.0.0.2"]),
            (
                "0.0.0.0/0",
                vec!["0.0.0.0", "255.255.255.255"],
                vec!["::", "", "x", "10.0.0.1:80", " 10.0.0.1", "010.0.0.1"],
            ),
            ("2001:db8::/32", vec!["2001:db8::", "2001:DB8:ffff::1"], vec!["2001:db9::", "10.0.0.1"]),
            ("::1", vec!["::1", "0:0:0:0:0:0:0:1"], vec!["::2"]),
            ("::/0", vec!["::", "ffff::"], vec!["0.0.0.0", "[::1]"]),
        ] {
            let parsed = Block::parse(block).unwrap();
            assert!(inside.iter().all(|address| parsed.contains(address)), "{block} {inside:?}");
            assert!(!outside.iter().any(|address| parsed.contains(address)), "{block} {outside:?}");
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "/24",
            "10.0.0.0/33",
            "10.0.0/24",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "::/129",
            "::1%eth0",
            "10.0.0.0/24/8",
            "10.0.0.0/255.0.0.0",
            "host",
            "10.0.0.0/99999999999",
        ] {
            assert_eq!(Block::parse(text), None, "{text:?}");
        }
    }
}
