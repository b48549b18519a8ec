//! Members come, are promoted, demoted and go, one step at a time, and each gets everything.

use ::raft::eraftpb::MessageType;
use causeway_core::ids::NodeId;

use super::{ChangeRefusal, MAXIMUM_ENTRIES_BEHIND, MemberChange, roles};
use crate::error::Error;
use crate::raft::sample::Answer;
use crate::raft::sample::group::Group;
use crate::status::{MemberState, Role};

const NEW: NodeId = NodeId(4);

fn refusal(mut answer: Answer) -> ChangeRefusal {
    match answer.try_recv().unwrap() {
        Err(Error::Change(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn follower(group: &mut Group) -> u64 {
    let leader = group.leader();
    (1..=3).find(|id| *id != leader).unwrap()
}

#[test]
fn a_node_joins_by_a_snapshot_is_promoted_and_keeps_its_part_over_restarts() {
    let mut group = Group::new();
    group.agree(1..=3);
    group.open(NEW.0);
    group.tick(50);
    let waiting = group.replicas[&NEW.0].status();
    assert_eq!((waiting.role, waiting.term, waiting.member, waiting.applied), (Role::Follower, 0, false, 0));
    group.changed(MemberChange::AddLearner(NEW));
    group.tick(10);
    // No snapshot was due yet, and the newest one was from before the node was added.
    assert_eq!(group.snapshots, 1);
    assert!(group.replicas[&NEW.0].status().member);
    group.assert_equal(&[1, 2, 3, 4]);
    group.open(NEW.0);
    group.changed(MemberChange::Promote(NEW));
    group.agree(4..=40);
    group.open(NEW.0);
    group.leader();
    group.assert_equal(&[1, 2, 3, 4]);
    assert_eq!(group.roles(NEW.0), (1..=4).map(|id| (id, MemberState::Voter)).collect::<Vec<_>>());
    // The new voter counts: with two of the old ones away, nothing is decided without it.
    let leader = group.leader();
    group.cut = (1..=3).filter(|id| *id != leader).take(1).collect();
    group.agree(41..=60);
    group.cut.clear();
    let snapshots = group.snapshots;
    group.tick(20);
    assert!(group.snapshots > snapshots, "the log was compacted meanwhile");
    group.assert_equal(&[1, 2, 3, 4]);
}

#[test]
fn a_node_that_waits_to_join_may_be_started_anew_at_any_time() {
    let mut group = Group::new();
    group.agree(1..=1);
    for _ in 0..3 {
        group.open(NEW.0);
        group.tick(5);
    }
    group.changed(MemberChange::AddLearner(NEW));
    for _ in 0..3 {
        // It has made a promise by now, or has its first snapshot.
        group.open(NEW.0);
        group.tick(1);
    }
    group.tick(20);
    group.assert_equal(&[1, 2, 3, 4]);
}

#[test]
fn a_voter_is_demoted_and_removed_and_then_knows_it() {
    let mut group = Group::new();
    group.agree(1..=1);
    let gone = follower(&mut group);
    group.changed(MemberChange::Demote(NodeId(gone)));
    group.agree(2..=2);
    assert!(group.roles(gone).contains(&(gone, MemberState::Learner)));
    group.changed(MemberChange::Remove(NodeId(gone)));
    let rest: Vec<u64> = (1..=3).filter(|id| *id != gone).collect();
    group.tick(100);
    let status = group.replicas[&gone].status();
    assert_eq!((status.member, status.role, status.members.len()), (false, Role::Follower, 2));
    group.agree(3..=40);
    for id in rest.iter().copied().chain([gone]) {
        group.open(id);
    }
    group.leader();
    group.assert_equal(&rest);
    assert!(!group.replicas[&gone].status().member);
}

#[test]
fn a_removed_node_that_was_not_told_disturbs_nobody() {
    let mut group = Group::new();
    group.agree(1..=1);
    let gone = follower(&mut group);
    group.cut = vec![gone];
    group.changed(MemberChange::Remove(NodeId(gone)));
    group.cut.clear();
    let leader = group.leader();
    let term = group.replicas[&leader].status().term;
    group.tick(200);
    assert_eq!(group.replicas[&leader].status().role, Role::Leader);
    assert_eq!(group.replicas[&leader].status().term, term);
    // Nobody tells it, and it cannot know.
    assert!(group.replicas[&gone].status().member);
}

#[test]
fn a_change_that_makes_no_sense_is_refused_by_name() {
    let mut group = Group::new();
    group.agree(1..=1);
    let (leader, other) = (group.leader(), follower(&mut group));
    let cases = [
        (MemberChange::AddLearner(NodeId(0)), ChangeRefusal::Nobody),
        (MemberChange::AddLearner(NodeId(other)), ChangeRefusal::AlreadyMember { node: NodeId(other) }),
        (MemberChange::Promote(NEW), ChangeRefusal::NotLearner { node: NEW }),
        (MemberChange::Promote(NodeId(other)), ChangeRefusal::NotLearner { node: NodeId(other) }),
        (MemberChange::Demote(NEW), ChangeRefusal::NotVoter { node: NEW }),
        (MemberChange::Remove(NEW), ChangeRefusal::NotMember { node: NEW }),
        (MemberChange::Demote(NodeId(leader)), ChangeRefusal::Leads { node: NodeId(leader) }),
        (MemberChange::Remove(NodeId(leader)), ChangeRefusal::Leads { node: NodeId(leader) }),
    ];
    for (change, expected) in cases {
        let answer = group.change(leader, change);
        assert_eq!(refusal(answer), expected, "{change:?}");
    }
    let answer = group.change(other, MemberChange::AddLearner(NEW)).try_recv();
    assert!(matches!(answer, Ok(Err(Error::NotLeader { leader: Some(node) })) if node.0 == leader));
}

#[test]
fn the_last_voter_stays() {
    let mut group = Group::new();
    group.agree(1..=1);
    let leader = group.leader();
    for other in (1..=3).filter(|id| *id != leader) {
        group.changed(MemberChange::Remove(NodeId(other)));
    }
    for change in [MemberChange::Remove(NodeId(leader)), MemberChange::Demote(NodeId(leader))] {
        let answer = group.change(leader, change);
        assert_eq!(refusal(answer), ChangeRefusal::LastVoter { node: NodeId(leader) });
    }
    // It decides alone now, and at once after a start.
    group.open(leader);
    assert!(group.replicas[&leader].is_only_voter());
    group.agree(2..=2);
}

#[test]
fn the_next_change_waits_until_the_one_before_is_applied() {
    let mut group = Group::new();
    group.agree(1..=1);
    let leader = group.leader();
    group.cut = vec![1, 2, 3];
    let mut first = group.change(leader, MemberChange::AddLearner(NEW));
    assert!(first.try_recv().is_err());
    let second = group.change(leader, MemberChange::AddLearner(NodeId(5)));
    assert_eq!(refusal(second), ChangeRefusal::InProgress);
    let other = follower_of(leader);
    let transfer = group.transfer(leader, other).try_recv();
    assert!(matches!(transfer, Ok(Err(Error::Change(ChangeRefusal::InProgress)))));
    group.cut.clear();
    group.tick(4);
    assert!(matches!(first.try_recv(), Ok(Ok(_))));
    group.changed(MemberChange::AddLearner(NodeId(5)));
}

fn follower_of(leader: u64) -> u64 {
    (1..=3).find(|id| *id != leader).unwrap()
}

#[test]
fn a_learner_is_promoted_only_when_it_is_there_and_close() {
    let mut group = Group::new();
    group.agree(1..=1);
    let leader = group.leader();
    group.changed(MemberChange::AddLearner(NEW));
    let answer = group.change(leader, MemberChange::Promote(NEW));
    let ChangeRefusal::NotCaughtUp { behind, active: false, .. } = refusal(answer) else { panic!("another refusal") };
    assert_eq!(behind, group.replicas[&leader].status().last_index);
    group.open(NEW.0);
    group.tick(10);
    group.cut = vec![NEW.0];
    let many = u8::try_from(MAXIMUM_ENTRIES_BEHIND / 2).unwrap();
    group.agree(1..=many);
    group.tick(20);
    let answer = group.change(leader, MemberChange::Promote(NEW));
    assert!(matches!(refusal(answer), ChangeRefusal::NotCaughtUp { active: false, .. }));
    group.agree(1..=many);
    group.agree(1..=10);
    // It is heard from again, but not with what it lacks.
    let replica = group.replica(leader);
    let now = replica.ticks;
    replica.heard.note(NEW.0, now);
    let answer = group.change(leader, MemberChange::Promote(NEW));
    assert!(matches!(refusal(answer), ChangeRefusal::NotCaughtUp { active: true, .. }));
    group.cut.clear();
    group.tick(20);
    group.changed(MemberChange::Promote(NEW));
}

#[test]
fn voters_that_could_not_decide_alone_are_not_left_alone() {
    let mut group = Group::new();
    group.agree(1..=1);
    let leader = group.leader();
    let [away, there] = [1, 2, 3].into_iter().filter(|id| *id != leader).collect::<Vec<_>>().try_into().unwrap();
    group.cut = vec![away];
    group.tick(12);
    let answer = group.change(leader, MemberChange::Remove(NodeId(there)));
    assert_eq!(refusal(answer), ChangeRefusal::NoMajority { active: 1, voters: 2 });
    group.changed(MemberChange::Remove(NodeId(away)));
}

#[test]
fn a_leader_that_finds_its_own_removal_in_its_log_steps_down() {
    let mut group = Group::new();
    group.agree(1..=1);
    let old = group.leader();
    let heir = follower_of(old);
    // The removal reaches the one that it removes, and nobody else; the old leader then dies.
    let replica = group.replica(old);
    let (reply, _gone) = tokio::sync::oneshot::channel();
    let change = MemberChange::Remove(NodeId(heir));
    replica.change_member(super::ChangeMember { change, request: 7, reply });
    replica.turn().unwrap();
    let message = group.take(heir, MessageType::MsgAppend);
    group.replica(heir).step(message).unwrap();
    group.replica(heir).turn().unwrap();
    group.replicas.remove(&old);
    for _ in 0..300 {
        group.tick(1);
        if !group.replicas[&heir].status().member {
            break;
        }
    }
    let status = group.replicas[&heir].status();
    assert_eq!((status.member, status.role), (false, Role::Follower));
    group.open(old);
    let leader = group.leader();
    assert_ne!(leader, heir);
    assert!(group.propose(leader, 9).try_recv().unwrap().is_ok());
}

#[test]
fn leadership_is_handed_over_to_a_voter_that_is_there() {
    let mut group = Group::new();
    group.agree(1..=1);
    let old = group.leader();
    let new = follower(&mut group);
    assert!(matches!(group.transfer(old, old).try_recv(), Ok(Ok(()))));
    assert!(matches!(group.transfer(old, new).try_recv(), Ok(Ok(()))));
    assert_eq!(group.leader(), new);
    let refused = group.transfer(old, old).try_recv();
    assert!(matches!(refused, Ok(Err(Error::NotLeader { leader: Some(node) })) if node.0 == new));
    let refused = group.transfer(new, NEW.0).try_recv();
    assert!(matches!(refused, Ok(Err(Error::Change(ChangeRefusal::NotVoter { node: NEW })))));
    // Cut off a moment ago: it counts as there, but does not take over.
    group.cut = vec![old];
    let mut given_up = group.transfer(new, old);
    assert!(given_up.try_recv().is_err());
    let refused = group.transfer(new, old).try_recv();
    assert!(matches!(refused, Ok(Err(Error::Change(ChangeRefusal::TransferInProgress)))));
    group.tick(12);
    assert!(matches!(given_up.try_recv(), Ok(Err(Error::NotTransferred { to })) if to.0 == old));
    let refused = group.transfer(new, old).try_recv();
    assert!(matches!(refused, Ok(Err(Error::Change(ChangeRefusal::NotCaughtUp { active: false, .. })))));
    group.agree(2..=2);
}

#[test]
fn the_leader_tells_how_far_each_member_is() {
    let mut group = Group::new();
    group.agree(1..=1);
    let (leader, away) = (group.leader(), follower(&mut group));
    group.cut = vec![away];
    group.agree(2..=3);
    group.tick(12);
    let status = group.replicas[&leader].status();
    for member in status.members {
        let progress = member.progress.unwrap();
        let here = member.node.0 != away;
        assert_eq!((progress.active, progress.matched == status.last_index), (here, here), "{member:?}");
    }
    assert!(group.replicas[&away].status().members.iter().all(|member| member.progress.is_none()));
}

#[test]
fn a_learner_knows_no_leader_when_it_hears_none_and_knows_it_again_when_it_does() {
    let mut group = Group::new();
    group.open(NEW.0);
    group.changed(MemberChange::AddLearner(NEW));
    group.tick(200);
    let leader = group.leader();
    let known = |group: &Group| group.replicas[&NEW.0].status().leader;
    assert_eq!(known(&group), Some(NodeId(leader)), "heartbeats are enough");
    group.cut = vec![1, 2, 3];
    group.tick(15);
    assert_eq!(known(&group), Some(NodeId(leader)), "an election may take so long");
    group.tick(10);
    assert_eq!(known(&group), None);
    let refused = group.propose(NEW.0, 7).try_recv();
    assert!(matches!(refused, Ok(Err(Error::NotLeader { leader: None }))), "{refused:?}");
    group.cut.clear();
    let leader = group.leader();
    group.tick(10);
    assert_eq!(known(&group), Some(NodeId(leader)));
}

#[test]
fn a_joint_membership_is_told_in_both_halves() {
    let nodes = |ids: &[u64]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
    let membership = causeway_storage::snapshot_file::Membership {
        voters: nodes(&[1, 4]),
        voters_outgoing: nodes(&[1, 2, 3]),
        learners_next: nodes(&[3]),
        learners: nodes(&[5]),
        auto_leave: true,
    };
    let told: Vec<_> = roles(&membership).into_values().collect();
    use MemberState::{IncomingVoter, Learner, OutgoingVoter, Voter, VoterBecomingLearner};
    assert_eq!(told, [Voter, OutgoingVoter, VoterBecomingLearner, IncomingVoter, Learner]);
}
