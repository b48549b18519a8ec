//! The HTTP server: where it listens, what it bounds, which routes it has.
//!
//! It runs on a thread of its own with its own runtime, so that nothing a client does can hold up copying. It binds
//! only to loopback addresses: everything else needs TLS, which it does not speak.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::KeepAlive;
use actix_web::middleware::from_fn;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, HttpRequest, HttpServer, Resource, web};
use causeway_core::error_code::ErrorCode;
use causeway_core::name::Name;
use serde::Serialize;

use super::answer::{Answer, Error as Refused};
use super::model::change::{List, ListQuery};
use super::seam::{AdminContext, Site};
use super::survey::survey;
use super::{auth, error_pages, guard, instances, nodes, page, partitions, rules, status, streams};
use crate::clock;
use crate::supervisor::lifeline::Lifeline;

/// Threads that answer requests.
const WORKERS: usize = 2;
/// Connections at a time, over all workers.
const MAXIMUM_CONNECTIONS: usize = 256;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long requests under way may take when the server stops.
const STOP_TIMEOUT_SECONDS: u64 = 5;
/// How often the state of streams is looked at, for events and catch-ups.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Items of a list when the request names no limit, and the most that it may name.
const DEFAULT_ITEMS: u32 = 100;
const MAXIMUM_ITEMS: u32 = 1000;

/// Why the API does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bind to 127.0.0.1 or [::1] and reach it through a tunnel.
    #[error("the API listens only on loopback addresses until it has TLS; {0} is none")]
    UnsafeBind(SocketAddr),
    /// Choose another port, or end what uses this one.
    #[error("the API cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The operating system gives no thread or runtime.
    #[error("the API's thread does not start: {0}")]
    Thread(String),
}

impl Error {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnsafeBind(_) => ErrorCode::UnsafeBind,
            Self::Bind { .. } => ErrorCode::AddressUnusable,
            Self::Thread(_) => ErrorCode::Internal,
        }
    }
}

/// The running API. Dropping it leaves it running; [`Self::stop`] ends it.
#[derive(Debug)]
pub struct AdminServer {
    /// Where it listens, with the port that was chosen for port 0.
    pub address: SocketAddr,
    handle: ServerHandle,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl AdminServer {
    /// Stops listening, finishes requests under way (for at most five seconds) and waits for the thread to end.
    pub async fn stop(&self) {
        self.handle.stop(true).await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the API's thread panicked");
            }
        }
    }
}

