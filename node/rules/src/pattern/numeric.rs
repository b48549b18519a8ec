//! Comparisons of numbers, as doubles with a tolerance.

/// Numbers this near count as equal: what a double makes of a decimal fraction must not decide.
const TOLERANCE: f64 = 1e-7;

/// The largest number of a comparison, and with a minus the smallest: up to here doubles are finer than [`TOLERANCE`].
const MAXIMUM: f64 = 1e9;

/// How two numbers are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "=" => Some(Self::Equal),
            "!=" => Some(Self::NotEqual),
            "<" => Some(Self::Less),
            "<=" => Some(Self::LessOrEqual),
            ">" => Some(Self::Greater),
            ">=" => Some(Self::GreaterOrEqual),
            _ => None,
        }
    }
}

/// A comparison with a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Comparison {
    operator: Operator,
    number: f64,
}

impl Comparison {
    /// `None` for a number out of range.
    pub(super) fn new(operator: Operator, number: f64) -> Option<Self> {
        (-MAXIMUM..=MAXIMUM).contains(&number).then_some(Self { operator, number })
    }

    /// Whether a value compares so.
    pub(super) fn holds(self, value: f64) -> bool {
        let equal = (value - self.number).abs() <= TOLERANCE;
        match self.operator {
            Operator::Equal => equal,
            Operator::NotEqual => !equal,
            Operator::Less => !equal && value < self.number,
            Operator::LessOrEqual => equal || value < self.number,
            Operator::Greater => !equal && value > self.number,
            Operator::GreaterOrEqual => equal || value > self.number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operator_orders_as_it_says() {
        for (operator, below, equal, above) in [
            ("=", false, true, false),
            ("!=", true, false, true),
            ("<", true, false, false),
            ("<=", true, true, false),
            (">", false, false, true),
            (">=", false, true, true),
        ] {
            let comparison = Comparison::new(Operator::parse(operator).unwrap(), 0.3).unwrap();
            let above_by_rounding = 0.1 + 0.2;
            for (value, expected) in [
                (0.299_999, below),
                (f64::NEG_INFINITY, below),
                (0.3, equal),
                (above_by_rounding, equal),
                (0.3 - 1e-8, equal),
                (0.300_001, above),
                (f64::INFINITY, above),
            ] {
                assert_eq!(comparison.holds(value), expected, "{value} {operator} 0.3");
            }
        }
        assert_eq!(Operator::parse("=="), None);
    }

    #[test]
    fn numbers_have_a_range() {
        for (number, fits) in
            [(1e9, true), (-1e9, true), (1_000_000_001.0, false), (-1.1e9, false), (f64::INFINITY, false)]
        {
            assert_eq!(Comparison::new(Operator::Less, number).is_some(), fits, "{number}");
        }
    }
}
