//! Every rule with the verdict or the refusal of Apache's classes.

use std::borrow::Cow;
use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// `T`, `F`, `U`nknown or `!` for a failure; `properties` is `name=value` joined by `;`.
fn verdict(expression: &str, properties: &str) -> char {
    let expression = Expression::parse(expression).unwrap_or_else(|error| panic!("{expression:?}: {error}"));
    let properties: HashMap<&str, &str> = properties.split(';').filter_map(|pair| pair.split_once('=')).collect();
    match expression.explain(|name| properties.get(name).map(|value| value.as_bytes())) {
        Verdict::True => 'T',
        Verdict::False => 'F',
        Verdict::Unknown => 'U',
        Verdict::Failed(_) => '!',
    }
}

fn check(table: &[(&str, &str, char)]) {
    for (expression, properties, expected) in table {
        assert_eq!(verdict(expression, properties), *expected, "{expression:?} for {properties:?}");
    }
}

#[test]
fn equality() {
    check(&[
        ("a = 'x'", "a=x", 'T'),
        ("a = 'x'", "a=X", 'F'),
        ("a <> 'x'", "a=y", 'T'),
        ("a = 'it''s'", "a=it's", 'T'),
        ("a = ''", "a=", 'T'),
        ("a = '5.0'", "a=5", 'F'),
        ("a = 5", "a=5", 'T'),
        ("5 = a", "a=+5", 'T'),
        ("a = 5", "a=5.0", '!'),
        ("a <> 5", "a=x", '!'),
        ("a = 5.0", "a=5", 'T'),
        ("a = 5L", "a=5", 'T'),
        ("a = 2147483648", "a=2147483648", 'T'),
        ("a = 2147483647", "a=2147483648", '!'),
        ("a = -5", "a=-5", 'T'),
        ("a = - -5", "a=5", 'T'),
        ("a = +5", "a=5", 'T'),
        ("-a = -5", "a=5", 'U'),
        ("a = -'x'", "a=5", 'F'),
        ("a = TRUE", "a=TrUe", 'T'),
        ("a = false", "a=no", 'T'),
        ("a = TRUE", "a=1", 'F'),
        ("TRUE = a", "a=true", '!'),
        ("5 = TRUE", "", 'F'),
        ("'true' = TRUE", "", 'T'),
        ("'x' = 5", "", '!'),
        ("a = b", "a=1;b=1", 'T'),
        ("a = b", "a=1;b=1.0", 'F'),
        ("(a = 1) = TRUE", "a=1", 'T'),
        ("a = 1 = TRUE", "a=1", 'T'),
        ("(a = 1) = 1", "a=1", 'F'),
    ]);
}

#[test]
fn order() {
    check(&[
        ("a > 5", "a=6", 'T'),
        ("a > 5", "a=5", 'F'),
        ("a >= 5", "a=5", 'T'),
        ("a < 5", "a=4", 'T'),
        ("a <= 5", "a=6", 'F'),
        ("5 < a", "a=6", 'T'),
        ("a > 5", "a=5.5", '!'),
        ("a > 5.0", "a=5.5", 'T'),
        ("a > 5.0", "a= 0x1p3f ", 'T'),
        ("a > 5.0", "a=NaN", 'T'),
        ("a > 5.0", "a=x", '!'),
        ("a > 5", "a=", '!'),
        ("a > b", "a=10;b=9.5", 'T'),
        ("a > b", "a=10;b=x", '!'),
        ("a > 5", "", 'U'),
        ("a > b", "b=x", 'U'),
        ("a > -b", "a=1;b=1", 'U'),
        ("5 > 4", "", 'T'),
        ("5 > 4.5", "", 'T'),
        ("3000000000 > 5", "", 'T'),
        ("a BETWEEN 1 AND 5", "a=1", 'T'),
        ("a BETWEEN 1 AND 5", "a=5", 'T'),
        ("a BETWEEN 1 AND 5", "a=6", 'F'),
        ("a BETWEEN 5 AND 5", "a=5", 'T'),
        ("a BETWEEN -1 AND -5", "a=-3", 'F'),
        ("a NOT BETWEEN 1 AND 5", "a=6", 'T'),
        ("a NOT BETWEEN 5 AND 1", "a=3", 'T'),
        ("a BETWEEN 1 AND 5", "", 'U'),
        ("a BETWEEN b AND 5", "a=6", 'F'),
        ("a BETWEEN b AND 5", "a=4", 'U'),
        ("a NOT BETWEEN b AND 5", "a=6", 'T'),
        ("a BETWEEN b AND c", "a=2;b=1;c=3", 'T'),
        ("a BETWEEN 1 AND 5 AND b = 1", "a=2;b=1", 'T'),
        ("3 BETWEEN 1 AND 5", "", 'T'),
    ]);
}

