//! Judges the copies as they arrive: nothing missing, nothing doubled, nothing out of order, nothing altered.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::order::Order;

/// How many missing orders a queue remembers by number; beyond that they are only counted.
const REMEMBERED: usize = 10_000;

/// How many findings are kept in words.
const EXAMPLES: usize = 8;

/// What was found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    /// Copies that are right and in their place.
    pub(crate) verified: u64,
    /// Orders that were jumped over and have not arrived since.
    pub(crate) missing: u64,
    /// Copies of orders that had arrived before.
    pub(crate) doubled: u64,
    /// Copies that arrived behind later ones.
    pub(crate) out_of_order: u64,
    /// Copies that are not byte by byte what was sent.
    pub(crate) altered: u64,
    /// The first findings, in words.
    pub(crate) examples: Vec<String>,
}

impl Verdict {
    /// Whether no difference was found.
    #[must_use]
    pub(crate) fn is_clean(&self) -> bool {
        self.missing == 0 && self.doubled == 0 && self.out_of_order == 0 && self.altered == 0
    }
}

/// Follows every queue of the copies.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    next: BTreeMap<u32, u64>,
    jumped: BTreeMap<u32, BTreeSet<u64>>,
    verdict: Verdict,
}

impl Ledger {
    /// Judges one copy, in the order in which the target returns them.
    pub(crate) fn copy(&mut self, body: &[u8]) {
        let order = match Order::recognise(body) {
            Ok(order) => order,
            Err(reason) => {
                self.verdict.altered += 1;
                return self.example(reason);
            }
        };
        let next = self.next.entry(order.queue).or_default();
        let expected = *next;
        if order.sequence >= expected {
            *next = order.sequence + 1;
            self.verdict.verified += 1;
            if order.sequence > expected {
                self.jump(order.queue, expected, order.sequence);
            }
            return;
        }
        let arrived_late = self.jumped.get_mut(&order.queue).is_some_and(|jumped| jumped.remove(&order.sequence));
        if arrived_late {
            self.verdict.missing -= 1;
            self.verdict.out_of_order += 1;
            self.example(format!("order {}-{} arrived behind later ones", order.queue, order.sequence));
        } else {
            self.verdict.doubled += 1;
            self.example(format!("order {}-{} arrived twice", order.queue, order.sequence));
        }
    }

    fn jump(&mut self, queue: u32, from: u64, to: u64) {
        let jumped = self.jumped.entry(queue).or_default();
        let room = REMEMBERED.saturating_sub(jumped.len());
        jumped.extend((from..to).take(room));
        self.verdict.missing += to - from;
        self.example(format!("orders {queue}-{from} to {queue}-{} are missing", to - 1));
    }

    /// Compares with what was sent, once everything should have arrived: sent orders per queue.
    pub(crate) fn close(&mut self, sent: &BTreeMap<u32, u64>) {
        for (queue, sent) in sent {
            let arrived = self.next.get(queue).copied().unwrap_or_default();
            if arrived < *sent {
                self.jump(*queue, arrived, *sent);
                self.next.insert(*queue, *sent);
            }
        }
    }

    /// What was found so far.
    #[must_use]
    pub(crate) fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    fn example(&mut self, text: String) {
        if self.verdict.examples.len() < EXAMPLES {
            self.verdict.examples.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(sequences: &[u64], sent: u64) -> Verdict {
        let mut ledger = Ledger::default();
        for sequence in sequences {
            ledger.copy(&Order { queue: 0, sequence: *sequence }.body());
        }
        ledger.close(&BTreeMap::from([(0, sent)]));
        ledger.verdict().clone()
    }

    #[test]
    fn every_seeded_fault_is_found() {
        assert!(judged(&[0, 1, 2, 3], 4).is_clean());
        let lost = judged(&[0, 1, 3], 4);
        assert_eq!((lost.missing, lost.doubled, lost.out_of_order), (1, 0, 0));
        let cut = judged(&[0, 1], 4);
        assert_eq!(cut.missing, 2);
        let doubled = judged(&[0, 1, 1, 2, 3], 4);
        assert_eq!((doubled.missing, doubled.doubled, doubled.out_of_order), (0, 1, 0));
        let swapped = judged(&[0, 2, 1, 3], 4);
        assert_eq!((swapped.missing, swapped.doubled, swapped.out_of_order), (0, 0, 1));
        let mut ledger = Ledger::default();
        let mut body = Order { queue: 0, sequence: 0 }.body();
        body[100] ^= 1;
        ledger.copy(&body);
        assert_eq!(ledger.verdict().altered, 1);
    }
}
