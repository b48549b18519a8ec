//! Several members in one process, over loopback.

mod admission;
mod introduction;
mod majority;
mod removal;
mod trust;

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use causeway_core::command::{CURRENT_VERSION, Command};
use causeway_core::ids::{ClusterId, Timestamp};
use causeway_core::node::{JoinToken, MemberRole, NodeSpec};
use tokio::time::sleep;

use super::join::{self, Beginning};
use super::*;
use crate::raft::sample::{name, token};
use crate::transport::Peer;
use crate::transport::streams::{NotServed, Opening, StreamEnd, StreamSender};

const PATIENCE: Duration = Duration::from_secs(20);

struct Member {
    group: Group,
    directory: tempfile::TempDir,
}

fn spec(text: &str, address: SocketAddr) -> NodeSpec {
    let address = Some(address.to_string());
    NodeSpec { name: name(text), region: name("hohhot"), address, supports: CURRENT_VERSION }
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn run(directory: &std::path::Path, text: &str, address: SocketAddr, process: u128) -> Group {
    let found = join::look(directory).unwrap();
    // Only then: a node that comes back may not have applied its own beginning yet.
    let founds = found == Beginning::Empty;
    let (node, start) = match found {
        Beginning::Empty => (NodeId(1), crate::Start::Found { voters: vec![NodeId(1)] }),
        Beginning::Node { identity, start } => (identity.node, start),
        Beginning::Interrupted(found) => panic!("{found:?}"),
    };
    let others = join::told(directory, node).unwrap();
    let settings = Settings { start, ..Settings::new(directory, node) };
    let group = Group::start(settings, ProcessId(process)).await.unwrap();
    if founds {
        group.propose(Command::Initialise { cluster: ClusterId(9) }).await.unwrap();
    }
    let cluster = group.view().cluster.or(match join::look(directory).unwrap() {
        Beginning::Node { identity, .. } => identity.cluster,
        Beginning::Empty | Beginning::Interrupted(_) => None,
    });
    let identity =
        Identity { cluster, node, name: name(text), region: name("hohhot"), command_version: CURRENT_VERSION };
    let network = Network {
        listen: address,
        security: Security::Plain,
        identity,
        others,
        welcome: Welcome(b"shared".to_vec()),
        figures: Arc::new(move || vec![u8::try_from(process).unwrap()]),
        settings: transport::Settings::default(),
    };
    group.connect(network).await.unwrap();
    group
}

async fn start_node(group: &Group, text: &str, address: SocketAddr, process: u128) {
    let command = Command::StartNode { node: group.me(), spec: spec(text, address), process: ProcessId(process) };
    agreed(group, command).await;
}

/// Proposes until a leader takes it.
async fn agreed(group: &Group, command: Command) -> Outcome {
    let trying = async {
        loop {
            match group.propose(command.clone()).await {
                Ok(outcome) => return outcome,
                Err(error) => {
                    tracing::debug!(%error, "again");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    };
    timeout(PATIENCE, trying).await.expect("a leader takes it")
}

async fn founded() -> (Member, SocketAddr) {
    let directory = tempfile::tempdir().unwrap();
    let address = free_address();
    let group = run(directory.path(), "one", address, 1).await;
    start_node(&group, "one", address, 1).await;
    (Member { group, directory }, address)
}

/// A node that shows its token at `at`, is made a learner by the leader and starts.
async fn joined(leader: &Group, at: SocketAddr, number: u8) -> (Member, SocketAddr) {
    let (text, address) = (format!("node-{number}"), free_address());
    let token = JoinToken { role: MemberRole::Voter, expires_at: Timestamp(i64::MAX) };
    agreed(leader, Command::IssueJoinToken { hash: [number; 32], token }).await;
    let directory = tempfile::tempdir().unwrap();
    let asked =
        join::ask(&at.to_string(), [number; 32], spec(&text, address), Security::Plain, PATIENCE).await.unwrap();
    join::prepare(directory.path(), &asked).unwrap();
    leader.change_member(MemberChange::AddLearner(asked.node)).await.unwrap();
    let group = run(directory.path(), &text, address, u128::from(number)).await;
    start_node(&group, &text, address, u128::from(number)).await;
    (Member { group, directory }, address)
}

async fn promoted(leader: &Group, node: NodeId) {
    let trying = async {
        while let Err(error) = leader.change_member(MemberChange::Promote(node)).await {
            assert!(matches!(error, Error::Change(_)), "{error}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, trying).await.expect("it catches up");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_join_agree_at_any_of_them_and_go_on_without_their_leader() {
    let (one, at_one) = founded().await;
    let (two, at_two) = joined(&one.group, at_one, 2).await;
    let (three, _) = joined(&one.group, at_two, 3).await;
    for member in [&two, &three] {
        promoted(&one.group, member.group.me()).await;
    }
    let outcome = three.group.propose(token(7)).await.unwrap();
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(three.group.view().tokens.len(), 1, "its effect is visible where it was proposed");
    assert_eq!(two.group.peers().len(), 2);

    let (one_id, limit) = (one.group.me(), Duration::from_secs(5));
    assert_eq!(three.group.figures_of(one_id, limit).await.unwrap(), [1], "the number of its process");

    let granted = three.group.lease().await.unwrap();
    assert!(granted.applied_at_least >= 1);
    assert!(three.group.conditions().is_none(), "only the leader knows");
    let (term, conditions) = one.group.conditions().unwrap();
    assert_eq!(conditions.nodes[&three.group.me()], causeway_core::plan::Liveness::Up);
    one.group.begin_taking(term, [three.group.me()]);
    assert!(matches!(three.group.lease().await, Err(Error::Busy)));
    one.group.end_taking(term);
    three.group.lease().await.unwrap();

    two.group.transfer_leader(Some(three.group.me())).await.unwrap();
    // It is known to lead a moment before it says so itself.
    let mut status = three.group.watch_status();
    let leads = status.wait_for(|status| status.role == Role::Leader);
    timeout(PATIENCE, leads).await.expect("asked for at a follower").unwrap();
    one.group.transfer_leader(Some(one.group.me())).await.unwrap();

    one.group.stop().await.unwrap();
    agreed(&two.group, token(8)).await;
    agreed(&three.group, token(9)).await;
    let reached = async {
        while two.group.view().tokens.len() < 3 || three.group.view().tokens.len() < 3 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, reached).await.expect("both have all three");

    // The first node comes back and catches up.
    let group = run(one.directory.path(), "one", at_one, 11).await;
    start_node(&group, "one", at_one, 11).await;
    assert_eq!(group.view().tokens.len(), 3);
    for group in [group, two.group, three.group] {
        group.stop().await.unwrap();
    }
    drop((two.directory, three.directory));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_is_removed_is_talked_to_until_the_group_has_agreed_on_it() {
    let (one, at_one) = founded().await;
    let (two, _) = joined(&one.group, at_one, 2).await;
    promoted(&one.group, two.group.me()).await;
    let removed = two.group.me();
    assert_eq!(agreed(&one.group, Command::RemoveNode { node: removed }).await, Outcome::Done);
    // Whatever follows the state has done so by then.
    sleep(Duration::from_millis(300)).await;
    assert!(one.group.peers().contains_key(&removed), "it votes on its own removal");
    one.group.change_member(MemberChange::Remove(removed)).await.unwrap();
    let forgotten = async {
        while one.group.peers().contains_key(&removed) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, forgotten).await.expect("then it is no peer any more");
    agreed(&one.group, token(7)).await;
    for group in [one.group, two.group] {
        group.stop().await.unwrap();
    }
    drop((one.directory, two.directory));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_a_leader_that_stands_still_does_not_wait_for_it_when_others_elect() {
    let (one, at_one) = founded().await;
    let (two, _) = joined(&one.group, at_one, 2).await;
    let (three, _) = joined(&one.group, at_one, 3).await;
    for member in [&two, &three] {
        promoted(&one.group, member.group.me()).await;
    }
    two.group.lease().await.unwrap();
    // What serves its connections stands still: they stay open and silent.
    let (go_on, standing_still) = std::sync::mpsc::channel::<()>();
    one.group.shared.threads.nodes.spawn(async move { standing_still.recv() });
    let request = Request::Lease { process: ProcessId(2) };
    let asked = two.group.ask_who_leads(NodeId(1), &request, PATIENCE).await;
    assert!(matches!(asked, Err(Error::Interrupted)), "nobody knows what became of it: {asked:?}");
    agreed(&two.group, token(7)).await;
    drop(go_on);
    for group in [one.group, two.group, three.group] {
        group.stop().await.unwrap();
    }
    drop((one.directory, two.directory, three.directory));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_a_taken_name_and_a_stranger_are_told_why() {
    let (one, at) = founded().await;
    let ask = |hash: u8, text: &str| {
        let (spec, at) = (spec(text, free_address()), at.to_string());
        async move { join::ask(&at, [hash; 32], spec, Security::Plain, PATIENCE).await }
    };
    let wrong = ask(1, "two").await.unwrap_err();
    assert!(matches!(wrong, join::JoinError::Refused(causeway_core::outcome::Refusal::NoSuchJoinToken)), "{wrong}");
    let token = JoinToken { role: MemberRole::Voter, expires_at: Timestamp(i64::MAX) };
    agreed(&one.group, Command::IssueJoinToken { hash: [2; 32], token }).await;
    let taken = ask(2, "one").await.unwrap_err();
    assert!(taken.to_string().contains("called one already"), "{taken}");
    let first = ask(2, "two").await.unwrap();
    assert_eq!(ask(2, "two").await.unwrap(), first, "the answer may have been lost");
    assert_eq!(first.welcome, Welcome(b"shared".to_vec()));
    assert!(!format!("{first:?}").contains("115"), "it is secret");
    let nobody = join::ask(&free_address().to_string(), [2; 32], spec("two", at), Security::Plain, PATIENCE).await;
    assert!(matches!(nobody, Err(join::JoinError::NoAnswer { .. })));

    // Only members may ask for more than to be let in.
    let identity = Identity {
        cluster: None,
        node: NodeId(0),
        name: name("stranger"),
        region: name("nowhere"),
        command_version: CURRENT_VERSION,
    };
    let caller = transport::Caller::new(transport::Settings::default(), Security::Plain, identity).unwrap();
    let request = Request::Propose(crate::raft::sample::token(3)).encode().unwrap();
    let answer = caller.request_at(&at.to_string(), None, request, PATIENCE).await.unwrap();
    assert!(matches!(Answer::decode(&answer.body).unwrap(), Answer::Failed(rpc::Failure::Refused(_))));
    assert!(one.group.view().tokens.is_empty());
    one.group.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_says_how_its_node_begins() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(join::look(directory.path()).unwrap(), Beginning::Empty);
    let told = Joined {
        cluster: ClusterId(9),
        node: NodeId(4),
        others: vec![(NodeId(1), name("one"), "h:1".into())],
        welcome: Welcome::default(),
    };
    join::prepare(directory.path(), &told).unwrap();
    join::prepare(directory.path(), &told).unwrap();
    let Beginning::Node { identity, start } = join::look(directory.path()).unwrap() else { panic!("unused") };
    assert_eq!((identity.node, identity.cluster, start), (NodeId(4), Some(ClusterId(9)), crate::Start::Join));
    let other = Joined { node: NodeId(5), ..told };
    assert!(join::prepare(directory.path(), &other).is_err(), "it is another node's");
}

struct Echo;

impl StreamServer for Echo {
    fn serve(
        &self,
        from: Arc<Peer>,
        opening: Bytes,
        mut sender: StreamSender,
    ) -> Pin<Box<dyn Future<Output = Result<(), NotServed>> + Send + '_>> {
        Box::pin(async move {
            assert!(from.is_member);
            // Whoever asked may be gone.
            let _ = sender.send(opening).await;
            Ok(())
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_serve_each_other_byte_streams_from_when_they_say_so() {
    let (one, at) = founded().await;
    let (two, _) = joined(&one.group, at, 2).await;
    let opening = || Opening { body: Bytes::from_static(b"x"), stripe_key: 7, window: 1 };
    let asked = async || {
        let mut stream = two.group.open_stream(NodeId(1), opening()).unwrap();
        timeout(PATIENCE, stream.receive()).await.unwrap()
    };
    assert_eq!(asked().await, Err(StreamEnd::NotServed));
    assert!(one.group.serve_streams(Arc::new(Echo)));
    assert!(!one.group.serve_streams(Arc::new(Echo)), "once");
    assert_eq!(asked().await.unwrap(), "x");
    let unknown = two.group.open_stream(NodeId(9), opening()).map(drop);
    assert_eq!(unknown, Err(transport::Error::UnknownPeer { node: NodeId(9) }));
    let mut late = two.group.open_stream(NodeId(1), opening()).unwrap();
    two.group.stop().await.unwrap();
    let ended = async { while late.receive().await.is_ok() {} };
    timeout(PATIENCE, ended).await.expect("it ends with the node");
    one.group.stop().await.unwrap();
}
