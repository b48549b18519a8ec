//! The client: one value that knows a cluster, cheap to clone, used by every stream that reads or writes it.
//!
//! Parts: [`Client`]; routes and the name servers' turn here, every request in a file of [`crate::request`].
//! All requests are signed when there are credentials. There is no retry here except the next name server and, where
//! the settings allow it, a slave: callers back off between attempts. A lost connection is opened again by the next
//! request that needs it. Never sends to anything but a master, and never repeats a send.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::directory::Directory;
use crate::error::{Class, Error};
use crate::request::dispatch::DispatchLooks;
use crate::request::pull::suggestions::Suggestions;
use crate::route::{BrokerInfo, BrokerRoute, Queue, Route};
use crate::session::{Failure, Session, Terms};
use crate::sessions::{Purpose, Sessions};
use crate::settings::ClientSettings;
use crate::socket::SocketOptions;
use crate::tls::Connector;
use crate::wire::code::request::GET_ROUTEINFO_BY_TOPIC;
use crate::wire::code::response::{GO_AWAY, SUCCESS};
use crate::wire::frame::{Fields, Frame, Serialization};
use crate::wire::{json, sign};

/// How often [`Client::close`] looks whether the last sends were answered.
const CLOSE_STEP: Duration = Duration::from_millis(5);

/// Talks to one RocketMQ cluster. Needs a tokio runtime with I/O and time.
///
/// The tasks that read connections run on the runtime of the request that opened them. A process with several runtime
/// threads spends least when each has a client of its own: an answer then never has to wake another thread.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) settings: ClientSettings,
    pub(crate) directory: Directory,
    pub(crate) sessions: Sessions,
    /// Slaves that masters want to be read. Used with `SlaveReads::ColdCatchUp` only.
    pub(crate) suggestions: Suggestions,
    pub(crate) dispatch_looks: DispatchLooks,
    closed: AtomicBool,
}

impl Client {
    /// Checks the settings and loads the certificates. Connects to nothing yet.
    pub fn new(settings: ClientSettings) -> Result<Self, Error> {
        settings.validate()?;
        let tls = settings.tls.as_ref().map(Connector::new).transpose()?;
        let sessions = Sessions::new(SocketOptions {
            connect_timeout: settings.connect_timeout,
            user_timeout: settings.unacknowledged,
            abort_on_close: false,
            tls,
        });
        let directory = Directory::new(&settings.name_servers);
        let (suggestions, dispatch_looks) = (Suggestions::default(), DispatchLooks::default());
        let closed = AtomicBool::new(false);
        let inner = Inner { settings, directory, sessions, suggestions, dispatch_looks, closed };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where a topic lives. Cached for 30 s; an older route is still answered while a new one is fetched behind.
    pub async fn route(&self, topic: &str) -> Result<Arc<Route>, Error> {
        let Some(cached) = self.inner.directory.cached(topic) else { return self.refresh_route(topic).await };
        if cached.refresh {
            let (client, topic) = (self.clone(), topic.to_owned());
            // Bounded: one per topic and five seconds, each with the timeouts of its requests.
            tokio::spawn(async move {
                if let Err(error) = client.fetch_route(&topic).await {
                    tracing::debug!(%topic, %error, "route not refreshed, the old one is used on");
                }
            });
        }
        Ok(cached.route)
    }

    /// Asks the name servers now, one after the other until one knows the topic.
    pub async fn refresh_route(&self, topic: &str) -> Result<Arc<Route>, Error> {
        let fetched = self.fetch_route(topic).await;
        if let Err(Error::TopicMissing { .. }) = &fetched {
            self.inner.directory.forget(topic);
        }
        fetched
    }

    async fn fetch_route(&self, topic: &str) -> Result<Arc<Route>, Error> {
        let fields: Fields = [("topic", topic), ("acceptStandardJsonOnly", "true")].into_iter().collect();
        let (address, answer) = match self.ask_name_servers(GET_ROUTEINFO_BY_TOPIC, fields).await {
            Err(error) if error.class() == Some(Class::TopicMissing) => {
                return Err(Error::TopicMissing { topic: topic.to_owned() });
            }
            answered => answered?,
        };
        let route =
            Route::from_json(topic, &body_json(&address, &answer)?).map_err(|error| located(error, &address))?;
        let (route, changed) = self.inner.directory.keep(route);
        for address in changed {
            tracing::info!(%topic, %address, "a broker changed its master");
            self.inner.sessions.retire(&address);
        }
        Ok(route)
    }

    /// A number that changes whenever sends to this queue would use another connection than before: a new one, or one
    /// to another master. 0 while there is none. Who must know what the queue's end holds verifies it whenever this
    /// number changed, and passes the verified number with the next send.
    pub fn connection_generation(&self, queue: &Queue) -> u64 {
        let Some(cached) = self.inner.directory.peek(&queue.topic) else { return 0 };
        let master = cached.broker(&queue.broker).and_then(|entry| entry.broker.master.clone());
        master.and_then(|master| self.inner.sessions.generation(&master, self.stripe(queue))).unwrap_or(0)
    }

    /// Makes sure that there is a connection for sends to this queue and returns its generation.
    pub async fn connect_for_send(&self, queue: &Queue) -> Result<u64, Error> {
        let (_, session) = self.send_session(queue).await?;
        Ok(session.generation())
    }

    /// Refuses new requests, waits for the answers of sends under way (at most the request timeout), and ends all
    /// connections.
    pub async fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
        let waiting = async {
            while self.inner.sessions.sends_waiting() > 0 {
                tokio::time::sleep(CLOSE_STEP).await;
            }
        };
        // Whether all were answered or the time is over: the connections end now.
        let _all_answered = tokio::time::timeout(self.inner.settings.request_timeout, waiting).await;
        self.inner.sessions.close_all();
    }

