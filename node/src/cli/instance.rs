//! `causeway instance ...`

use std::io::BufRead;

use causeway_core::error_code::ErrorCode;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::admin::model::instance::{RocketmqSettings, TlsSettings};
use crate::admin::model::{CreateInstance, FindingKind, InstanceTest, InstanceView, SecretInput, SecretText, Verdict};
use crate::cli::Session;
use crate::cli::args::{AddInstance, Format, InstanceCommand};
use crate::cli::exit::{Exit, Failure, read};
use crate::cli::http::segment;
use crate::cli::human::{counted, seconds, time};
use crate::cli::instance_change;
use crate::cli::parse::SecretArgument;
use crate::cli::stream_text::{effects, query};
use crate::cli::table::{Cell, Column, Table, Tone};

/// The longest secret that is read from standard input, in bytes.
const MAXIMUM_SECRET_BYTES: u64 = 4 * 1024;

/// Does what was typed.
///
/// # Errors
/// [`Failure`].
pub fn execute(session: &mut Session, command: InstanceCommand) -> Result<Exit, Failure> {
    match command {
        InstanceCommand::Add(add) => self::add(session, *add, &mut std::io::stdin().lock()),
        InstanceCommand::Change(change) => instance_change::execute(session, *change, &mut std::io::stdin().lock()),
        InstanceCommand::List => list(session),
        InstanceCommand::Show { name } => show(session, &name),
        InstanceCommand::Test { name, topic } => test(session, &name, topic.as_deref()),
        InstanceCommand::Remove { name, change } => {
            let path = format!("/v1/instances/{}{}", segment(&name), query(change.dry_run));
            let answer = session.api.delete(&path)?;
            effects(session, &answer)
        }
    }
}

fn add(session: &mut Session, add: AddInstance, input: &mut dyn BufRead) -> Result<Exit, Failure> {
    let [access_key, secret, security_token] = secrets([add.access_key, add.secret, add.security_token], input)?;
    let tls = add.tls_certificate_authority_file.map(|certificate_authority_file| TlsSettings {
        certificate_authority_file,
        certificate_file: add.tls_certificate_file,
        key_file: add.tls_key_file,
        server_name: add.tls_server_name,
    });
    let rocketmq = RocketmqSettings { name_servers: add.name_servers, access_key, secret, security_token, tls };
    let body = CreateInstance { name: add.name, region: add.region, identity: add.identity, rocketmq };
    let answer = session.api.post(&format!("/v1/instances{}", query(add.change.dry_run)), Some(&body));
    let answer = answer.map_err(|failure| {
        let change = || format!("change it with: causeway instance change {}", body.name);
        if failure.has(ErrorCode::NameTaken) { failure.advise(change()) } else { failure }
    })?;
    if add.change.dry_run {
        return effects(session, &answer);
    }
    if session.format == Format::Json {
        session.screen.json(&answer);
        return Ok(Exit::Done);
    }
    let instance: InstanceView = session.api.read(&answer)?;
    session.screen.line(format!("instance {} is registered in region {}", instance.name, instance.region));
    session.screen.line(format!("  try it: causeway instance test {}", instance.name));
    Ok(Exit::Done)
}

/// Reads what was given of the access key, the secret and the security token.
pub(super) fn secrets(
    parts: [Option<SecretArgument>; 3],
    input: &mut dyn BufRead,
) -> Result<[Option<SecretInput>; 3], Failure> {
    if parts.iter().filter(|part| **part == Some(SecretArgument::StandardInput)).count() > 1 {
        return Err(Failure::usage("only one secret can be read from standard input; put the others into files"));
    }
    let mut given = |argument: Option<SecretArgument>| match argument {
        Some(SecretArgument::Reference(reference)) => Ok(Some(reference)),
        Some(SecretArgument::StandardInput) => read_secret(input).map(SecretInput::Value).map(Some),
        None => Ok(None),
    };
    let [access_key, secret, security_token] = parts;
    Ok([given(access_key)?, given(secret)?, given(security_token)?])
}