#[test]
fn absence() {
    check(&[
        ("a = 1", "", 'U'),
        ("1 = a", "", 'F'),
        ("a <> 1", "", 'U'),
        ("1 <> a", "", 'T'),
        ("a = b", "a=1", 'F'),
        ("a = b", "b=1", 'U'),
        ("a = b", "", 'T'),
        ("a IS NULL", "", 'T'),
        ("a IS NULL", "a=", 'F'),
        ("a IS NOT NULL", "a=", 'T'),
        ("a IS NOT NULL", "", 'F'),
        ("NULL IS NULL", "", 'T'),
        ("5 is null", "", 'F'),
        ("a > 5 IS NULL", "", 'T'),
        ("a = 5 IS NULL", "a=x", '!'),
        ("a IN ('x')", "", 'U'),
        ("a NOT IN ('x')", "", 'U'),
        ("a CONTAINS 'x'", "", 'F'),
        ("a NOT CONTAINS 'x'", "", 'F'),
        ("NOT a CONTAINS 'x'", "", 'F'),
    ]);
}

#[test]
fn texts() {
    check(&[
        ("a IN ('x')", "a=x", 'T'),
        ("a in ('x', 'y')", "a=y", 'T'),
        ("a IN ('x', 'y', '5')", "a=5.0", 'F'),
        ("(a) IN ('x')", "a=x", 'T'),
        ("a NOT IN ('x', 'x')", "a=y", 'T'),
        ("a CONTAINS 'bc'", "a=abcd", 'T'),
        ("a CONTAINS 'cb'", "a=abcd", 'F'),
        ("a NOT CONTAINS 'bc'", "a=abcd", 'F'),
        ("a STARTSWITH 'ab'", "a=abcd", 'T'),
        ("a NOT STARTSWITH 'ab'", "a=abcd", 'F'),
        ("a ENDSWITH 'cd'", "a=abcd", 'T'),
        ("a NOT ENDSWITH 'ab'", "a=abcd", 'T'),
        ("a CONTAINS ''", "a=abcd", 'F'),
        ("a NOT CONTAINS ''", "a=abcd", 'F'),
        ("'abc' CONTAINS 'b'", "", 'T'),
        ("5 CONTAINS '5'", "", 'F'),
        ("5 NOT CONTAINS '6'", "", 'F'),
        ("(a = 5) CONTAINS ''", "a=x", 'F'),
        ("(a = 5) CONTAINS 't'", "a=x", '!'),
        ("a CONTAINS 'x' CONTAINS 'y'", "a=xy", 'F'),
    ]);
}

#[test]
fn logic_has_three_values() {
    for (left, right, and, or) in [
        ("TRUE", "TRUE", 'T', 'T'),
        ("TRUE", "FALSE", 'F', 'T'),
        ("TRUE", "NULL", 'U', 'T'),
        ("FALSE", "TRUE", 'F', 'T'),
        ("FALSE", "FALSE", 'F', 'F'),
        ("FALSE", "NULL", 'F', 'U'),
        ("NULL", "TRUE", 'U', 'T'),
        ("NULL", "FALSE", 'F', 'U'),
        ("NULL", "NULL", 'U', 'U'),
        ("FALSE", "'x' = 5", 'F', '!'),
        ("TRUE", "'x' = 5", '!', 'T'),
        ("NULL", "'x' = 5", '!', '!'),
        ("'x' = 5", "TRUE", '!', '!'),
    ] {
        assert_eq!(verdict(&format!("{left} AND {right}"), ""), and, "{left} AND {right}");
        assert_eq!(verdict(&format!("{left} OR {right}"), ""), or, "{left} OR {right}");
    }
    check(&[("NOT TRUE", "", 'F'), ("NOT FALSE", "", 'T'), ("NOT NULL", "", 'U')]);
}