    /// The master's address and the live connection for sends to a queue.
    pub(crate) async fn send_session(&self, queue: &Queue) -> Result<(Arc<str>, Arc<Session>), Error> {
        self.check_open()?;
        let route = self.route(&queue.topic).await?;
        let entry = self.broker_of(&route, queue)?;
        let Some(master) = &entry.broker.master else {
            self.inner.directory.doubt(&queue.topic);
            return Err(Error::BrokerMissing { broker: queue.broker.to_string(), role: "master" });
        };
        match self.inner.sessions.get(master, self.stripe(queue)).await {
            Ok(session) => Ok((Arc::clone(master), session)),
            Err(error) => {
                self.inner.directory.doubt(&queue.topic);
                Err(error)
            }
        }
    }

    fn stripe(&self, queue: &Queue) -> Purpose {
        let mut hasher = DefaultHasher::new();
        queue.hash(&mut hasher);
        let count = u64::try_from(self.inner.settings.send_connections).unwrap_or(1).max(1);
        Purpose::Send(usize::try_from(hasher.finish() % count).unwrap_or(0))
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.inner.closed.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    /// Signs a request that is otherwise complete.
    pub(crate) fn sign(&self, request: &mut Frame) {
        if let Some(credentials) = &self.inner.settings.credentials {
            sign::sign(credentials, &mut request.fields, &request.body);
        }
    }

    /// Sends a request that changes nothing, or may be repeated, and returns the answer whatever its code.
    pub(crate) async fn ask(&self, address: &Arc<str>, request: Frame, patience: Duration) -> Result<Frame, Error> {
        Ok(self.ask_with_connection(address, request, patience).await?.0)
    }

    /// As [`Self::ask`], with the number of the connection that answered.
    pub(crate) async fn ask_with_connection(
        &self,
        address: &Arc<str>,
        mut request: Frame,
        patience: Duration,
    ) -> Result<(Frame, u64), Error> {
        self.check_open()?;
        self.sign(&mut request);
        let session = self.inner.sessions.get(address, Purpose::Ask).await?;
        let terms =
            Terms { patience, serialization: Serialization::RocketMq, permit: None, close_when_abandoned: false };
        let answer = session.exchange(request, terms).await.map_err(|Failure { error, .. }| error)?;
        if answer.code == GO_AWAY {
            // The server is about to stop: the next request takes a new connection.
            self.inner.sessions.retire(address);
        }
        Ok((answer, session.generation()))
    }

    /// As [`Self::ask`] with the usual patience, and any code but success is a refusal.
    pub(crate) async fn ask_success(&self, address: &Arc<str>, code: i32, fields: Fields) -> Result<Frame, Error> {
        let request = Frame::request(code, fields, Bytes::new());
        let answer = self.ask(address, request, self.inner.settings.request_timeout).await?;
        if answer.code == SUCCESS {
            Ok(answer)
        } else {
            Err(Error::refused(address, answer.code, answer.remark.as_deref()))
        }
    }

    /// Asks name servers in turn until one answers with success. If none does, a refusal counts more than an outage.
    pub(crate) async fn ask_name_servers(&self, code: i32, fields: Fields) -> Result<(Arc<str>, Frame), Error> {
        let mut failure: Option<Error> = None;
        for address in self.inner.directory.name_servers() {
            match self.ask_success(&address, code, fields.clone()).await {
                Ok(answer) => {
                    self.inner.directory.answered(&address);
                    return Ok((address, answer));
                }
                Err(error) => {
                    if failure.as_ref().is_none_or(|known| known.class().is_none()) {
                        failure = Some(error);
                    }
                }
            }
        }
        Err(failure.unwrap_or_else(|| Error::Settings("no name server given".to_owned())))
    }

    /// The address of the master that holds a queue.
    pub(crate) async fn master_of(&self, queue: &Queue) -> Result<Arc<str>, Error> {
        let route = self.route(&queue.topic).await?;
        let entry = self.broker_of(&route, queue)?;
        entry.broker.master.clone().ok_or_else(|| {
            self.inner.directory.doubt(&queue.topic);
            Error::BrokerMissing { broker: queue.broker.to_string(), role: "master" }
        })
    }

    /// The queue's broker in a route. A route that does not name it is in doubt.
    pub(crate) fn broker_of<'a>(&self, route: &'a Route, queue: &Queue) -> Result<&'a BrokerRoute, Error> {
        route.broker(&queue.broker).ok_or_else(|| {
            self.inner.directory.doubt(&queue.topic);
            Error::BrokerMissing { broker: queue.broker.to_string(), role: "entry" }
        })
    }

    /// The address of the master of that name, from what is known or else from the cluster's list. Where the list
    /// cannot be had, as at proxies, a master in doubt is tried on.
    async fn master_named(&self, broker: &str) -> Result<Arc<str>, Error> {
        if let Some(master) = self.inner.directory.trusted_master(broker) {
            return Ok(master);
        }
        let brokers = match self.brokers().await {
            Ok(brokers) => brokers,
            Err(error) => return self.inner.directory.master(broker).ok_or(error),
        };
        let found = brokers.into_iter().find(|info| &*info.name == broker).and_then(|info| info.master);
        found.ok_or_else(|| Error::BrokerMissing { broker: broker.to_owned(), role: "master" })
    }

    /// Asks the master of that name. When it cannot be talked to, the next request looks for it in the cluster's list:
    /// the routes of topics that nobody reads or writes now are not fetched again.
    pub(crate) async fn ask_master_named(
        &self,
        broker: &str,
        code: i32,
        fields: Fields,
    ) -> Result<(Arc<str>, Frame), Error> {
        let master = self.master_named(broker).await?;
        match self.ask_success(&master, code, fields).await {
            Ok(answer) => Ok((master, answer)),
            Err(error) => {
                if error.is_connection() {
                    self.inner.directory.doubt_master(broker);
                }
                Err(error)
            }
        }
    }

    /// Asks the master of a queue. When it cannot be reached the route is in doubt.
    pub(crate) async fn ask_master(
        &self,
        queue: &Queue,
        code: i32,
        fields: Fields,
    ) -> Result<(Arc<str>, Frame), Error> {
        let master = self.master_of(queue).await?;
        match self.ask_success(&master, code, fields).await {
            Ok(answer) => Ok((master, answer)),
            Err(error) => {
                if error.is_connection() {
                    self.inner.directory.doubt(&queue.topic);
                }
                Err(error)
            }
        }
    }

    /// Remembers addresses, and drops connections to masters that changed.
    pub(crate) fn learn(&self, brokers: &[BrokerInfo]) {
        for address in self.inner.directory.learn(brokers) {
            self.inner.sessions.retire(&address);
        }
    }
}

