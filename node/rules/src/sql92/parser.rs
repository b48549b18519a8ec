//! From words to a condition, by recursive descent: OR, AND, equality, comparison, sign and NOT, value.
//!
//! What binds tighter stands further down, so that NOT binds tighter than every comparison: `NOT a = 1` compares
//! `NOT a` with 1. Which operands an operator takes is checked here as well.

use std::collections::BTreeSet;

use super::condition::{Condition, Constant, Operand, Order, Place};
use super::error::{Error, quote};
use super::lexer::{Kind, Lexer, Word};
use super::number::double;
use super::{MAXIMUM_LIST_LENGTH, MAXIMUM_NESTING};

/// An operand, how many levels it has, and where it starts.
#[derive(Debug)]
struct Parsed {
    operand: Operand,
    height: usize,
    position: usize,
}

/// A condition with the properties that it reads.
pub(super) fn parse(expression: &str) -> Result<(Condition, BTreeSet<Box<str>>), Error> {
    let mut lexer = Lexer::new(expression);
    let word = lexer.next()?;
    if word.kind == Kind::End {
        return Err(Error::Empty);
    }
    let mut parser = Parser { expression, lexer, word, depth: 0, properties: BTreeSet::new() };
    let parsed = parser.any()?;
    parser.expect_end()?;
    Ok((parsed.into_condition()?, parser.properties))
}

struct Parser<'e> {
    expression: &'e str,
    lexer: Lexer<'e>,
    /// The next word.
    word: Word<'e>,
    /// How many signs, NOTs and parentheses are open.
    depth: usize,
    properties: BTreeSet<Box<str>>,
}

impl<'e> Parser<'e> {
    fn any(&mut self) -> Result<Parsed, Error> {
        self.chain(Kind::Or, Self::all, Condition::Any)
    }

    fn all(&mut self) -> Result<Parsed, Error> {
        self.chain(Kind::And, Self::equality, Condition::All)
    }

    /// Conditions joined by one keyword; a single operand stays what it is.
    fn chain(
        &mut self,
        joint: Kind,
        part: fn(&mut Self) -> Result<Parsed, Error>,
        join: fn(Vec<Condition>) -> Condition,
    ) -> Result<Parsed, Error> {
        let first = part(self)?;
        if self.word.kind != joint {
            return Ok(first);
        }
        let (position, mut height) = (first.position, first.height);
        let mut conditions = vec![first.into_condition()?];
        while self.word.kind == joint {
            self.advance()?;
            let next = part(self)?;
            height = height.max(next.height);
            conditions.push(next.into_condition()?);
        }
        above(join(conditions), height, position)
    }

    fn equality(&mut self) -> Result<Parsed, Error> {
        let mut left = self.comparison()?;
        loop {
            let operator = self.word;
            left = match operator.kind {
                Kind::Equal | Kind::Unequal => {
                    self.advance()?;
                    let right = self.comparison()?;
                    equal(left, operator, right)?
                }
                Kind::Is => {
                    self.advance()?;
                    let negated = self.skip(Kind::Not)?;
                    self.expect(Kind::Null, if negated { "NULL" } else { "NULL or NOT NULL" })?;
                    let condition = Condition::IsNull(left.operand);
                    above(negate_if(negated, condition), left.height, left.position)?
                }
                _ => return Ok(left),
            };
        }
    }

    fn comparison(&mut self) -> Result<Parsed, Error> {
        let mut left = self.sign()?;
        loop {
            if let Some(order) = order(self.word.kind) {
                left = self.ordered(left, order)?;
                continue;
            }
            let negated = self.skip(Kind::Not)?;
            let operator = self.word;
            left = match operator.kind {
                Kind::Contains => self.search(left, negated, Place::Anywhere)?,
                Kind::StartsWith => self.search(left, negated, Place::Start)?,
                Kind::EndsWith => self.search(left, negated, Place::End)?,
                Kind::Between => self.between(left, negated)?,
                Kind::In => self.list(left, negated)?,
                _ if negated => return Err(self.unexpected("IN, BETWEEN, CONTAINS, STARTSWITH or ENDSWITH after NOT")),
                _ => return Ok(left),
            };
        }
    }

    fn ordered(&mut self, left: Parsed, order: Order) -> Result<Parsed, Error> {
        let position = self.word.position;
        self.advance()?;
        let right = self.sign()?;
        check_order(&left)?;
        check_order(&right)?;
        let (start, height) = (left.position, left.height.max(right.height));
        above(Condition::Ordered { left: left.operand, order, right: right.operand, position }, height, start)
    }