/// An address that is taken for the API. Who connects waits until [`start`].
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Takes the address of the API.
///
/// # Errors
/// [`Error`] when the address is not a loopback one, or is in use.
pub fn bind(listen: SocketAddr) -> Result<Bound, Error> {
    if !listen.ip().is_loopback() {
        return Err(Error::UnsafeBind(listen));
    }
    let failed = |source| Error::Bind { address: listen, source };
    let listener = TcpListener::bind(listen).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

/// Starts the API. The lifeline is dropped when it has ended, or no longer looks at the streams.
///
/// # Errors
/// [`Error`] when the listener cannot be used, or there is no thread.
pub fn start(context: AdminContext, bound: Bound, lifeline: Lifeline) -> Result<AdminServer, Error> {
    let Bound { listener, address } = bound;
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    let run = move || {
        actix_web::rt::System::new().block_on(async move {
            let site = Data::new(Site::new(context));
            let looking = actix_web::rt::spawn(look(site.clone(), lifeline));
            let factory = move || {
                App::new()
                    .configure(|config| routes(config, &site))
                    .wrap(from_fn(auth::require_token))
                    .wrap(from_fn(guard::protect))
            };
            let server = HttpServer::new(factory)
                .workers(WORKERS)
                .max_connections(MAXIMUM_CONNECTIONS.div_ceil(WORKERS))
                .client_request_timeout(HEAD_TIMEOUT)
                .client_disconnect_timeout(Duration::from_secs(1))
                .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
                .shutdown_timeout(STOP_TIMEOUT_SECONDS)
                .disable_signals()
                .listen(listener);
            match server {
                Ok(server) => {
                    let running = server.run();
                    // The receiver waits below; if it went away, so did the caller, and the server ends with the
                    // process.
                    let _sent = sender.send(Ok(running.handle()));
                    if let Err(error) = running.await {
                        tracing::error!(%error, "the API ended");
                    }
                }
                Err(error) => {
                    let _sent = sender.send(Err(error));
                }
            }
            looking.abort();
        });
    };
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(run);
    let thread = thread.map_err(|error| Error::Thread(error.to_string()))?;
    let started = receiver.recv().map_err(|_| Error::Thread("it ended at once".to_owned()))?;
    let handle = started.map_err(|source| Error::Bind { address, source })?;
    Ok(AdminServer { address, handle, thread: Mutex::new(Some(thread)) })
}

/// Every route; the tests use the same.
pub(super) fn routes(config: &mut ServiceConfig, site: &Data<Site>) {
    config
        .app_data(site.clone())
        .app_data(
            web::PathConfig::default()
                .error_handler(|_, request| Refused::NoSuchPath(request.path().to_owned()).into()),
        )
        .configure(next_routes)
        .configure(page::routes)
        .configure(error_pages::routes)
        .configure(status::routes)
        .configure(instances::routes)
        .configure(nodes::routes)
        .configure(partitions::routes)
        .configure(rules::routes)
        .configure(streams::routes)
        .default_service(web::to(no_such_path));
}

/// Those of the next version of the command set, which no release has.
fn next_routes(_config: &mut web::ServiceConfig) {
    #[cfg(feature = "next-commands")]
    super::marks::routes(_config);
}

/// A resource that answers other methods with an error of ours.
pub(super) fn resource(path: &str) -> Resource {
    web::resource(path).default_service(web::to(no_such_method))
}

async fn no_such_path(request: HttpRequest) -> Answer {
    Err(Refused::NoSuchPath(request.path().to_owned()))
}

async fn no_such_method(request: HttpRequest) -> Answer {
    Err(Refused::NoSuchMethod(format!("{} {}", request.method(), request.path())))
}

/// The part of a list that a query asks for. Items come in the order of their names.
pub(super) fn page_of<'a, T: 'a, V: Serialize>(
    items: impl Iterator<Item = (&'a Name, &'a T)>,
    query: &ListQuery,
    shown: impl Fn(&'a T) -> V,
) -> Result<List<V>, Refused> {
    let after = query.after.as_deref();
    let rest = items.filter(|(name, _)| after.is_none_or(|after| name.as_str() > after));
    first_of(rest, query.limit, shown)
}

/// The first items of what is left of a list. `next` is the name of the last one.
pub(super) fn first_of<N: ToString, T, V: Serialize>(
    items: impl Iterator<Item = (N, T)>,
    limit: Option<u32>,
    shown: impl Fn(T) -> V,
) -> Result<List<V>, Refused> {
    let limit = limit.unwrap_or(DEFAULT_ITEMS);
    if limit == 0 || limit > MAXIMUM_ITEMS {
        let message = format!("a list has 1 to {MAXIMUM_ITEMS} items, not {limit}");
        return Err(Refused::field(ErrorCode::InvalidRequest, "limit", message));
    }
    let mut rest = items.peekable();
    let (mut list, mut last) = (Vec::new(), None);
    for (name, item) in rest.by_ref().take(usize::try_from(limit).unwrap_or(usize::MAX)) {
        last = Some(name.to_string());
        list.push(shown(item));
    }
    let next = if rest.peek().is_some() { last } else { None };
    Ok(List { items: list, next })
}

/// Looks at the streams once a second for as long as the server runs.
async fn look(site: Data<Site>, _lifeline: Lifeline) {
    let mut interval = tokio::time::interval(LOOK_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let view = site.context.cluster.view();
        let streams = survey(&view, &site.context.board);
        site.history.lock().unwrap_or_else(PoisonError::into_inner).look(&streams, clock::now());
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