/// Room for the fields of a pull, the most frequent request.
const LIKELY_FIELDS: usize = 16;
const LIKELY_BYTES: usize = 512;

/// Fields that name a queue. `bname` is for proxies, which have no queues of their own.
pub(crate) fn queue_fields(queue: &Queue) -> Fields {
    let mut fields = Fields::with_capacity(LIKELY_BYTES, LIKELY_FIELDS);
    fields.push("topic", &queue.topic);
    fields.push("queueId", queue.id);
    fields.push("bname", &queue.broker);
    fields
}

/// Reads a body as JSON, as tolerantly as fastjson writes it.
pub(crate) fn body_json(address: &str, answer: &Frame) -> Result<Value, Error> {
    json::parse(&answer.body).map_err(|error| Error::malformed(address, error))
}

/// Reads a header field that must be there.
pub(crate) fn field<T: std::str::FromStr>(address: &str, answer: &Frame, name: &'static str) -> Result<T, Error> {
    answer.fields.parse(name).map_err(|error| Error::malformed(address, error))
}

/// Puts the address into an error of a reader that does not know it.
pub(crate) fn located(error: Error, address: &str) -> Error {
    match error {
        Error::Malformed { reason, .. } => Error::Malformed { address: address.to_owned(), reason },
        other => other,
    }
}
