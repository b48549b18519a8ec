//! Where log lines go: standard error, for people or as JSON, filtered by level and module.
//!
//! WARN means that nothing was lost, ERROR that an operator has to act.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{LogFormat, LogSection};

/// Modules whose information is about themselves only.
const QUIET: &str = "actix_server=warn,actix_http=warn";

/// The log filter has a form that is not known.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// Begins logging. A process logs one way only: a second call changes nothing and is no error, so that several nodes
/// can run in one process.
///
/// # Errors
/// [`Error`] when the filter is malformed.
pub fn init(section: &LogSection) -> Result<(), Error> {
    let filter = parse_filter(&section.level).map_err(Error)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = match section.format {
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
        LogFormat::Text => layer.with_ansi(colour()).boxed(),
    };
    // The error says only that logging has begun already.
    let _ = tracing_subscriber::registry().with(layer.with_filter(filter)).try_init();
    Ok(())
}

fn colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Says in a sentence what is wrong with a filter.
///
/// # Errors
/// The sentence.
pub fn check_filter(text: &str) -> Result<(), String> {
    parse_filter(text).map(|_| ())
}

fn parse_filter(text: &str) -> Result<Targets, String> {
    for directive in text.split(',').map(str::trim) {
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (Some(target), level),
            None => (None, directive),
        };
        // A lone word is taken for a module by the parser, so a mistyped level would silence nothing and nobody.
        if level.is_empty() || level.parse::<u8>().is_ok() || LevelFilter::from_str(level).is_err() {
            return Err(format!("{level:?} is not a level"));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        if target.is_some_and(|target| target.is_empty() || !target.chars().all(allowed)) {
            return Err(format!("{directive:?} does not name a module"));
        }
    }
    // A directive of the operator's about the same module wins, because it comes later.
    Targets::from_str(&format!("{QUIET},{text}")).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_modules_are_read_and_slips_are_not() {
        for good in ["info", "WARN", "off", "info,causeway::replicate=debug", "info, causeway=trace"] {
            assert_eq!(check_filter(good), Ok(()), "{good}");
        }
        for bad in ["", "infoo", "3", "info,", "=debug", "causeway=loud", "a b=info", "info;debug"] {
            assert!(check_filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_operator_can_hear_the_quiet_modules() {
        let enabled =
            |text: &str| parse_filter(text).expect("valid").would_enable("actix_server::x", &tracing::Level::DEBUG);
        assert!(!enabled("debug"));
        assert!(enabled("info,actix_server=debug"));
    }

    #[test]
    fn a_second_start_in_one_process_is_no_error() {
        let section = LogSection { level: "error".to_owned(), format: LogFormat::Json };
        assert!(init(&section).is_ok());
        assert!(init(&LogSection { format: LogFormat::Text, ..section }).is_ok());
    }
}
