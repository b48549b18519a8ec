//! `/v1/instances`: registered, shown, changed, tested, removed.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, web};
use causeway_core::command::Command;
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::InstanceIdentity;
use causeway_core::instance::{Instance, InstanceSpec};
use causeway_core::name::Name;
use causeway_core::outcome::Refusal;
use causeway_core::state::State;

use super::answer::{Answer, Error, check_version, json, required_version, versioned};
use super::body::{read_json, read_query};
use super::model::change::{ChangePlan, ChangeQuery, ListQuery};
use super::model::instance::{CreateInstance, InstanceView, TestQuery};
use super::seam::Site;
use super::{probe, server, validate};

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let one = "/v1/instances/{name:[^/:]+}";
    config
        .service(server::resource("/v1/instances").route(web::get().to(list)).route(web::post().to(create)))
        .service(server::resource(&format!("{one}:test")).route(web::post().to(test)))
        .service(
            server::resource(one)
                .route(web::get().to(show))
                .route(web::put().to(change))
                .route(web::delete().to(delete)),
        );
}

async fn list(site: Data<Site>, request: HttpRequest) -> Answer {
    let query: ListQuery = read_query(&request)?;
    let view = site.context.cluster.view();
    Ok(json(&server::page_of(view.instances.iter(), &query, |instance| shown(&view, instance))?))
}

async fn show(site: Data<Site>, path: Path<String>) -> Answer {
    let view = site.context.cluster.view();
    let instance = find(&view, &path)?;
    Ok(versioned(StatusCode::OK, instance.version, &shown(&view, instance)))
}

async fn create(site: Data<Site>, request: HttpRequest, payload: Payload) -> Answer {
    let query: ChangeQuery = read_query(&request)?;
    let body: CreateInstance = read_json(&request, payload).await?;
    let (spec, identity) = validate::instance(&body, None, &site.context.secrets).map_err(Error::Invalid)?;
    let view = site.context.cluster.view();
    if view.instances.contains_key(&spec.name) {
        let message = format!("instance {} exists already; choose another name, or change it with PUT", spec.name);
        return Err(Error::field(ErrorCode::NameTaken, "name", message));
    }
    if let Some(same) = identity.and_then(|identity| view.instances.values().find(|other| other.identity == identity)) {
        let message = format!("instance {} has this identity; two RocketMQ clusters never share one", same.spec.name);
        return Err(Error::field(ErrorCode::InvalidRequest, "identity", message));
    }
    if query.dry_run {
        let effects = vec![format!("instance {} would be registered in region {}", spec.name, spec.region)];
        return Ok(json(&ChangePlan { dry_run: true, effects }));
    }
    let identity = identity.map_or_else(draw_identity, Ok)?;
    put(&site, spec, identity, None, StatusCode::CREATED).await
}

async fn change(site: Data<Site>, request: HttpRequest, path: Path<String>, payload: Payload) -> Answer {
    let query: ChangeQuery = read_query(&request)?;
    let body: CreateInstance = read_json(&request, payload).await?;
    let view = site.context.cluster.view();
    let instance = find(&view, &path)?;
    let registered = instance.spec.credentials.as_ref();
    let (spec, identity) = validate::instance(&body, registered, &site.context.secrets).map_err(Error::Invalid)?;
    if spec.name != instance.spec.name {
        return Err(Error::field(ErrorCode::InvalidRequest, "name", "an instance keeps its name"));
    }
    if identity.is_some_and(|identity| identity != instance.identity) {
        return Err(Error::field(ErrorCode::InvalidRequest, "identity", "an instance keeps its identity"));
    }
    check_version(&request, instance.version)?;
    let expected = required_version(&request)?;
    if query.dry_run {
        let effects = vec![format!("instance {} would be changed; its streams reconnect", spec.name)];
        return Ok(json(&ChangePlan { dry_run: true, effects }));
    }
    put(&site, spec, instance.identity, Some(expected), StatusCode::OK).await
}

async fn put(
    site: &Site,
    spec: InstanceSpec,
    identity: InstanceIdentity,
    expected: Option<u64>,
    status: StatusCode,
) -> Answer {
    let name = spec.name.clone();
    site.change(Command::PutInstance { spec, identity, expected }).await?;
    tracing::info!(instance = %name, new = expected.is_none(), "an instance was registered or changed");
    let view = site.context.cluster.view();
    let instance = find(&view, name.as_str())?;
    Ok(versioned(status, instance.version, &shown(&view, instance)))
}

async fn delete(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    let query: ChangeQuery = read_query(&request)?;
    let view = site.context.cluster.view();
    let instance = find(&view, &path)?;
    check_version(&request, instance.version)?;
    let name = instance.spec.name.clone();
    if let Some(stream) = users(&view, &name).into_iter().next() {
        return Err(Error::Refused(Refusal::InstanceInUse { instance: name, stream }));
    }
    if !query.dry_run {
        site.change(Command::DeleteInstance { name: name.clone() }).await?;
        tracing::info!(instance = %name, "an instance was removed");
    }
    let would = if query.dry_run { "would be removed" } else { "was removed" };
    let effects = vec![format!("instance {name} {would}; nothing changes at the RocketMQ cluster itself")];
    Ok(json(&ChangePlan { dry_run: query.dry_run, effects }))
}

async fn test(site: Data<Site>, request: HttpRequest, path: Path<String>) -> Answer {
    let query: TestQuery = read_query(&request)?;
    let spec = find(&site.context.cluster.view(), &path)?.spec.clone();
    let _permit = site.probe_permit()?;
    Ok(json(&probe::test(&site.context.instances, &spec, query.topic.as_deref()).await))
}

pub(super) fn find<'a>(view: &'a State, name: &str) -> Result<&'a Instance, Error> {
    let missing = || Error::NoSuchPath(format!("instance with the name {name:?}"));
    let name = Name::new(name).map_err(|_| missing())?;
    view.instances.get(&name).ok_or(Error::Refused(Refusal::NoSuchInstance(name)))
}

fn shown(view: &State, instance: &Instance) -> InstanceView {
    InstanceView::new(instance, users(view, &instance.spec.name))
}

fn users(view: &State, instance: &Name) -> Vec<Name> {
    let uses = |spec: &causeway_core::stream::StreamSpec| {
        spec.source.instance == *instance || spec.target.instance == *instance
    };
    view.streams.values().filter(|stream| uses(&stream.spec)).map(|stream| stream.spec.name.clone()).collect()
}

fn draw_identity() -> Result<InstanceIdentity, Error> {
    let mut bytes = [0_u8; 8];
    getrandom::fill(&mut bytes).map_err(|error| Error::Node {
        code: ErrorCode::Internal,
        message: format!("the operating system gives no random bytes: {error}"),
    })?;
    Ok(InstanceIdentity(u64::from_be_bytes(bytes)))
}
