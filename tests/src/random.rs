//! Repeatable choices, nothing more: xorshift.

/// A sequence that its seed decides. The seed is not 0.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
