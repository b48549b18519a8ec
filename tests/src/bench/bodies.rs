//! What the messages of a benchmark hold: it decides what compression can do.

use std::fmt::Write as _;

use crate::random::Random;

/// Content of bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Content {
    /// One letter, over and over.
    Same,
    /// Random bytes: nothing to compress.
    Noise,
    /// Orders in JSON with random fields, as an application writes them.
    Orders,
}

impl Content {
    /// The word that names it in arguments and topics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Noise => "noise",
            Self::Orders => "orders",
        }
    }

    /// The one with this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        [Self::Same, Self::Noise, Self::Orders].into_iter().find(|content| content.word() == word)
    }

    /// Makes a body of `size` bytes.
    pub fn fill(self, body: &mut Vec<u8>, size: usize, random: &mut Random) {
        body.clear();
        match self {
            Self::Same => {}
            Self::Noise => {
                while body.len() < size {
                    body.extend_from_slice(&random.below(u64::MAX).to_le_bytes());
                }
            }
            Self::Orders => body.extend_from_slice(orders(size, random).as_bytes()),
        }
        body.resize(size, b'x');
    }
}

fn orders(size: usize, random: &mut Random) -> String {
    let mut text = String::with_capacity(size + 200);
    while text.len() < size {
        let (order, customer) = (random.below(1 << 40), random.below(1 << 24));
        let _ = write!(text, "{{\"order\":\"{order:012}\",\"customer\":\"c-{customer}\",\"lines\":[");
        for _ in 0..=random.below(3) {
            let (article, count, cents) = (random.below(1 << 20), random.below(9) + 1, random.below(100_000));
            let _ = write!(
                text,
                "{{\"article\":\"a-{article}\",\"count\":{count},\"price\":\"{}.{:02}\",\"currency\":\"CNY\"}},",
                cents / 100,
                cents % 100
            );
        }
        let _ = writeln!(text, "],\"placed_at\":{}}}", 1_700_000_000_000 + random.below(1 << 35));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_asked_size_and_differ() {
        let mut random = Random(7);
        for content in [Content::Same, Content::Noise, Content::Orders] {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            content.fill(&mut one, 1000, &mut random);
            content.fill(&mut other, 1000, &mut random);
            assert_eq!((one.len(), other.len()), (1000, 1000));
            assert_eq!(one == other, content == Content::Same);
            assert_eq!(Content::of(content.word()), Some(content));
        }
    }
}
