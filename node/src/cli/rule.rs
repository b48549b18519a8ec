//! `causeway rule test`: rules tried on one message. Asks no node: rules are the same everywhere.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use crate::admin::body::MAXIMUM_BODY_BYTES;
use crate::admin::model::error::ErrorBody;
use crate::admin::model::rule::{
    RuleFilter, RuleKind, RuleMessage, RuleOutcome, RuleTest, RuleTestAnswer, RuleVerdict,
};
use crate::admin::rules::try_rules;
use crate::cli::args::Format;
use crate::cli::args::rule::RuleTestArguments;
use crate::cli::exit::{Exit, Failure};
use crate::cli::screen::Screen;
use crate::cli::table::{Cell, Column, Table, Tone};

/// Where standard input stands for a file.
const STANDARD_INPUT: &str = "-";

/// Tries rules and shows what each says.
pub fn test(arguments: RuleTestArguments, format: Format, screen: &mut Screen) -> Exit {
    match tried(arguments) {
        Ok(answer) => {
            show(&answer, format, screen);
            Exit::Done
        }
        Err(failure) => super::complain(&failure, format, screen),
    }
}

fn tried(arguments: RuleTestArguments) -> Result<RuleTestAnswer, Failure> {
    let asked = read(arguments)?;
    try_rules(&asked).map_err(|faults| {
        let bodies = faults.iter().map(|fault| {
            let field = fault.field.as_deref().map(typed);
            ErrorBody::new(fault.code, &fault.message, field)
        });
        Failure { exit: Exit::Usage, faults: bodies.collect(), advice: None }
    })
}

/// A field of a request as what is typed for it.
fn typed(field: &str) -> &str {
    match field {
        "filter" => "--tag, --sql, --pattern",
        "filter.tag" => "--tag",
        "filter.sql" => "--sql",
        "filter.pattern" => "--pattern",
        "message.tag" => "--message-tag",
        "message.keys" => "--message-keys",
        "message.properties" => "--property",
        "message.body_format" => "--body-format",
        "event" => "--event",
        other => other,
    }
}

fn read(arguments: RuleTestArguments) -> Result<RuleTest, Failure> {
    let RuleTestArguments { tag, sql, pattern, event, message_tag, message_keys, properties, body, .. } = arguments;
    let filter = RuleFilter { tag, sql, pattern: pattern.map(text).transpose()? };
    if let Some(file) = event {
        let event = Some(text_of(&file)?);
        return Ok(RuleTest { filter, message: None, event });
    }
    let mut unique = BTreeMap::new();
    for (name, value) in properties {
        if unique.insert(name.clone(), value).is_some() {
            return Err(Failure::usage(format!("--property {name} is given twice: a message has each property once")));
        }
    }
    let message = RuleMessage {
        region: arguments.region.unwrap_or_default(),
        instance: arguments.instance.unwrap_or_default(),
        topic: arguments.topic.unwrap_or_default(),
        tag: message_tag,
        keys: message_keys,
        properties: unique,
        body: body.map(text).transpose()?.unwrap_or_default(),
        body_format: arguments.body_format.map(Into::into).unwrap_or_default(),
    };
    Ok(RuleTest { filter, message: Some(message), event: None })
}

/// The text itself, or what the file holds that it names behind an `@`.
fn text(typed: String) -> Result<String, Failure> {
    match typed.strip_prefix('@') {
        Some(file) => text_of(Path::new(file)),
        None => Ok(typed),
    }
}

/// What a file holds, at most as much as a request to a node may.
fn text_of(file: &Path) -> Result<String, Failure> {
    let unreadable = |why: String| Failure::usage(format!("{} cannot be read: {why}", file.display()));
    let failed = |error: std::io::Error| unreadable(error.to_string());
    let input: Box<dyn Read> = if file == Path::new(STANDARD_INPUT) {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).map_err(failed)?)
    };
    let limit = u64::try_from(MAXIMUM_BODY_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut text = String::new();
    if input.take(limit).read_to_string(&mut text).map_err(failed)? > MAXIMUM_BODY_BYTES {
        return Err(unreadable(format!("it is larger than {MAXIMUM_BODY_BYTES} bytes")));
    }
    Ok(text)
}

