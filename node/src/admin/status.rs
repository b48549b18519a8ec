//! `/v1/status`, `/v1/version`, `/metrics` and `/healthz`: what is true right now, in one answer each.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, web};
use causeway_core::command::CURRENT_VERSION;
use causeway_core::ids::Timestamp;
use causeway_core::name::Name;
use causeway_core::state::State;
use causeway_core::stream::Endpoint;
use serde::Deserialize;

use super::answer::{Answer, json};
use super::body::read_query;
use super::history::History;
use super::model::change::VersionAnswer;
use super::model::status::{
    DeletingStream, EndpointStatus, FlowStatus, HistoryPoint, InstanceSummary, NodeStatus, RaftStatus, StatusAnswer,
    StatusQuery, StreamFigures, StreamStatus,
};
use super::seam::{AdminContext, Site};
use super::survey::{StreamSurvey, deleting, severity, survey, survey_one};
use super::{nodes, server, streams};
use crate::clock;
use crate::status::node::REMOVED;
use crate::status::{PartitionFigures, ReadPath, RunState};
use crate::telemetry::ScrapeOptions;
use crate::telemetry::rates::{RatePoint, checkpoint_age_seconds, lag_messages, lag_seconds, worst_rpo_seconds};

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(server::resource("/v1/status").route(web::get().to(show)))
        .service(server::resource("/v1/version").route(web::get().to(version)))
        .service(server::resource("/metrics").route(web::get().to(metrics)))
        .service(server::resource("/healthz").route(web::get().to(health)).route(web::head().to(health)));
}

async fn show(site: Data<Site>, request: HttpRequest) -> Answer {
    let query: StatusQuery = read_query(&request)?;
    let view = site.context.cluster.view();
    let history = site.history.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(json(&answer(&site.context, &view, &history, query, clock::now())))
}

/// `GET /v1/streams/NAME:status`: one stream of `/v1/status`.
pub(super) async fn show_stream(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    let query: StatusQuery = read_query(&request)?;
    let view = site.context.cluster.view();
    let survey = survey_one(&view, &site.context.board, streams::find(&view, &path)?);
    let history = site.history.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(json(&stream_status(&site.context, &view, &history, &survey, query, clock::now())))
}

async fn version(site: Data<Site>) -> Answer {
    let node = &site.context.node;
    Ok(json(&VersionAnswer {
        version: node.version.to_owned(),
        command_version: CURRENT_VERSION,
        node: node.id,
        cluster: VersionAnswer::cluster_text(site.context.cluster.view().cluster),
    }))
}

/// Query of `GET /metrics`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MetricsQuery {
    /// One series for each source queue in place of each series of a stream.
    queues: bool,
}

async fn metrics(request: HttpRequest, site: Data<Site>) -> Answer {
    let MetricsQuery { queues } = read_query(&request)?;
    let text = (site.context.metrics)(ScrapeOptions { queues });
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

/// Says only that the process answers, and whether its cluster knows it; whether streams run is in `/v1/status`. A node
/// that was removed answers with success: to start it again, as platforms do with one that does not, heals nothing.
async fn health(site: Data<Site>) -> HttpResponse {
    let text = match site.context.cluster.raft().removed {
        None => "ok\n".to_owned(),
        Some(_) => format!("removed: {REMOVED}\n"),
    };
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text)
}

fn answer(context: &AdminContext, view: &State, history: &History, query: StatusQuery, now: Timestamp) -> StatusAnswer {
    let surveys = survey(view, &context.board);
    let streams: Vec<StreamStatus> =
        surveys.iter().map(|stream| stream_status(context, view, history, stream, query, now)).collect();
    let node = &context.node;
    StatusAnswer {
        at: now,
        node: NodeStatus {
            id: node.id,
            name: node.name.clone(),
            region: node.region.clone(),
            version: node.version.to_owned(),
            started_at: node.started_at,
        },
        raft: RaftStatus { nodes: view.nodes.len(), ..context.cluster.raft() },
        nodes: nodes::shown(context),
        moves: view.partitions.values().filter(|partition| partition.moving_to.is_some()).count(),
        instances: view
            .instances
            .values()
            .map(|instance| InstanceSummary { name: instance.spec.name.clone(), region: instance.spec.region.clone() })
            .collect(),
        flows: flows(&streams),
        streams,
        deleting: deleting(view, &context.board)
            .into_iter()
            .map(|(id, partitions)| DeletingStream { id, partitions })
            .collect(),
        events: history.events(),
    }
}

fn stream_status(
    context: &AdminContext,
    view: &State,
    history: &History,
    survey: &StreamSurvey<'_>,
    query: StatusQuery,
    now: Timestamp,
) -> StreamStatus {
    let spec = &survey.agreed.spec;
    let points = match query.history_since {
        Some(since) => points(context.rates.snapshot(survey.agreed.id), since),
        None => Vec::new(),
    };
    StreamStatus {
        name: spec.name.clone(),
        source: endpoint(view, &spec.source),
        target: endpoint(view, &spec.target),
        desired: survey.agreed.desired,
        condition: survey.condition.clone().into(),
        partitions: survey.partitions.len(),
        partition_states: states(survey),
        figures: figures(context, survey, now),
        catch_up: history.catch_up(survey),
        history: points,
    }
}

