//! Slows down whoever tries tokens: counts different wrong tokens by address, and refuses further wrong ones for a
//! while.
//!
//! It is never asked about a right token: all clients of a machine share one address, so whoever guesses there would
//! shut everybody out. What it saves is the log, and the time that guesses take. Only a *different* wrong token counts,
//! because to repeat one teaches nothing. The table is bounded.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Wrong tokens that an address may try before further ones have to wait.
pub const FREE_FAILURES: u32 = 8;
/// The first wait; each further wrong token doubles it.
pub const FIRST_LOCK: Duration = Duration::from_secs(1);
/// The longest wait.
pub const LONGEST_LOCK: Duration = Duration::from_secs(60);
/// An address that was quiet for so long begins anew.
pub const FORGET_AFTER: Duration = Duration::from_secs(600);
/// Addresses that are remembered; beyond it, the one that failed longest ago is forgotten.
pub const MAXIMUM_ADDRESSES: usize = 1024;
/// Between two lines of the log.
pub const LINE_EVERY: Duration = Duration::from_secs(60);
/// Wrong tokens (by hash) that are remembered for each address, so that repeating them does not count.
const REMEMBERED_TOKENS: usize = 8;

#[derive(Debug)]
struct Attempts {
    failures: u32,
    last: Instant,
    locked_until: Option<Instant>,
    tokens: Vec<[u8; 32]>,
}

/// What is known of addresses that sent wrong tokens.
#[derive(Debug, Default)]
pub struct Lockout {
    addresses: BTreeMap<IpAddr, Attempts>,
    /// When the log last had a line, and how many wrong tokens came since.
    told: Option<Instant>,
    untold: u64,
}

impl Lockout {
    /// How long wrong tokens of an address still have to wait; none when they need not.
    #[must_use]
    pub fn remaining(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let until = self.addresses.get(&address)?.locked_until?;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Notes a wrong token, by its hash.
    pub fn failed(&mut self, address: IpAddr, token: [u8; 32], now: Instant) {
        if !self.addresses.contains_key(&address) && self.addresses.len() >= MAXIMUM_ADDRESSES {
            self.forget_oldest();
        }
        let fresh = || Attempts { failures: 0, last: now, locked_until: None, tokens: Vec::new() };
        let attempts = self.addresses.entry(address).or_insert_with(fresh);
        if now.saturating_duration_since(attempts.last) > FORGET_AFTER {
            *attempts = fresh();
        }
        attempts.last = now;
        if attempts.tokens.contains(&token) {
            return;
        }
        if attempts.tokens.len() >= REMEMBERED_TOKENS {
            attempts.tokens.remove(0);
        }
        attempts.tokens.push(token);
        attempts.failures = attempts.failures.saturating_add(1);
        if let Some(beyond) = attempts.failures.checked_sub(FREE_FAILURES) {
            let doubled = 1_u32.checked_shl(beyond).filter(|_| beyond < 16).unwrap_or(u32::MAX);
            let lock = FIRST_LOCK.saturating_mul(doubled).min(LONGEST_LOCK);
            attempts.locked_until = now.checked_add(lock);
        }
    }

    /// Notes a request with a wrong token. Answers how many came since the last line of the log if it is time for
    /// another one: addresses are no bound, because every process may use all of 127.0.0.0/8.
    pub fn worth_a_line(&mut self, now: Instant) -> Option<u64> {
        self.untold = self.untold.saturating_add(1);
        if self.told.is_some_and(|told| now.saturating_duration_since(told) < LINE_EVERY) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    fn forget_oldest(&mut self) {
        let oldest = self.addresses.iter().min_by_key(|(_, attempts)| attempts.last).map(|(address, _)| *address);
        if let Some(address) = oldest {
            self.addresses.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::{Duration, Instant};

    use super::{FIRST_LOCK, FORGET_AFTER, FREE_FAILURES, LINE_EVERY, LONGEST_LOCK, Lockout, MAXIMUM_ADDRESSES};

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn token(number: u32) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        bytes
    }

    fn guess(lockout: &mut Lockout, count: u32, now: Instant) {
        for number in 0..count {
            lockout.failed(HOME, token(number), now);
        }
    }

    #[test]
    fn locks_after_different_wrong_tokens_and_doubles_up_to_the_longest() {
        let (mut lockout, now) = (Lockout::default(), Instant::now());
        guess(&mut lockout, FREE_FAILURES - 1, now);
        assert_eq!(lockout.remaining(HOME, now), None);
        lockout.failed(HOME, token(100), now);
        assert_eq!(lockout.remaining(HOME, now), Some(FIRST_LOCK));
        lockout.failed(HOME, token(101), now);
        assert_eq!(lockout.remaining(HOME, now), Some(FIRST_LOCK * 2));
        for number in 0..200 {
            lockout.failed(HOME, token(1000 + number), now);
        }
        assert_eq!(lockout.remaining(HOME, now), Some(LONGEST_LOCK));
        assert_eq!(lockout.remaining(HOME, now + LONGEST_LOCK), None);
    }

    #[test]
    fn one_wrong_token_again_and_again_never_locks() {
        let (mut lockout, now) = (Lockout::default(), Instant::now());
        for _ in 0..1000 {
            lockout.failed(HOME, token(7), now);
        }
        assert_eq!(lockout.remaining(HOME, now), None);
    }

    #[test]
    fn quiet_begins_anew() {
        let (mut lockout, now) = (Lockout::default(), Instant::now());
        guess(&mut lockout, FREE_FAILURES, now);
        assert!(lockout.remaining(HOME, now).is_some());
        let later = now + FORGET_AFTER + Duration::from_secs(1);
        lockout.failed(HOME, token(500), later);
        assert_eq!(lockout.remaining(HOME, later), None);
    }

    #[test]
    fn the_log_has_a_line_a_minute_that_counts_the_rest() {
        let (mut lockout, now) = (Lockout::default(), Instant::now());
        assert_eq!(lockout.worth_a_line(now), Some(1));
        for _ in 0..500 {
            assert_eq!(lockout.worth_a_line(now + LINE_EVERY / 2), None);
        }
        assert_eq!(lockout.worth_a_line(now + LINE_EVERY), Some(501));
        assert_eq!(lockout.worth_a_line(now + LINE_EVERY), None);
    }

    #[test]
    fn other_addresses_are_left_alone_and_the_table_is_bounded() {
        let (mut lockout, now) = (Lockout::default(), Instant::now());
        guess(&mut lockout, FREE_FAILURES, now);
        assert_eq!(lockout.remaining(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), now), None);
        for number in 0..u32::try_from(MAXIMUM_ADDRESSES).unwrap() + 10 {
            lockout.failed(IpAddr::V4(Ipv4Addr::from_bits(number)), token(0), now + Duration::from_secs(1));
        }
        assert_eq!(lockout.addresses.len(), MAXIMUM_ADDRESSES);
    }
}
