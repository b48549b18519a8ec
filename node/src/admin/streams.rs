//! `/v1/streams`: planned, created, shown, paused, resumed, removed.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, web};
use causeway_core::command::Command;
use causeway_core::name::Name;
use causeway_core::outcome::Refusal;
use causeway_core::state::State;
use causeway_core::stream::{DesiredState, Stream};

use super::answer::{Answer, Error, check_version, json, versioned};
use super::body::{read_json, read_query};
use super::model::change::{ChangePlan, ChangeQuery, ListQuery};
use super::model::stream::{CreateStream, StreamView};
use super::seam::Site;
use super::survey::{StreamSurvey, survey_one};
use super::{copy_plan, server, status, validate};
use crate::clock;

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let one = "/v1/streams/{name:[^/:]+}";
    config
        .service(server::resource("/v1/streams").route(web::get().to(list)).route(web::post().to(create)))
        .service(server::resource(&format!("{one}:pause")).route(web::post().to(pause)))
        .service(server::resource(&format!("{one}:resume")).route(web::post().to(resume)))
        .service(server::resource(&format!("{one}:status")).route(web::get().to(status::show_stream)))
        .service(server::resource(one).route(web::get().to(show)).route(web::delete().to(delete)));
}

async fn list(site: Data<Site>, request: HttpRequest) -> Answer {
    let query: ListQuery = read_query(&request)?;
    let view = site.context.cluster.view();
    Ok(json(&server::page_of(view.streams.iter(), &query, |stream| shown(&site, &view, stream))?))
}

async fn show(site: Data<Site>, path: Path<String>) -> Answer {
    let view = site.context.cluster.view();
    let stream = find(&view, &path)?;
    Ok(versioned(StatusCode::OK, stream.version, &shown(&site, &view, stream)))
}

async fn create(site: Data<Site>, request: HttpRequest, payload: Payload) -> Answer {
    let query: ChangeQuery = read_query(&request)?;
    let body: CreateStream = read_json(&request, payload).await?;
    let spec = validate::stream(&body, &site.context.cluster.view(), clock::now()).map_err(Error::Invalid)?;
    if query.dry_run {
        let _permit = site.probe_permit()?;
        return Ok(json(&copy_plan::plan(&site.context, &spec).await?));
    }
    let name = spec.name.clone();
    site.change(Command::CreateStream { spec }).await?;
    tracing::info!(stream = %name, "a stream was created");
    let view = site.context.cluster.view();
    let stream = find(&view, name.as_str())?;
    Ok(versioned(StatusCode::CREATED, stream.version, &shown(&site, &view, stream)))
}

async fn pause(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    set_desired(&site, &request, &path, DesiredState::Paused).await
}

async fn resume(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    set_desired(&site, &request, &path, DesiredState::Running).await
}

async fn set_desired(site: &Site, request: &HttpRequest, name: &str, desired: DesiredState) -> Answer {
    let query: ChangeQuery = read_query(request)?;
    let view = site.context.cluster.view();
    let stream = find(&view, name)?;
    check_version(request, stream.version)?;
    if query.dry_run {
        let effects = vec![effect_of(stream, desired, view.partitions_of(stream.id).count())];
        return Ok(json(&ChangePlan { dry_run: true, effects }));
    }
    let name = stream.spec.name.clone();
    let command = match desired {
        DesiredState::Paused => Command::PauseStream { name: name.clone() },
        DesiredState::Running => Command::ResumeStream { name: name.clone() },
    };
    site.change(command).await?;
    tracing::info!(stream = %name, ?desired, "a stream was paused or resumed");
    let view = site.context.cluster.view();
    let stream = find(&view, name.as_str())?;
    Ok(versioned(StatusCode::OK, stream.version, &shown(site, &view, stream)))
}

fn effect_of(stream: &Stream, desired: DesiredState, partitions: usize) -> String {
    let name = &stream.spec.name;
    match (stream.desired == desired, desired) {
        (true, DesiredState::Paused) => format!("none: stream {name} is paused already"),
        (true, DesiredState::Running) => format!("none: stream {name} is not paused"),
        (false, DesiredState::Paused) => {
            format!(
                "stream {name} would stop after the sends under way; {partitions} partitions keep their checkpoints"
            )
        }
        (false, DesiredState::Running) => {
            format!("stream {name} would go on behind what is at the target already, in {partitions} partitions")
        }
    }
}

async fn delete(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    let query: ChangeQuery = read_query(&request)?;
    let view = site.context.cluster.view();
    let stream = find(&view, &path)?;
    check_version(&request, stream.version)?;
    let name = stream.spec.name.clone();
    let partitions = view.partitions_of(stream.id).count();
    if !query.dry_run {
        site.change(Command::DeleteStream { name: name.clone() }).await?;
        tracing::info!(stream = %name, "a stream was removed");
    }
    let (would, are) = if query.dry_run { ("would be", "would be") } else { ("was", "were") };
    let effects = vec![
        format!("stream {name} {would} removed and the checkpoints of its {partitions} partitions {are} forgotten"),
        format!(
            "topic {} and what was copied to {} stay as they are",
            stream.spec.source.topic, stream.spec.target.topic
        ),
    ];
    Ok(json(&ChangePlan { dry_run: query.dry_run, effects }))
}

pub(super) fn find<'a>(view: &'a State, name: &str) -> Result<&'a Stream, Error> {
    let missing = || Error::NoSuchPath(format!("stream with the name {name:?}"));
    let name = Name::new(name).map_err(|_| missing())?;
    view.streams.get(&name).ok_or(Error::Refused(Refusal::NoSuchStream(name)))
}

fn shown(site: &Site, view: &State, stream: &Stream) -> StreamView {
    let survey: StreamSurvey<'_> = survey_one(view, &site.context.board, stream);
    let (states, figures) = (status::states(&survey), status::figures(&site.context, &survey, clock::now()));
    StreamView::new(stream, survey.condition.into(), states, figures)
}
