//! Prints the whole configuration file, each key with what it means, its unit and its default.
//!
//! Everything comes from [`crate::config::keys`]. Values that have a default are written out, so the file says what a
//! node does; what has none is written as a comment.

use std::fmt::Write;

use crate::config::VERSION;
use crate::config::env::variable;
use crate::config::keys::{self, Form, INSTANCES, Key, Preset, SECTIONS, VERSION_KEY};

/// The longest line, in characters.
const WIDTH: usize = 100;

/// The text of the example file. It parses, and means the same as the defaults.
#[must_use]
pub fn example() -> String {
    let mut out = String::new();
    out.push_str(
        "# Causeway node configuration. Every key is listed with its default; leave out what you do not change.\n",
    );
    out.push_str(
        "# Units are part of the names (_ms milliseconds, _bytes bytes); values are plain integers of that unit.\n",
    );
    out.push_str(
        "# A variable named CAUSEWAY_ plus section plus key wins over this file, as in CAUSEWAY_HTTP_LISTEN.\n\n",
    );
    comment(&mut out, "", "The version of this file's format.");
    line(&mut out, format_args!("{VERSION_KEY} = {VERSION}"));
    for (section, about) in SECTIONS {
        out.push('\n');
        comment(&mut out, "", about);
        line(&mut out, format_args!("[{section}]"));
        for key in keys::all().filter(|key| key.split().0 == *section) {
            out.push('\n');
            describe(&mut out, "", key);
            line(&mut out, format_args!("# Variable: {}", variable(key)));
            assign(&mut out, key.split().1, key);
        }
    }
    instances(&mut out);
    out
}

fn instances(out: &mut String) {
    out.push('\n');
    comment(
        out,
        "",
        "Instances that the node registers when it starts, where none of that name exists. A registered one is changed \
         through the API only. Repeat the table for each; causeway check-config connects to all of them.",
    );
    line(out, format_args!("#[[{INSTANCES}]]"));
    for key in keys::of_instance() {
        out.push_str("#\n");
        describe(out, "#   ", key);
        line(out, format_args!("#{} = {}", key.path, key.sample));
    }
}

fn describe(out: &mut String, lead: &str, key: &Key) {
    let mut text = key.doc.to_owned();
    let limits = match (key.form, key.preset) {
        (_, Preset::Required) => " Has to be set.".to_owned(),
        (_, Preset::Nothing) => " May be left out.".to_owned(),
        (Form::Integer { minimum, maximum: i64::MAX }, _) => format!(" From {minimum} up."),
        (Form::Integer { minimum, maximum }, _) => format!(" From {minimum} to {maximum}."),
        (Form::Switch, _) => " true or false.".to_owned(),
        (Form::Choice(words), _) => format!(" One of: {}.", words.join(", ")),
        _ => String::new(),
    };
    text.push_str(&limits);
    comment(out, lead, &text);
}

fn assign(out: &mut String, name: &str, key: &Key) {
    match key.preset {
        Preset::Integer(value) => line(out, format_args!("{name} = {value}")),
        Preset::Switch(value) => line(out, format_args!("{name} = {value}")),
        Preset::Text(value) => line(out, format_args!("{name} = {value:?}")),
        Preset::Nothing | Preset::Required => line(out, format_args!("#{name} = {}", key.sample)),
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

/// Breaks a text into comment lines at spaces.
fn comment(out: &mut String, lead: &str, text: &str) {
    let lead = if lead.is_empty() { "# " } else { lead };
    let mut length = 0_usize;
    for word in text.split_whitespace() {
        let word_length = word.chars().count();
        if length == 0 {
            out.push_str(lead);
            length = lead.len();
        } else if length.saturating_add(word_length).saturating_add(1) > WIDTH {
            out.push('\n');
            out.push_str(lead);
            length = lead.len();
        } else {
            out.push(' ');
            length = length.saturating_add(1);
        }
        out.push_str(word);
        length = length.saturating_add(word_length);
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_commented_out_is_valid_when_it_is_uncommented() {
        let lines = example();
        let is_key = |line: &str| line.starts_with('#') && !line.starts_with("# ");
        let whole: String =
            lines.lines().map(|line| format!("{}\n", if is_key(line) { &line[1..] } else { line })).collect();
        let config = crate::config::parse(&whole, "f", []).expect("valid").config;
        assert_eq!(config.instances.len(), 1);
        assert!(config.instances[0].spec.tls.is_some());
        assert!(config.instances[0].identity.is_some());
        assert!(config.cluster.is_some_and(|cluster| cluster.tls.is_some()));
    }

    #[test]
    fn no_line_is_longer_than_the_limit() {
        let lines = example();
        for line in lines.lines() {
            assert!(line.chars().count() <= 120, "{line}");
        }
    }
}
