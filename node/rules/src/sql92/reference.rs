//! A slow second reading of the rules: a tree is made first, written down as text, and evaluated by itself.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Expression, Verdict};

#[derive(Debug, Clone)]
enum Tree {
    Name(&'static str),
    Text(String),
    Whole(i64),
    Decimal(f64),
    Boolean(bool),
    Null,
    Minus(Box<Tree>),
    Not(Box<Tree>),
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Equal(Box<Tree>, Box<Tree>),
    Unequal(Box<Tree>, Box<Tree>),
    Ordered(Box<Tree>, &'static str, Box<Tree>),
    Between(Box<Tree>, Box<Tree>, Box<Tree>),
    NotBetween(Box<Tree>, Box<Tree>, Box<Tree>),
    Search(Box<Tree>, &'static str, String),
    In(Box<Tree>, &'static str, Vec<String>),
    IsNull(Box<Tree>),
    IsNotNull(Box<Tree>),
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(String),
    Whole(i64),
    Decimal(f64),
    Boolean(bool),
    Null,
}

/// An exception in the broker.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Exception;

type Properties = BTreeMap<&'static str, String>;

impl Tree {
    fn write(&self) -> String {
        let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match self {
            Self::Name(name) => (*name).to_owned(),
            Self::Text(value) => text(value),
            Self::Whole(value) => value.to_string(),
            Self::Decimal(value) => format!("{value:?}"),
            Self::Boolean(value) => value.to_string(),
            Self::Null => "NULL".to_owned(),
            Self::Minus(a) => format!("-({})", a.write()),
            Self::Not(a) => format!("NOT ({})", a.write()),
            Self::And(a, b) => format!("({}) AND ({})", a.write(), b.write()),
            Self::Or(a, b) => format!("({}) OR ({})", a.write(), b.write()),
            Self::Equal(a, b) => format!("({}) = ({})", a.write(), b.write()),
            Self::Unequal(a, b) => format!("({}) <> ({})", a.write(), b.write()),
            Self::Ordered(a, operator, b) => format!("({}) {operator} ({})", a.write(), b.write()),
            Self::Between(a, b, c) => format!("({}) BETWEEN ({}) AND ({})", a.write(), b.write(), c.write()),
            Self::NotBetween(a, b, c) => format!("({}) NOT BETWEEN ({}) AND ({})", a.write(), b.write(), c.write()),
            Self::Search(a, operator, value) => format!("({}) {operator} {}", a.write(), text(value)),
            Self::In(a, operator, values) => {
                let values: Vec<_> = values.iter().map(|value| text(value)).collect();
                format!("({}) {operator} ({})", a.write(), values.join(", "))
            }
            Self::IsNull(a) => format!("({}) IS NULL", a.write()),
            Self::IsNotNull(a) => format!("({}) IS NOT NULL", a.write()),
        }
    }

    fn is_constant(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Whole(_) | Self::Decimal(_) | Self::Boolean(_) | Self::Null)
    }

    /// What Apache calls a boolean expression.
    fn is_boolean(&self) -> bool {
        !matches!(self, Self::Name(_) | Self::Text(_) | Self::Whole(_) | Self::Decimal(_) | Self::Minus(_))
    }

    fn is_condition(&self) -> bool {
        self.is_boolean() || matches!(self, Self::Name(_))
    }

    fn has_order(&self) -> bool {
        matches!(self, Self::Whole(_) | Self::Decimal(_) | Self::Name(_) | Self::Minus(_))
    }

    /// Whether it compiles.
    fn is_valid(&self) -> bool {
        match self {
            Self::Name(_) | Self::Text(_) | Self::Whole(_) | Self::Boolean(_) | Self::Null => true,
            Self::Decimal(value) => *value != 0.0,
            Self::Minus(a) | Self::Search(a, ..) | Self::IsNull(a) | Self::IsNotNull(a) => a.is_valid(),
            Self::Not(a) => a.is_valid() && a.is_condition(),
            Self::And(a, b) | Self::Or(a, b) => a.is_valid() && b.is_valid() && a.is_condition() && b.is_condition(),
            Self::Equal(a, b) | Self::Unequal(a, b) => {
                let null = matches!(**a, Self::Null) || matches!(**b, Self::Null);
                let mixed = a.is_constant() && b.is_constant() && a.is_boolean() && !b.is_boolean();
                a.is_valid() && b.is_valid() && !null && !mixed
            }
            Self::Ordered(a, _, b) => a.is_valid() && b.is_valid() && a.has_order() && b.has_order(),
            Self::Between(a, b, c) | Self::NotBetween(a, b, c) => {
                let number = |tree: &Self| match tree {
                    Self::Whole(value) => Some(value.to_string().parse::<f64>().unwrap()),
                    Self::Decimal(value) => Some(*value),
                    _ => None,
                };
                let reversed =
                    matches!(self, Self::Between(..)) && number(b).zip(number(c)).is_some_and(|(b, c)| b > c);
                [a, b, c].iter().all(|side| side.is_valid() && side.has_order()) && !reversed
            }
            Self::In(a, ..) => matches!(**a, Self::Name(_)),
        }
    }

    fn value(&self, properties: &Properties) -> Result<Value, Exception> {
        let ordered = |a: &Self, b: &Self, operator: &str| order(a.value(properties)?, b, operator, properties);
        Ok(match self {
            Self::Name(name) => properties.get(name).map_or(Value::Null, |value| Value::Text(value.clone())),
            Self::Text(value) => Value::Text(value.clone()),
            Self::Whole(value) => Value::Whole(*value),
            Self::Decimal(value) => Value::Decimal(*value),
            Self::Boolean(value) => Value::Boolean(*value),
            Self::Null => Value::Null,
            Self::Minus(a) => match a.value(properties)? {
                Value::Whole(value) => Value::Whole(-value),
                Value::Decimal(value) => Value::Decimal(-value),
                _ => Value::Null,
            },
            Self::Not(a) => opposite(a.truth(properties)?),
            Self::And(a, b) => match a.truth(properties)? {
                Value::Boolean(false) => Value::Boolean(false),
                left => both(left, b.truth(properties)?),
            },
            Self::Or(a, b) => match a.truth(properties)? {
                Value::Boolean(true) => Value::Boolean(true),
                left => opposite(both(opposite(left), opposite(b.truth(properties)?))),
            },
            Self::Equal(a, b) => equal(a.value(properties)?, b.value(properties)?)?,
            Self::Unequal(a, b) => opposite(equal(a.value(properties)?, b.value(properties)?)?),
            Self::Ordered(a, operator, b) => ordered(a, b, operator)?,
            Self::Between(a, b, c) => match ordered(a, b, ">=")? {
                Value::Boolean(false) => Value::Boolean(false),
                left => both(left, ordered(a, c, "<=")?),
            },
            Self::NotBetween(a, b, c) => match ordered(a, b, "<")? {
                Value::Boolean(true) => Value::Boolean(true),
                left => opposite(both(opposite(left), opposite(ordered(a, c, ">")?))),
            },
            Self::Search(_, _, text) if text.is_empty() => Value::Boolean(false),
            Self::Search(a, operator, text) => match a.value(properties)? {
                Value::Text(value) => {
                    let value: Vec<char> = value.chars().collect();
                    let text: Vec<char> = text.chars().collect();
                    let found = match operator.trim_start_matches("NOT ") {
                        "CONTAINS" => value.windows(text.len()).any(|window| window == text),
                        "STARTSWITH" => value.windows(text.len()).next() == Some(&text[..]),
                        _ => value.windows(text.len()).last() == Some(&text[..]),
                    };
                    Value::Boolean(found != operator.starts_with("NOT"))
                }
                _ => Value::Boolean(false),
            },
            Self::In(a, operator, texts) => match a.value(properties)? {
                Value::Text(value) => Value::Boolean(texts.contains(&value) == (*operator == "IN")),
                _ => Value::Null,
            },
            Self::IsNull(a) => Value::Boolean(a.value(properties)? == Value::Null),
            Self::IsNotNull(a) => Value::Boolean(a.value(properties)? != Value::Null),
        })
    }

    /// Its value where a condition stands.
    fn truth(&self, properties: &Properties) -> Result<Value, Exception> {
        match (self, self.value(properties)?) {
            (Self::Name(_), Value::Text(_)) => Ok(Value::Boolean(false)),
            (_, value) => Ok(value),
        }
    }
}

fn opposite(value: Value) -> Value {
    match value {
        Value::Boolean(value) => Value::Boolean(!value),
        other => other,
    }
}

fn both(left: Value, right: Value) -> Value {
    match (left, right) {
        (Value::Boolean(false), _) | (_, Value::Boolean(false)) => Value::Boolean(false),
        (Value::Boolean(true), Value::Boolean(true)) => Value::Boolean(true),
        _ => Value::Null,
    }
}

fn equal(left: Value, right: Value) -> Result<Value, Exception> {
    let (left, right) = match (left, right) {
        (Value::Null, Value::Null) => return Ok(Value::Boolean(true)),
        (Value::Null, _) => return Ok(Value::Null),
        (_, Value::Null) => return Ok(Value::Boolean(false)),
        (Value::Boolean(_), Value::Text(_)) => return Err(Exception),
        (Value::Text(text), Value::Boolean(value)) => {
            (Value::Boolean(text.to_lowercase() == "true"), Value::Boolean(value))
        }
        (Value::Text(text), other) if !matches!(other, Value::Text(_)) => (beside(&text, &other)?, other),
        (other, Value::Text(text)) if !matches!(other, Value::Text(_)) => (other.clone(), beside(&text, &other)?),
        sides => sides,
    };
    Ok(Value::Boolean(match (number(&left), number(&right)) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }))
}

fn order(left: Value, right: &Tree, operator: &str, properties: &Properties) -> Result<Value, Exception> {
    if left == Value::Null {
        return Ok(Value::Null);
    }
    let right = right.value(properties)?;
    let (left, right) = match (left, right) {
        (_, Value::Null) => return Ok(Value::Null),
        (Value::Text(left), Value::Text(right)) => (decimal(&left)?, decimal(&right)?),
        (Value::Text(left), right) => (beside(&left, &right)?, right),
        (left, Value::Text(right)) => (left.clone(), beside(&right, &left)?),
        sides => sides,
    };
    let (left, right) = (number(&left).unwrap(), number(&right).unwrap());
    Ok(Value::Boolean(match operator {
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        _ => left >= right,
    }))
}

/// A text as a number of the kind of another one.
fn beside(text: &str, other: &Value) -> Result<Value, Exception> {
    match other {
        Value::Whole(other) => {
            let value: i64 = text.parse().map_err(|_| Exception)?;
            let narrow = |value: i64| i32::try_from(value).is_ok();
            if narrow(*other) && !narrow(value) { Err(Exception) } else { Ok(Value::Whole(value)) }
        }
        _ => decimal(text),
    }
}

fn decimal(text: &str) -> Result<Value, Exception> {
    text.trim().parse().map(Value::Decimal).map_err(|_| Exception)
}

/// The numbers of these tests are small enough for doubles.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Whole(value) => value.to_string().parse().ok(),
        Value::Decimal(value) => Some(*value),
        _ => None,
    }
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(
        &["", "a", "ab", "ba", "it's", "ü", "true", "TRUE", "5", "5.0", " 5", "-5", "7", "3000000000"][..],
    )
    .prop_map(str::to_owned)
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        6 => prop::sample::select(&["a", "b", "c"][..]).prop_map(Tree::Name),
        1 => text().prop_map(Tree::Text),
        3 => prop::sample::select(&[0, 5, 7, 3_000_000_000][..]).prop_map(Tree::Whole),
        1 => prop::sample::select(&[0.0, 5.0, 5.5, 3e9][..]).prop_map(Tree::Decimal),
        1 => any::<bool>().prop_map(Tree::Boolean),
        1 => Just(Tree::Null),
    ]
    .boxed();
    let comparison = prop_oneof![1 => leaf.clone(), 9 => comparison(leaf.clone())];
    comparison.prop_recursive(4, 24, 2, move |inner| {
        let one = || inner.clone().prop_map(Box::new);
        prop_oneof![
            1 => one().prop_map(Tree::Minus),
            2 => one().prop_map(Tree::Not),
            4 => (one(), one()).prop_map(|(a, b)| Tree::And(a, b)),
            4 => (one(), one()).prop_map(|(a, b)| Tree::Or(a, b)),
            2 => self::comparison(prop_oneof![4 => leaf.clone(), 1 => inner.clone()].boxed()),
        ]
    })
}

