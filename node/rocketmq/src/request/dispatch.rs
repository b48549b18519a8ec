//! How far a broker's log is stored, and how far it is shown to consumers (GET_BROKER_RUNTIME_INFO).
//!
//! A message is shown when the broker has dispatched it to its queue, which it does in the order of the log. With
//! SYNC_FLUSH brokers of 5.3 dispatch only what is flushed (`CommitLog.getConfirmOffset`), and `dispatchBehindBytes`
//! counts from there: what waits to be flushed is counted here too. With `allAckInSyncStateSet` they dispatch only what
//! the slaves have; no number tells that.
//!
//! Brokers put this table together one at a time, and take from a few to some hundred milliseconds for it. Whoever asks
//! the same broker at the same time shares an answer: else a node that takes over many partitions would wait for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use super::broker::told;
use crate::client::{Client, body_json};
use crate::error::Error;
use crate::shared_look::SharedLook;
use crate::wire::code::request;
use crate::wire::frame::Fields;

const SYNC_FLUSH: &str = "SYNC_FLUSH";

/// Positions in a broker's log, in bytes. They can be compared only with others of the same broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dispatched {
    /// The end of what is stored.
    pub stored: i64,
    /// Everything before it is shown to consumers.
    pub shown: i64,
    /// Whether that is certain by itself. Otherwise it may be ahead by what the broker did while it put the table
    /// together, and a second look that says so too is behind that.
    pub exact: bool,
}

/// The looks at each broker. There are as many as brokers were asked for by name.
#[derive(Default)]
pub(crate) struct DispatchLooks {
    brokers: Mutex<HashMap<String, Arc<SharedLook<Answer>>>>,
}

type Answer = Result<Option<Dispatched>, Error>;

impl DispatchLooks {
    fn of(&self, broker: &str) -> Arc<SharedLook<Answer>> {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        match brokers.get(broker) {
            Some(look) => Arc::clone(look),
            None => Arc::clone(brokers.entry(broker.to_owned()).or_default()),
        }
    }
}

/// What the runtime table says. A broker reads its numbers one after the other: the end of its log, how far showing is
/// behind, what is not flushed (`AdminBrokerProcessor.prepareRuntimeInfo` of 4.9.4, 4.9.7, 5.2.0, 5.3.3 and 5.5.0). So
/// the first two together are never ahead; where only what is flushed is shown, the third may hide what was flushed
/// behind the second.
struct Table {
    stored: i64,
    behind: i64,
    unflushed: i64,
}

impl Client {
    /// How far the log of the master of that name is stored and shown; `None` where it does not tell.
    pub async fn dispatched(&self, broker: &str) -> Result<Option<Dispatched>, Error> {
        self.inner.dispatch_looks.of(broker).ask(self.look_at_dispatch(broker)).await
    }

    async fn look_at_dispatch(&self, broker: &str) -> Result<Option<Dispatched>, Error> {
        let runtime = self.ask_master_named(broker, request::GET_BROKER_RUNTIME_INFO, Fields::new());
        let (asked, limits) = tokio::join!(runtime, self.broker_limits(broker));
        let (Some((master, answer)), limits) = (told(asked)?, limits?) else { return Ok(None) };
        let Some(table) = Table::read(&body_json(&master, &answer)?) else { return Ok(None) };
        let shows_flushed_only = limits.is_none_or(|limits| limits.flush.as_deref() == Some(SYNC_FLUSH));
        let unflushed = if shows_flushed_only { table.unflushed } else { 0 };
        let shown = table.stored.saturating_sub(table.behind).saturating_sub(unflushed);
        Ok(Some(Dispatched { stored: table.stored, shown, exact: !shows_flushed_only }))
    }
}

impl Table {
    fn read(body: &Value) -> Option<Self> {
        let table = body.get("table")?;
        let number = |name: &str| match table.get(name) {
            Some(Value::String(text)) => text.parse().ok(),
            Some(Value::Number(number)) => number.as_i64(),
            _ => None,
        };
        let unflushed = table.get("remainHowManyDataToFlush").and_then(Value::as_str).and_then(bytes_of);
        Some(Self {
            // Without it "nothing is hidden" can still be told.
            stored: number("commitLogMaxOffset").unwrap_or(0),
            behind: number("dispatchBehindBytes")?.max(0),
            unflushed: unflushed.unwrap_or(0),
        })
    }
}

/// Reads `17 B` or `1.2 MiB`, as `MixAll.humanReadableByteCount` writes it, in some locales with a comma. Rounded up.
fn bytes_of(text: &str) -> Option<i64> {
    let (number, unit) = text.trim().split_once(' ')?;
    let factor = match unit.as_bytes().first()? {
        b'B' => return number.parse().ok(),
        b'K' => 1_i64 << 10,
        b'M' => 1 << 20,
        b'G' => 1 << 30,
        _ => 1 << 40,
    };
    let (whole, tenths) = number.split_once(['.', ','])?;
    let tenths = whole.parse::<i64>().ok()?.checked_mul(10)?.checked_add(tenths.parse().ok()?)?;
    // One tenth more than is written covers the rounding.
    tenths.checked_add(1)?.checked_mul(factor)?.checked_div(10)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_is_read_as_brokers_write_it() {
        let body = json!({ "table": { "commitLogMaxOffset": "5000", "dispatchBehindBytes": "120",
            "remainHowManyDataToFlush": "1.5 KiB" } });
        let table = Table::read(&body).unwrap();
        assert_eq!((table.stored, table.behind, table.unflushed), (5_000, 120, 1_638));
        let table = Table::read(&json!({ "table": { "dispatchBehindBytes": -3 } })).unwrap();
        assert_eq!((table.stored, table.behind, table.unflushed), (0, 0, 0));
        assert!(Table::read(&json!({ "table": {} })).is_none());
    }

    #[test]
    fn sizes_for_people_are_rounded_up() {
        let sizes =
            [("0 B", 0), ("1023 B", 1_023), ("1.0 KiB", 1_126), ("2,0 MiB", 2_202_009), ("1.0 GiB", 1_181_116_006)];
        for (text, bytes) in sizes {
            assert_eq!(bytes_of(text), Some(bytes), "{text}");
        }
        for text in ["", "B", "1.0", "x KiB", "1.x KiB", "12 KiB"] {
            assert_eq!(bytes_of(text), None, "{text}");
        }
    }
}
