//! How a running node is asked to end: SIGINT or SIGTERM once for a graceful stop, a second time to give up waiting.
//!
//! Parts: [`Signals`], [`run_until_asked`]. Never ends the process itself; the caller decides with which exit code.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::app::{Error, Node};

/// A signal that follows another within this is the same request.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

/// The signals that ask for an end.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// How a node came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Asked to, and everything in flight was answered and written down in time.
    Gracefully,
    /// Asked to twice: what was in flight is found again by reading the target's tail at the next start.
    Abruptly,
    /// By itself, because a part that it cannot do without failed.
    ByItself,
}

impl Signals {
    /// Takes over SIGINT, SIGTERM and SIGXFSZ for the rest of the process's life.
    ///
    /// # Errors
    /// When the operating system refuses, or outside a tokio runtime with I/O.
    pub fn listen() -> io::Result<Self> {
        // A file that reaches a limit of the process (`ulimit -f`) is an error of the write, as a full disk is: without
        // a handler the process would end without a word. Nobody has to wait for it.
        drop(signal(SignalKind::from_raw(libc::SIGXFSZ))?);
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Returns at the next signal that is not the first one once more: timeout(1) and shells send it to a process and
    /// to its group.
    pub async fn asked_again(&mut self) {
        let first = Instant::now();
        loop {
            self.asked().await;
            if first.elapsed() >= SAME_SIGNAL {
                return;
            }
        }
    }

    /// Returns at the next signal.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Lets a node run until a signal asks for its end or it ends by itself, then stops it.
///
/// # Errors
/// What the node says when it stops.
pub async fn run_until_asked(node: Node, signals: &mut Signals) -> Result<Ended, Error> {
    tokio::select! {
        () = signals.asked() => tracing::info!("stopping: sends in flight are finished first; ask again to stop at once"),
        () = node.ended() => {
            return node.stop().await.map(|()| Ended::ByItself);
        }
    }
    tokio::select! {
        stopped = node.stop() => stopped.map(|()| Ended::Gracefully),
        () = signals.asked_again() => Ok(Ended::Abruptly),
    }
}
