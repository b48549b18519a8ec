//! Cases, verdicts, and what differs from Apache's.

use std::collections::BTreeMap;

use causeway_rules::sql92::{Error, Expression, Verdict};

/// How many differences are told.
const SHOWN: usize = 20;

/// An expression and a message.
pub(crate) struct Case {
    pub(crate) expression: Vec<u8>,
    pub(crate) properties: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// How many cases there are of each kind.
    pub(crate) counts: BTreeMap<String, u64>,
    /// How many differ in a way that `causeway_rules::sql92` does not state.
    pub(crate) different: usize,
    /// The first of them.
    pub(crate) shown: Vec<String>,
}

/// The verdict, followed by ` rest` where it is refused only because of text after the expression.
pub(crate) fn verdict(case: &Case) -> &'static str {
    let text = String::from_utf8_lossy(&case.expression);
    match Expression::parse(&text) {
        Ok(expression) => case.evaluate(&expression),
        Err(Error::Rest { .. }) => "REFUSED rest",
        Err(_) => "REFUSED",
    }
}

/// The verdict of what stands before the text that is refused. Apache does not see that a text has no end if it ignores
/// the text.
fn verdict_before_rest(case: &Case) -> Option<&'static str> {
    let text = String::from_utf8_lossy(&case.expression);
    let Err(Error::Rest { position, .. } | Error::OpenText { position }) = Expression::parse(&text) else {
        return None;
    };
    Expression::parse(text.get(..position)?).ok().map(|expression| case.evaluate(&expression))
}

/// Compares verdicts of Apache's with those of this crate.
pub(crate) fn compare(cases: &str, verdicts: &str) -> Result<Comparison, Box<dyn std::error::Error>> {
    if cases.lines().count() != verdicts.lines().count() {
        return Err("there are not as many verdicts as cases".into());
    }
    let mut found = Comparison::default();
    for (line, theirs) in cases.lines().zip(verdicts.lines()) {
        let case = Case::read(line)?;
        let ours = verdict(&case);
        let kind = match theirs.strip_suffix(" rest") {
            _ if ours == theirs => format!("identical {ours}"),
            // What Apache ignores is refused, and what it read has its verdict; or it ignores a last comment.
            Some(value) if verdict_before_rest(&case) == Some(value) => {
                "deviation: the rest of the text is refused".to_owned()
            }
            Some(value) if ours == value => format!("identical {ours}, before a last comment"),
            None if ours == "REFUSED rest" && theirs == "REFUSED" => "identical REFUSED".to_owned(),
            _ => {
                found.different += 1;
                if found.different <= SHOWN {
                    found.shown.push(format!("Apache says {theirs}, this crate {ours}: {case}"));
                }
                "different".to_owned()
            }
        };
        *found.counts.entry(kind).or_default() += 1;
    }
    Ok(found)
}

impl Case {
    pub(crate) fn read(line: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let mut fields = line.split('\t');
        let expression = from_hexadecimal(fields.next().unwrap_or_default())?;
        let mut properties = Vec::new();
        for field in fields {
            let (name, value) = field.split_once('=').ok_or("a property without a value")?;
            properties.push((from_hexadecimal(name)?, from_hexadecimal(value)?));
        }
        Ok(Self { expression, properties })
    }

    fn evaluate(&self, expression: &Expression) -> &'static str {
        let value = |name: &str| self.properties.iter().find(|(other, _)| other == name.as_bytes());
        match expression.explain(|name| value(name).map(|(_, value)| value.as_slice())) {
            Verdict::True => "TRUE",
            Verdict::False => "FALSE",
            Verdict::Unknown => "UNKNOWN",
            Verdict::Failed(_) => "FAILED",
        }
    }

    pub(crate) fn write(&self) -> String {
        let mut line = to_hexadecimal(&self.expression);
        for (name, value) in &self.properties {
            line.push_str(&format!("\t{}={}", to_hexadecimal(name), to_hexadecimal(value)));
        }
        line
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.expression))?;
        for (name, value) in &self.properties {
            write!(f, " {}=\"{}\"", name.escape_ascii(), value.escape_ascii())?;
        }
        Ok(())
    }
}

fn to_hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hexadecimal(text: &str) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Ok(digit(*high).ok_or("no digit")? << 4 | digit(*low).ok_or("no digit")?),
            _ => Err("half a byte".into()),
        })
        .collect()
}
