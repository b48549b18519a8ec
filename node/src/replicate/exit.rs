//! How a run ends. Ending is a value: whoever started the run decides by it, and nobody parses text.

use causeway_core::checkpoint::Checkpoint;
use causeway_core::error_code::ErrorCode;
use causeway_core::fault::Fault;

use super::trouble::Trouble;

/// Why a run of a partition ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionExit {
    /// It was asked to. A send whose outcome is unknown may have gone before: the next run reads the tail.
    Stopped,
    /// The node's lease ended, or will soon; nothing is sent any more. What was sent before was answered, or the next
    /// run finds it in the tail.
    LeaseLost,
    /// Going on would skip, repeat or mix messages: an operator decides.
    Fault(Fault),
    /// The source was unavailable for longer than a run waits; a new run tries again.
    SourceLost {
        /// The stable code of the last failure.
        code: ErrorCode,
        /// The last failure, in one sentence.
        why: String,
    },
    /// The target was unavailable or refused for longer than a run waits; a new run tries again.
    SinkLost {
        /// The stable code of the last failure.
        code: ErrorCode,
        /// The last failure, in one sentence.
        why: String,
    },
    /// The target lost copies that it had acknowledged and a checkpoint covers. The committed checkpoint has to go
    /// back to this one before the next run.
    TargetRewound {
        /// Where to go on: behind the newest copy that the target still holds.
        checkpoint: Checkpoint,
        /// How many source offsets lie between there and the old checkpoint.
        lost: u64,
    },
    /// The code panicked. Never returned by a run; for whoever catches the panic.
    Panicked,
}

impl PartitionExit {
    pub(super) fn source_lost(trouble: Trouble) -> Self {
        Self::SourceLost { code: trouble.code, why: trouble.why }
    }

    pub(super) fn sink_lost(trouble: Trouble) -> Self {
        Self::SinkLost { code: trouble.code, why: trouble.why }
    }
}
