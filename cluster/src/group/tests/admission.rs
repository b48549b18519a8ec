//! A node that is let in, and loses its data before the others know that it has started.

use causeway_core::plan::next_member_change;

use super::introduction::introduced;
use super::*;

/// Has the members follow what the state asks for, as the leader does.
async fn follow(leader: Group) {
    loop {
        let members = leader.members().unwrap();
        let view = leader.view();
        if let Some(change) = next_member_change(&view, &members) {
            // What is refused is asked for again.
            let _ = leader.change_member(change).await;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_loses_its_data_before_its_start_is_known_joins_again_with_its_token() {
    let (one, at_one) = founded().await;
    let following = tokio::spawn(follow(one.group.clone()));
    let token_of_two = JoinToken { role: MemberRole::Voter, expires_at: Timestamp(i64::MAX) };
    agreed(&one.group, Command::IssueJoinToken { hash: [2; 32], token: token_of_two }).await;
    let address = free_address();
    let join = async || {
        let directory = tempfile::tempdir().unwrap();
        let shown = join::ask(&at_one.to_string(), [2; 32], spec("two", address), Security::Plain, PATIENCE).await;
        let told = shown.unwrap();
        join::prepare(directory.path(), &told).unwrap();
        (directory, told.node)
    };
    let (lost, node) = join().await;
    let group = run(lost.path(), "two", address, 2).await;
    for number in 0..10 {
        agreed(&one.group, token(number)).await;
        sleep(Duration::from_millis(30)).await;
    }
    assert!(!one.group.status().members.iter().any(|member| member.node == node), "it could lose what it confirms");
    group.stop().await.unwrap();
    drop(lost);

    let (directory, again) = join().await;
    assert_eq!(again, node);
    let group = run(directory.path(), "two", address, 22).await;
    introduced(&group, "two", address).await;
    let votes = async {
        while !one.group.status().members.iter().any(|member| member.node == node && member.is_voter()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, votes).await.expect("it catches up and votes");
    agreed(&group, token(11)).await;
    assert_eq!(group.view().tokens.len(), 11);
    following.abort();
    for group in [group, one.group] {
        group.stop().await.unwrap();
    }
}
