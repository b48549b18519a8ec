//! `/v1/nodes` and `/v1/cluster`: who takes part, who shall, and who leads.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse, web};
use causeway_core::command::Command;
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::{NodeId, Timestamp};
use causeway_core::node::{JoinToken, MemberRole, Node};
use causeway_core::partition::{Partition, PartitionId};
use causeway_core::state::State;

use super::answer::{Answer, Error, json};
use super::auth::{draw_token, token_hash};
use super::body::{read_json, read_query};
use super::model::change::{ChangePlan, ChangeQuery, List};
use super::model::node::{
    BackupQuery, ChangedNode, IssueJoinToken, JoinTokenAnswer, MoveView, NodeList, NodeView, StrangeMember,
    TransferLeader,
};
use super::node_changes::{agree, nobody_takes, voters_without, would_be_refused};
use super::seam::{AdminContext, Member, NoBackup, NoTransfer, Site};
use super::server;
use crate::clock;
use crate::status::node::known;

/// Header of a backup: it holds everything up to this log index, at least.
pub const APPLIED_INDEX: &str = "causeway-applied-index";

/// Header of a backup: when it was taken by the node's clock, in milliseconds since 1970-01-01T00:00:00Z.
pub const TAKEN_AT: &str = "causeway-taken-at";

/// Header of a backup: `false` when a majority confirmed that it holds whatever was agreed on before it was taken.
pub const MAY_BE_STALE: &str = "causeway-may-be-stale";

/// How long a join token may be good for, in seconds: a minute to a week.
const TOKEN_SECONDS: std::ops::RangeInclusive<u64> = 60..=604_800;

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let one = "/v1/nodes/{name:[^/:]+}";
    let verb = |verb: &str| server::resource(&format!("{one}:{verb}"));
    config
        .service(server::resource("/v1/nodes").route(web::get().to(list)))
        .service(verb("promote").route(web::post().to(promote)))
        .service(verb("demote").route(web::post().to(demote)))
        .service(verb("drain").route(web::post().to(drain)))
        .service(verb("undrain").route(web::post().to(undrain)))
        .service(server::resource(one).route(web::get().to(show)).route(web::delete().to(remove)))
        .service(server::resource("/v1/cluster/join-tokens").route(web::post().to(issue_token)))
        .service(server::resource("/v1/cluster/backup").route(web::get().to(backup)))
        .service(server::resource("/v1/cluster/moves").route(web::get().to(moves)))
        .service(server::resource("/v1/cluster/leader").route(web::post().to(transfer_leader)));
}

async fn list(site: Data<Site>) -> Answer {
    Ok(json(&listed(&site.context)))
}

async fn show(site: Data<Site>, path: Path<String>) -> Answer {
    let found = shown(&site.context).into_iter().find(|node| node.name.as_str() == *path);
    found.map(|node| json(&node)).ok_or_else(|| no_such(&path))
}

async fn promote(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    let effect = |node: &Node| match node.role {
        MemberRole::Voter => format!("none: {} is to be a voter already", node.name),
        MemberRole::Learner => format!("{} would become a voter as soon as it has nearly the whole log", node.name),
    };
    let command = |node| Command::SetRole { node, role: MemberRole::Voter };
    change(&site, &request, &path, effect, |_, _| None, command).await
}

async fn demote(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    let effect = |node: &Node| match node.role {
        MemberRole::Learner => format!("none: {} is to be a learner already", node.name),
        MemberRole::Voter => format!("{} would lose its vote, keep its data and its partitions", node.name),
    };
    let command = |node| Command::SetRole { node, role: MemberRole::Learner };
    change(&site, &request, &path, effect, voters_without, command).await
}

