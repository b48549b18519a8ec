//! Ports for servers under test, reserved across all test processes of this machine.
//!
//! A broker listens on three related ports and comes back on them after a restart, so "bind port 0" cannot serve it.
//! Blocks are held by a lock on a file for as long as the value lives, and lie below the range from which the kernel
//! takes ports for outgoing connections.

use std::fs::{File, OpenOptions, create_dir_all};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

const FIRST: u16 = 20_000;
const BLOCK: u16 = 4;
const BLOCKS: u16 = 3_000;

/// Four neighbouring ports, free when reserved and reserved until dropped.
#[derive(Debug)]
pub struct Ports {
    base: u16,
    _lock: File,
}

impl Ports {
    /// Reserves the next free block.
    ///
    /// # Panics
    /// When no block is free or the lock files cannot be written.
    pub fn reserve() -> Self {
        let folder = std::env::temp_dir().join("causeway-test-ports");
        create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
        // Processes start at different places, so that few of them try the same block.
        let start = u16::try_from(u64::from(std::process::id()) * 37 % u64::from(BLOCKS)).unwrap();
        for step in 0..BLOCKS {
            let base = FIRST + (start + step) % BLOCKS * BLOCK;
            let path = folder.join(format!("{base}.lock"));
            let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            let lock = lock.unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
            if lock.try_lock().is_ok() && free(base) {
                return Self { base, _lock: lock };
            }
        }
        panic!("no free ports between {FIRST} and {}", FIRST + BLOCK * BLOCKS);
    }

    /// The port number `index` (0 to 3) of the block.
    pub fn at(&self, index: u16) -> u16 {
        assert!(index < BLOCK, "a block has {BLOCK} ports");
        self.base + index
    }
}

fn free(base: u16) -> bool {
    (base..base + BLOCK).all(|port| {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
            && TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reservations_never_share_a_port() {
        let first = Ports::reserve();
        let second = Ports::reserve();
        assert!(first.at(0).abs_diff(second.at(0)) >= BLOCK);
    }

    #[test]
    fn a_port_in_use_is_not_handed_out() {
        let ports = Ports::reserve();
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.at(2))).unwrap();
        assert!(!free(ports.at(0)));
        drop(held);
    }
}
