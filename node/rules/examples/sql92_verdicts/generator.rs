//! Random expressions and messages, most of them meaningful: operands mostly fit each other, and values are near the
//! constants, so that every verdict is frequent.

use super::cases::Case;

const NAMES: [&str; 5] = ["a", "b", "c", "_x$1", "TAGS"];

const TEXTS: [&str; 15] =
    ["", "x", "xy", "yx", "it's", "ü", "😀", "\u{fffd}", "true", "FALSE", "5", "7", "-5", "5.0", "a\nb"];

/// What properties hold: numbers in all the ways that Java reads or refuses, and others.
const VALUES: [&str; 64] = [
    "",
    "x",
    "xy",
    "yxy",
    "it's",
    "ü",
    "😀",
    "\u{fffd}",
    "true",
    "TRUE",
    "tRue",
    "false",
    " true",
    "null",
    "5",
    "+5",
    "-5",
    "05",
    "4",
    "6",
    "7",
    "0",
    "-0",
    "--5",
    "+-5",
    "+",
    "-",
    " 5",
    "5 ",
    "5L",
    "5l",
    "5.0",
    "5.",
    ".5",
    "5.5",
    "-5.5",
    "5d",
    "5F",
    "5.5e1",
    "5e",
    "5e+",
    "1e400",
    "-1e-400",
    "NaN",
    "-NaN",
    "Infinity",
    "-Infinity",
    "inf",
    "nan",
    "0x5",
    "0x5p0",
    "0x.5p4D",
    "0X1.4P+2",
    "2147483647",
    "2147483648",
    "-2147483648",
    "-2147483649",
    "3000000000",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "\u{665}",
    "\u{ff15}",
    "\u{1d7d3}",
];

const WHOLE_NUMBERS: [&str; 13] =
    ["0", "4", "5", "5", "5", "6", "7", "5L", "6l", "2147483647", "2147483648", "3000000000", "9223372036854775807"];

const DECIMAL_NUMBERS: [&str; 12] =
    ["5.0", "5.", ".5", "5.5", "05.50", "5e0", "5E0", "5.5e+1", "4.9e-324", "1e400", "0.0", "3e9"];

/// What a change of an expression puts in.
const INSERTED: [&str; 48] = [
    "a",
    "5",
    "007",
    "0x5",
    "5f",
    "1e",
    "'x'",
    "'",
    "''",
    "(",
    ")",
    ",",
    "=",
    "==",
    "<>",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "+",
    "-",
    "--",
    "/*",
    "*/",
    "/**/",
    ".",
    ";",
    "&&",
    "\n",
    "\r",
    "\t",
    "\u{b}",
    "\u{a0}",
    "\u{212a}",
    "ſ",
    "NOT",
    "AND",
    "OR",
    "BETWEEN",
    "IN",
    "IS",
    "NULL",
    "TRUE",
    "LIKE",
    "CONTAINS",
    "STARTSWITH",
    "ENDSWITH",
];

/// Makes cases from a seed.
pub(crate) struct Generator {
    state: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn case(&mut self) -> Case {
        if self.one_in(20) {
            return self.two_doubles();
        }
        let mut expression = match self.below(40) {
            0 => (0..self.below(12)).map(|_| self.pick(&INSERTED)).collect::<Vec<_>>().join(" "),
            1 => self.character().to_string(),
            2..20 => self.condition(1),
            _ => self.condition(3),
        };
        if self.one_in(4) {
            for _ in 0..=self.below(2) {
                expression = self.changed(&expression);
            }
        }
        let mut properties = Vec::new();
        for name in NAMES {
            if !self.one_in(4) {
                properties.push((name.into(), self.value()));
            }
        }
        Case { expression: expression.into(), properties }
    }

    /// Two texts that are equal as numbers only if both are rounded right.
    fn two_doubles(&mut self) -> Case {
        let double = f64::from_bits(self.next() >> 1);
        let double = if double.is_finite() { double } else { 1.0 };
        let bits = double.to_bits();
        let (exponent, fraction) = (bits >> 52, bits & ((1 << 52) - 1));
        let tail = self.pick(&["", "0", "7fff", "8", "80", "8000000001", "9"]);
        let (lead, power) = if exponent == 0 { (0, -1022) } else { (1, i64::try_from(exponent).unwrap_or(0) - 1023) };
        let left = match self.below(3) {
            0 => format!("{double:e}"),
            1 => format!("{double:.22e}"),
            _ => format!("0x{lead}.{fraction:013x}{tail}p{power}"),
        };
        let right = f64::from_bits(bits + self.below(2));
        let pair = |name: &str, value: String| (name.into(), value.into());
        let expression = b"a <= b AND a >= b".to_vec();
        Case { expression, properties: vec![pair("a", left), pair("b", format!("{right:e}"))] }
    }

