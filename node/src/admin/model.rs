//! The JSON of the HTTP API: every request and every answer, shared by the server, the CLI and the tests.
//!
//! One resource a file: [`error`], [`instance`], [`stream`], [`node`], [`partition`], [`rule`], [`status`], and
//! [`change`] for what several of them share. Times are milliseconds since 1970-01-01T00:00:00Z, durations end in
//! `_seconds`, sizes in `_bytes`, counts name what they count. What is not known is `null`, never zero. Requests refuse
//! unknown fields, so that a misspelt option is never ignored; answers may gain fields.
//!
//! No answer ever holds a secret: only where it is found.

pub mod change;
pub mod error;
pub mod instance;
pub mod node;
pub mod partition;
pub mod rule;
pub mod status;
pub mod stream;

pub use change::{ChangePlan, List, VersionAnswer};
pub use error::{ErrorAnswer, ErrorBody};
pub use instance::{
    CreateInstance, Finding, FindingKind, InstanceTest, InstanceView, SecretInput, SecretText, Verdict,
};
pub use node::{
    ChangedNode, IssueJoinToken, JoinTokenAnswer, MoveView, NodeList, NodeView, StrangeMember, TransferLeader,
};
pub use partition::{PartitionView, ResolveAnswer, ResolveRequest};
pub use status::{ConditionView, StatusAnswer, StreamStatus};
pub use stream::{CreateStream, StreamPlan, StreamView};

#[cfg(test)]
mod tests;
