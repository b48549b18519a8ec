//! The command line of the sandbox.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

/// Two RocketMQ regions, a Causeway node between them, live traffic, and a running verdict. Nothing leaves this
/// machine.
#[derive(Debug, Clone, Parser)]
#[command(name = "causeway-sandbox", version)]
pub(crate) struct Arguments {
    /// End by itself after this long, for example 30s or 5m.
    #[arg(long, value_parser = duration)]
    pub(crate) duration: Option<Duration>,
    /// Print one JSON report at the end instead of the live table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Orders a second.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    pub(crate) rate: u64,
    /// Queues of the topic.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) queues: u32,
    /// Port of page, API and metrics; 0 picks a free one.
    #[arg(long, default_value_t = 0)]
    pub(crate) port: u16,
    /// Keep all files in this folder (which must not exist yet) instead of a temporary one.
    #[arg(long)]
    pub(crate) keep: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| "write a number and a unit, for example 30s".to_owned())?;
    let seconds = match unit {
        "s" | "" => number,
        "m" => number.saturating_mul(60),
        "h" => number.saturating_mul(3600),
        _ => return Err("the unit is s, m or h".to_owned()),
    };
    if seconds == 0 { Err("it has to be at least 1s".to_owned()) } else { Ok(Duration::from_secs(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "0s", "5d", "-1s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
