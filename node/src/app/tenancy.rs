//! Holds the node's lease: asks the leader for it again and again, and gives it back when the node stops.
//!
//! What follows a break begins only on a state that includes everything which was agreed on when the lease was granted:
//! partitions that were given to other nodes meanwhile are seen to be theirs.

use std::time::Duration;

use causeway_cluster::{Error, Granted, Group};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::clock::BootClock;
use crate::lasting::Lasting;
use crate::lease::{Lease, LeaseKeeper, MARGIN};
use crate::supervisor::lifeline::Lifeline;

/// Between two questions while there is no answer.
const RETRY: Duration = Duration::from_millis(100);

/// How long giving back may take. Without it, the lease is waited for.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// A lease and what holds it.
pub(super) struct Tenancy {
    stop: watch::Sender<bool>,
    holding: JoinHandle<()>,
}

impl Tenancy {
    /// Begins to ask when the node's start is agreed on: before that, what an earlier process of it left is not told
    /// apart. A start that is refused goes to `faults`.
    pub(super) fn begin(
        group: Group,
        introduced: impl Future<Output = Result<(), crate::app::Error>> + 'static,
        keeper: LeaseKeeper,
        faults: mpsc::Sender<crate::app::Error>,
        lifeline: Lifeline,
    ) -> Self {
        let (stop, stopped) = watch::channel(false);
        let holding = actix_rt::spawn(async move {
            let _lifeline = lifeline;
            hold(&group, introduced, keeper, stopped, faults).await;
        });
        Self { stop, holding }
    }

    /// Nothing of this node writes any more, from now on, and the leader is told so.
    pub(super) async fn end(self) {
        self.stop.send_replace(true);
        // It is bounded by itself.
        let _ended = self.holding.await;
    }
}

/// A keeper for this node's lease, and the lease.
pub(super) fn keeper() -> (LeaseKeeper, Lease) {
    let keeper = LeaseKeeper::new(BootClock::system(), MARGIN);
    let lease = keeper.lease();
    (keeper, lease)
}

async fn hold(
    group: &Group,
    introduced: impl Future<Output = Result<(), crate::app::Error>>,
    mut keeper: LeaseKeeper,
    mut stop: watch::Receiver<bool>,
    faults: mpsc::Sender<crate::app::Error>,
) {
    let holding = async {
        match introduced.await {
            Ok(()) => renew(group, &mut keeper).await,
            // Whoever listened has ended the node already when there is no room.
            Err(error) => drop(faults.try_send(error)),
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = holding => return,
    }
    keeper.revoke();
    let giving_back = async {
        // A leader takes back only what it granted itself, and this one may be new. What it grants is not used.
        group.lease().await?;
        group.give_back_lease().await
    };
    match timeout(GIVE_BACK, giving_back).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the lease was not given back; the others wait for its end"),
        Err(_) => tracing::debug!("the lease was not given back in time; the others wait for its end"),
    }
}

async fn renew(group: &Group, keeper: &mut LeaseKeeper) {
    let (terms, clock) = (group.lease_terms(), BootClock::system());
    let mut trouble = Trouble::default();
    loop {
        let asked = Instant::now();
        let answer = timeout(terms.length, group.lease()).await;
        let again = match answer {
            Ok(Ok(Granted { until, applied_at_least })) => {
                let held = keeper.extend(until)
                    || group.wait_for(applied_at_least, until.saturating_since(clock.now())).await && {
                        keeper.renew(until);
                        true
                    };
                trouble.over(held);
                terms.renew_every
            }
            Ok(Err(error)) => {
                trouble.go_on(&error, terms.down_after(), || why(group, &error));
                RETRY
            }
            Err(_) => {
                let error = Error::Timeout { waited: terms.length };
                trouble.go_on(&error, terms.down_after(), || why(group, &error));
                RETRY
            }
        };
        sleep_until(asked + again).await;
        if again == RETRY {
            // A refusal that comes at once must not be asked for without a pause.
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Why no lease is granted; none for a node that was removed, which says that by itself.
fn why(group: &Group, error: &Error) -> Option<String> {
    group.removed().is_none().then(|| group.reasons().explain(error))
}

/// No lease is granted; told once when that lasts longer than a lease.
#[derive(Default)]
struct Trouble(Lasting);

impl Trouble {
    fn go_on(&mut self, error: &Error, patience: Duration, why: impl FnOnce() -> Option<String>) {
        if self.0.see(patience)
            && let Some(why) = why()
        {
            tracing::warn!(why, "no lease is granted: this node copies nothing until one is");
        } else {
            tracing::debug!(%error, "no lease yet");
        }
    }

    fn over(&mut self, held: bool) {
        if held && self.0.end() {
            tracing::info!("a lease is granted again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::captured::Lines;

    #[test]
    fn that_no_lease_is_granted_is_told_once_and_not_by_a_node_that_was_removed() {
        let lines = Lines::default();
        let _listening = lines.listen();
        let error = Error::NotLeader { leader: None };
        for (removed, told) in [(true, 0), (false, 1)] {
            let mut trouble = Trouble::default();
            for _ in 0..3 {
                trouble.go_on(&error, Duration::ZERO, || (!removed).then(|| "no majority".to_owned()));
            }
            assert_eq!(lines.about("no lease is granted").len(), told, "removed: {removed}");
        }
    }
}
