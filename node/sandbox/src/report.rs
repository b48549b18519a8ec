//! What a run of the sandbox ends with.

use serde::Serialize;

use crate::ledger::Verdict;

/// The report of `--json`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    /// Whether every order arrived once, in order and unaltered.
    pub(crate) ok: bool,
    /// How long traffic ran, in seconds.
    pub(crate) seconds: f64,
    /// Orders that the source region acknowledged.
    pub(crate) sent: u64,
    /// What the target region holds.
    #[serde(flatten)]
    pub(crate) verdict: Verdict,
    /// How often the target region's broker was stopped and started while traffic ran.
    pub(crate) target_restarts: u64,
}

impl Report {
    /// The report in one or two sentences for people.
    #[must_use]
    pub(crate) fn sentence(&self) -> String {
        let Verdict { verified, missing, doubled, out_of_order, altered, .. } = &self.verdict;
        let found = format!(
            "{} orders sent in {:.0} s, {} copies verified byte by byte: {missing} missing, {doubled} doubled, \
             {out_of_order} out of order, {altered} altered.",
            grouped(self.sent),
            self.seconds,
            grouped(*verified),
        );
        let examples: String = self.verdict.examples.iter().map(|example| format!("\n  {example}")).collect();
        format!("{found}{examples}")
    }
}

/// A number with a comma between groups of three digits.
#[must_use]
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped() {
        assert_eq!((grouped(0), grouped(999), grouped(1000)), ("0".into(), "999".into(), "1,000".into()));
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
