//! Brokers: who they are, what they limit, which version they are and how far their dispatch and their clock are
//! (GET_BROKER_CLUSTER_INFO, GET_BROKER_CONFIG, GET_BROKER_RUNTIME_INFO).
//!
//! The last two are administrators' requests: where they are refused or not known the answer is "not told", never a
//! guess.

use serde_json::Value;

use crate::client::{Client, body_json, located};
use crate::error::{Class, Error};
use crate::route::{BrokerInfo, brokers_from_json};
use crate::wire::code::request;
use crate::wire::frame::Fields;

/// What a broker is configured to. `None` where it did not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerLimits {
    /// Longest body, and longest sum of a batch's encoded messages, in bytes (`maxMessageSize`).
    pub maximum_message_bytes: Option<u64>,
    /// Most messages of one pull from memory.
    pub pull_messages_in_memory: Option<u64>,
    /// Most bytes of one pull from memory.
    pub pull_bytes_in_memory: Option<u64>,
    /// Most messages of one pull from disk.
    pub pull_messages_on_disk: Option<u64>,
    /// Most bytes of one pull from disk.
    pub pull_bytes_on_disk: Option<u64>,
    /// `ASYNC_FLUSH` or `SYNC_FLUSH`.
    pub flush: Option<String>,
    /// `ASYNC_MASTER`, `SYNC_MASTER` or `SLAVE`.
    pub role: Option<String>,
}

impl BrokerLimits {
    fn from_properties(text: &str) -> Self {
        let mut limits = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once('=') else { continue };
            let (name, value) = (name.trim(), value.trim());
            let number = || value.parse().ok();
            match name {
                "maxMessageSize" => limits.maximum_message_bytes = number(),
                "maxTransferCountOnMessageInMemory" => limits.pull_messages_in_memory = number(),
                "maxTransferBytesOnMessageInMemory" => limits.pull_bytes_in_memory = number(),
                "maxTransferCountOnMessageInDisk" => limits.pull_messages_on_disk = number(),
                "maxTransferBytesOnMessageInDisk" => limits.pull_bytes_on_disk = number(),
                "flushDiskType" => limits.flush = Some(value.to_owned()),
                "brokerRole" => limits.role = Some(value.to_owned()),
                _ => {}
            }
        }
        limits
    }
}

/// What a broker tells about itself while it runs. `None` where it did not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BrokerRuntime {
    /// Its version as it names it, `V5_3_3` (`brokerVersionDesc`).
    pub version: Option<String>,
    /// Bytes that are stored but not yet visible to consumers.
    pub dispatch_behind_bytes: Option<u64>,
    /// What its clock showed when it answered, in ms since 1970: this, or up to 999 ms more. A broker does not tell its
    /// time, but when its store was opened and for how many whole seconds it has been since, both by the same clock.
    pub clock_ms: Option<i64>,
}

impl BrokerRuntime {
    fn from_json(body: &Value) -> Self {
        let told = |name: &str| body.get("table").and_then(|table| table.get(name));
        let number = |name: &str| match told(name) {
            Some(Value::String(text)) => text.parse().ok(),
            Some(Value::Number(number)) => number.as_i64(),
            _ => None,
        };
        let text = |name: &str| told(name).and_then(Value::as_str);
        let up_ms = text("runtime").and_then(whole_seconds).and_then(|seconds| seconds.checked_mul(1_000));
        Self {
            version: text("brokerVersionDesc").map(str::to_owned),
            dispatch_behind_bytes: number("dispatchBehindBytes").map(|bytes| u64::try_from(bytes).unwrap_or(0)),
            clock_ms: number("bootTimestamp").zip(up_ms).and_then(|(boot, up)| boot.checked_add(up)),
        }
    }
}

/// Reads `[ 1 days, 2 hours, 3 minutes, 4 seconds ]`. From a thousand days on Java groups the digits, in the way of the
/// broker's locale; digits of another script are not read.
fn whole_seconds(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_i64;
    for (word, factor) in [("days", 86_400), ("hours", 3_600), ("minutes", 60), ("seconds", 1)] {
        let (number, behind) = rest.split_once(word)?;
        if number.chars().any(char::is_alphabetic) {
            return None;
        }
        let digits: String = number.chars().filter(char::is_ascii_digit).collect();
        let part = digits.parse::<i64>().ok()?.checked_mul(factor)?;
        total = total.checked_add(part)?;
        rest = behind;
    }
    Some(total)
}

