//! The messages of the sandbox: orders whose whole body follows from their queue and sequence number, so that a copy
//! can be compared byte by byte without keeping what was sent.

/// An order's place: source queue, and its number within that queue, from zero without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    /// The source queue.
    pub(crate) queue: u32,
    /// The number within the queue.
    pub(crate) sequence: u64,
}

/// What a body must look like to be one of ours.
const PREFIX: &str = "{\"order\":\"";

impl Order {
    /// The body of this order: JSON of about 300 bytes.
    #[must_use]
    pub(crate) fn body(self) -> Vec<u8> {
        let Self { queue, sequence } = self;
        let seed = mix(u64::from(queue) << 48 | sequence);
        let mut body = format!(
            "{PREFIX}{queue}-{sequence}\",\"customer\":{},\"amount_cents\":{},\"note\":\"",
            seed % 100_000,
            (seed >> 20) % 1_000_000,
        );
        let mut filler = seed;
        while body.len() < 280 {
            filler = mix(filler);
            body.push_str(&format!("{filler:016x}"));
        }
        body.push_str("\"}");
        body.into_bytes()
    }

    /// The tag of this order: three of four are paid.
    #[must_use]
    pub(crate) fn tag(self) -> &'static str {
        if self.sequence % 4 == 3 { "shipped" } else { "paid" }
    }

    /// Recognises a body: its place, or what is wrong with it.
    ///
    /// # Errors
    /// A sentence for people when the bytes are not exactly the body of the order that they name.
    pub(crate) fn recognise(body: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(body).map_err(|_| "the body is not text".to_owned())?;
        let rest = text.strip_prefix(PREFIX).ok_or("the body is not an order")?;
        let (place, _) = rest.split_once('"').ok_or("the body is cut short")?;
        let (queue, sequence) = place.split_once('-').ok_or("the order has no number")?;
        let order = Self {
            queue: queue.parse().map_err(|_| "the order's queue is not a number".to_owned())?,
            sequence: sequence.parse().map_err(|_| "the order's sequence is not a number".to_owned())?,
        };
        if order.body() == body { Ok(order) } else { Err(format!("the body of order {place} was altered")) }
    }
}

/// A fixed mixing function (the finaliser of SplitMix64), so that bodies differ in every byte.
fn mix(value: u64) -> u64 {
    let value = (value.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::Order;

    #[test]
    fn a_body_is_recognised_and_any_altered_byte_is_not() {
        let order = Order { queue: 3, sequence: 1042 };
        let body = order.body();
        assert_eq!(Order::recognise(&body), Ok(order));
        for position in 0..body.len() {
            let mut altered = body.clone();
            altered[position] ^= 1;
            assert!(Order::recognise(&altered) != Ok(order), "byte {position}");
        }
    }
}
