//! The page of figures: each program writes its own part and leaves the others as they are.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Writes a part of a page, in place of what it said before, or at the end.
///
/// # Panics
/// When the file cannot be read or written.
pub fn put(path: &Path, part: &str, text: &str) {
    let page = match fs::read_to_string(path) {
        Ok(page) => page,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => panic!("{}: {error}", path.display()),
    };
    fs::write(path, with_part(&page, part, text)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn with_part(page: &str, part: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- begin {part} -->\n"), format!("<!-- end {part} -->\n"));
    let text = format!("{begin}{}\n{end}", text.trim_end());
    let found = page.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    match found {
        Some((before, after)) => format!("{before}{text}{after}"),
        None if page.is_empty() => text,
        None => format!("{}\n\n{text}", page.trim_end()),
    }
}

/// The command that measured: this process's own, [`std::env::args`], behind the build of what it starts. Where its
/// page goes is no part of it.
#[must_use]
pub fn command(arguments: impl IntoIterator<Item = String>) -> String {
    let mut arguments = arguments.into_iter();
    let program = arguments.next().unwrap_or_default();
    let program = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
    let mut out = format!(
        "cargo build --release -p causeway -p causeway-tests && cargo run --release -p causeway-tests --bin {program}"
    );
    let mut separator = " -- ";
    while let Some(argument) = arguments.next() {
        if argument == "--report" {
            arguments.next();
        } else if !argument.starts_with("--report=") {
            out += separator;
            out += &argument;
            separator = " ";
        }
    }
    out
}

/// The machine, in words.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    format!("{cores} cores, {}", model.map_or("unknown processor", |(_, model)| model))
}

/// A table of goals: what was aimed at, what was measured, and whether that is enough.
#[must_use]
pub fn goals(rows: &[(&str, String, bool)]) -> String {
    let mut out = "| goal | measured | |\n|---|---|---|\n".to_owned();
    for (goal, measured, reached) in rows {
        out += &format!("| {goal} | {measured} | {} |\n", if *reached { "reached" } else { "**missed**" });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_names_the_program_and_the_options_that_it_ran_with() {
        let build =
            "cargo build --release -p causeway -p causeway-tests && cargo run --release -p causeway-tests --bin ";
        let of = |line: &str| command(line.split(' ').map(str::to_owned));
        for (ran, told) in [
            ("/build/causeway-wan", "causeway-wan"),
            ("causeway-wan --report page.md", "causeway-wan"),
            ("causeway-wan --rounds 5 --report page.md --window=8", "causeway-wan -- --rounds 5 --window=8"),
            ("causeway-wan --report=page.md --brief", "causeway-wan -- --brief"),
        ] {
            assert_eq!(of(ran), format!("{build}{told}"));
        }
    }

    #[test]
    fn a_part_is_replaced_in_place_and_the_others_stay() {
        let one = with_part("", "one", "# First\n");
        let both = with_part(&one, "other", "# Second");
        let again = with_part(&both, "one", "# Third\n\nmore");
        assert_eq!(
            again,
            "<!-- begin one -->\n# Third\n\nmore\n<!-- end one -->\n\n<!-- begin other -->\n# Second\n<!-- end other -->\n"
        );
        assert_eq!(with_part(&again, "one", "# Third\n\nmore"), again);
    }
}
