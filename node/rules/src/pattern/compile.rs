//! From the JSON of a pattern to its tests, or to all of its faults.

use std::collections::BTreeSet;

use super::block::Block;
use super::condition::{AnyOf, Condition, Values};
use super::fault::{Fault, PathText, Problem};
use super::numeric::{Comparison, Operator};
use super::{ATTRIBUTES, DATA, FieldTest, MAXIMUM_DEPTH, MAXIMUM_FAULTS};
use crate::json::{Json, Step};

/// Reads a pattern member by member and goes on after a fault.
#[derive(Default)]
pub(super) struct Compiler {
    at: Vec<Step>,
    pub(super) tests: Vec<FieldTest>,
    pub(super) faults: Vec<Fault>,
}

impl Compiler {
    /// The members of the pattern itself, or of an object in it.
    pub(super) fn object(&mut self, members: &[(String, Json)]) {
        let mut names = BTreeSet::new();
        for (name, value) in members {
            self.within(name.as_str().into(), |this| {
                if !names.insert(name) {
                    this.fault(Problem::Repeated);
                } else if this.at.len() > MAXIMUM_DEPTH {
                    this.fault(Problem::TooDeep);
                } else {
                    this.member(name, value);
                }
            });
        }
    }

    fn member(&mut self, name: &str, value: &Json) {
        let at_top = self.at.len() == 1;
        match value {
            _ if at_top && name != DATA && !ATTRIBUTES.contains(&name) => self.fault(Problem::UnknownAttribute),
            Json::Object(_) if at_top && name != DATA => self.fault(Problem::AttributeIsText),
            Json::Object(members) if members.is_empty() => self.fault(Problem::NoField),
            Json::Object(members) => self.object(members),
            _ if at_top && name == DATA => self.fault(Problem::DataIsObject),
            Json::Array(alternatives) => self.field(alternatives, value),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {
                self.fault(Problem::NotAnArray(value.to_string()));
            }
        }
    }

    fn field(&mut self, alternatives: &[Json], written: &Json) {
        if alternatives.is_empty() {
            return self.fault(Problem::EmptyArray);
        }
        let mut any_of = AnyOf::default();
        for (index, alternative) in alternatives.iter().enumerate() {
            self.within(Step::Element(index), |this| this.alternative(alternative, &mut any_of));
        }
        self.tests.push(FieldTest::new(self.at.as_slice().into(), any_of, written.to_string()));
    }

    fn alternative(&mut self, alternative: &Json, any_of: &mut AnyOf) {
        match alternative {
            Json::Array(_) => self.fault(Problem::ArrayInArray),
            Json::Object(members) => match members.as_slice() {
                [(name, value)] => self.within(name.as_str().into(), |this| this.condition(name, value, any_of)),
                _ => self.fault(Problem::NotOneCondition(members.len())),
            },
            value => {
                any_of.values.insert(value);
            }
        }
    }

    fn condition(&mut self, name: &str, value: &Json, any_of: &mut AnyOf) {
        let condition = match (name, value) {
            ("exists", Json::Bool(true)) => return any_of.present = true,
            ("exists", Json::Bool(false)) => return any_of.absent = true,
            ("exists", _) => Err(Problem::NotABool),
            ("prefix", value) => text(value).map(Condition::Prefix),
            ("suffix", value) => text(value).map(Condition::Suffix),
            ("contains", value) => text(value).map(Condition::Contains),
            ("cidr", Json::Text(block)) => Block::parse(block).map(Condition::Within).ok_or(Problem::NotABlock),
            ("cidr", _) => Err(Problem::NotABlock),
            ("numeric", value) => return any_of.conditions.extend(self.numeric(value)),
            ("anything-but", value) => return any_of.conditions.extend(self.anything_but(value)),
            _ => Err(Problem::UnknownCondition),
        };
        any_of.conditions.extend(self.checked(condition));
    }

    fn anything_but(&mut self, value: &Json) -> Option<Condition> {
        let mut values = Values::default();
        match value {
            Json::Array(excluded) => {
                for (index, value) in excluded.iter().enumerate() {
                    if !values.insert(value) {
                        self.within(Step::Element(index), |this| this.fault(Problem::AnythingBut));
                    }
                }
                Some(Condition::Not(values))
            }
            Json::Object(members) => {
                let [(name, value)] = members.as_slice() else {
                    self.fault(Problem::NotOneCondition(members.len()));
                    return None;
                };
                let condition = match name.as_str() {
                    "prefix" => text(value).map(Condition::NotPrefix),
                    "suffix" => text(value).map(Condition::NotSuffix),
                    _ => Err(Problem::AnythingBut),
                };
                self.within(name.as_str().into(), |this| this.checked(condition))
            }
            value => values.insert(value).then_some(Condition::Not(values)),
        }
    }

    fn numeric(&mut self, value: &Json) -> Option<Condition> {
        let Json::Array(parts) = value else { return self.checked(Err(Problem::Comparisons)) };
        if parts.len() != 2 && parts.len() != 4 {
            return self.checked(Err(Problem::Comparisons));
        }
        let mut comparisons = Vec::with_capacity(2);
        for (index, pair) in (0_usize..).step_by(2).zip(parts.chunks_exact(2)) {
            let [operator, number] = pair else { continue };
            let operator = match operator {
                Json::Text(text) => Operator::parse(text).ok_or(Problem::Comparison),
                _ => Err(Problem::Comparison),
            };
            let operator = self.within(Step::Element(index), |this| this.checked(operator));
            let number = match number {
                Json::Number(number) => Ok(number.to_double()),
                _ => Err(Problem::NotANumber),
            };
            let after = Step::Element(index.saturating_add(1));
            let comparison = self.within(after, |this| {
                let number = this.checked(number)?;
                // The range does not depend on the operator, so it is told even where that is wrong.
                let compared = Comparison::new(operator.unwrap_or(Operator::Equal), number).ok_or(Problem::OutOfRange);
                this.checked(compared)
            });
            comparisons.extend(operator.and(comparison));
        }
        Some(Condition::Numeric(comparisons.into()))
    }

    /// The value, or nothing after its fault was noted.
    fn checked<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.fault(problem)).ok()
    }

    fn fault(&mut self, problem: Problem) {
        if self.faults.len() < MAXIMUM_FAULTS {
            self.faults.push(Fault { path: PathText(&self.at).to_string(), problem });
        }
    }

    fn within<T>(&mut self, step: Step, work: impl FnOnce(&mut Self) -> T) -> T {
        self.at.push(step);
        let result = work(self);
        self.at.pop();
        result
    }
}

/// A string to look for in another.
fn text(value: &Json) -> Result<Box<str>, Problem> {
    match value {
        Json::Text(text) if text.is_empty() => Err(Problem::EmptyText),
        Json::Text(text) => Ok(text.as_str().into()),
        _ => Err(Problem::NotText),
    }
}
