//! Compares the SQL92 expressions of this crate with Apache's classes (`tests/java/Selector.java`).
//!
//! - `sql92_verdicts generate COUNT SEED` prints cases, the same ones for the same seed.
//! - `sql92_verdicts` reads cases and prints a verdict per line, in the words of `Selector`.
//! - `sql92_verdicts compare CASES VERDICTS` compares its own verdicts with those of `Selector`, prints counts and the
//!   first differences, and ends with 1 if there is a difference that `causeway_rules::sql92` does not state.
//!
//! A case is an expression and the properties of a message: `EXPRESSION` and `NAME=VALUE` separated by tabs, each part
//! as hexadecimal bytes.

mod cases;
mod generator;

use std::io::{BufRead, Write};
use std::process::ExitCode;

use cases::{Case, Comparison, compare, verdict};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut out = std::io::stdout().lock();
    match words.as_slice() {
        [] => {
            for line in std::io::stdin().lock().lines() {
                writeln!(out, "{}", verdict(&Case::read(&line?)?))?;
            }
        }
        ["generate", count, seed] => {
            let mut generator = generator::Generator::new(seed.parse()?);
            for _ in 0..count.parse::<u64>()? {
                writeln!(out, "{}", generator.case().write())?;
            }
        }
        ["compare", cases, verdicts] => {
            let [cases, verdicts] = [cases, verdicts].map(std::fs::read_to_string);
            let Comparison { counts, different, shown } = compare(&cases?, &verdicts?)?;
            for difference in shown {
                writeln!(out, "{difference}")?;
            }
            for (kind, count) in counts {
                writeln!(out, "{count:8} {kind}")?;
            }
            return Ok(if different == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        _ => return Err("usage: sql92_verdicts [generate COUNT SEED | compare CASES VERDICTS]".into()),
    }
    Ok(ExitCode::SUCCESS)
}
