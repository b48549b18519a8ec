//! Waits until a target shows what it has stored: what it hides would be taken for lost and be sent again.
//!
//! A broker shows a message when it is dispatched to its queue, and some only when it is flushed or on the slaves.
//! Where it tells how far its log is shown, everything that was stored when the wait began has to be; where it does not
//! tell, the end of the queue has to stand still or the wait has to take as long as settling does.
//!
//! Before that a run waits until nothing of earlier ones is on its way any more: [`SettleMode`] says for how long.

use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use tokio::time::{Instant, sleep};

use super::in_flight::{InFlight, OnItsWay};
use super::ports::Sink;
use super::settings::{ReplicateSettings, Takeover};
use super::trouble::Trouble;

/// Brokers close a connection over which nothing came for so long (`serverChannelMaxIdleTimeSeconds`), and with it what
/// of a frame had come before.
const BROKER_IDLE_CLOSE: Duration = Duration::from_secs(120);

/// How long a run that is not the first waits, from when the target answers, before it reads the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SettleMode {
    /// Not at all: everything that was sent is behind the checkpoint that the run begins with, so a queue that reaches
    /// it shows everything.
    Covered,
    /// Not at all, but what was acknowledged behind the checkpoint has to be shown first.
    Answered,
    /// Until whatever the old owner handed to its kernel has arrived or was dropped.
    Usual,
    /// Also until brokers have closed every connection on which an old owner went silent, so that one which stood still
    /// finds none to go on with.
    Strict,
}

impl SettleMode {
    /// What a run has to wait for. Nobody goes on with what this process sent: the run that sent it has ended, and its
    /// connection was closed hard.
    pub(super) fn before(in_flight: &InFlight, takeover: Takeover) -> Self {
        match (in_flight.now(), takeover) {
            (OnItsWay::Nothing, _) if in_flight.is_covered_by_the_checkpoint() => Self::Covered,
            (OnItsWay::Nothing | OnItsWay::Uncovered, _) => Self::Answered,
            (OnItsWay::Own, _) | (OnItsWay::Earlier, Takeover::Usual) => Self::Usual,
            (OnItsWay::Earlier, Takeover::Strict) => Self::Strict,
        }
    }

    pub(super) fn quiet(self, settings: &ReplicateSettings) -> Option<Duration> {
        match self {
            Self::Covered | Self::Answered => None,
            Self::Usual => Some(settings.settle),
            Self::Strict => Some(settings.settle.saturating_add(BROKER_IDLE_CLOSE)),
        }
    }

    /// What is shown meanwhile, where it takes so long that somebody may ask.
    pub(super) fn why(self) -> Option<&'static str> {
        match self {
            Self::Covered | Self::Answered | Self::Usual => None,
            Self::Strict => Some("it waits until brokers have closed the connections of the owner before"),
        }
    }
}

/// Returns the end of the queue when everything that was stored by now can be read.
///
/// A queue that ends before `expected`, which the target acknowledged, has lost something; but a target that answers
/// over the connection that acknowledged it (`must_show`) has rather not shown it yet, and is waited for as long as a
/// failure is. What it does not show by then, though it says that it shows everything, it has lost.
pub(super) async fn settle<K: Sink>(
    sink: &K,
    expected: i64,
    must_show: bool,
    settings: &ReplicateSettings,
) -> Result<i64, Trouble> {
    let began = Instant::now();
    let mut stored = None;
    let mut before = None;
    let mut shown_before = false;
    loop {
        let dispatched = sink.dispatched().await?;
        let end = sink.bounds().await?.maximum;
        let waited = began.elapsed();
        let waited_enough = waited >= settings.settle_own;
        // Twice where what a broker says is put together from numbers that it read one after the other.
        let (shown, is_certain) = match dispatched {
            Some(now) => (now.shown >= *stored.get_or_insert(now.stored), now.exact),
            None => (before == Some(end) || waited_enough, false),
        };
        let is_over = waited >= settings.settle_own.saturating_add(settings.patience);
        if shown && (is_certain || shown_before) && (end >= expected || is_over || (waited_enough && !must_show)) {
            return Ok(end);
        }
        if is_over {
            let missing = if end < expected {
                format!("its queue ends at {end}, and copies up to {expected} were acknowledged")
            } else {
                format!("its queue ends at {end}, and its log goes on")
            };
            let why = format!("the target does not show what it has stored: {missing}");
            return Err(Trouble::new(ErrorCode::Busy, why));
        }
        shown_before = shown;
        before = Some(end);
        sleep(settings.settle_poll).await;
    }
}
