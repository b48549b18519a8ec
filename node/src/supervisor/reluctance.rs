//! A step towards the members that were asked for, refused again and again: told once, with the reason.

use std::fmt::Display;
use std::time::Duration;

use causeway_core::plan::MemberChange;

use crate::lasting::Lasting;

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

/// The step that is refused, and for how long.
#[derive(Debug, Default)]
pub struct Reluctance(Option<(Step, Lasting)>);

impl Reluctance {
    /// A step was refused.
    pub fn refused(&mut self, step: Step, reason: &dyn Display) {
        let (_, lasting) = match &mut self.0 {
            Some(known) if known.0 == step => known,
            other => other.insert((step, Lasting::default())),
        };
        if !lasting.see(PATIENCE) {
            return tracing::debug!(?step, %reason, "members are not changed yet");
        }
        tracing::warn!(
            ?step, %reason,
            "the members of the Raft group are not what the nodes were asked to be, and a change has been refused for {} s; it \
             is tried again. `causeway cluster nodes` shows who is behind or out of reach",
            PATIENCE.as_secs()
        );
    }

    /// A step was made.
    pub fn done(&mut self, step: Step) {
        if let Some((step, mut lasting)) = self.0.take_if(|(refused, _)| *refused == step)
            && lasting.end()
        {
            tracing::info!(?step, "the members of the Raft group change again");
        }
    }

    /// There is no step to make now. What was refused is over when it is not wanted any more.
    pub fn rests(&mut self, is_wanted: impl FnOnce(Step) -> bool) {
        if let Some((step, mut lasting)) = self.0.take_if(|(step, _)| !is_wanted(*step))
            && lasting.end()
        {
            tracing::info!(
                ?step,
                "a change of the members of the Raft group that was refused is made, or not wanted any more"
            );
        }
    }

    /// Somebody else makes the steps from now on, and tells what becomes of them.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::ids::NodeId;

    use super::*;
    use crate::telemetry::captured::Lines;

    const PROMOTION: Step = Step::Change(MemberChange::Promote(NodeId(2)));

    async fn refused_for(reluctance: &mut Reluctance, step: Step, seconds: u64) {
        for _ in 0..seconds {
            reluctance.refused(step, &"it is far behind");
            tokio::time::advance(Duration::from_secs(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_stays_refused_is_told_once_and_another_one_by_itself() {
        let lines = Lines::default();
        let _listening = lines.listen();
        let mut reluctance = Reluctance::default();
        for (step, before) in [(PROMOTION, 0), (Step::HandOver, 1)] {
            refused_for(&mut reluctance, step, PATIENCE.as_secs()).await;
            assert_eq!(lines.about("WARN").len(), before);
            refused_for(&mut reluctance, step, 70).await;
        }
        let told = lines.about("WARN");
        assert!(told.len() == 2 && told.iter().all(|line| line.contains("it is far behind")), "{told:?}");
        reluctance.done(PROMOTION);
        assert!(lines.about("change again").is_empty(), "what is refused still was not done");
        reluctance.done(Step::HandOver);
        reluctance.done(Step::HandOver);
        assert_eq!(lines.about("change again").len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_told_is_over_only_when_it_was_done_or_nobody_wants_it() {
        let lines = Lines::default();
        let _listening = lines.listen();
        let mut reluctance = Reluctance::default();
        refused_for(&mut reluctance, PROMOTION, 40).await;
        reluctance.rests(|step| step == PROMOTION);
        refused_for(&mut reluctance, PROMOTION, 40).await;
        assert_eq!(lines.about("WARN").len(), 1, "it is the same trouble");
        assert!(lines.about("INFO").is_empty(), "{:?}", lines.about("INFO"));
        reluctance.rests(|_| false);
        reluctance.done(PROMOTION);
        assert!(lines.about("INFO").len() == 1 && lines.about("not wanted any more").len() == 1);
        refused_for(&mut reluctance, PROMOTION, 40).await;
        reluctance.forget();
        reluctance.done(PROMOTION);
        assert_eq!((lines.about("WARN").len(), lines.about("INFO").len()), (2, 1), "another node leads");
    }
}
