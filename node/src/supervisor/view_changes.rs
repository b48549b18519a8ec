//! The agreed state as a signal: "something changed, look again".
//!
//! ```text
//! changes   | ||| |        |
//! signals       x     x        x      one at the end of each pause, never more than one waiting
//! ```
//!
//! Level-triggered: a signal carries nothing, so merging many changes into one loses nothing.

use std::sync::Arc;
use std::time::Duration;

use causeway_core::state::State;
use futures::Stream;
use futures::stream::unfold;
use tokio::sync::watch;

/// Something in the agreed state changed.
#[derive(Debug, Clone, Copy)]
pub struct ViewChanged;

/// Signals until the cluster's handle is gone; the first at once. Changes within `pause` are one signal.
pub fn view_changes(view: watch::Receiver<Arc<State>>, pause: Duration) -> impl Stream<Item = ViewChanged> {
    unfold((view, true), move |(mut view, first)| async move {
        if !first {
            view.changed().await.ok()?;
            tokio::time::sleep(pause).await;
            view.mark_unchanged();
        }
        Some((ViewChanged, (view, false)))
    })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_changes_are_one_signal_and_the_end_ends_it() {
        let (sender, receiver) = watch::channel(Arc::new(State::default()));
        let mut signals = Box::pin(view_changes(receiver, Duration::from_millis(50)));
        assert!(signals.next().await.is_some(), "the first comes at once");
        for _ in 0..10 {
            sender.send_replace(Arc::default());
        }
        assert!(signals.next().await.is_some());
        let silent = tokio::time::timeout(Duration::from_secs(5), signals.next()).await;
        assert!(silent.is_err(), "ten changes were one signal");
        drop(sender);
        assert!(signals.next().await.is_none());
    }
}
