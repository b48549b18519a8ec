//! A node that was removed finds out, and one that was not is not told so.

use super::*;
use crate::transport::LinkState;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_removed_while_it_did_not_run_is_told_by_the_others() {
    let (one, at_one) = founded().await;
    let (two, at_two) = joined(&one.group, at_one, 2).await;
    let id = two.group.me();
    assert_eq!((one.group.removed(), two.group.removed()), (None, None));
    two.group.stop().await.unwrap();
    assert_eq!(agreed(&one.group, Command::RemoveNode { node: id }).await, Outcome::Done);
    one.group.change_member(MemberChange::Remove(id)).await.unwrap();

    let two_again = run(two.directory.path(), "node-2", at_two, 22).await;
    assert!(two_again.view().nodes.contains_key(&id), "its own state is from before");
    let told = async {
        while two_again.removed().is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, told).await.expect("the other one does not let it in");
    assert!(two_again.removed().unwrap().contains("was removed from the cluster"));
    assert_eq!(one.group.removed(), None);
    let found = two_again.removed();
    one.group.stop().await.unwrap();
    let alone = async {
        while two_again.peers().values().any(|peer| matches!(peer.state, LinkState::Refused(_))) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, alone).await.expect("nobody tells it any more");
    assert_eq!(two_again.removed(), found, "that is final");
    let said = two_again.reasons().explain(&Error::NotLeader { leader: None });
    assert!(said.ends_with(COMES_BACK) && !said.contains("recover"), "{said}");
    two_again.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_name_was_changed_is_told_its_name_and_is_not_removed() {
    let (one, at_one) = founded().await;
    let (two, at_two) = joined(&one.group, at_one, 2).await;
    two.group.stop().await.unwrap();
    let renamed = run(two.directory.path(), "node-b", at_two, 22).await;
    let refused = async {
        while !renamed.peers().values().any(|peer| matches!(peer.state, LinkState::Refused(_))) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("it is not let in");
    assert_eq!(renamed.removed(), None);
    let said = renamed.reasons().explain(&Error::NotLeader { leader: None });
    let expected = "one does not let this node in: node 2 is node-2, not node-b: set node.name back to node-2";
    assert_eq!(said, format!("no leader is known: {expected}"));
    renamed.stop().await.unwrap();
    let again = run(two.directory.path(), "node-2", at_two, 23).await;
    start_node(&again, "node-2", at_two, 23).await;
    for group in [again, one.group] {
        group.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_own_state_says_that_it_was_removed_needs_nobody_to_tell_it() {
    let (one, at_one) = founded().await;
    let (two, _) = joined(&one.group, at_one, 2).await;
    let id = two.group.me();
    agreed(&one.group, Command::RemoveNode { node: id }).await;
    let told = async {
        while two.group.removed().is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, told).await.expect("it applies its own removal");
    assert!(!two.group.view().nodes.contains_key(&id));
    for group in [one.group, two.group] {
        group.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_joined_and_has_not_heard_anything_yet_is_not_removed() {
    let (one, at_one) = founded().await;
    let token = JoinToken { role: MemberRole::Learner, expires_at: Timestamp(i64::MAX) };
    agreed(&one.group, Command::IssueJoinToken { hash: [2; 32], token }).await;
    let directory = tempfile::tempdir().unwrap();
    let address = free_address();
    let told = join::ask(&at_one.to_string(), [2; 32], spec("two", address), Security::Plain, PATIENCE).await.unwrap();
    join::prepare(directory.path(), &told).unwrap();
    // Nobody makes it a member, so it applies nothing.
    let two = run(directory.path(), "two", address, 2).await;
    let connected = async {
        while !two.peers().values().any(|peer| peer.state.is_connected()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, connected).await.expect("it is let in");
    assert_eq!((two.status().applied, two.removed()), (0, None));
    one.group.stop().await.unwrap();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(two.removed(), None, "nobody answers, and nobody says that it was removed");
    two.stop().await.unwrap();
}
