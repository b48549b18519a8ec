//! Apache's own SQL92 filter, as the broker 5.5.0 has it: `tests/java/Selector.java`.

use std::fs;
use std::process::{Command, Stdio};

use crate::brokers::{Version, broker_jars};
use crate::java::compiled;

const SOURCE: &str = include_str!("../java/Selector.java");

/// A verdict per line for a case per line; their forms stand at the source.
///
/// # Panics
/// When there is no JDK, or the program fails.
pub fn verdicts(cases: &str) -> String {
    let jars = broker_jars(Version::V5_5_0);
    let classes = compiled("selector", &[("Selector.java", SOURCE)], &jars);
    let scratch = tempfile::tempdir().unwrap();
    let input = scratch.path().join("cases");
    fs::write(&input, cases).unwrap();
    let mut program = Command::new("java");
    program.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]);
    program.arg(format!("-Duser.home={}", scratch.path().display()));
    program.arg("-cp").arg(format!("{}:{}/*", classes.display(), jars.display())).arg("Selector");
    let output = program.stdin(Stdio::from(fs::File::open(input).unwrap())).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start `java`: {error}. Install a JDK 17."));
    assert!(output.status.success(), "Selector failed:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
