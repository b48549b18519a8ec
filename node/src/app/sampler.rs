//! Looks at every partition once a second, for the rates and the last hour that tables and charts show.

use std::sync::Arc;
use std::time::Duration;

use causeway_core::state::State;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::status::StatusBoard;
use crate::supervisor::lifeline::Lifeline;
use crate::telemetry::RateHistory;

/// Between two samples.
const INTERVAL: Duration = Duration::from_secs(1);

/// Samples until it is dropped. Figures that stand still look like a quiet stream, so its end is told by the lifeline.
pub(super) async fn sample(
    view: impl Fn() -> Arc<State>,
    board: Arc<StatusBoard>,
    rates: Arc<RateHistory>,
    _lifeline: Lifeline,
) {
    let mut ticks = tokio::time::interval(INTERVAL);
    // A late sample is one sample: catching up would count the same moment twice.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        rates.sample(&view(), &board, clock::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;
    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    #[tokio::test]
    async fn a_sampler_that_panics_is_noticed() {
        let (ending, mut ended) = watch::channel(None);
        let test = async {
            let view = || -> Arc<State> { panic!("on purpose") };
            drop(spawn_local(sample(view, Arc::default(), Arc::default(), Lifeline::new("sampler", &ending))));
            assert_eq!(*ended.wait_for(Option::is_some).await.unwrap(), Some("sampler"));
        };
        LocalSet::new().run_until(test).await;
    }
}