async fn drain(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    let effect = |node: &Node| match node.draining {
        true => format!("none: {} is draining already", node.name),
        false => format!("the partitions of {} would move to other nodes, a few at a time", node.name),
    };
    let nodes = shown(&site.context);
    let stay = |_: &State, id| {
        let node = nodes.iter().find(|node| node.id == id && node.partitions > 0)?;
        nobody_takes(&nodes, node.name.as_str())
    };
    change(&site, &request, &path, effect, stay, |node| Command::SetDraining { node, draining: true }).await
}

async fn undrain(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    let effect = |node: &Node| match node.draining {
        false => format!("none: {} is not draining", node.name),
        true => format!("{} would be given partitions again", node.name),
    };
    change(&site, &request, &path, effect, |_, _| None, |node| Command::SetDraining { node, draining: false }).await
}

/// One change of one node, answered with the node as it is then, and with what may not be wanted of it.
async fn change(
    site: &Site,
    request: &HttpRequest,
    name: &str,
    effect: impl Fn(&Node) -> String,
    warning: impl Fn(&State, NodeId) -> Option<String>,
    command: impl Fn(NodeId) -> Command,
) -> Answer {
    let query: ChangeQuery = read_query(request)?;
    let view = site.context.cluster.view();
    let (id, node) = find(&view, name)?;
    let warnings = Vec::from_iter(warning(&view, id));
    if query.dry_run {
        let done = || std::iter::once(effect(node)).chain(warnings).collect();
        let effects = would_be_refused(&view, command(id)).map_or_else(done, |refused| vec![refused]);
        return Ok(json(&ChangePlan { dry_run: true, effects }));
    }
    agree(site, &node.name, command(id)).await?;
    let changed = shown(&site.context).into_iter().find(|node| node.id == id);
    changed.map(|node| json(&ChangedNode { node, warnings })).ok_or_else(|| no_such(name))
}

async fn remove(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    let query: ChangeQuery = read_query(&request)?;
    let view = site.context.cluster.view();
    let (id, node) = find(&view, &path)?;
    let owned = view.partitions.values().filter(|partition| partition.owner == Some(id)).count();
    let mut effects = vec![
        format!("{} is no node of the cluster any more; its number {id} is never used again", node.name),
        format!(
            "{owned} partitions that it owns go to other nodes when its lease has ended; drain it first to move them without a stop"
        ),
    ];
    effects.extend(voters_without(&view, id));
    let command = Command::RemoveNode { node: id };
    if !query.dry_run {
        agree(&site, &node.name, command).await?;
    } else if let Some(refused) = would_be_refused(&view, command) {
        effects = vec![refused];
    }
    Ok(json(&ChangePlan { dry_run: query.dry_run, effects }))
}

