//! The one thing that supervision asks of the cluster: agree on a command, and show what was agreed.
//!
//! A seam: tests put the plain state machine behind it.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use causeway_core::command::Command;
use causeway_core::outcome::Outcome;
use causeway_core::state::State;
use tokio::sync::watch;

/// Agrees on commands.
pub trait Proposer: Clone + Send + Unpin + 'static {
    /// Why a command was not agreed on, or may not have been.
    type Error: Display + Send + 'static;

    /// Agrees on a command. When it answers, [`Self::view`] shows the command's effect.
    fn propose(&self, command: Command) -> impl Future<Output = Result<Outcome, Self::Error>> + Send;

    /// What was agreed.
    fn view(&self) -> Arc<State>;

    /// Follows what is agreed.
    fn watch(&self) -> watch::Receiver<Arc<State>>;
}