#[test]
fn precedence() {
    check(&[
        ("TRUE OR TRUE AND FALSE", "", 'T'),
        ("(TRUE OR TRUE) AND FALSE", "", 'F'),
        ("NOT TRUE OR TRUE", "", 'T'),
        ("NOT (TRUE OR TRUE)", "", 'F'),
        ("NOT a = 'x'", "a=y", '!'),
        ("NOT (a = 'x')", "a=y", 'T'),
        ("a > 5 = TRUE", "a=6", 'T'),
        ("NOT a", "a=true", 'T'),
        ("NOT NOT a", "a=true", 'F'),
    ]);
}

#[test]
fn a_property_alone_is_never_true() {
    check(&[("a", "a=true", 'F'), ("a", "", 'U'), ("a OR b = 1", "a=true;b=1", 'T'), ("(a)", "a=1", 'F')]);
    check(&[("A = '1'", "a=1", 'U'), ("TRUE", "", 'T'), ("FALSE", "", 'F'), ("NULL", "", 'U')]);
}

#[test]
fn refusals() {
    let unexpected = |position, expected: &'static str, found: &str| Error::Unexpected {
        position,
        expected,
        found: if found.is_empty() { "the end".into() } else { format!("{found:?}").into() },
    };
    let value = "a property, a number, a text in quotes, TRUE, FALSE, NULL, NOT or (";
    let rest = |position, found: &str| Error::Rest { position, found: format!("{found:?}").into() };
    for (expression, expected) in [
        ("", Error::Empty),
        (" /* nothing */ ", Error::Empty),
        ("a = 'x", Error::OpenText { position: 4 }),
        ("a = 1 /* x", Error::OpenComment { position: 6 }),
        ("a != 1", Error::UnknownCharacter { position: 2, character: '!' }),
        ("a = \"x\"", Error::UnknownCharacter { position: 4, character: '"' }),
        ("a = 9223372036854775808", Error::WholeNumberTooLarge { position: 4 }),
        ("a = -9223372036854775808", Error::WholeNumberTooLarge { position: 5 }),
        ("a = 0.0", Error::DecimalOutOfRange { position: 4 }),
        ("a = 1e-400", Error::DecimalOutOfRange { position: 4 }),
        ("a = 1e400", Error::DecimalOutOfRange { position: 4 }),
        ("a =", unexpected(3, value, "")),
        ("a == 1", unexpected(3, value, "=")),
        ("AND a", unexpected(0, value, "AND")),
        ("a IS 1", unexpected(5, "NULL or NOT NULL", "1")),
        ("a IS NOT 1", unexpected(9, "NULL", "1")),
        ("a NOT = 1", unexpected(6, "IN, BETWEEN, CONTAINS, STARTSWITH or ENDSWITH after NOT", "=")),
        ("(a = 1", unexpected(6, "an operator or )", "")),
        ("a BETWEEN 1", unexpected(11, "AND and the second limit of BETWEEN", "")),
        ("a IN 'x'", unexpected(5, "( and the texts of the list", "'x'")),
        ("a IN ()", unexpected(6, "a text in quotes", ")")),
        ("a IN (1)", unexpected(6, "a text in quotes", "1")),
        ("a IN ('x' 'y')", unexpected(10, "a comma or ) in the list", "'y'")),
        ("a CONTAINS b", unexpected(11, "a text in quotes", "b")),
        ("a LIKE 'x%'", rest(2, "LIKE 'x%'")),
        ("a = 1)", rest(5, ")")),
        ("a-b = 1", rest(1, "-b = 1")),
        ("a = 007", rest(5, "07")),
        ("5", Error::NotACondition { position: 0 }),
        ("a AND 'x'", Error::NotACondition { position: 6 }),
        ("NOT -a", Error::NotACondition { position: 4 }),
        ("a > 'x'", Error::NoOrder { position: 4 }),
        ("a > TRUE", Error::NoOrder { position: 4 }),
        ("a > NULL", Error::NoOrder { position: 4 }),
        ("a < 5 < 7", Error::NoOrder { position: 0 }),
        ("NOT a > 5", Error::NoOrder { position: 0 }),
        ("a BETWEEN 'x' AND 'y'", Error::NoOrder { position: 10 }),
        ("'x' BETWEEN 1 AND 2", Error::NoOrder { position: 0 }),
        ("a = NULL", Error::EqualToNull { position: 4 }),
        ("NULL <> a", Error::EqualToNull { position: 0 }),
        ("TRUE = 5", Error::EqualToBoolean { position: 7 }),
        ("a BETWEEN 5 AND 1", Error::ReversedLimits { position: 10 }),
        ("a BETWEEN 5 AND 4.9", Error::ReversedLimits { position: 10 }),
        ("NOT a IN ('x')", Error::NoPropertyBeforeIn { position: 0 }),
        ("'x' IN ('x')", Error::NoPropertyBeforeIn { position: 0 }),
    ] {
        assert_eq!(Expression::parse(expression), Err(expected), "{expression:?}");
    }
}