fn endpoint(view: &State, end: &Endpoint) -> EndpointStatus {
    // The state machine removes no instance that a stream uses; its own name is the best label if it ever were.
    let region = view.instances.get(&end.instance).map_or(&end.instance, |instance| &instance.spec.region);
    EndpointStatus { instance: end.instance.clone(), region: region.clone(), topic: end.topic.clone() }
}

fn points(points: Vec<RatePoint>, since: i64) -> Vec<HistoryPoint> {
    let shown = |point: RatePoint| HistoryPoint {
        at: point.at,
        copied_messages_per_second: point.rates.map(|rates| rates.written_messages),
        lag_messages: point.lag_messages,
        lag_seconds: point.lag_seconds,
    };
    points.into_iter().filter(|point| point.at.0 > since).map(shown).collect()
}

/// How many partitions are in each state.
pub(super) fn states(survey: &StreamSurvey<'_>) -> BTreeMap<RunState, usize> {
    let mut states = BTreeMap::new();
    for partition in &survey.partitions {
        let count: &mut usize = states.entry(partition.condition.state).or_default();
        *count = count.saturating_add(1);
    }
    states
}

/// The figures of a stream, from its partitions and the sampled totals.
pub(super) fn figures(context: &AdminContext, survey: &StreamSurvey<'_>, now: Timestamp) -> StreamFigures {
    let known: Vec<&PartitionFigures> =
        survey.partitions.iter().filter_map(|partition| partition.figures.as_ref()).collect();
    let all_known = known.len() == survey.partitions.len();
    let (direct_partitions, relayed_partitions) = read_paths(&context.cluster.view(), &known);
    let totals = context.rates.totals(survey.agreed.id).unwrap_or_default();
    // Of what an owner copies that is not heard nothing is seen, which is not nothing.
    let rates = context.rates.rates(survey.agreed.id).filter(|_| all_known);
    StreamFigures {
        read_messages: totals.read_messages,
        copied_messages: totals.written_messages,
        copied_bytes: totals.written_bytes,
        filtered_messages: totals.filtered_messages,
        looped_messages: totals.looped_messages,
        zombie_writes: totals.zombie_writes,
        in_flight_bytes: known.iter().map(|figures| figures.in_flight_bytes).fold(0, u64::saturating_add),
        direct_partitions,
        relayed_partitions,
        read_messages_per_second: rates.map(|rates| rates.read_messages),
        copied_messages_per_second: rates.map(|rates| rates.written_messages),
        copied_bytes_per_second: rates.map(|rates| rates.written_bytes),
        lag_messages: if all_known { lag_messages(&known) } else { None },
        lag_seconds: if all_known { lag_seconds(&known, now) } else { None },
        rpo_seconds: if all_known { worst_rpo_seconds(&known, now) } else { None },
        checkpoint_age_seconds: if all_known { checkpoint_age_seconds(&known, now) } else { None },
    }
}

/// How many partitions that run are read directly, and how many through each node.
fn read_paths(view: &State, known: &[&PartitionFigures]) -> (usize, BTreeMap<Name, usize>) {
    let (mut direct, mut relayed) = (0_usize, BTreeMap::new());
    for path in known.iter().filter(|figures| figures.runs).filter_map(|figures| figures.read_path) {
        match path {
            ReadPath::Direct => direct = direct.saturating_add(1),
            ReadPath::Relay(node) => {
                // A node that was removed a moment ago relays nothing any more.
                if let Some(node) = view.nodes.get(&node) {
                    let count: &mut usize = relayed.entry(node.name.clone()).or_default();
                    *count = count.saturating_add(1);
                }
            }
        }
    }
    (direct, relayed)
}

/// The arrows of the map.
fn flows(streams: &[StreamStatus]) -> Vec<FlowStatus> {
    let mut by_regions: BTreeMap<(&Name, &Name), Vec<&StreamStatus>> = BTreeMap::new();
    for stream in streams {
        by_regions.entry((&stream.source.region, &stream.target.region)).or_default().push(stream);
    }
    by_regions.into_iter().map(|((source, target), streams)| flow(source, target, &streams)).collect()
}

fn flow(source: &Name, target: &Name, streams: &[&StreamStatus]) -> FlowStatus {
    let active = || streams.iter().filter(|stream| stream.condition.state != RunState::Paused);
    let worst = active().map(|stream| stream.condition.state).max_by_key(|state| severity(*state));
    let rpo = || active().map(|stream| stream.figures.rpo_seconds).try_fold(0.0_f64, |sum, rpo| Some(sum.max(rpo?)));
    let mut rates = active().map(|stream| stream.figures.copied_messages_per_second);
    FlowStatus {
        source_region: source.clone(),
        target_region: target.clone(),
        streams: streams.len(),
        state: worst.unwrap_or(RunState::Paused),
        rpo_seconds: worst.and_then(|_| rpo()),
        copied_messages_per_second: rates.try_fold(0.0_f64, |sum, rate| Some(sum + rate?)),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