    fn search(&mut self, value: Parsed, negated: bool, place: Place) -> Result<Parsed, Error> {
        self.advance()?;
        let text = self.text()?;
        above(Condition::Search { value: value.operand, negated, place, text }, value.height, value.position)
    }

    fn between(&mut self, value: Parsed, negated: bool) -> Result<Parsed, Error> {
        let position = self.word.position;
        self.advance()?;
        let low = self.sign()?;
        self.expect(Kind::And, "AND and the second limit of BETWEEN")?;
        let high = self.sign()?;
        check_order(&value)?;
        check_order(&low)?;
        check_order(&high)?;
        if let (false, Operand::Constant(first), Operand::Constant(second)) = (negated, &low.operand, &high.operand)
            && let (Some(first), Some(second)) = (first.value(), second.value())
            && second.compare(&first).is_ok_and(std::cmp::Ordering::is_lt)
        {
            return Err(Error::ReversedLimits { position: low.position });
        }
        let (start, height) = (value.position, value.height.max(low.height).max(high.height));
        let (value, low, high) = (value.operand, low.operand, high.operand);
        above(Condition::Between { value, negated, low, high, position }, height, start)
    }

    fn list(&mut self, left: Parsed, negated: bool) -> Result<Parsed, Error> {
        self.advance()?;
        self.expect(Kind::Open, "( and the texts of the list")?;
        let mut texts = vec![self.text()?];
        while self.word.kind == Kind::Comma {
            self.advance()?;
            if texts.len() == MAXIMUM_LIST_LENGTH {
                return Err(Error::ListTooLong { position: self.word.position });
            }
            texts.push(self.text()?);
        }
        self.expect(Kind::Close, "a comma or ) in the list")?;
        let Operand::Property(property) = left.operand else {
            return Err(Error::NoPropertyBeforeIn { position: left.position });
        };
        texts.sort_unstable();
        texts.dedup();
        above(Condition::In { property, negated, texts: texts.into() }, left.height, left.position)
    }

    fn sign(&mut self) -> Result<Parsed, Error> {
        if self.depth == MAXIMUM_NESTING {
            return Err(Error::TooDeep { position: self.word.position });
        }
        self.depth += 1;
        let parsed = self.signed();
        self.depth -= 1;
        parsed
    }

    fn signed(&mut self) -> Result<Parsed, Error> {
        let Word { kind, position, .. } = self.word;
        match kind {
            Kind::Plus => {
                self.advance()?;
                Ok(Parsed { position, ..self.sign()? })
            }
            Kind::Minus => {
                self.advance()?;
                let inner = self.sign()?;
                let height = inner.height + 1;
                Ok(Parsed { operand: Operand::Negated(Box::new(inner.operand)), height, position })
            }
            Kind::Not => {
                self.advance()?;
                let inner = self.sign()?;
                let height = inner.height;
                above(Condition::Not(Box::new(inner.into_condition()?)), height, position)
            }
            Kind::Open => {
                self.advance()?;
                let inner = self.any()?;
                self.expect(Kind::Close, "an operator or )")?;
                Ok(Parsed { position, ..inner })
            }
            _ => self.value(),
        }
    }

    fn value(&mut self) -> Result<Parsed, Error> {
        let Word { kind, text, position } = self.word;
        let operand = match kind {
            Kind::Text => return self.text().map(|text| leaf(Operand::Constant(Constant::Text(text)), position)),
            Kind::Name => {
                self.properties.insert(text.into());
                Operand::Property(text.into())
            }
            Kind::WholeNumber => Operand::Constant(whole_number(text, position)?),
            Kind::DecimalNumber => Operand::Constant(decimal_number(text, position)?),
            Kind::True => Operand::Constant(Constant::Boolean(true)),
            Kind::False => Operand::Constant(Constant::Boolean(false)),
            Kind::Null => Operand::Constant(Constant::Null),
            _ => return Err(self.unexpected("a property, a number, a text in quotes, TRUE, FALSE, NULL, NOT or (")),
        };
        self.advance()?;
        Ok(leaf(operand, position))
    }

    fn text(&mut self) -> Result<Box<str>, Error> {
        let word = self.expect(Kind::Text, "a text in quotes")?;
        let inside = word.text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or_default();
        Ok(inside.replace("''", "'").into())
    }

