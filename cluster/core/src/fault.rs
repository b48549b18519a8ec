//! What stops a partition until an operator decides, and the decisions there are.
//!
//! A fault is never healed by itself: each one means that going on would skip, repeat or mix messages. Outages are
//! not faults; they block a partition and heal.

use serde::{Deserialize, Serialize};

use crate::error_code::ErrorCode;
use crate::stream::StartPosition;

/// Why a partition is stopped. Offsets are queue offsets; ranges are half open, `from` included and `to` not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The source answered a read with messages missing inside the range.
    #[error("the source returned no messages for offsets {from} to {to} although it holds later ones")]
    SourceGap {
        /// First missing offset.
        from: i64,
        /// First offset after the hole.
        to: i64,
    },
    /// The source deleted messages by retention before they were copied.
    #[error("the source's retention removed offsets {from} to {to} before they were copied")]
    RetentionWon {
        /// First removed offset that was not copied.
        from: i64,
        /// The oldest offset that the source still holds.
        to: i64,
    },
    /// The source queue ends before the position that was already copied.
    #[error("the source queue ends at {maximum}, but offsets up to {copied} were already copied")]
    SourceRolledBack {
        /// One past the last copied offset.
        copied: i64,
        /// The end of the source queue now.
        maximum: i64,
    },
    /// The source record before the checkpoint is another one than the one that was copied.
    #[error(
        "the source record at offset {offset} is not the one that was copied: the queue was rolled back or re-created"
    )]
    SourceDiverged {
        /// The offset whose record differs.
        offset: i64,
    },
    /// A stored source record cannot be decoded or fails its own checksum.
    #[error("the source record at offset {offset} is damaged: {reason}")]
    DamagedRecord {
        /// Its offset.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// A record that the target refuses for good.
    #[error("the target cannot take the record at source offset {offset}: {reason}")]
    BadRecord {
        /// Its source offset.
        offset: i64,
        /// Why.
        reason: String,
    },
    /// The target does not show what proves what was copied: its retention removed that, or it cannot be read there.
    #[error("the target shows no messages at its offsets {from} to {to}, so what was copied there cannot be proven")]
    TargetTailGone {
        /// First offset that a tail read has to see.
        from: i64,
        /// The first offset behind it that may be shown.
        to: i64,
    },
    /// The target lost acknowledged messages and no earlier own copy was found to continue after.
    #[error("the target lost acknowledged copies: none of ours was found below offset {below} of queue {queue}")]
    TargetLost {
        /// The target queue, as broker/queue.
        queue: String,
        /// Where the search began.
        below: i64,
    },
    /// The same failure ended the partition again and again at one offset.
    #[error("copying failed {times} times at source offset {offset}: {reason}")]
    Repeated {
        /// The offset.
        offset: i64,
        /// How many times.
        times: u32,
        /// The last reason.
        reason: String,
    },
    /// The code panicked again and again while the partition did not advance. Which record it was is not known: records
    /// are read ahead, and several are written at once.
    #[error("the code that copies it panicked {times} times, with everything before source offset {next} copied")]
    Panicked {
        /// The first source offset that was not durable at the target.
        next: i64,
        /// How many times.
        times: u32,
    },
    /// The target stored a send in another queue than the one that it was asked for: to send it again would store it
    /// twice.
    #[error("the target stored the copies of source offsets {from} to {to} in queue {found} instead of queue {asked}")]
    StoredElsewhere {
        /// Source offset of the first that was sent.
        from: i64,
        /// One past the source offset of the last that was sent.
        to: i64,
        /// The queue that was asked for.
        asked: u32,
        /// The queue that was answered.
        found: u32,
    },
}

impl Fault {
    /// The stable code of this fault, each with a page of documentation.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::SourceGap { .. } => ErrorCode::SourceGap,
            Self::RetentionWon { .. } => ErrorCode::RetentionWon,
            Self::SourceRolledBack { .. } => ErrorCode::SourceRolledBack,
            Self::SourceDiverged { .. } => ErrorCode::SourceDiverged,
            Self::DamagedRecord { .. } => ErrorCode::DamagedRecord,
            Self::BadRecord { .. } | Self::Repeated { .. } => ErrorCode::BadRecord,
            Self::TargetTailGone { .. } => ErrorCode::TargetTailGone,
            Self::TargetLost { .. } => ErrorCode::TargetLost,
            Self::Panicked { .. } | Self::StoredElsewhere { .. } => ErrorCode::RepeatedFailure,
        }
    }
}

/// What an operator decides about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Try again where it stopped; right after the cause was repaired outside.
    Retry,
    /// Leave the range or record out and go on behind it. Refused where the fault names no range.
    Skip,
    /// Begin a new life of the source queue at a position, copying from there whatever was copied before.
    Restart {
        /// The position.
        start: StartPosition,
    },
}

impl Fault {
    /// The first source offset that this fault is about; none where it is about the target or about no certain place.
    #[must_use]
    pub fn begins_at(&self) -> Option<i64> {
        match self {
            Self::SourceGap { from, .. } | Self::RetentionWon { from, .. } | Self::StoredElsewhere { from, .. } => {
                Some(*from)
            }
            Self::DamagedRecord { offset, .. } | Self::BadRecord { offset, .. } | Self::Repeated { offset, .. } => {
                Some(*offset)
            }
            Self::SourceRolledBack { .. }
            | Self::SourceDiverged { .. }
            | Self::TargetTailGone { .. }
            | Self::TargetLost { .. }
            | Self::Panicked { .. } => None,
        }
    }

    /// Where copying goes on when this fault is skipped; none where skipping has no meaning.
    #[must_use]
    pub fn skip_to(&self) -> Option<i64> {
        match self {
            Self::SourceGap { to, .. } | Self::RetentionWon { to, .. } | Self::StoredElsewhere { to, .. } => Some(*to),
            Self::DamagedRecord { offset, .. } | Self::BadRecord { offset, .. } | Self::Repeated { offset, .. } => {
                offset.checked_add(1)
            }
            Self::SourceRolledBack { .. }
            | Self::SourceDiverged { .. }
            | Self::TargetTailGone { .. }
            | Self::TargetLost { .. }
            | Self::Panicked { .. } => None,
        }
    }
}
