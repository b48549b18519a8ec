//! Three voters: the same replica, with others who have to say yes.

use crate::error::Error;
use crate::raft::sample::group::Group;
use crate::raft::sample::name;
use crate::status::Role;

#[test]
fn three_voters_elect_one_leader_and_agree() {
    let mut group = Group::new();
    let leader = group.leader();
    let mut answer = group.propose(leader, 1);
    assert!(answer.try_recv().unwrap().is_ok());
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    let refused = group.propose(follower, 2).try_recv().unwrap();
    assert!(matches!(refused, Err(Error::NotLeader { leader: Some(node) }) if node.0 == leader));
    group.assert_equal(&[1, 2, 3]);
}

#[test]
fn one_of_three_may_be_started_anew_at_any_time() {
    let mut group = Group::new();
    for number in 1..=9 {
        let leader = group.leader();
        assert!(group.propose(leader, number).try_recv().unwrap().is_ok());
        group.open(u64::from(number % 3) + 1);
    }
    group.leader();
    group.assert_equal(&[1, 2, 3]);
}

#[test]
fn a_leader_that_is_cut_off_steps_down_and_its_proposal_is_known_to_be_lost() {
    let mut group = Group::new();
    let old = group.leader();
    group.propose(old, 1);
    group.cut = vec![old];
    let mut lost = group.propose(old, 2);
    assert!(lost.try_recv().is_err(), "answered without a quorum");
    let new = group.leader();
    assert_ne!(new, old);
    group.tick(20);
    assert_ne!(group.replicas[&old].status().role, Role::Leader);
    group.agree(3..=5);
    group.cut.clear();
    group.tick(20);
    assert!(matches!(lost.try_recv(), Ok(Err(Error::NotLeader { .. }))));
    group.assert_equal(&[1, 2, 3]);
    assert!(!group.replicas[&old].state.tokens.contains_key(&name("token-2")));
}

#[test]
fn a_follower_that_was_away_too_long_catches_up_by_a_snapshot_and_keeps_it() {
    let mut group = Group::new();
    let leader = group.leader();
    let away = (1..=3).find(|id| *id != leader).unwrap();
    group.cut = vec![away];
    group.agree(1..=60);
    assert_eq!(group.snapshots, 0);
    group.cut.clear();
    group.tick(20);
    assert!(group.snapshots > 0);
    group.assert_equal(&[1, 2, 3]);
    group.open(away);
    group.leader();
    group.assert_equal(&[1, 2, 3]);
}

#[test]
fn a_read_waits_until_the_view_includes_what_was_answered_before() {
    let mut group = Group::new();
    group.agree(1..=1);
    let leader = group.leader();
    let lags = (1..=3).find(|id| *id != leader).unwrap();
    group.cut = vec![lags];
    group.agree(2..=5);
    let committed = group.replicas[&leader].status().committed;
    assert_eq!(group.read(leader).try_recv().unwrap().unwrap(), committed);
    let mut late = group.read(lags);
    group.tick(1);
    assert!(late.try_recv().is_err(), "answered by a member that knows nothing new");
    group.cut.clear();
    group.tick(10);
    assert!(late.try_recv().unwrap().unwrap() >= committed);
    assert!(group.replicas[&lags].applied.index >= committed);
}

#[test]
fn nobody_but_a_leader_with_a_majority_confirms_a_read() {
    let mut group = Group::new();
    let mut early = group.read(1);
    assert!(early.try_recv().is_err(), "answered before there was a leader");
    group.agree(1..=1);
    group.tick(3);
    assert!(early.try_recv().unwrap().is_ok(), "not asked for again");
    let old = group.leader();
    group.cut = vec![old];
    let mut stale = group.read(old);
    group.agree(2..=2);
    assert!(stale.try_recv().is_err(), "answered by a leader that was replaced");
    let new = group.leader();
    let committed = group.replicas[&new].status().committed;
    group.cut.clear();
    group.tick(20);
    assert!(stale.try_recv().unwrap().unwrap() >= committed);
}

#[test]
fn reads_of_one_voter_alone_cost_no_barrier() {
    let mut group = Group::new();
    group.agree(1..=1);
    let leader = group.leader();
    let barriers = group.replicas[&leader].status().barriers.count;
    for _ in 0..10 {
        assert!(group.read(leader).try_recv().unwrap().is_ok());
    }
    assert_eq!(group.replicas[&leader].status().barriers.count, barriers);
}
