//! What a broker tells about itself, judged: its limits, its version, its clock.
//!
//! All of it is shown to administrators only, so a broker that does not tell is nothing unusual.

use causeway_core::ids::Timestamp;
use causeway_rocketmq::{BrokerInfo, BrokerLimits, BrokerRuntime, Client};

use super::model::instance::{BrokerFacts, Finding, FindingKind, TimeSpan, Verdict};
use super::probe::{counted, row, trouble};
use crate::clock;

/// The oldest release that Causeway is tested with, major and minor.
const OLDEST: (u32, u32) = (4, 9);

/// From which certain difference on a clock is worth a look, in seconds: lags are told in whole seconds.
const NOTABLE_SECONDS: f64 = 2.0;

/// The longest version that is shown, in characters; Apache's longest name has 19.
const MAXIMUM_VERSION: usize = 40;

/// Asks a broker's master. Answers no facts where there is no master or it does not answer at all.
pub(super) async fn look(client: &Client, broker: &BrokerInfo) -> (Option<BrokerFacts>, Vec<Finding>) {
    let subject = format!("broker {}", broker.name);
    let Some(master) = &broker.master else {
        let message = format!("has no master at present, only {}", counted(broker.slaves.len(), "slave"));
        return (None, vec![row(FindingKind::Reachable, subject, Verdict::Warning, message)]);
    };
    let limits = match client.broker_limits(&broker.name).await {
        Ok(limits) => limits,
        Err(error) => return (None, vec![trouble(FindingKind::Reachable, subject, Verdict::Failed, &error)]),
    };
    let slaves = counted(broker.slaves.len(), "slave");
    let message = format!("answers at {master}, cluster {}, {slaves}", broker.cluster);
    let mut rows = vec![row(FindingKind::Reachable, subject.clone(), Verdict::Ok, message)];
    // The connection is there, so that what passes between these two moments is one question and its answer.
    let asked = clock::now();
    let runtime = client.broker_runtime(&broker.name).await;
    let answered = clock::now();
    let mut facts = BrokerFacts { name: broker.name.to_string(), version: None, clock_ahead_seconds: None };
    match runtime {
        Ok(told) => {
            let BrokerRuntime { version, clock_ms, .. } = told.unwrap_or_default();
            facts.version = version.as_deref().map(shown);
            facts.clock_ahead_seconds = clock_ms.map(|told| ahead(told, asked, answered));
            rows.push(version_finding(&subject, facts.version.as_deref()));
            rows.push(clock_finding(&subject, facts.clock_ahead_seconds));
        }
        Err(error) => rows.push(trouble(FindingKind::Version, subject.clone(), Verdict::Warning, &error)),
    }
    rows.extend(limit_findings(&subject, limits));
    (Some(facts), rows)
}

/// `V5_3_3` as people write it, `5.3.3`; what is no release's name stays as it is.
fn shown(told: &str) -> String {
    let told: String = told.chars().filter(char::is_ascii_graphic).take(MAXIMUM_VERSION).collect();
    let release = told.strip_prefix('V').filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    let Some(release) = release else { return told };
    let parts = release.split('_').enumerate().map(|(position, part)| match part.parse::<u32>() {
        _ if position == 0 => part.to_owned(),
        Ok(_) => format!(".{part}"),
        Err(_) => format!("-{part}"),
    });
    parts.collect()
}

fn version_finding(subject: &str, version: Option<&str>) -> Finding {
    let (verdict, message) = match version {
        None => (Verdict::Unknown, "does not tell its version: it is shown to administrators only".to_owned()),
        Some(version) => {
            let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
            match numbers.next().zip(numbers.next()) {
                Some(release) if release < OLDEST => {
                    let (major, minor) = OLDEST;
                    let message = format!("is RocketMQ {version}; Causeway is tested with {major}.{minor} and later");
                    (Verdict::Warning, message)
                }
                _ => (Verdict::Ok, format!("is RocketMQ {version}")),
            }
        }
    };
    row(FindingKind::Version, subject, verdict, message)
}

/// How far a broker's clock is ahead, given what it showed, cut to the second, at some moment between two of this
/// node's.
fn ahead(told_ms: i64, asked: Timestamp, answered: Timestamp) -> TimeSpan {
    // This node's own moments are cut to the millisecond: the later one may be almost one more.
    let at_least = told_ms.saturating_sub(answered.0.saturating_add(1));
    let at_most = told_ms.saturating_add(1_000).saturating_sub(asked.0);
    TimeSpan { at_least: seconds(at_least), at_most: seconds(at_most) }
}

fn seconds(milliseconds: i64) -> f64 {
    let span = std::time::Duration::from_millis(milliseconds.unsigned_abs()).as_secs_f64();
    if milliseconds < 0 { -span } else { span }
}

fn clock_finding(subject: &str, ahead: Option<TimeSpan>) -> Finding {
    let Some(TimeSpan { at_least, at_most }) = ahead else {
        let message = "does not tell its clock, by which start positions by time go";
        return row(FindingKind::Clock, subject, Verdict::Unknown, message);
    };
    let (near, far) = (at_least.abs().min(at_most.abs()), at_least.abs().max(at_most.abs()));
    if at_least <= 0.0 && at_most >= 0.0 {
        let message = format!("its clock and this node's differ by less than {far:.1} s");
        return row(FindingKind::Clock, subject, Verdict::Ok, message);
    }
    let side = if at_least > 0.0 { "ahead of" } else { "behind" };
    let message = format!("its clock is {near:.1} to {far:.1} s {side} this node's");
    if near < NOTABLE_SECONDS {
        return row(FindingKind::Clock, subject, Verdict::Ok, message);
    }
    let message =
        format!("{message}: start positions by time go by the broker's clock, and lags in seconds are wrong by that");
    row(FindingKind::Clock, subject, Verdict::Warning, message)
}

