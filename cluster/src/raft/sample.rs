//! Commands and settings for the tests of this crate.

pub(crate) mod group;

use std::path::Path;

use causeway_core::command::{CURRENT_VERSION, Command, Envelope};
use causeway_core::ids::{ClusterId, InstanceIdentity, NodeId, Timestamp};
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::outcome::Outcome;
use causeway_core::stream::{Endpoint, RunOptions, StartPosition, StreamSpec};
use proptest::prelude::*;
use tokio::sync::oneshot;

use super::replica::Proposal;
use super::settings::Settings;
use crate::error::Error;

/// Where the outcome of a sample proposal arrives.
pub(crate) type Answer = oneshot::Receiver<Result<Outcome, Error>>;

pub(crate) fn settings(directory: &Path) -> Settings {
    Settings::new(directory, NodeId(1))
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn token(number: u8) -> Command {
    Command::PutToken { name: name(&format!("token-{number}")), hash: [number; 32] }
}

pub(crate) fn instance(text: &str) -> Command {
    let spec = InstanceSpec {
        name: name(text),
        region: name("qingdao"),
        name_servers: vec!["127.0.0.1:9876".to_owned()],
        credentials: None,
        tls: None,
    };
    let identity = InstanceIdentity(text.bytes().map(u64::from).sum());
    Command::PutInstance { spec, identity, expected: None }
}

pub(crate) fn stream(text: &str) -> Command {
    let end = |instance: &str| Endpoint { instance: name(instance), topic: text.to_owned() };
    Command::CreateStream {
        spec: StreamSpec {
            name: name(text),
            source: end("one"),
            target: end("two"),
            start: StartPosition::Earliest,
            tag_expression: "*".to_owned(),
            run: RunOptions::default(),
        },
    }
}

/// Commands of several families, some of which are refused.
pub(crate) fn any_command() -> impl Strategy<Value = Command> {
    let short = (0_u8..4).prop_map(|number| format!("s{number}"));
    prop_oneof![
        any::<u64>().prop_map(|cluster| Command::Initialise { cluster: ClusterId(cluster) }),
        (1_u64..4).prop_map(|node| Command::NodeStarted {
            node: NodeId(node),
            name: name("node"),
            region: name("hohhot"),
        }),
        any::<u8>().prop_map(token),
        prop_oneof![Just("one"), Just("two")].prop_map(instance),
        short.clone().prop_map(|text| stream(&text)),
        short.clone().prop_map(|text| Command::PauseStream { name: name(&text) }),
        short.prop_map(|text| Command::DeleteStream { name: name(&text) }),
    ]
}

pub(crate) fn envelope(request: u128, command: Command) -> Envelope {
    Envelope { version: CURRENT_VERSION, request, at: Timestamp(1_700_000_000_000), command }
}

pub(crate) fn proposal(request: u128, command: Command) -> (Proposal, Answer) {
    raw_proposal(request, super::entry::encode(&envelope(request, command)).unwrap())
}

pub(crate) fn raw_proposal(request: u128, data: Vec<u8>) -> (Proposal, Answer) {
    let (reply, answer) = oneshot::channel();
    (Proposal { data, request, term: None, reply }, answer)
}