fn show(answer: &RuleTestAnswer, format: Format, screen: &mut Screen) {
    if format == Format::Json {
        return screen.json(&serde_json::to_value(answer).unwrap_or_default());
    }
    let mut table = Table::new(vec![Column::left("RULE"), Column::left("SAYS"), Column::left("WHY").wrapped()]);
    for RuleVerdict { rule, outcome, why } in &answer.rules {
        let (word, tone) = said(*outcome);
        let name = match rule {
            RuleKind::Tag => "tag",
            RuleKind::Sql => "sql",
            RuleKind::Pattern => "pattern",
        };
        table.row(vec![name.into(), Cell::toned(word, tone), why.as_str().into()]);
    }
    screen.table(&table);
    screen.line(match answer.outcome {
        RuleOutcome::Kept => "the message would be copied",
        RuleOutcome::LeftOut => "the message would be left out",
        RuleOutcome::Failed => "the message cannot be judged",
    });
}

fn said(outcome: RuleOutcome) -> (&'static str, Tone) {
    match outcome {
        RuleOutcome::Kept => ("kept", Tone::Good),
        RuleOutcome::LeftOut => ("left out", Tone::Plain),
        RuleOutcome::Failed => ("failed", Tone::Bad),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::cli::execute;
    use crate::cli::tests::captured;

    fn typed(arguments: &[&str]) -> (Exit, String, String) {
        let (screen, out, err) = captured(120);
        let all = ["causeway", "rule", "test"].iter().chain(arguments).map(Into::into);
        (execute(all, screen), out.text(), err.text())
    }

    #[test]
    fn a_message_is_tried_and_told() {
        let (exit, out, err) = typed(&[
            "--tag",
            "paid || shipped",
            "--sql",
            "amount > 100",
            "--message-tag",
            "paid",
            "--property",
            "amount=7",
        ]);
        assert_eq!((exit, err.as_str()), (Exit::Done, ""));
        let lines: Vec<_> = out.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "RULE  SAYS      WHY",
                "tag   kept      its tag \"paid\" is listed",
                "sql   left out  false; amount is \"7\"",
                "the message would be left out",
            ]
        );
    }

    #[test]
    fn patterns_bodies_and_events_come_from_files() {
        let mut files = Vec::new();
        for text in [r#"{"data":{"body":{"n":[{"numeric":[">",1]}]}}}"#, r#"{"n":2}"#, r#"{"data":{"body":{"n":1}}}"#] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            files.push(file);
        }
        let at: Vec<String> = files.iter().map(|file| format!("@{}", file.path().display())).collect();
        let (exit, out, _) = typed(&["--pattern", &at[0], "--body", &at[1], "--body-format", "json"]);
        assert_eq!(exit, Exit::Done);
        assert!(out.contains("would be copied"), "{out}");
        let (_, out, _) = typed(&["--pattern", &at[0], "--event", at[2].trim_start_matches('@'), "-o", "json"]);
        let answer: RuleTestAnswer = serde_json::from_str(&out).unwrap();
        assert_eq!(answer.outcome, RuleOutcome::LeftOut);
    }

    #[test]
    fn faults_name_what_was_typed() {
        for (arguments, said) in [
            (&["--message-tag", "x"][..], "--tag, --sql, --pattern: there is no rule to try"),
            (&["--tag", "a | b"], "--tag: at byte 2: a single | does not join tags"),
            (&["--sql", "a LIKE 'x%'"], "write CONTAINS, STARTSWITH or ENDSWITH"),
            (&["--pattern", "@/nowhere/at/all"], "/nowhere/at/all cannot be read"),
            (&["--tag", "*", "--property", "a"], "write NAME=VALUE"),
            (&["--tag", "*", "--property", "a=1", "--property", "a=2"], "--property a is given twice"),
            (&["--tag", "*", "--event", "x", "--body", "y"], "cannot be used with"),
        ] {
            let (exit, _, err) = typed(arguments);
            assert!(exit == Exit::Usage && err.contains(said), "{arguments:?}: {err}");
        }
    }
}
