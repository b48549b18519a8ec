//! Nodes that come back at another address, and what a node without a majority can still say.

use super::*;

/// Introduces a node until it is agreed on.
pub(super) async fn introduced(group: &Group, text: &str, address: SocketAddr) {
    let trying = async {
        while let Err(error) = group.introduce(spec(text, address)).await {
            tracing::debug!(%error, "again");
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, trying).await.expect("somebody passes it on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_moved_and_hears_of_no_leader_is_introduced_by_whoever_it_reaches() {
    let (one, at_one) = founded().await;
    let (two, _) = joined(&one.group, at_one, 2).await;
    let (three, _) = joined(&one.group, at_one, 3).await;
    let node = three.group.me();
    three.group.stop().await.unwrap();
    let moved_to = free_address();
    let group = run(three.directory.path(), "node-3", moved_to, 33).await;
    let request = Request::Introduce { spec: spec("node-3", moved_to), process: ProcessId(33) };
    let asked = async {
        loop {
            match group.ask(two.group.me(), &request, PATIENCE).await {
                Ok(answer) => return answer,
                Err(_) => sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let answer = timeout(PATIENCE, asked).await.expect("a follower passes it on");
    assert!(matches!(answer, Answer::Outcome { outcome: Outcome::Done, .. }), "{answer:?}");
    assert_eq!(one.group.view().nodes[&node].address, Some(moved_to.to_string()));
    introduced(&group, "node-3", moved_to).await;
    agreed(&group, token(7)).await;
    for group in [group, two.group, one.group] {
        group.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_moved_is_found_although_nobody_leads_without_its_vote() {
    let (one, at_one) = founded().await;
    let (two, _) = joined(&one.group, at_one, 2).await;
    promoted(&one.group, two.group.me()).await;
    agreed(&two.group, token(1)).await;
    two.group.stop().await.unwrap();

    let alone = async {
        while one.group.status().leader.is_some() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, alone).await.expect("it has no majority");
    let refused = one.group.backup(false).await;
    assert!(matches!(refused, Err(Error::ReadTimeout { .. })), "it may be old: {:?}", refused.map(|_| ()));
    let stale = one.group.backup(true).await.unwrap();
    assert_eq!((stale.confirmed, stale.applied), (false, one.group.status().applied));

    let moved_to = free_address();
    let group = run(two.directory.path(), "node-2", moved_to, 22).await;
    introduced(&group, "node-2", moved_to).await;
    agreed(&group, token(2)).await;
    assert_eq!(one.group.view().nodes[&group.me()].address, Some(moved_to.to_string()));
    let backup = one.group.backup(false).await.unwrap();
    assert!(backup.confirmed && backup.applied > stale.applied);
    for group in [group, one.group] {
        group.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_back_where_the_state_has_it_is_looked_for_there() {
    let (one, at_one) = founded().await;
    let (two, _) = joined(&one.group, at_one, 2).await;
    let (node, view) = (two.group.me(), one.group.view());
    let home = view.nodes[&node].address.clone().unwrap();
    let moved = Moved::default();
    moved.note(node, Some(&free_address().to_string()), &view);
    assert_eq!(moved.watch().borrow().len(), 1);
    moved.note(node, Some(&home), &view);
    assert!(moved.watch().borrow().is_empty(), "nobody could agree on the other place");
    for group in [two.group, one.group] {
        group.stop().await.unwrap();
    }
}