/// What a broker's configuration means for copying.
fn limit_findings(subject: &str, limits: Option<BrokerLimits>) -> Vec<Finding> {
    let limits_row = |verdict, message: String| row(FindingKind::Limits, subject, verdict, message);
    let Some(limits) = limits else {
        let message = "does not tell its limits: its configuration is shown to administrators only".to_owned();
        return vec![limits_row(Verdict::Unknown, message)];
    };
    let pulls = match (limits.pull_messages_in_memory, limits.pull_messages_on_disk) {
        (None, None) => limits_row(Verdict::Unknown, "does not tell how many messages one pull returns".to_owned()),
        (memory, disk) => {
            let told =
                |value: Option<u64>| value.map_or_else(|| "it does not tell how many".to_owned(), |n| n.to_string());
            let message = format!("messages per pull: {} from memory, {} from disk", told(memory), told(disk));
            limits_row(if memory.is_some() { Verdict::Ok } else { Verdict::Unknown }, message)
        }
    };
    let mut rows = vec![
        pulls,
        match limits.maximum_message_bytes {
            Some(bytes) => limits_row(Verdict::Ok, format!("takes messages and batches of up to {bytes} bytes")),
            None => limits_row(Verdict::Unknown, "does not tell the largest message that it takes".to_owned()),
        },
    ];
    if let (Some(flush), Some(role)) = (&limits.flush, &limits.role) {
        let durable = flush == "SYNC_FLUSH" || role == "SYNC_MASTER";
        let message = format!("runs as {role} with {flush}");
        let lossy = format!(
            "{message}: what it acknowledged can be lost with it; copies that are lost so are found and made again"
        );
        rows.push(if durable { limits_row(Verdict::Ok, message) } else { limits_row(Verdict::Warning, lossy) });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_not_told_are_unknown_and_weak_durability_is_a_warning() {
        let verdicts =
            |limits| limit_findings("b", limits).iter().map(|row| (row.kind, row.verdict)).collect::<Vec<_>>();
        assert_eq!(verdicts(None), [(FindingKind::Limits, Verdict::Unknown)]);
        let silent = limit_findings("b", Some(BrokerLimits::default()));
        assert!(silent.iter().all(|row| row.verdict == Verdict::Unknown));
        let weak = BrokerLimits {
            flush: Some("ASYNC_FLUSH".to_owned()),
            role: Some("ASYNC_MASTER".to_owned()),
            maximum_message_bytes: Some(4 << 20),
            pull_messages_in_memory: Some(32),
            ..BrokerLimits::default()
        };
        assert!(verdicts(Some(weak.clone())).contains(&(FindingKind::Limits, Verdict::Warning)));
        let strong = BrokerLimits { role: Some("SYNC_MASTER".to_owned()), ..weak };
        assert!(!verdicts(Some(strong)).contains(&(FindingKind::Limits, Verdict::Warning)));
    }

    #[test]
    fn a_version_is_shown_as_people_write_it_and_an_old_one_is_a_warning() {
        for (told, shown, verdict) in [
            ("V5_3_3", "5.3.3", Verdict::Ok),
            ("V4_9_0", "4.9.0", Verdict::Ok),
            ("V5_3_1_SNAPSHOT", "5.3.1-SNAPSHOT", Verdict::Ok),
            ("V4_8_0", "4.8.0", Verdict::Warning),
            ("V3_5_9", "3.5.9", Verdict::Warning),
            ("HIGHER_VERSION", "HIGHER_VERSION", Verdict::Ok),
            ("V", "V", Verdict::Ok),
            ("\u{1b}[2J5.0", "[2J5.0", Verdict::Ok),
        ] {
            assert_eq!(super::shown(told), shown);
            assert_eq!(version_finding("b", Some(shown)).verdict, verdict, "{told}");
        }
        assert_eq!(super::shown(&"9".repeat(1_000)).len(), MAXIMUM_VERSION);
        assert_eq!(version_finding("b", None).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_difference_of_clocks_is_told_with_both_its_bounds() {
        let told = |told| ahead(told, Timestamp(10_000), Timestamp(10_199));
        assert_eq!(told(10_000), TimeSpan { at_least: -0.2, at_most: 1.0 });
        for (clock, verdict, words) in [
            (10_000, Verdict::Ok, "differ by less than 1.0 s"),
            (9_000, Verdict::Ok, "differ by less than 1.2 s"),
            (10_300, Verdict::Ok, "0.1 to 1.3 s ahead of"),
            (8_000, Verdict::Ok, "1.0 to 2.2 s behind"),
            (12_199, Verdict::Ok, "2.0 to 3.2 s ahead of"),
            (12_200, Verdict::Warning, "2.0 to 3.2 s ahead of"),
            (0, Verdict::Warning, "9.0 to 10.2 s behind"),
        ] {
            let finding = clock_finding("b", Some(told(clock)));
            assert_eq!((finding.verdict, finding.message.contains(words)), (verdict, true), "{clock}: {finding:?}");
        }
        assert_eq!(clock_finding("b", None).verdict, Verdict::Unknown);
        let extreme = ahead(i64::MAX, Timestamp(i64::MIN), Timestamp(i64::MIN));
        assert!(extreme.at_least > 0.0 && extreme.at_most >= extreme.at_least);
    }
}
