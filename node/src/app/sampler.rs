//! Looks at every partition once a second, for the rates and the last hour that tables and charts show.

use std::sync::Arc;
use std::time::Duration;

use causeway_cluster::Handle;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::status::StatusBoard;
use crate::telemetry::RateHistory;

/// Between two samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// Samples until it is dropped.
pub(super) async fn sample(cluster: Handle, board: Arc<StatusBoard>, rates: Arc<RateHistory>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    // A late sample is one sample: catching up would count the same moment twice.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        rates.sample(&cluster.view(), &board, clock::now());
    }
}
