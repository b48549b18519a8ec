//! `/v1/streams/NAME/partitions`: shown with every figure, and resolved when they wait for a decision.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, web};
use causeway_core::command::Command;
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::Timestamp;
use causeway_core::outcome::{Outcome, Refusal};
use causeway_core::partition::{Partition, PartitionId, QueueId, RaisedFault};
use causeway_core::skip::Skip;
use causeway_core::state::State;

use super::answer::{Answer, Error, json};
use super::body::{read_json, read_query};
use super::decision;
use super::model::change::ListQuery;
use super::model::error::help;
use super::model::partition::{
    FaultView, PartitionFiguresView, PartitionView, ReadPathView, ResolveQuery, ResolveRequest, ResolvedView,
};
use super::seam::{AdminContext, Site};
use super::survey::{PartitionSurvey, rpo_seconds, survey_one};
use super::{server, streams};
use crate::clock;
use crate::status::{PartitionFigures, ReadPath};

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let all = "/v1/streams/{name:[^/:]+}/partitions";
    let one = format!("{all}/{{broker:[^/]+}}/{{queue:[0-9]+}}");
    config
        .service(server::resource(all).route(web::get().to(list)))
        .service(server::resource(&format!("{one}:resolve")).route(web::post().to(resolve)))
        .service(server::resource(&one).route(web::get().to(show)));
}

async fn list(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    let query: ListQuery = read_query(&request)?;
    let after = query.after.as_deref().map(queue_named).transpose()?;
    let view = site.context.cluster.view();
    let stream = streams::find(&view, &path)?;
    let survey = survey_one(&view, &site.context.board, stream);
    let now = clock::now();
    let rest = survey
        .partitions
        .into_iter()
        .filter(|partition| after.as_ref().is_none_or(|after| partition.id.source > *after));
    let named = rest.map(|partition| (&partition.id.source, partition));
    Ok(json(&server::first_of(named, query.limit, |partition| shown(&site.context, partition, now))?))
}

/// Reads the `next` of a list of partitions: `BROKER/QUEUE`.
fn queue_named(text: &str) -> Result<QueueId, Error> {
    let parts = text.rsplit_once('/').and_then(|(broker, queue)| Some((broker, queue.parse().ok()?)));
    parts.map(|(broker, queue)| QueueId { broker: broker.to_owned(), queue }).ok_or_else(|| {
        Error::field(ErrorCode::InvalidRequest, "after", "name a partition as BROKER/QUEUE, as \"broker-a/3\"")
    })
}

async fn show(site: Data<Site>, path: Path<(String, String, u32)>) -> Answer {
    let view = site.context.cluster.view();
    let (id, _) = find(&view, &path)?;
    let stream = streams::find(&view, &path.0)?;
    let survey = survey_one(&view, &site.context.board, stream);
    let found = survey.partitions.into_iter().find(|partition| *partition.id == id);
    let partition = found.ok_or_else(|| Error::Refused(Refusal::NoSuchPartition(id.source.to_string())))?;
    Ok(json(&shown(&site.context, partition, clock::now())))
}

async fn resolve(
    site: Data<Site>,
    request: HttpRequest,
    path: Path<(String, String, u32)>,
    payload: Payload,
) -> Answer {
    let query: ResolveQuery = read_query(&request)?;
    let decided: ResolveRequest = read_json(&request, payload).await?;
    let view = site.context.cluster.view();
    let (id, partition) = find(&view, &path)?;
    let Some(raised) = &partition.fault else {
        return Err(Error::Refused(Refusal::NotFaulted(id.source.to_string())));
    };
    if query.fault_since.is_some_and(|since| since != raised.since) {
        return Err(Error::Refused(Refusal::FaultChanged(raised.fault.clone())));
    }
    let end = site.context.board.partitions().get(&id).and_then(|figures| figures.source_maximum);
    let mut answer = decision::explain(partition, raised, decided, end, clock::now())?;
    if query.dry_run {
        return Ok(json(&answer));
    }
    let raised = raised.clone();
    let fault = raised.fault.clone();
    let command = Command::DecideFault { partition: id.clone(), raised, resolution: decided.into() };
    answer.dry_run = false;
    if let Outcome::NewEpoch(epoch) = site.change(command).await? {
        answer.epoch = Some(epoch);
    }
    tracing::info!(stream = %path.0, partition = %id.source, decision = ?decided, %fault, "a fault was resolved");
    Ok(json(&answer))
}

