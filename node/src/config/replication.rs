//! Fills in how messages are copied.

use crate::config::resolve::Values;
use crate::replicate::settings::{ReplicateSettings, Takeover};

/// The settings of the section `[replication]`.
pub(super) fn resolve(values: &mut Values<'_>) -> ReplicateSettings {
    ReplicateSettings {
        batch_bytes: values.size("replication.batch_bytes"),
        batch_messages: values.size("replication.batch_messages"),
        read_ahead_bytes: values.size("replication.read_ahead_bytes"),
        node_read_ahead_bytes: values.size("replication.node_read_ahead_bytes"),
        pull_messages: values.small("replication.pull_messages"),
        poll_wait: values.milliseconds("replication.poll_wait_ms"),
        settle: values.milliseconds("replication.settle_ms"),
        settle_own: values.milliseconds("replication.settle_own_ms"),
        settle_poll: values.milliseconds("replication.settle_poll_ms"),
        takeover: if values.text("replication.takeover") == "strict" { Takeover::Strict } else { Takeover::Usual },
        watch: values.milliseconds("replication.watch_ms"),
        search_back_messages: values.small("replication.search_back_messages"),
        first_search_messages: values.small("replication.first_search_messages"),
        retry_first: values.milliseconds("replication.retry_first_ms"),
        retry_longest: values.milliseconds("replication.retry_longest_ms"),
        patience: values.milliseconds("replication.patience_ms"),
        confirmations: values.small("replication.confirmation_count"),
        confirmation_wait: values.milliseconds("replication.confirmation_wait_ms"),
    }
}
