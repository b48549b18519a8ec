//! `/v1/marks`: the command of the next version, for tests of a rolling upgrade. In no release.

use actix_web::web;
use actix_web::web::Data;
use causeway_core::command::Command;
use serde_json::json;

use super::answer::{Answer, json};
use super::seam::Site;
use super::server;

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(server::resource("/v1/marks").route(web::get().to(show)).route(web::post().to(mark)));
}

async fn show(site: Data<Site>) -> Answer {
    let view = site.context.cluster.view();
    Ok(json(&json!({ "agreed_version": view.agreed_version, "marks": view.marks })))
}

async fn mark(site: Data<Site>) -> Answer {
    site.change(Command::Mark).await?;
    show(site).await
}
