//! Who is heard, and who takes the place of a lost node.

use ::raft::eraftpb::{Message, MessageType};
use causeway_core::outcome::Refusal;
use join::JoinError;
use protobuf::Message as _;

use super::*;
use crate::transport::{Caller, Handler};

/// A node whose certificate is good still, in its own words.
fn claiming(node: u64, text: &str) -> Identity {
    Identity {
        cluster: Some(ClusterId(9)),
        node: NodeId(node),
        name: name(text),
        region: name("hohhot"),
        command_version: CURRENT_VERSION,
    }
}

struct Deaf;

impl Handler for Deaf {
    fn raft(&self, _: NodeId, _: Vec<u8>) {}

    async fn request(&self, _: Arc<Peer>, _: Vec<u8>) -> Vec<u8> {
        Vec::new()
    }

    fn unreachable(&self, _: NodeId) {}
}

/// Connections of a program that says that it is this node.
async fn posing_as(identity: Identity, to: NodeId, text: &str, at: SocketAddr) -> Transport {
    let (here, bulk) = (free_address(), tokio::runtime::Handle::current());
    let settings = transport::Settings::default();
    let transport = Transport::bind(settings, Security::Plain, identity, here, Arc::new(Deaf), bulk).await.unwrap();
    transport.set_peers(BTreeMap::from([(to, PeerAddress { name: name(text), address: at.to_string() })]));
    transport
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_heard_under_an_id_that_the_state_does_not_give_its_name() {
    let (one, at_one) = founded().await;
    let (two, at_two) = joined(&one.group, at_one, 2).await;
    assert!(two.group.serve_streams(Arc::new(Echo)));
    let figures = async |node, text, at: SocketAddr| {
        let caller = Caller::new(transport::Settings::default(), Security::Plain, claiming(node, text)).unwrap();
        let answer = caller.request_at(&at.to_string(), None, Request::Figures.encode().unwrap(), PATIENCE).await;
        answer.map(|answer| Answer::decode(&answer.body).unwrap())
    };
    // A node that was removed, say: no id above the highest says anything of its name.
    let refused = figures(77, "node-3", at_two).await.unwrap();
    assert!(
        matches!(&refused, Answer::Failed(rpc::Failure::Refused(why)) if why.contains("only nodes")),
        "{refused:?}"
    );
    let refused = figures(77, "node-3", at_one).await.unwrap_err();
    assert!(refused.to_string().contains("was never let into the cluster"), "the leader knows it: {refused}");
    assert!(figures(2, "node-3", at_two).await.is_err(), "it is called otherwise");
    assert_eq!(one.group.figures_of(two.group.me(), PATIENCE).await.unwrap(), [2], "a node of the cluster is heard");

    let stranger = posing_as(claiming(77, "node-3"), two.group.me(), "node-2", at_two).await;
    let opening = Opening { body: Bytes::from_static(b"x"), stripe_key: 7, window: 1 };
    let mut stream = stranger.open_stream(two.group.me(), opening).unwrap();
    assert_eq!(timeout(PATIENCE, stream.receive()).await.unwrap(), Err(StreamEnd::Stranger));
    stranger.shutdown().await;
    for group in [two.group, one.group] {
        group.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raft_message_in_the_name_of_another_node_is_refused_and_counted() {
    let (one, at_one) = founded().await;
    let (two, at_two) = joined(&one.group, at_one, 2).await;
    let term = two.group.status().term;
    let liar = posing_as(claiming(3, "node-3"), two.group.me(), "node-2", at_two).await;
    let sent = async |from| {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgHeartbeat);
        (message.from, message.to, message.term) = (from, two.group.me().0, term + 100);
        liar.send_raft(two.group.me(), message.write_to_bytes().unwrap()).unwrap();
    };
    sent(1).await;
    let counted = async {
        while two.group.status().refused_messages == 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, counted).await.expect("it is refused");
    assert_eq!(two.group.status().term, term, "nobody heeded it");
    liar.shutdown().await;
    agreed(&two.group, token(7)).await;
    for group in [two.group, one.group] {
        group.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_of_a_node_is_taken_only_when_it_is_gone_and_with_proof() {
    let (one, at_one) = founded().await;
    let (two, _) = joined(&one.group, at_one, 2).await;
    let (three, at_three) = joined(&one.group, at_one, 3).await;
    two.group.lease().await.unwrap();
    let replace = async |text: &str, token: Option<u8>| {
        let (token, spec) = (token.map(|number| [number; 32]), spec(text, free_address()));
        // At a node that does not lead.
        join::replace(&at_three.to_string(), token, spec, Security::Plain, PATIENCE).await
    };
    let permit = |number| {
        let token = JoinToken { role: MemberRole::Voter, expires_at: Timestamp(i64::MAX) };
        agreed(&one.group, Command::IssueJoinToken { hash: [number; 32], token })
    };
    permit(8).await;
    let without = replace("node-2", None).await;
    assert!(
        matches!(without, Err(JoinError::Refused(Refusal::NoSuchJoinToken))),
        "anybody can give a name: {without:?}"
    );
    let identity = Identity { cluster: None, node: NodeId(0), ..claiming(0, "node-9") };
    let caller = Caller::new(transport::Settings::default(), Security::Plain, identity).unwrap();
    let borrowed = Request::Join { token: [8; 32], spec: spec("node-2", free_address()) }.encode().unwrap();
    let answer = caller.request_at(&at_three.to_string(), None, borrowed, PATIENCE).await.unwrap();
    let answer = Answer::decode(&answer.body).unwrap();
    assert!(
        matches!(&answer, Answer::Failed(rpc::Failure::Refused(why)) if why == "node-9 is not node-2"),
        "{answer:?}"
    );
    let nobody = replace("nobody", Some(8)).await;
    assert!(matches!(nobody, Err(JoinError::Refused(Refusal::NoNodeOfName(_)))), "{nobody:?}");
    for alive in ["one", "node-2", "node-3"] {
        let refused = replace(alive, Some(8)).await;
        assert!(matches!(refused, Err(JoinError::Refused(Refusal::NodeAlive(_)))), "{alive}: {refused:?}");
    }
    let before = two.group.me();
    two.group.stop().await.unwrap();
    let early = replace("node-2", Some(8)).await;
    assert!(matches!(early, Err(JoinError::Refused(Refusal::NodeAlive(_)))), "its lease is not over: {early:?}");
    let replaced = async {
        loop {
            match replace("node-2", Some(8)).await {
                Ok(told) => return told,
                Err(error) => assert!(matches!(error, JoinError::Refused(Refusal::NodeAlive(_))), "{error}"),
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let told = timeout(PATIENCE, replaced).await.expect("it is down at last");
    assert!(told.node > three.group.me(), "a new id, not {before}");
    assert_eq!(replace("node-2", Some(8)).await.unwrap().node, told.node, "the answer may have been lost");
    for group in [three.group, one.group] {
        group.stop().await.unwrap();
    }
}
