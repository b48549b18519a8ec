//! What is said where nothing can be agreed on, or where leadership cannot go.

use causeway_core::outcome::Refusal;
use join::JoinError;

use super::*;

/// Explains what a proposal fails with, until it is that there is no leader.
async fn without_leader(group: &Group) -> String {
    let trying = async {
        loop {
            match group.propose(token(99)).await {
                Err(error @ Error::NotLeader { leader: None }) => return group.reasons().explain(&error),
                _ => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    timeout(PATIENCE, trying).await.expect("nobody leads")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_it_is_said_who_is_out_of_reach_and_what_the_last_resort_is() {
    let (one, at_one) = founded().await;
    let (two, _) = joined(&one.group, at_one, 2).await;
    let (three, _) = joined(&one.group, at_one, 3).await;
    for member in [&two, &three] {
        promoted(&one.group, member.group.me()).await;
    }
    for member in [two, three] {
        member.group.stop().await.unwrap();
    }
    let said = without_leader(&one.group).await;
    assert!(said.contains("2 of 3 voters are out of reach: node-2, node-3"), "{said}");
    assert!(said.contains("causeway cluster recover --others-are-gone"), "{said}");
    // A node that asks to be let in is told the same.
    let (at, spec) = (at_one.to_string(), spec("node-2", free_address()));
    let asked = join::replace(&at, Some([7; 32]), spec, Security::Plain, PATIENCE).await;
    let refused = asked.unwrap_err().to_string();
    assert!(refused.contains("out of reach: node-2, node-3"), "{refused}");
    one.group.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_that_cannot_go_to_a_node_is_refused_with_its_reason_at_every_node() {
    let (one, at_one) = founded().await;
    let (two, _) = joined(&one.group, at_one, 2).await;
    for group in [&one.group, &two.group] {
        let alone = group.transfer_leader(None).await.unwrap_err();
        assert!(matches!(alone, Error::Change(ChangeRefusal::NoSuccessor)), "{alone}");
        let to = two.group.me();
        let learner = group.transfer_leader(Some(to)).await.unwrap_err();
        assert!(matches!(learner, Error::Change(ChangeRefusal::NotVoter { node }) if node == to), "{learner}");
        assert_eq!(group.reasons().explain(&learner), "node-2 is no voter");
    }
    for group in [two.group, one.group] {
        group.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_taken_and_a_node_that_was_removed_hear_of_the_command_that_helps() {
    let (one, at_one) = founded().await;
    let (two, at_two) = joined(&one.group, at_one, 2).await;
    let removed = two.group.me();
    two.group.stop().await.unwrap();
    let good = JoinToken { role: MemberRole::Voter, expires_at: Timestamp(i64::MAX) };
    agreed(&one.group, Command::IssueJoinToken { hash: [9; 32], token: good }).await;
    let spec = spec("node-2", at_two);
    let taken = join::ask(&at_one.to_string(), [9; 32], spec, Security::Plain, PATIENCE).await.unwrap_err();
    assert!(matches!(&taken, JoinError::Refused(Refusal::NodeNameTaken { .. })), "{taken}");
    assert!(taken.to_string().contains("causeway cluster rejoin --at HOST:PORT"), "{taken}");

    agreed(&one.group, Command::RemoveNode { node: removed }).await;
    one.group.change_member(MemberChange::Remove(removed)).await.unwrap();
    let group = run(two.directory.path(), "node-2", at_two, 22).await;
    let told = async {
        loop {
            let said = without_leader(&group).await;
            if said.contains("removed") {
                return said;
            }
        }
    };
    let said = timeout(PATIENCE, told).await.expect("it is told");
    assert_eq!(said, format!("no leader is known: node-2, as node 2, was removed from the cluster. {COMES_BACK}"));
    for group in [group, one.group] {
        group.stop().await.unwrap();
    }
}