async fn issue_token(site: Data<Site>, request: HttpRequest, payload: Payload) -> Answer {
    let IssueJoinToken { role, valid_seconds } = read_json(&request, payload).await?;
    if !TOKEN_SECONDS.contains(&valid_seconds) {
        let (least, most) = (TOKEN_SECONDS.start(), TOKEN_SECONDS.end());
        let message = format!("a join token is good for {least} to {most} seconds, not {valid_seconds}");
        return Err(Error::field(ErrorCode::InvalidRequest, "valid_seconds", message));
    }
    let view = site.context.cluster.view();
    let members: Vec<_> = view.nodes.values().filter_map(|node| node.address.clone()).collect();
    if members.is_empty() {
        let message = "no node of this cluster can be reached by others: set cluster.listen and restart it".to_owned();
        return Err(Error::Unavailable { why: message, leader: None, nothing_done: true });
    }
    let token = draw_token().map_err(|error| Error::Node {
        code: ErrorCode::Internal,
        message: format!("the operating system gave no random bytes: {error}"),
    })?;
    let milliseconds = i64::try_from(valid_seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    let expires_at = Timestamp(clock::now().0.saturating_add(milliseconds));
    let (hash, permits) = (token_hash(&token), JoinToken { role, expires_at });
    site.change(Command::IssueJoinToken { hash, token: permits }).await?;
    tracing::info!(%role, "a join token was issued");
    let answer = JoinTokenAnswer { token: String::clone(&token), role, expires_at, members };
    Ok(HttpResponse::build(StatusCode::CREATED).json(&answer))
}

async fn moves(site: Data<Site>) -> Answer {
    Ok(json(&List { items: on_their_way(&site.context.cluster.view()), next: None }))
}

/// Every partition that is on its way between two nodes; the planner moves a few at a time.
fn on_their_way(view: &State) -> Vec<MoveView> {
    let one = |(id, partition): (&PartitionId, &Partition)| {
        let (from, to) = partition.owner.zip(partition.moving_to)?;
        let stream = view.stream_by_id(id.stream)?.spec.name.clone();
        Some(MoveView { stream, source: id.source.clone(), from, to })
    };
    view.partitions.iter().filter_map(one).collect()
}

/// Never a secret in clear: sealed ones are opened only by the key that the nodes keep beside their data.
async fn backup(site: Data<Site>, request: HttpRequest) -> Answer {
    let BackupQuery { stale } = read_query(&request)?;
    // Whatever was answered before this moment is in the file.
    let at = clock::now();
    let taken = site.context.cluster.backup(stale).await.map_err(|error| match error {
        NoBackup::Failed(message) => Error::Node { code: ErrorCode::Internal, message },
        NoBackup::Unconfirmed(why) => Error::Unavailable {
            why: format!(
                "{why}, so a backup may lack what is agreed on; `--stale` (`?stale=true`) takes what this node has"
            ),
            leader: None,
            nothing_done: true,
        },
    })?;
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((APPLIED_INDEX, taken.applied.to_string()))
        .insert_header((TAKEN_AT, at.0.to_string()))
        .insert_header((MAY_BE_STALE, (!taken.confirmed).to_string()))
        .body(taken.bytes))
}

async fn transfer_leader(site: Data<Site>, request: HttpRequest, payload: Payload) -> Answer {
    let TransferLeader { to } = read_json(&request, payload).await?;
    let view = site.context.cluster.view();
    let to = to.map(|name| find(&view, name.as_str()).map(|(id, _)| id)).transpose()?;
    let done = site.context.cluster.transfer_leader(to).await;
    done.map_err(|error| match error {
        NoTransfer::CannotLead(why) => Error::field(ErrorCode::CannotLead, "to", why),
        NoTransfer::Failed(error) => error.into(),
    })?;
    Ok(json(&listed(&site.context)))
}

fn no_such(name: &str) -> Error {
    Error::NoSuchNode(name.to_owned())
}

fn find<'a>(view: &'a State, name: &str) -> Result<(NodeId, &'a Node), Error> {
    let found = view.nodes.iter().find(|(_, node)| node.name.as_str() == name);
    found.map(|(id, node)| (*id, node)).ok_or_else(|| no_such(name))
}

/// Every node, in the order of their numbers.
pub(super) fn shown(context: &AdminContext) -> Vec<NodeView> {
    listed(context).items
}

/// Every node, and every member of the Raft group that is none.
fn listed(context: &AdminContext) -> NodeList {
    let (view, raft) = (context.cluster.view(), context.cluster.raft());
    let mut members: BTreeMap<_, _> =
        context.cluster.members().into_iter().map(|member| (member.node, member)).collect();
    let mut reports = context.nodes.all();
    // What an earlier leader said last is not what anybody knows now.
    let known = raft.leader.map(|_| known(&reports)).unwrap_or_default();
    let known = |id: NodeId| known.get(&id).copied().unwrap_or_default();
    let mut counts = counts(&view);
    let one = |(id, node): (&NodeId, &Node)| {
        let member = members.remove(id).unwrap_or_else(|| Member::unknown(*id));
        let Counts { owned, leaving, arriving } = counts.remove(id).unwrap_or_default();
        NodeView {
            id: *id,
            name: node.name.clone(),
            region: node.region.clone(),
            address: node.address.clone(),
            role: node.role,
            member: member.role,
            leader: raft.leader == Some(*id),
            answers: context.node.id == *id,
            liveness: known(*id).liveness,
            behind_entries: known(*id).behind_entries,
            connection: member.connection,
            draining: node.draining,
            leaving: node.leaving,
            partitions: owned,
            leaving_partitions: leaving,
            arriving_partitions: arriving,
            command_version: node.supports,
            starts: node.starts,
            started_at: node.started_at,
            figures: reports.remove(id).map(|report| report.figures),
        }
    };
    let items = view.nodes.iter().map(one).collect();
    let strange = |(id, member): (NodeId, Member)| {
        let (leader, behind_entries) = (raft.leader == Some(id), known(id).behind_entries);
        member.role.map(|role| StrangeMember {
            id,
            member: role,
            leader,
            behind_entries,
            connection: member.connection,
        })
    };
    let strange_members = members.into_iter().filter_map(strange).collect();
    NodeList { items, next: None, strange_members, removed: raft.removed }
}