fn read_secret(input: &mut dyn BufRead) -> Result<SecretText, Failure> {
    use std::io::Read;
    // One allocation of the final size: a growing buffer would leave copies of the secret behind.
    let capacity = usize::try_from(MAXIMUM_SECRET_BYTES).unwrap_or(usize::MAX);
    let mut line = Zeroizing::new(String::with_capacity(capacity));
    let mut limited = input.take(MAXIMUM_SECRET_BYTES);
    limited.read_line(&mut line).map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    let secret = line.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(Failure::usage("standard input holds no secret; write it as one line"));
    }
    Ok(SecretText::new(secret.to_owned()))
}

fn list(session: &mut Session) -> Result<Exit, Failure> {
    let items = session.api.list("/v1/instances")?;
    if session.format == Format::Json {
        session.screen.json(&json!({ "items": items, "next": Value::Null }));
        return Ok(Exit::Done);
    }
    let instances: Vec<InstanceView> = items.iter().map(|item| session.api.read(item)).collect::<Result<_, _>>()?;
    if instances.is_empty() {
        session.screen.line(
            "no instance is registered; add one with: causeway instance add NAME --region R --name-server HOST:PORT",
        );
        return Ok(Exit::Done);
    }
    let table = table(&instances, session.format == Format::Wide);
    session.screen.table(&table);
    Ok(Exit::Done)
}

fn table(instances: &[InstanceView], wide: bool) -> Table {
    let mut columns = vec![
        Column::left("INSTANCE"),
        Column::left("REGION"),
        Column::left("NAME SERVERS"),
        Column::left("CREDENTIALS").spare(1),
        Column::left("STREAMS").spare(2),
    ];
    if wide {
        columns.extend([
            Column::left("TLS"),
            Column::left("IDENTITY"),
            Column::right("VERSION"),
            Column::left("REGISTERED"),
        ]);
    }
    let mut table = Table::new(columns);
    for instance in instances {
        let rocketmq = &instance.rocketmq;
        let credentials = match (&rocketmq.access_key, &rocketmq.secret) {
            (Some(key), Some(secret)) => format!("{key} {secret}"),
            _ => "none".to_owned(),
        };
        let streams: Vec<&str> = instance.streams.iter().map(causeway_core::name::Name::as_str).collect();
        let mut cells: Vec<Cell> = vec![
            instance.name.to_string().into(),
            instance.region.to_string().into(),
            rocketmq.name_servers.join(" ").into(),
            credentials.into(),
            if streams.is_empty() { Cell::from("none") } else { streams.join(" ").into() },
        ];
        if wide {
            cells.extend([
                Cell::from(if rocketmq.tls.is_some() { "yes" } else { "no" }),
                instance.identity.to_string().into(),
                instance.version.to_string().into(),
                time(instance.created_at).into(),
            ]);
        }
        table.row(cells);
    }
    table
}

fn show(session: &mut Session, name: &str) -> Result<Exit, Failure> {
    let answer = session.api.get(&format!("/v1/instances/{}", segment(name)))?;
    if session.format == Format::Json {
        session.screen.json(&answer);
        return Ok(Exit::Done);
    }
    let instance: InstanceView = session.api.read(&answer)?;
    let rocketmq = &instance.rocketmq;
    let tls = rocketmq
        .tls
        .as_ref()
        .map_or("none, plain connections".to_owned(), |tls| tls.certificate_authority_file.clone());
    let none = || "none".to_owned();
    let streams: Vec<&str> = instance.streams.iter().map(causeway_core::name::Name::as_str).collect();
    for (what, value) in [
        ("instance", instance.name.to_string()),
        ("region", instance.region.to_string()),
        ("name servers", rocketmq.name_servers.join(", ")),
        ("access key", rocketmq.access_key.clone().unwrap_or_else(none)),
        ("secret", rocketmq.secret.clone().unwrap_or_else(none)),
        ("security token", rocketmq.security_token.clone().unwrap_or_else(none)),
        ("TLS", tls),
        ("identity", instance.identity.to_string()),
        ("streams", if streams.is_empty() { none() } else { streams.join(", ") }),
        ("version", instance.version.to_string()),
        ("registered", time(instance.created_at)),
    ] {
        session.screen.line(format!("  {what:<14}  {value}"));
    }
    Ok(Exit::Done)
}

