//! Reads the values of options: ends of streams, positions, partitions, secrets.

use causeway_core::stream::StartPosition;

use crate::admin::model::SecretInput;
use crate::cli::exit::Failure;
use crate::cli::human::parse_time;
use crate::secrets::parse_reference;

/// `INSTANCE/TOPIC`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointText {
    /// The instance's name.
    pub instance: String,
    /// The topic there.
    pub topic: String,
}

/// `BROKER/QUEUE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionText {
    /// The source broker's name.
    pub broker: String,
    /// The queue's number there.
    pub queue: u32,
}

/// A position, and how it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartArgument {
    /// What it means.
    pub position: StartPosition,
    /// What the operator wrote.
    pub typed: String,
}

impl StartArgument {
    /// A failure that names the time as it was typed: a node is sent milliseconds, and answers about them.
    #[must_use]
    pub fn named_in(&self, field: &str, failure: Failure) -> Failure {
        match self.position {
            StartPosition::Timestamp(at) => failure.typed(field, &at.to_string(), &self.typed),
            _ => failure,
        }
    }
}

/// Where a secret is, as it is typed. The secret itself is never typed: others could see the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretArgument {
    /// Where the node finds it.
    Reference(SecretInput),
    /// One line of standard input, which the node seals.
    StandardInput,
}

/// Reads `INSTANCE/TOPIC`.
///
/// # Errors
/// A sentence.
pub fn endpoint(text: &str) -> Result<EndpointText, String> {
    match text.split_once('/') {
        Some((instance, topic)) if !instance.is_empty() && !topic.is_empty() => {
            Ok(EndpointText { instance: instance.to_owned(), topic: topic.to_owned() })
        }
        _ => Err("write it as INSTANCE/TOPIC, for example qingdao/orders".to_owned()),
    }
}