    fn expect(&mut self, kind: Kind, expected: &'static str) -> Result<Word<'e>, Error> {
        let word = self.word;
        if word.kind != kind {
            return Err(self.unexpected(expected));
        }
        self.advance()?;
        Ok(word)
    }

    /// A line comment that no end of line ends is the last thing that an expression may hold.
    fn expect_end(&self) -> Result<(), Error> {
        let rest = self.rest();
        if rest.is_empty() || rest.starts_with("--") {
            return Ok(());
        }
        Err(Error::Rest { position: self.word.position, found: quote(rest) })
    }

    /// Goes past the next word if it is of this kind.
    fn skip(&mut self, kind: Kind) -> Result<bool, Error> {
        let found = self.word.kind == kind;
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.word = self.lexer.next()?;
        Ok(())
    }

    fn unexpected(&self, expected: &'static str) -> Error {
        let found = if self.word.kind == Kind::End { "" } else { self.word.text };
        Error::Unexpected { position: self.word.position, expected, found: quote(found) }
    }

    fn rest(&self) -> &'e str {
        self.expression.get(self.word.position..).unwrap_or_default()
    }
}

impl Parsed {
    /// A property alone is a condition too; a number, a text and a negated value are none.
    fn into_condition(self) -> Result<Condition, Error> {
        match self.operand {
            Operand::Condition(condition) => Ok(*condition),
            Operand::Property(name) => Ok(Condition::Property(name)),
            Operand::Constant(Constant::Boolean(value)) => Ok(Condition::Constant(Some(value))),
            Operand::Constant(Constant::Null) => Ok(Condition::Constant(None)),
            Operand::Constant(_) | Operand::Negated(_) => Err(Error::NotACondition { position: self.position }),
        }
    }
}

fn leaf(operand: Operand, position: usize) -> Parsed {
    Parsed { operand, height: 0, position }
}

/// A condition one level above its operands.
fn above(condition: Condition, height: usize, position: usize) -> Result<Parsed, Error> {
    if height >= MAXIMUM_NESTING {
        return Err(Error::TooDeep { position });
    }
    Ok(Parsed { operand: Operand::Condition(Box::new(condition)), height: height + 1, position })
}

fn negate_if(negated: bool, condition: Condition) -> Condition {
    if negated { Condition::Not(Box::new(condition)) } else { condition }
}

fn order(kind: Kind) -> Option<Order> {
    match kind {
        Kind::Less => Some(Order::Less),
        Kind::LessOrEqual => Some(Order::LessOrEqual),
        Kind::Greater => Some(Order::Greater),
        Kind::GreaterOrEqual => Some(Order::GreaterOrEqual),
        _ => None,
    }
}

fn equal(left: Parsed, operator: Word<'_>, right: Parsed) -> Result<Parsed, Error> {
    for side in [&left, &right] {
        if side.operand == Operand::Constant(Constant::Null) {
            return Err(Error::EqualToNull { position: side.position });
        }
    }
    if let (Operand::Constant(first), Operand::Constant(second)) = (&left.operand, &right.operand)
        && first.is_condition()
        && !second.is_condition()
    {
        return Err(Error::EqualToBoolean { position: right.position });
    }
    let (position, height) = (left.position, left.height.max(right.height));
    let condition = Condition::Equal { left: left.operand, right: right.operand, position: operator.position };
    above(negate_if(operator.kind == Kind::Unequal, condition), height, position)
}

/// What has no order is refused; whether a property has one shows with each message.
fn check_order(side: &Parsed) -> Result<(), Error> {
    match &side.operand {
        Operand::Constant(constant) if constant.is_number() => Ok(()),
        Operand::Constant(_) | Operand::Condition(_) => Err(Error::NoOrder { position: side.position }),
        Operand::Property(_) | Operand::Negated(_) => Ok(()),
    }
}

fn whole_number(text: &str, position: usize) -> Result<Constant, Error> {
    let value: i64 = text.trim_end_matches(['l', 'L']).parse().map_err(|_| Error::WholeNumberTooLarge { position })?;
    Ok(i32::try_from(value).map_or(Constant::Long(value), Constant::Integer))
}

fn decimal_number(text: &str, position: usize) -> Result<Constant, Error> {
    match double(text) {
        Some(value) if value > 0.0 && value.is_finite() => Ok(Constant::Double(value)),
        _ => Err(Error::DecimalOutOfRange { position }),
    }
}