fn comparison(operand: BoxedStrategy<Tree>) -> BoxedStrategy<Tree> {
    let one = || operand.clone().prop_map(Box::new);
    let name = || prop::sample::select(&["a", "b", "c"][..]).prop_map(Tree::Name);
    let number = prop_oneof![
        4 => name(),
        2 => prop::sample::select(&[0, 5, 7, 3_000_000_000][..]).prop_map(Tree::Whole),
        1 => prop::sample::select(&[5.0, 5.5, 3e9][..]).prop_map(Tree::Decimal),
    ];
    // Most operands suit their operator.
    let named = prop_oneof![9 => name(), 1 => operand.clone()].prop_map(Box::new);
    let side = || prop_oneof![19 => number.clone(), 1 => operand.clone()].prop_map(Box::new);
    let order = prop::sample::select(&["<", "<=", ">", ">="][..]);
    let places = &["CONTAINS", "STARTSWITH", "ENDSWITH", "NOT CONTAINS", "NOT STARTSWITH", "NOT ENDSWITH"][..];
    let search = (one(), prop::sample::select(places), text());
    let list = (named, prop::sample::select(&["IN", "NOT IN"][..]), prop::collection::vec(text(), 1..4));
    prop_oneof![
        2 => (one(), side()).prop_map(|(a, b)| Tree::Equal(a, b)),
        1 => (one(), one()).prop_map(|(a, b)| Tree::Unequal(a, b)),
        2 => (side(), order, side()).prop_map(|(a, operator, b)| Tree::Ordered(a, operator, b)),
        1 => (side(), side(), side()).prop_map(|(a, b, c)| Tree::Between(a, b, c)),
        1 => (side(), side(), side()).prop_map(|(a, b, c)| Tree::NotBetween(a, b, c)),
        1 => search.prop_map(|(a, operator, b)| Tree::Search(a, operator, b)),
        1 => list.prop_map(|(a, operator, b)| Tree::In(a, operator, b)),
        1 => one().prop_map(Tree::IsNull),
        1 => one().prop_map(Tree::IsNotNull),
    ]
    .boxed()
}

fn properties() -> impl Strategy<Value = Properties> {
    prop::collection::btree_map(prop::sample::select(&["a", "b", "c"][..]), text(), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_compiled_form_and_the_tree_agree(tree in tree(), properties in properties()) {
        let text = tree.write();
        let compiled = Expression::parse(&text);
        let valid = tree.is_valid() && tree.is_condition();
        prop_assert_eq!(compiled.is_ok(), valid, "{}: {:?}", text, compiled);
        if let Ok(compiled) = compiled {
            let verdict = compiled.explain(|name| properties.get(name).map(String::as_bytes));
            let same = match tree.truth(&properties) {
                Ok(Value::Boolean(value)) => verdict == if value { Verdict::True } else { Verdict::False },
                Ok(_) => verdict == Verdict::Unknown,
                Err(Exception) => matches!(verdict, Verdict::Failed(_)),
            };
            prop_assert!(same, "{} is {:?} for {:?}", text, verdict, properties);
        }
    }
}
