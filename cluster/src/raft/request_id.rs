//! Random numbers that pair an applied entry with the call that waits for it.

/// 128 random bits from the operating system; none when it has none to give.
pub(crate) fn request_id() -> Option<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).ok()?;
    Some(u128::from_le_bytes(bytes))
}