/// Whether this is where a node can listen to other nodes, as `HOST:PORT`.
///
/// # Errors
/// A sentence.
pub fn member(text: &str) -> Result<(), String> {
    let well_formed = text.rsplit_once(':').is_some_and(|(host, port)| {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let bracketed = text.starts_with('[');
        !host.is_empty()
            && !host.contains(|character: char| character.is_whitespace() || character == '/')
            && host.contains(':') == bracketed
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if well_formed {
        Ok(())
    } else {
        Err("write it as HOST:PORT, where a node of the cluster listens to other nodes (its cluster.advertise), for \
             example 10.0.0.5:7501"
            .to_owned())
    }
}

/// Reads `BROKER/QUEUE`; a broker's name may itself contain slashes.
///
/// # Errors
/// A sentence.
pub fn partition(text: &str) -> Result<PartitionText, String> {
    let parts = text.rsplit_once('/').filter(|(broker, _)| !broker.is_empty());
    match parts.and_then(|(broker, queue)| Some((broker, queue.parse().ok()?))) {
        Some((broker, queue)) => Ok(PartitionText { broker: broker.to_owned(), queue }),
        None => {
            Err("write it as BROKER/QUEUE, for example broker-a/3; causeway partition list STREAM lists them"
                .to_owned())
        }
    }
}

/// Reads a position.
///
/// # Errors
/// A sentence.
pub fn start(text: &str) -> Result<StartPosition, String> {
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= 0);
    let position = match text.split_once(':') {
        _ if text == "earliest" => Some(StartPosition::Earliest),
        _ if text == "latest" => Some(StartPosition::Latest),
        Some(("offset", offset)) => number(offset).map(StartPosition::Offset),
        Some(("timestamp", milliseconds)) => number(milliseconds).map(StartPosition::Timestamp),
        _ => parse_time(text).map(|at| StartPosition::Timestamp(at.0)),
    };
    position
        .ok_or_else(|| "write earliest, latest, a time as 2026-11-20T08:00:00Z, timestamp:MS or offset:N".to_owned())
}

/// Reads a position and keeps how it was typed.
///
/// # Errors
/// A sentence.
pub fn start_argument(text: &str) -> Result<StartArgument, String> {
    start(text).map(|position| StartArgument { position, typed: text.to_owned() })
}

/// A position as it can be typed again.
#[must_use]
pub fn start_text(position: StartPosition) -> String {
    match position {
        StartPosition::Earliest => "earliest".to_owned(),
        StartPosition::Latest => "latest".to_owned(),
        StartPosition::Timestamp(at) => crate::cli::human::time(causeway_core::ids::Timestamp(at)),
        StartPosition::Offset(offset) => format!("offset:{offset}"),
    }
}

/// Reads where a secret is. What was typed is not repeated in the answer: it may be the secret.
///
/// # Errors
/// A sentence.
pub fn secret(text: &str) -> Result<SecretArgument, String> {
    if text == "stdin" {
        return Ok(SecretArgument::StandardInput);
    }
    let refused = || {
        "write env:NAME, file:/path or stdin; a secret itself is not taken from the command line, where other processes \
         can see it"
    };
    parse_reference(text).map_err(|_| refused())?;
    text.parse().map(SecretArgument::Reference).map_err(|_| refused().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_and_shown_as_they_are_typed() {
        for text in ["earliest", "latest", "offset:42", "2026-11-20 08:00:00 UTC"] {
            assert_eq!(start_text(start(text).expect("a position")), text);
        }
        assert_eq!(start("2026-11-20T08:00:00Z"), start("timestamp:1795161600000"));
        for bad in ["", "now", "offset:", "offset:-1", "timestamp:1.5", "2026-11-20"] {
            assert!(start(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_that_is_refused_is_named_as_it_was_typed() {
        let message = "4070908800000 is in the future";
        for (text, field, told) in [
            ("2099-01-01T00:00:00Z", "source.start", "2099-01-01T00:00:00Z is in the future"),
            ("timestamp:4070908800000", "source.start", "timestamp:4070908800000 is in the future"),
            ("2099-01-01T00:00:00Z", "name", message),
            ("2098-01-01T00:00:00Z", "source.start", message),
            ("offset:4070908800000", "source.start", message),
        ] {
            let mut failure = Failure::usage(message);
            failure.faults[0].field = Some(field.to_owned());
            let failure = start_argument(text).expect("a position").named_in("source.start", failure);
            assert_eq!(failure.faults[0].message, told, "{text} {field}");
        }
    }

    #[test]
    fn where_a_member_is_has_a_host_and_a_port() {
        for good in ["10.0.0.5:7501", "node-1:7501", "[::1]:7501"] {
            assert_eq!(member(good), Ok(()), "{good}");
        }
        for bad in
            ["10.0.0.5", "node-1:", ":7501", "node-1:0", "node-1:70000", "::1", "[::1]", "http://node-1:7501", ""]
        {
            assert!(member(bad).expect_err(bad).contains("HOST:PORT"), "{bad}");
        }
    }

    #[test]
    fn ends_and_partitions_are_read() {
        assert_eq!(endpoint("qd/%RETRY%a").expect("an end").topic, "%RETRY%a");
        assert_eq!(
            partition("rack/1/7").expect("a partition"),
            PartitionText { broker: "rack/1".to_owned(), queue: 7 }
        );
        assert!(["orders", "/orders", "qd/"].iter().all(|bad| endpoint(bad).is_err()));
        assert!(["b", "/1", "b/", "b/-1", "b/x"].iter().all(|bad| partition(bad).is_err()));
    }

    #[test]
    fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
        for bad in ["hunter2", "value:hunter2", "env:hunter 2", "file:hunter2"] {
            let message = secret(bad).expect_err("refused");
            assert!(!message.contains("hunter"), "{message}");
        }
        assert_eq!(secret("stdin"), Ok(SecretArgument::StandardInput));
        assert_eq!(secret("env:QD_SK"), Ok(SecretArgument::Reference(SecretInput::Env("QD_SK".to_owned()))));
    }
}