/// Partitions of one node.
#[derive(Default)]
struct Counts {
    owned: usize,
    /// Of these, on their way to another node.
    leaving: usize,
    arriving: usize,
}

/// One walk over all partitions, however many nodes there are.
fn counts(view: &State) -> BTreeMap<NodeId, Counts> {
    let mut counts: BTreeMap<NodeId, Counts> = BTreeMap::new();
    for partition in view.partitions.values() {
        if let Some(owner) = partition.owner {
            let of_owner = counts.entry(owner).or_default();
            of_owner.owned = of_owner.owned.saturating_add(1);
            of_owner.leaving = of_owner.leaving.saturating_add(usize::from(partition.moving_to.is_some()));
        }
        if let Some(to) = partition.moving_to {
            let of_heir = counts.entry(to).or_default();
            of_heir.arriving = of_heir.arriving.saturating_add(1);
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use causeway_core::command::{CURRENT_VERSION, Command};
    use causeway_core::ids::{NodeId, Timestamp};
    use causeway_core::node::{JoinToken, MemberRole, NodeSpec, ProcessId};
    use serde_json::{Value, json};

    use super::{APPLIED_INDEX, MAY_BE_STALE, TAKEN_AT};
    use crate::admin::auth::token_hash;
    use crate::admin::router_tests::{Ask, run};
    use crate::admin::seam::{Cluster as _, ProposeError};
    use crate::admin::tests::{Fixture, TOKEN, name};

    fn fixture(address: Option<&str>) -> Fixture {
        let fixture = Fixture::with_two_streams();
        let (name, region, address) = (name("node-1"), name("hohhot"), address.map(str::to_owned));
        let spec = NodeSpec { name, region, address, supports: CURRENT_VERSION };
        fixture.cluster.apply(Command::StartNode { node: NodeId(1), spec, process: ProcessId(1) });
        fixture
    }

    async fn ask(fixture: &Fixture, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut answers = run(fixture, vec![Ask(method, path, body, &[])]).await;
        let (status, _, body) = answers.remove(0);
        (status.as_u16(), body)
    }

    #[actix_web::test]
    async fn nodes_are_listed_and_told_what_to_be() {
        let fixture = fixture(None);
        let (status, body) = ask(&fixture, Method::GET, "/v1/nodes", None).await;
        assert_eq!(status, 200);
        let node = &body["items"][0];
        assert_eq!((node["name"].as_str(), node["leader"].as_bool()), (Some("node-1"), Some(true)), "{body}");
        assert_eq!((node["partitions"].as_u64(), node["leaving_partitions"].as_u64()), (Some(3), Some(0)));
        assert_eq!((node["liveness"].as_str(), node["behind_entries"].as_u64()), (Some("up"), Some(0)));
        assert_eq!((node["figures"]["lease"].as_str(), node["figures"]["term"].as_u64()), (Some("held"), Some(1)));
        let (status, body) = ask(&fixture, Method::POST, "/v1/nodes/node-1:drain?dry_run=true", None).await;
        assert_eq!((status, body["dry_run"].as_bool()), (200, Some(true)));
        let (status, body) = ask(&fixture, Method::POST, "/v1/nodes/node-1:drain", None).await;
        assert_eq!((status, body["draining"].as_bool()), (200, Some(true)), "{body}");
        let (status, body) = ask(&fixture, Method::POST, "/v1/nodes/node-1:undrain", None).await;
        assert_eq!((status, body["draining"].as_bool()), (200, Some(false)), "{body}");
        let (status, body) = ask(&fixture, Method::POST, "/v1/nodes/node-1:demote", None).await;
        assert_eq!((status, body["error"]["code"].as_str()), (409, Some("CWY-0116")), "{body}");
        let (status, body) = ask(&fixture, Method::DELETE, "/v1/nodes/nobody", None).await;
        assert_eq!((status, body["error"]["code"].as_str()), (404, Some("CWY-0115")));
        let (status, body) = ask(&fixture, Method::DELETE, "/v1/nodes/node-1", None).await;
        assert_eq!((status, body["error"]["code"].as_str()), (409, Some("CWY-0116")), "{body}");
    }

    #[actix_web::test]
    async fn members_that_are_no_nodes_and_nodes_that_are_no_members_are_listed() {
        let fixture = fixture(Some("127.0.0.1:7501"));
        fixture.cluster.also_members.lock().unwrap().push(NodeId(7));
        let (_, answer) = ask(&fixture, Method::POST, "/v1/cluster/join-tokens", Some(json!({}))).await;
        let hash = token_hash(answer["token"].as_str().unwrap());
        let (name, region) = (name("node-2"), name("hohhot"));
        let spec = NodeSpec { name, region, address: Some("127.0.0.1:7502".to_owned()), supports: CURRENT_VERSION };
        fixture.cluster.apply(Command::AdmitNode { token: hash, spec });
        let (_, body) = ask(&fixture, Method::GET, "/v1/nodes", None).await;
        let members: Vec<_> = body["items"].as_array().unwrap().iter().map(|node| &node["member"]).collect();
        assert_eq!(members, [&json!("voter"), &Value::Null], "{body}");
        let strange = &body["strange_members"];
        assert_eq!((strange[0]["id"].as_u64(), strange[0]["member"].as_str()), (Some(7), Some("voter")), "{body}");
        assert_eq!(strange.as_array().unwrap().len(), 1, "{body}");
    }

    #[actix_web::test]
    async fn partitions_that_are_on_their_way_are_listed_and_counted_on_both_sides() {
        let fixture = fixture(None);
        let spec = NodeSpec { name: name("node-2"), region: name("hohhot"), address: None, supports: CURRENT_VERSION };
        let hash = token_hash("cwy_join");
        let token = JoinToken { role: MemberRole::Learner, expires_at: Timestamp(i64::MAX) };
        fixture.cluster.apply(Command::IssueJoinToken { hash, token });
        let address = Some("127.0.0.1:7502".to_owned());
        fixture.cluster.apply(Command::AdmitNode { token: hash, spec: NodeSpec { address, ..spec } });
        assert_eq!(ask(&fixture, Method::GET, "/v1/cluster/moves", None).await.1["items"], json!([]));
        let view = fixture.cluster.view();
        let (partition, is) = view.partitions.iter().next().unwrap();
        let (partition, epoch) = (partition.clone(), is.epoch);
        fixture.cluster.apply(Command::Move { partition, epoch, to: NodeId(2) });
        let (_, body) = ask(&fixture, Method::GET, "/v1/cluster/moves", None).await;
        let source = json!({ "broker": "broker-a", "queue": 0 });
        assert_eq!(body["items"], json!([{ "stream": "orders", "source": source, "from": 1, "to": 2 }]));
        let (_, body) = ask(&fixture, Method::GET, "/v1/nodes", None).await;
        let counts = |node: usize| {
            let node = &body["items"][node];
            (node["leaving_partitions"].clone(), node["arriving_partitions"].clone())
        };
        assert_eq!((counts(0), counts(1)), ((json!(1), json!(0)), (json!(0), json!(1))));
        assert_eq!(body["items"][1]["figures"], Value::Null, "it said nothing yet");
        let (_, status) = ask(&fixture, Method::GET, "/v1/status", None).await;
        assert_eq!((&status["nodes"], status["moves"].as_u64()), (&body["items"], Some(1)));
    }

    #[actix_web::test]
    async fn a_join_token_is_shown_once_and_never_for_a_cluster_that_nobody_reaches() {
        let path = "/v1/cluster/join-tokens";
        let alone = fixture(None);
        let (status, answer) = ask(&alone, Method::POST, path, Some(json!({ "valid_seconds": 5 }))).await;
        assert_eq!((status, answer["error"]["field"].as_str()), (400, Some("valid_seconds")), "{answer}");
        let (status, answer) = ask(&alone, Method::POST, path, Some(json!({}))).await;
        assert_eq!(status, 503, "{answer}");
        let fixture = fixture(Some("127.0.0.1:7501"));
        let (status, answer) = ask(&fixture, Method::POST, path, Some(json!({ "role": "learner" }))).await;
        assert_eq!((status, answer["role"].as_str()), (201, Some("learner")), "{answer}");
        let token = answer["token"].as_str().unwrap();
        assert!(token.starts_with("cwy_") && token != TOKEN);
        assert_eq!(answer["members"], json!(["127.0.0.1:7501"]));
        assert!(fixture.cluster.view().join_tokens.contains_key(&token_hash(token)), "only its hash is kept");
    }

    #[actix_web::test]
    async fn a_backup_is_a_file_that_says_how_new_it_is_and_needs_a_majority_unless_it_may_be_old() {
        let fixture = fixture(None);
        let backup = async |query: &str| {
            let path = format!("/v1/cluster/backup{query}");
            run(&fixture, vec![Ask(Method::GET, &path, None, &[])]).await.remove(0)
        };
        let says = |headers: &str, name: &str, value: &str| {
            let rest = headers.split(name).nth(1).unwrap_or_else(|| panic!("no {name} in {headers}"));
            rest.split('"').nth(2).is_some_and(|said| said.starts_with(value))
        };
        let (status, headers, body) = backup("").await;
        assert_eq!((status.as_u16(), body.as_str()), (200, Some("the agreed state")));
        assert!(says(&headers, APPLIED_INDEX, "8") && says(&headers, MAY_BE_STALE, "false"), "{headers}");
        assert!(says(&headers, TAKEN_AT, "1"), "{headers}");
        let why = "no majority".to_owned();
        *fixture.cluster.down.lock().unwrap() = Some(ProposeError { why, leader: None, outcome_is_unknown: false });
        let (status, headers, body) = backup("").await;
        assert_eq!((status.as_u16(), body["error"]["code"].as_str()), (503, Some("CWY-0502")), "{body}");
        assert!(headers.contains("retry-after") && body.to_string().contains("--stale"), "{headers} {body}");
        let (status, headers, _) = backup("?stale=true").await;
        assert!(status.is_success() && says(&headers, MAY_BE_STALE, "true"), "{headers}");
    }

    #[actix_web::test]
    async fn leadership_goes_where_it_is_asked_to() {
        let fixture = fixture(None);
        let (status, _) = ask(&fixture, Method::POST, "/v1/cluster/leader", Some(json!({ "to": "nobody" }))).await;
        assert_eq!(status, 404);
        let (status, answer) = ask(&fixture, Method::POST, "/v1/cluster/leader", Some(json!({}))).await;
        assert_eq!((status, answer["error"]["code"].as_str()), (409, Some("CWY-0118")), "{answer}");
        assert_eq!(answer["error"]["message"].as_str(), Some("nobody else can lead"), "{answer}");
    }
}
