//! What it means to leave out the range or record of a fault. Pure: the state machine does it, and a dry run tells it.

use crate::fault::Fault;
use crate::outcome::Refusal;

/// What a skip changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// Nothing is left out: copying goes on at the checkpoint, and the target's tail is read from this offset on.
    TrustCheckpoint {
        /// The first target offset that is not shown: a last copy from there on proves nothing any more.
        unproven_from: i64,
        /// The first target offset that is looked at.
        target_next: i64,
    },
    /// Copying goes on at this source offset.
    GoOnAt {
        /// The first source offset to copy.
        source_next: i64,
        /// The record had been copied before it was damaged: it is compared with nothing, and its copy stays.
        was_copied: bool,
    },
}

impl Skip {
    /// What leaving out a fault means behind a checkpoint at `agreed`, the next source offset; none where nothing is
    /// agreed on yet.
    ///
    /// # Errors
    /// [`Refusal::CannotSkip`] where the fault names nothing to leave out, [`Refusal::ProgressBehindFault`] where
    /// something before it is not agreed to be copied.
    pub fn of(fault: &Fault, agreed: Option<i64>) -> Result<Self, Refusal> {
        if let (Fault::TargetTailGone { from, to }, Some(_)) = (fault, agreed) {
            return Ok(Self::TrustCheckpoint { unproven_from: *from, target_next: *to });
        }
        let behind = fault.skip_to().ok_or_else(|| Refusal::CannotSkip(fault.clone()))?;
        if let (Some(agreed), Some(begins)) = (agreed, fault.begins_at())
            && agreed < begins
        {
            return Err(Refusal::ProgressBehindFault { agreed, fault: begins });
        }
        let was_copied =
            matches!(fault, Fault::DamagedRecord { offset, .. } if agreed.is_some_and(|agreed| *offset < agreed));
        // A checkpoint that is already behind the range stays where it is.
        let source_next = agreed.map_or(behind, |agreed| agreed.max(behind));
        Ok(Self::GoOnAt { source_next, was_copied })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_passes_over_nothing_that_is_not_the_fault_s() {
        let gap = Fault::SourceGap { from: 5, to: 9 };
        let tail = Fault::TargetTailGone { from: 5, to: 9 };
        let damaged = |offset| Fault::DamagedRecord { offset, reason: "x".to_owned() };
        let at = |source_next| Ok(Skip::GoOnAt { source_next, was_copied: false });
        let rows = [
            (gap.clone(), None, at(9)),
            (gap.clone(), Some(5), at(9)),
            (gap.clone(), Some(12), at(12)),
            (gap, Some(4), Err(Refusal::ProgressBehindFault { agreed: 4, fault: 5 })),
            (damaged(5), Some(5), at(6)),
            (damaged(4), Some(5), Ok(Skip::GoOnAt { source_next: 5, was_copied: true })),
            (tail.clone(), Some(5), Ok(Skip::TrustCheckpoint { unproven_from: 5, target_next: 9 })),
            (tail.clone(), None, Err(Refusal::CannotSkip(tail))),
        ];
        for (fault, agreed, expected) in rows {
            assert_eq!(Skip::of(&fault, agreed), expected, "{fault} at {agreed:?}");
        }
    }
}
