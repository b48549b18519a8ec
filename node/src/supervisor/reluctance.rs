//! A step towards the members that were asked for, refused again and again: told once, with the reason.

use std::fmt::Display;
use std::time::Duration;

use causeway_core::plan::MemberChange;
use tokio::time::Instant;

/// How long a step is refused until it is told. A learner that catches up, an election and a change before are over by
/// then.
const PATIENCE: Duration = Duration::from_secs(30);

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A member changes.
    Change(MemberChange),
    /// Leadership goes to a voter that stays one.
    HandOver,
}

/// The step that is refused, since when, and whether that was told.
#[derive(Debug, Default)]
pub struct Reluctance(Option<(Step, Instant, bool)>);

impl Reluctance {
    /// A step was refused.
    pub fn refused(&mut self, step: Step, reason: &dyn Display, now: Instant) {
        let (_, since, told) = match &mut self.0 {
            Some(known) if known.0 == step => known,
            other => other.insert((step, now, false)),
        };
        if *told || now.saturating_duration_since(*since) < PATIENCE {
            return tracing::debug!(?step, %reason, "members are not changed yet");
        }
        *told = true;
        tracing::warn!(
            ?step, %reason,
            "the members of the Raft group are not what the nodes were asked to be, and a change has been refused for {} s; it \
             is tried again. `causeway cluster nodes` shows who is behind or out of reach",
            PATIENCE.as_secs()
        );
    }

    /// A step was made, or there is none to make.
    pub fn over(&mut self) {
        if let Some((step, _, true)) = self.0.take() {
            tracing::info!(?step, "the members of the Raft group change again");
        }
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::NodeId;

    use super::*;
    use crate::telemetry::captured::Lines;

    #[tokio::test(start_paused = true)]
    async fn a_step_that_stays_refused_is_told_once_and_another_one_by_itself() {
        let (lines, start) = (Lines::default(), Instant::now());
        let _listening = lines.listen();
        let mut reluctance = Reluctance::default();
        let steps = [Step::Change(MemberChange::Promote(NodeId(2))), Step::HandOver];
        for step in steps {
            for second in 0..100 {
                reluctance.refused(step, &"it is far behind", start + Duration::from_secs(second));
                assert!(
                    second >= PATIENCE.as_secs()
                        || !lines.about("WARN").iter().any(|line| line.contains(&format!("{step:?}")))
                );
            }
        }
        let told = lines.about("WARN");
        assert!(told.len() == 2 && told.iter().all(|line| line.contains("it is far behind")), "{told:?}");
        reluctance.over();
        reluctance.over();
        assert_eq!(lines.about("change again").len(), 1);
    }
}