fn test(session: &mut Session, name: &str, topic: Option<&str>) -> Result<Exit, Failure> {
    let topic = topic.map_or(String::new(), |topic| format!("?topic={}", segment(topic)));
    let path = format!("/v1/instances/{}:test{topic}", segment(name));
    let answer = session.api.post(&path, None::<&Value>)?;
    let test: InstanceTest = session.api.read(&answer)?;
    if session.format == Format::Json {
        session.screen.json(&answer);
    } else {
        session.screen.table(&findings(&test));
        session.screen.line(conclusion(&test));
    }
    Ok(if test.passed { Exit::Done } else { Exit::Failed })
}

/// What a test found, one row a finding.
#[must_use]
pub fn findings(test: &InstanceTest) -> Table {
    let columns =
        vec![Column::left("WHAT"), Column::left("RESULT"), Column::left("OF"), Column::left("FOUND").wrapped()];
    let mut table = Table::new(columns);
    for finding in &test.findings {
        let kind = match finding.kind {
            FindingKind::Reachable => "reachable",
            FindingKind::Permitted => "permitted",
            FindingKind::Limits => "limits",
            FindingKind::Clock => "clock",
            FindingKind::Topic => "topic",
            FindingKind::Version => "version",
        };
        let (verdict, tone) = match finding.verdict {
            Verdict::Ok => ("ok", Tone::Good),
            Verdict::Warning => ("look", Tone::Busy),
            Verdict::Unknown => ("unknown", Tone::Quiet),
            Verdict::Failed => ("failed", Tone::Bad),
        };
        let cells = [
            Cell::from(kind),
            Cell::toned(verdict, tone),
            finding.subject.as_str().into(),
            finding.message.as_str().into(),
        ];
        table.row(cells.into());
        if let Some(error) = &finding.error {
            table.note(read(&error.code), Tone::Quiet);
        }
    }
    table
}

/// How a test ended, in one line.
#[must_use]
pub fn conclusion(test: &InstanceTest) -> String {
    let count = |verdict| test.findings.iter().filter(|finding| finding.verdict == verdict).count();
    let failed = u64::try_from(count(Verdict::Failed)).unwrap_or(u64::MAX);
    let took = seconds(test.took_seconds);
    if test.passed {
        format!("  {} can be used; tested in {took}", test.instance)
    } else {
        format!("  {} cannot be used yet: {} failed; tested in {took}", test.instance, counted(failed, "check"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::{error, run_against};

    #[test]
    fn a_name_that_is_taken_can_be_changed() {
        let command = ["instance", "add", "qd", "--region", "r", "--name-server", "h:1"];
        let (exit, _, err, _) = run_against(vec![(409, error(ErrorCode::NameTaken, "qd exists already"))], &command);
        assert_eq!(exit, Exit::Conflict);
        assert!(err.ends_with("\n  -> change it with: causeway instance change qd\n"), "{err}");
        let (_, _, err, _) = run_against(vec![(400, error(ErrorCode::InvalidRequest, "no region"))], &command);
        assert!(!err.contains("instance change"), "{err}");
    }

    #[test]
    fn a_secret_is_one_line_of_bounded_length() {
        let secret = read_secret(&mut "correct horse\nnext line".as_bytes()).expect("a secret");
        assert_eq!(secret.expose(), "correct horse");
        assert!(read_secret(&mut "\n".as_bytes()).is_err());
        let long = "x".repeat(10_000);
        assert_eq!(read_secret(&mut long.as_bytes()).expect("cut").expose().len(), 4_096);
    }
}