    fn condition(&mut self, depth: u64) -> String {
        if depth > 0 && !self.one_in(3) {
            let left = self.condition(depth - 1);
            let kind = self.below(8);
            let space = self.space();
            return match kind {
                0 => format!("NOT{space}({left})"),
                1 => format!("{}{space}{left}", self.case_of("NOT")),
                2 => format!("({left}) = {}", self.operand()),
                _ => {
                    let joint = if self.one_in(2) { self.case_of("AND") } else { self.case_of("OR") };
                    let right = self.condition(depth - 1);
                    match self.below(3) {
                        0 => format!("({left}){joint}({right})"),
                        1 => format!("{left}{space}{joint} ({right})"),
                        _ => format!("{left} {joint}{space}{right}"),
                    }
                }
            };
        }
        let name = self.pick(&NAMES);
        let space = self.space();
        match self.below(20) {
            0 => name.to_owned(),
            1 => self.pick(&["TRUE", "False", "null"]).to_owned(),
            2..5 => {
                let not = self.not();
                let texts: Vec<_> = (0..=self.below(6)).map(|_| self.text()).collect();
                format!("{name}{not} {}{space}({})", self.case_of("IN"), texts.join(","))
            }
            5..8 => {
                let place = self.pick(&["CONTAINS", "STARTSWITH", "ENDSWITH"]);
                let value = if self.one_in(8) { self.operand() } else { name.to_owned() };
                format!("{value}{}{space}{} {}", self.not(), self.case_of(place), self.text())
            }
            8..11 => {
                let (not, low, high) = (self.not(), self.number(), self.number());
                format!("{name}{not} {}{space}{low} {} {high}", self.case_of("BETWEEN"), self.case_of("AND"))
            }
            11 => format!("{} IS{}{space}{}", self.operand(), self.not(), self.case_of("NULL")),
            12..15 => {
                let operator = self.pick(&["<", "<=", ">", ">="]);
                if self.one_in(4) {
                    format!("{}{space}{operator}{name}", self.number())
                } else {
                    format!("{name}{operator}{space}{}", self.number())
                }
            }
            15..19 => format!("{name}{space}{}{}", self.pick(&["=", "<>"]), self.operand()),
            _ => format!("{}{}{}", self.operand(), self.pick(&["=", "<>", "<", "<=", ">", ">="]), self.operand()),
        }
    }

    fn operand(&mut self) -> String {
        match self.below(10) {
            0..3 => self.pick(&NAMES).to_owned(),
            3..5 => self.text(),
            5 => self.pick(&["TRUE", "FALSE", "NULL", "true", "false"]).to_owned(),
            6 => format!("-{}{}", self.pick(&["", " ", "-", "(", "+"]), self.pick(&NAMES)),
            _ => self.number(),
        }
    }

    /// What may stand beside an order: mostly a number that compiles.
    fn number(&mut self) -> String {
        let sign = if self.one_in(5) { self.pick(&["-", "+", "- ", "--", "-(-"]) } else { "" };
        let number = match self.below(12) {
            0 => self.pick(&NAMES),
            1..4 => self.pick(&DECIMAL_NUMBERS),
            4..11 => self.pick(&WHOLE_NUMBERS),
            _ => "9223372036854775808",
        };
        format!("{sign}{number}{}", if sign.contains('(') { ")" } else { "" })
    }

    fn text(&mut self) -> String {
        format!("'{}'", self.pick(&TEXTS).replace('\'', "''"))
    }

    fn not(&mut self) -> String {
        if self.one_in(3) { format!(" {}", self.case_of("NOT")) } else { String::new() }
    }

    fn value(&mut self) -> Vec<u8> {
        let mut value: Vec<u8> = match self.below(8) {
            0..3 => self.pick(&["4", "5", "5", "6", "7"]).into(),
            3 => self.pick(&TEXTS).into(),
            4 if self.one_in(2) => (0..self.below(8))
                .map(|_| {
                    self.pick(&[
                        0x20, 0x35, 0x80, 0xa0, 0xbf, 0xc0, 0xc3, 0xe0, 0xe4, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff,
                    ])
                })
                .collect(),
            5 => (0..self.below(12)).map(|_| self.pick(b"0123456789.-+eExXpPdf ")).collect(),
            _ => self.pick(&VALUES).into(),
        };
        if self.one_in(30) {
            let space = self.pick(&[" ", "\t", "\n", "\0", "\u{a0}"]);
            value.splice(0..0, space.bytes());
        }
        value
    }

    /// Puts in, takes out or repeats a piece.
    fn changed(&mut self, expression: &str) -> String {
        let characters: Vec<char> = expression.chars().collect();
        let at = self.below_usize(characters.len() + 1);
        let end = (at + self.below_usize(4)).min(characters.len());
        let (before, rest) = characters.split_at_checked(at).unwrap_or_default();
        let (piece, after) = rest.split_at_checked(end - at).unwrap_or_default();
        let text = |characters: &[char]| characters.iter().collect::<String>();
        let middle = match self.below(4) {
            0 => String::new(),
            1 => text(piece).repeat(2),
            2 => format!(" {} {}", self.pick(&INSERTED), text(piece)),
            _ => format!("{}{}", self.pick(&INSERTED), text(piece)),
        };
        format!("{}{middle}{}", text(before), text(after))
    }

    fn space(&mut self) -> &'static str {
        match self.below(12) {
            0 => "\t",
            1 => " \r\n ",
            2 => "\u{c}",
            3 => " /* ' ** */ ",
            4 => " -- it's\n",
            5 => "/**/",
            _ => " ",
        }
    }

    fn case_of(&mut self, keyword: &str) -> String {
        match self.below(4) {
            0 => keyword.to_lowercase(),
            1 => keyword.chars().map(|c| if self.one_in(2) { c.to_ascii_lowercase() } else { c }).collect(),
            _ => keyword.to_owned(),
        }
    }

    /// Any character, those of the first page more often.
    fn character(&mut self) -> char {
        let limit = self.pick(&[0x80, 0x300, 0x3000, 0x11_0000]);
        let code = u32::try_from(self.below(limit)).unwrap_or(0);
        char::from_u32(code).unwrap_or('x')
    }

    fn pick<T: Copy + Default>(&mut self, from: &[T]) -> T {
        let chosen = self.below_usize(from.len());
        from.get(chosen).copied().unwrap_or_default()
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn below_usize(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(u64::try_from(limit).unwrap_or(1))).unwrap_or(0)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    /// The generator SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