impl Client {
    /// Every broker of the cluster, sorted by name.
    pub async fn brokers(&self) -> Result<Vec<BrokerInfo>, Error> {
        let (address, answer) = self.ask_name_servers(request::GET_BROKER_CLUSTER_INFO, Fields::new()).await?;
        let read = brokers_from_json(&body_json(&address, &answer)?);
        let mut brokers = read.map_err(|error| located(error, &address))?;
        if let Some(cluster) = &self.inner.settings.cluster {
            brokers.retain(|info| info.cluster == *cluster);
        }
        self.learn(&brokers);
        Ok(brokers)
    }

    /// What the master of that name tells about itself; `None` where it does not tell.
    pub async fn broker_runtime(&self, broker: &str) -> Result<Option<BrokerRuntime>, Error> {
        let asked = self.ask_master_named(broker, request::GET_BROKER_RUNTIME_INFO, Fields::new()).await;
        let Some((master, answer)) = told(asked)? else { return Ok(None) };
        Ok(Some(BrokerRuntime::from_json(&body_json(&master, &answer)?)))
    }

    /// What the master of that name is configured to; `None` where it does not tell.
    pub async fn broker_limits(&self, broker: &str) -> Result<Option<BrokerLimits>, Error> {
        let asked = self.ask_master_named(broker, request::GET_BROKER_CONFIG, Fields::new()).await;
        Ok(told(asked)?.map(|(_, answer)| BrokerLimits::from_properties(&String::from_utf8_lossy(&answer.body))))
    }
}

/// Turns "you may not" and "I do not know that request" into "not told".
pub(super) fn told<T>(asked: Result<T, Error>) -> Result<Option<T>, Error> {
    match asked {
        Ok(answer) => Ok(Some(answer)),
        Err(error) => match error.class() {
            Some(Class::NoPermission | Class::NotSupported) => Ok(None),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_properties() {
        let text = "brokerName=a\nmaxMessageSize=4194304\nflushDiskType = ASYNC_FLUSH\nno sign\n\
                    maxTransferCountOnMessageInMemory=32\nbrokerRole=ASYNC_MASTER\nmaxTransferBytesOnMessageInDisk=x";
        let limits = BrokerLimits::from_properties(text);
        assert_eq!(limits.maximum_message_bytes, Some(4_194_304));
        assert_eq!(limits.pull_messages_in_memory, Some(32));
        assert_eq!((limits.flush.as_deref(), limits.role.as_deref()), (Some("ASYNC_FLUSH"), Some("ASYNC_MASTER")));
        assert_eq!(limits.pull_bytes_on_disk, None);
    }

    #[test]
    fn a_running_broker_tells_version_dispatch_and_by_a_detour_its_clock() {
        let told = |table| BrokerRuntime::from_json(&serde_json::json!({ "table": table }));
        let whole = told(serde_json::json!({
            "brokerVersionDesc": "V5_3_3", "dispatchBehindBytes": "-1", "bootTimestamp": "1700000000123",
            "runtime": "[ 0 days, 1 hours, 1 minutes, 5 seconds ]"
        }));
        assert_eq!((whole.version.as_deref(), whole.dispatch_behind_bytes), (Some("V5_3_3"), Some(0)));
        assert_eq!(whole.clock_ms, Some(1_700_003_665_123));
        assert_eq!(told(serde_json::json!({ "runtime": "[ 0 days, 0 hours, 0 minutes, 1 seconds ]" })).clock_ms, None);
        assert_eq!(told(serde_json::json!({ "bootTimestamp": "1", "runtime": "a while" })).clock_ms, None);
        assert_eq!(BrokerRuntime::from_json(&Value::Null), BrokerRuntime::default());
    }

    #[test]
    fn a_running_time_is_read_in_any_grouping_and_never_guessed() {
        for grouped in ["1,234", "1.234", "1\u{a0}234", "1\u{202f}234", "1234"] {
            let text = format!("[ {grouped} days, 0 hours, 0 minutes, 1 seconds ]");
            assert_eq!(whole_seconds(&text), Some(1_234 * 86_400 + 1), "{text}");
        }
        for bad in [
            "",
            "[ 1 hours, 1 minutes, 1 seconds ]",
            "[ x days, 1 hours, 1 minutes, 1 seconds ]",
            "[ 1 days, \u{661} hours, 1 minutes, 1 seconds ]",
            "[ 99999999999999999 days, 0 hours, 0 minutes, 0 seconds ]",
        ] {
            assert_eq!(whole_seconds(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_refusal_by_right_or_ignorance_is_not_told() {
        for code in [3, 16] {
            assert!(told::<()>(Err(Error::refused("b:1", code, None))).unwrap().is_none());
        }
        assert!(told::<()>(Err(Error::refused("b:1", 1, None))).is_err());
    }
}
