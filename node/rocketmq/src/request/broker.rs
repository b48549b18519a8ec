//! Brokers: who they are, what they limit, how far their dispatch is (GET_BROKER_CLUSTER_INFO, GET_BROKER_CONFIG,
//! GET_BROKER_RUNTIME_INFO).
//!
//! The last two are administrators' requests: where they are refused or not known the answer is "not told", never a guess.

use serde_json::Value;

use crate::client::{Client, body_json, located};
use crate::error::{Class, Error};
use crate::route::{BrokerInfo, brokers_from_json};
use crate::wire::code::request;
use crate::wire::frame::{Fields, Frame};

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

    /// Bytes that are stored but not yet visible to consumers on the master of that name; `None` where it does not tell.
    pub async fn dispatch_behind_bytes(&self, broker: &str) -> Result<Option<u64>, Error> {
        let master = self.master_named(broker).await?;
        let asked = self.ask_success(&master, request::GET_BROKER_RUNTIME_INFO, Fields::new()).await;
        let Some(answer) = told(asked)? else { return Ok(None) };
        let body = body_json(&master, &answer)?;
        let behind = body.get("table").and_then(|table| table.get("dispatchBehindBytes"));
        Ok(match behind {
            Some(Value::String(text)) => text.parse::<i64>().ok().map(|bytes| u64::try_from(bytes).unwrap_or(0)),
            Some(Value::Number(number)) => number.as_u64(),
            _ => None,
        })
    }

    /// What the master of that name is configured to; `None` where it does not tell.
    pub async fn broker_limits(&self, broker: &str) -> Result<Option<BrokerLimits>, Error> {
        let master = self.master_named(broker).await?;
        let asked = self.ask_success(&master, request::GET_BROKER_CONFIG, Fields::new()).await;
        Ok(told(asked)?.map(|answer| BrokerLimits::from_properties(&String::from_utf8_lossy(&answer.body))))
    }
}

/// Turns "you may not" and "I do not know that request" into "not told".
pub(super) fn told(asked: Result<Frame, Error>) -> Result<Option<Frame>, Error> {
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
    fn a_refusal_by_right_or_ignorance_is_not_told() {
        for code in [3, 16] {
            assert!(told(Err(Error::refused("b:1", code, None))).unwrap().is_none());
        }
        assert!(told(Err(Error::refused("b:1", 1, None))).is_err());
    }
}