fn find<'a>(view: &'a State, path: &(String, String, u32)) -> Result<(PartitionId, &'a Partition), Error> {
    let (name, broker, queue) = path;
    let stream = streams::find(view, name)?;
    let source = QueueId { broker: broker.clone(), queue: *queue };
    let id = PartitionId { stream: stream.id, source };
    match view.partitions.get(&id) {
        Some(partition) => Ok((id, partition)),
        None => Err(Error::Refused(Refusal::NoSuchPartition(format!("{} of stream {name}", id.source)))),
    }
}

/// What is shown of a fault behind a checkpoint at `agreed`, the next source offset.
#[must_use]
pub fn fault_view(raised: &RaisedFault, agreed: Option<i64>) -> FaultView {
    let code = raised.fault.code();
    let skip_to = match Skip::of(&raised.fault, agreed) {
        Ok(Skip::GoOnAt { source_next, .. }) => Some(source_next),
        Ok(Skip::TrustCheckpoint { .. }) => agreed,
        Err(_) => None,
    };
    FaultView {
        code: code.to_string(),
        message: raised.fault.to_string(),
        help: help(code),
        since: raised.since,
        skip_to,
        detail: raised.fault.clone(),
    }
}

fn shown(context: &AdminContext, partition: PartitionSurvey<'_>, now: Timestamp) -> PartitionView {
    let PartitionSurvey { id, agreed, condition, figures } = partition;
    let position = agreed.checkpoint.as_ref().map(|checkpoint| checkpoint.source_next);
    let resolved = agreed.resolved.iter().map(|past| ResolvedView {
        fault: past.fault.clone(),
        decision: past.resolution.into(),
        at: past.at,
    });
    PartitionView {
        source: id.source.clone(),
        target: agreed.target.clone(),
        condition: condition.into(),
        owner: agreed.owner,
        epoch: agreed.epoch,
        generation: agreed.generation,
        start: agreed.start,
        source_incarnation: agreed.source_incarnation,
        target_incarnation: agreed.target_incarnation,
        checkpoint: agreed.checkpoint.clone(),
        fault: agreed.fault.as_ref().map(|raised| fault_view(raised, position)),
        resolved: resolved.collect(),
        rewinds: agreed.rewinds,
        figures: figures.map(|figures| figures_view(context, id, &figures, now)),
    }
}

fn figures_view(
    context: &AdminContext,
    id: &PartitionId,
    figures: &PartitionFigures,
    now: Timestamp,
) -> PartitionFiguresView {
    let (read_path, relay) = match figures.read_path.filter(|_| figures.runs) {
        None => (None, None),
        Some(ReadPath::Direct) => (Some(ReadPathView::Direct), None),
        Some(ReadPath::Relay(node)) => (Some(ReadPathView::Relay), Some(node)),
    };
    PartitionFiguresView {
        read_path,
        relay,
        read_messages: figures.read_messages,
        read_bytes: figures.read_bytes,
        slave_read_messages: figures.slave_read_messages,
        copied_messages: figures.written_messages,
        copied_bytes: figures.written_bytes,
        filtered_messages: figures.filtered_messages,
        looped_messages: figures.looped_messages,
        zombie_writes: figures.zombie_writes,
        in_flight_bytes: figures.in_flight_bytes,
        source_next: figures.source_next,
        source_maximum: figures.source_maximum,
        durable_next: figures.durable_next,
        lag_messages: figures.lag_messages(),
        lag_seconds: figures.lag_seconds(now),
        rpo_seconds: rpo_seconds(figures, now),
        copied_messages_per_second: context.rates.partition_rates(id).map(|rates| rates.written_messages),
        caught_up_at: figures.caught_up_at,
        checkpoint_at: figures.checkpoint_at,
    }
}