#[test]
fn a_last_comment_needs_no_end_of_line() {
    check(&[("a = 1 -- b = 2", "a=1", 'T'), ("a = --1", "a=1", 'T'), ("a = --1\n 2", "a=2", 'T')]);
}

#[test]
fn everything_is_bounded() {
    let long = format!("a = '{}'", "x".repeat(MAXIMUM_EXPRESSION_BYTES));
    assert_eq!(Expression::parse(&long), Err(Error::TooLong(long.len())));
    let list = |length: usize| format!("a IN ('x'{})", ",''".repeat(length - 1));
    assert!(Expression::parse(&list(MAXIMUM_LIST_LENGTH)).is_ok());
    assert!(matches!(Expression::parse(&list(MAXIMUM_LIST_LENGTH + 1)), Err(Error::ListTooLong { .. })));
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expression::parse(&nested(MAXIMUM_NESTING - 1)).is_ok());
    assert_eq!(Expression::parse(&nested(MAXIMUM_NESTING)), Err(Error::TooDeep { position: MAXIMUM_NESTING }));
    for repeated in ["NOT ", "-", "+", "(", "NOT(-(", "a=(", "a BETWEEN -(", "-(-(a BETWEEN 1 AND 2) BETWEEN 1 AND "] {
        let deep = repeated.repeat(MAXIMUM_EXPRESSION_BYTES / repeated.len());
        assert!(matches!(Expression::parse(&deep), Err(Error::TooDeep { .. })), "{repeated:?}");
    }
    for chained in [" = 1", " IS NULL", " IS NOT NULL", " CONTAINS 'x'", " = 1 IS NULL"] {
        let deep = format!("a{}", chained.repeat(MAXIMUM_EXPRESSION_BYTES / chained.len() - 1));
        assert!(matches!(Expression::parse(&deep), Err(Error::TooDeep { .. })), "{chained:?}");
    }
}

