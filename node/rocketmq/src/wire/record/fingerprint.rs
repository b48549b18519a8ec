//! The number by which a stored record is known again.
//!
//! It is kept in checkpoints and compared after restarts and upgrades, so its definition must never change.

use std::net::SocketAddr;

use super::Record;

impl Record {
    /// A number that tells this stored record from any other that might take its queue offset: of its place, its clocks
    /// and hosts, its body CRC and length, its properties. The same on every replica. Kept in checkpoints, so its
    /// definition never changes.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let length = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let (born_high, born_low) = host_bits(self.born_host);
        let (store_high, store_low) = host_bits(self.store_host);
        [
            u64::from(self.queue_id),
            self.queue_offset.cast_unsigned(),
            self.physical_offset.cast_unsigned(),
            self.store_timestamp.cast_unsigned(),
            self.born_timestamp.cast_unsigned(),
            u64::from(self.flag.cast_unsigned()),
            u64::from(self.sys_flag.cast_unsigned()),
            u64::from(self.reconsume_times.cast_unsigned()),
            self.prepared_transaction_offset.cast_unsigned(),
            u64::from(self.body_crc),
            length(self.body.len()),
            u64::from(crc32fast::hash(self.topic.as_bytes())),
            length(self.properties.len()),
            u64::from(crc32fast::hash(&self.properties)),
            u64::from(self.born_host.port()),
            born_high,
            born_low,
            u64::from(self.store_host.port()),
            store_high,
            store_low,
        ]
        .into_iter()
        .fold(0x9E37_79B9_7F4A_7C15, mix)
    }
}

/// The address as 128 bits, an IPv4 one in the lowest.
fn host_bits(host: SocketAddr) -> (u64, u64) {
    match host {
        SocketAddr::V4(host) => (0, u64::from(host.ip().to_bits())),
        SocketAddr::V6(host) => {
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = host.ip().octets();
            (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p]))
        }
    }
}

/// One step of a hash with a fixed definition: the finaliser of SplitMix64 (Steele, Lea, Flood 2014) over state xor
/// value.
fn mix(state: u64, value: u64) -> u64 {
    let mut mixed = (state ^ value).wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::Arc;

    fn record() -> Record {
        Record {
            queue_id: 3,
            flag: 7,
            queue_offset: 10,
            physical_offset: 4096,
            sys_flag: 0,
            born_timestamp: 1_700_000_000_001,
            born_host: "10.0.0.1:1234".parse().unwrap(),
            store_timestamp: 1_700_000_000_002,
            store_host: "192.168.0.2:10911".parse().unwrap(),
            reconsume_times: 1,
            prepared_transaction_offset: 0,
            body_crc: 0x3610_A686,
            body: Bytes::from_static(b"hello"),
            topic: Arc::from("t1"),
            properties: Bytes::from_static(b"KEYS\x01k\x02"),
        }
    }

    /// The number was computed apart from this code, by the definition above.
    #[test]
    fn the_definition_stays() {
        assert_eq!(record().fingerprint(), 0x262F_D8B7_EF9C_EE66);
    }

    #[test]
    fn every_part_counts() {
        let others = [
            Record { queue_id: 4, ..record() },
            Record { queue_offset: 11, ..record() },
            Record { physical_offset: 4097, ..record() },
            Record { store_timestamp: 0, ..record() },
            Record { born_timestamp: 0, ..record() },
            Record { body_crc: 0, ..record() },
            Record { topic: Arc::from("t2"), ..record() },
            Record { properties: Bytes::from_static(b"KEYS\x01j\x02"), ..record() },
            Record { born_host: "10.0.0.1:1235".parse().unwrap(), ..record() },
            Record { store_host: "[::1]:10911".parse().unwrap(), ..record() },
        ];
        assert!(others.iter().all(|other| other.fingerprint() != record().fingerprint()));
    }
}
