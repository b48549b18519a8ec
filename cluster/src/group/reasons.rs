//! Why the cluster did not do what was asked, in words for people: nodes by their names, who is out of reach where
//! nobody leads, and what helps where that does not end by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use causeway_core::ids::NodeId;
use causeway_core::state::State;

use super::removal::COMES_BACK;
use crate::error::Error;
use crate::status::RaftStatus;
use crate::transport::{LinkState, PeerStatus, RefusalCode};

/// What helps when most voters are lost, and what it costs.
const LAST_RESORT: &str = "if they will never come back, the last resort is `causeway cluster recover \
                           --others-are-gone` on one stopped node: the cluster begins anew with that node alone, \
                           without what only the others knew, and none of them may ever run on its old data again";

/// What a node knows of the others at one moment, to explain errors with.
pub struct Reasons {
    me: NodeId,
    view: Arc<State>,
    status: RaftStatus,
    peers: BTreeMap<NodeId, PeerStatus>,
    /// Why this node is no member any more, if it is not.
    removed: Option<String>,
}

/// What the others do while some voters are out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lead {
    /// This node reaches who leads.
    Reached,
    /// Whoever leads, this node does not reach it.
    Lost,
    /// Nobody is known to lead.
    Nobody,
}

impl Reasons {
    pub(super) fn new(
        me: NodeId,
        view: Arc<State>,
        status: RaftStatus,
        peers: BTreeMap<NodeId, PeerStatus>,
        removed: Option<String>,
    ) -> Self {
        Self { me, view, status, peers, removed }
    }

    /// An error in words for people.
    #[must_use]
    pub fn explain(&self, error: &Error) -> String {
        match error {
            Error::NotLeader { leader: Some(leader) } => format!("{} leads, not this node", self.name(*leader)),
            Error::NotLeader { leader: None } => {
                let reach = self.reach(Lead::Nobody).unwrap_or_else(|| "one is elected within seconds".to_owned());
                format!("no leader is known: {reach}")
            }
            Error::Timeout { .. } | Error::ReadTimeout { .. } | Error::Interrupted => {
                let led = self.status.leader.is_some_and(|leader| leader != self.me && self.reaches(leader));
                match self.reach(if led { Lead::Reached } else { Lead::Lost }) {
                    Some(reach) => format!("{error}: {reach}"),
                    None => error.to_string(),
                }
            }
            Error::Change(refusal) => refusal.told(|node| self.name(node)),
            Error::NotTransferred { to } => format!("{} did not take over leadership in time", self.name(*to)),
            other => other.to_string(),
        }
    }

    /// Who keeps this node from a leader, as far as it sees; none while all voters are within its reach.
    fn reach(&self, lead: Lead) -> Option<String> {
        if let Some(removed) = &self.removed {
            return Some(format!("{removed}. {COMES_BACK}"));
        }
        if let Some(shut_out) = self.shut_out() {
            return Some(shut_out);
        }
        let voters: BTreeMap<NodeId, bool> = self
            .status
            .members
            .iter()
            .filter(|member| member.is_voter())
            .map(|member| (member.node, self.reaches(member.node)))
            .collect();
        if voters.is_empty() {
            // It joined, and nobody has told it of the voters yet.
            return missing(self.peers.keys().filter(|node| !self.reaches(**node)).map(|node| self.name(*node)))
                .map(|nodes| format!("this node takes no part yet, and does not reach {nodes}"));
        }
        let gone = voters.iter().filter(|(_, reached)| !**reached).map(|(node, _)| *node);
        let gone: Vec<String> = gone.map(|node| self.name(node)).collect();
        out_of_reach(voters.len(), &gone, lead)
    }

    /// What a node says that does not let this one in.
    fn shut_out(&self) -> Option<String> {
        let said = |(node, peer): (&NodeId, &PeerStatus)| match &peer.state {
            LinkState::Refused(refusal) if shuts_out(refusal.code) => {
                Some(format!("{} does not let this node in: {refusal}", self.name(*node)))
            }
            _ => None,
        };
        self.peers.iter().find_map(said)
    }

    fn reaches(&self, node: NodeId) -> bool {
        node == self.me || self.peers.get(&node).is_some_and(|peer| peer.state.is_connected())
    }

    /// The name of a node; its number where the name is not known.
    fn name(&self, node: NodeId) -> String {
        let agreed = self.view.nodes.get(&node).map(|node| node.name.to_string());
        let told = || self.peers.get(&node).map(|peer| peer.at.name.to_string());
        agreed.or_else(told).unwrap_or_else(|| format!("node {node}"))
    }
}

/// Whether a node that answers so lets this one in only when something was mended.
fn shuts_out(code: RefusalCode) -> bool {
    matches!(code, RefusalCode::NotAdmitted | RefusalCode::Removed | RefusalCode::OtherName)
}

/// Names as a list; none where there is none.
fn missing(names: impl Iterator<Item = String>) -> Option<String> {
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// What it means that these of so many voters are out of reach.
fn out_of_reach(voters: usize, gone: &[String], lead: Lead) -> Option<String> {
    let names = missing(gone.iter().cloned())?;
    let (is, of) = (if gone.len() == 1 { "is" } else { "are" }, if voters == 1 { "voter" } else { "voters" });
    let told = format!("{} of {voters} {of} {is} out of reach: {names}", gone.len());
    let reached = voters.saturating_sub(gone.len());
    Some(match lead {
        Lead::Reached => told,
        Lead::Lost if reached > voters / 2 => told,
        Lead::Nobody if reached > voters / 2 => format!("{told}; the others elect one within seconds"),
        Lead::Lost | Lead::Nobody => {
            format!("{told}; nothing is agreed on before most voters are connected again; {LAST_RESORT}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{Lead, out_of_reach};

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn who_is_out_of_reach_is_named_and_the_last_resort_only_where_there_is_no_majority() {
        for lead in [Lead::Reached, Lead::Lost, Lead::Nobody] {
            assert_eq!(out_of_reach(3, &[], lead), None);
        }
        let one = |lead| out_of_reach(3, &names(&["node-2"]), lead).unwrap();
        assert_eq!(one(Lead::Nobody), "1 of 3 voters is out of reach: node-2; the others elect one within seconds");
        for lead in [Lead::Reached, Lead::Lost] {
            assert_eq!(one(lead), "1 of 3 voters is out of reach: node-2", "nobody is to be elected for all it knows");
        }
        for (voters, gone) in [(3, &["node-2", "node-3"][..]), (2, &["node-2"]), (4, &["node-3", "node-4"])] {
            for lead in [Lead::Lost, Lead::Nobody] {
                let told = out_of_reach(voters, &names(gone), lead).unwrap();
                let who = format!("{} of {voters} voters", gone.len());
                assert!(told.starts_with(&who) && told.contains(&gone.join(", ")), "{told}");
                assert!(told.contains("`causeway cluster recover --others-are-gone`"), "{told}");
            }
            let led = out_of_reach(voters, &names(gone), Lead::Reached).unwrap();
            assert!(led.ends_with(&gone.join(", ")), "who leads may reach them: {led}");
        }
    }
}