/// The deepest expressions are compiled, evaluated and dropped on half of the stack that a thread usually has.
#[test]
fn the_deepest_expressions_fit_the_stack() {
    let nested = |before: &str, middle: &str, after: &str, depth: usize| {
        format!("{}{middle}{}", before.repeat(depth), after.repeat(depth))
    };
    let deepest = [
        nested("(", "a = 1", ")", MAXIMUM_NESTING - 1),
        nested("NOT ", "a", "", MAXIMUM_NESTING - 1),
        nested("a = 1 AND (b = 1 OR ", "a = 1", ")", MAXIMUM_NESTING / 2 - 1),
        nested("NOT (", "a", ") = TRUE", MAXIMUM_NESTING / 2 - 1),
        nested("-(", "a = 1", ") BETWEEN 1 AND 2", MAXIMUM_NESTING / 2 - 1),
        nested("", "a", " IS NULL", MAXIMUM_NESTING),
    ];
    let run = move || {
        for expression in deepest {
            let compiled = Expression::parse(&expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
            let _ = (compiled.explain(|_| Some(b"1")), compiled.explain(|_| None));
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_chain_of_conditions_is_one_level() {
    for (joint, expected) in [(" OR ", 'T'), (" AND ", 'U')] {
        let parts: Vec<_> = (0..1000).map(|number| format!("a{number}='x'")).collect();
        assert_eq!(verdict(&parts.join(joint), "a999=x"), expected);
    }
}

#[test]
fn failures_say_where_and_why() {
    let expression = Expression::parse("b = 1 OR a > 5").unwrap();
    let failed = Verdict::Failed(Fault { position: 11, reason: Reason::NotAnInteger });
    assert_eq!(expression.explain(|name| (name == "a").then_some(&b"x"[..])), failed);
    assert!(!expression.matches(|_| Some(b"1.0")));
}

#[test]
fn the_properties_that_it_reads_are_known() {
    let expression: Expression = "b > 1 AND (a IN ('x') OR NOT c) AND b < 5".parse().unwrap();
    assert_eq!(expression.properties().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(Expression::parse("TRUE").unwrap().properties().count(), 0);
}

#[test]
fn broken_bytes_are_compared_as_java_reads_them() {
    let matches =
        |expression: &str, bytes: &'static [u8]| Expression::parse(expression).unwrap().matches(|_| Some(bytes));
    assert!(matches("a = '\u{fffd}x'", b"\xed\xa0\x80x"));
    assert!(matches("a IN ('\u{fffd}x')", b"\xffx"));
    assert!(matches("a ENDSWITH 'x'", b"\xff\xfe\x00x"));
    assert!(!matches("a = 5", b"5\xff"));
}

/// Words that expressions are made of, so that random ones get far.
const WORDS: [&str; 40] = [
    "a",
    "b",
    "NOT",
    "AND",
    "OR",
    "BETWEEN",
    "IN",
    "TRUE",
    "FALSE",
    "NULL",
    "IS",
    "CONTAINS",
    "STARTSWITH",
    "ENDSWITH",
    "0",
    "5",
    "007",
    "5L",
    "1.5",
    "1e3",
    ".5",
    "'x'",
    "'it''s'",
    "''",
    "'",
    "=",
    "<>",
    "<",
    "<=",
    ">",
    ">=",
    "(",
    ")",
    ",",
    "+",
    "-",
    "--",
    "/*",
    "*/",
    "\n",
];

fn try_any(expression: &str, value: &[u8]) {
    match Expression::parse(expression) {
        Ok(compiled) => {
            let kept = compiled.matches(|_| Some(value));
            assert_eq!(kept, compiled.explain(|_| Some(value)) == Verdict::True);
            compiled.matches(|_| None);
        }
        Err(error) => assert!(error.to_string().len() < 300, "{error}"),
    }
}

proptest! {
    #[test]
    fn no_text_panics(expression in "\\PC{0,60}", value in prop::collection::vec(any::<u8>(), 0..20)) {
        try_any(&expression, &value);
    }

    #[test]
    fn no_words_panic(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..20), value in "[0-9a-fx.+-]{0,9}") {
        try_any(&words.join(" "), value.as_bytes());
        try_any(&words.concat(), value.as_bytes());
    }

    #[test]
    fn no_change_of_a_valid_expression_panics(at in 0_usize..200, length in 0_usize..8, with in "\\PC{0,3}") {
        let valid = "a > 5 AND (b NOT IN ('x', 'it''s') OR -c BETWEEN -1.5e3 AND 7L) AND d IS NOT NULL /* ü */ OR NOT e\n";
        Expression::parse(valid).unwrap();
        let characters: Vec<char> = valid.chars().collect();
        let at = at.min(characters.len());
        let end = (at + length).min(characters.len());
        let changed: String = characters[..at].iter().copied().chain(with.chars()).chain(characters[end..].iter().copied()).collect();
        try_any(&changed, b"5");
    }

    #[test]
    fn a_text_in_quotes_is_itself(text in "\\PC{0,20}") {
        let expression = Expression::parse(&format!("a = '{}'", text.replace('\'', "''"))).unwrap();
        let value = Cow::Borrowed(text.as_bytes());
        prop_assert!(expression.matches(|_| Some(&value)));
    }
}
