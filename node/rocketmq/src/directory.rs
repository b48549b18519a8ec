//! What is known about where topics and brokers are: a cache of routes with their age, and the turn of the name
//! servers.
//!
//! Parts: [`Directory`]; [`Freshness`] of a cached route.
//! A route is used for [`MAX_AGE`]; an older one is still used while one caller fetches a new one, so that an outage of
//! all name servers does not stop a flow whose brokers are well. Does no I/O itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::route::{BrokerInfo, Route};

/// Age from which a route is fetched again.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(30);

/// How long to wait after a failed refresh in the background before the next one, and with a route that lacks a master:
/// it is about to change.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How long a master that could not be reached is left alone while a slave serves.
const AVOID_MASTER: Duration = Duration::from_secs(5);

/// Most topics whose routes are kept.
const MAX_TOPICS: usize = 100_000;

/// Routes and addresses.
pub(crate) struct Directory {
    name_servers: Vec<Arc<str>>,
    current: AtomicUsize,
    routes: Mutex<HashMap<Arc<str>, Cached>>,
    brokers: Mutex<HashMap<Arc<str>, Known>>,
}

struct Cached {
    route: Arc<Route>,
    /// When the next refresh is due.
    due: Instant,
}

struct Known {
    info: BrokerInfo,
    avoid_master_until: Option<Instant>,
    /// The master could not be talked to since an answer named it.
    master_in_doubt: bool,
}

/// A cached route and whether it is the caller's turn to refresh it.
pub(crate) struct Freshness {
    pub(crate) route: Arc<Route>,
    /// This caller, and no other for a while, should fetch the route again.
    pub(crate) refresh: bool,
}

impl Directory {
    /// Nothing known but the name servers.
    pub(crate) fn new(name_servers: &[String]) -> Self {
        Self {
            name_servers: name_servers.iter().map(|address| address.as_str().into()).collect(),
            current: AtomicUsize::new(0),
            routes: Mutex::default(),
            brokers: Mutex::default(),
        }
    }

    /// All name servers, the one that answered last first.
    pub(crate) fn name_servers(&self) -> Vec<Arc<str>> {
        let count = self.name_servers.len();
        let first = self.current.load(Ordering::Relaxed).checked_rem(count).unwrap_or(0);
        self.name_servers.iter().cycle().skip(first).take(count).cloned().collect()
    }

    /// Remembers which name server answered.
    pub(crate) fn answered(&self, address: &str) {
        if let Some(position) = self.name_servers.iter().position(|known| &**known == address) {
            self.current.store(position, Ordering::Relaxed);
        }
    }

    /// The cached route. When it is due, exactly one caller is told to refresh it.
    pub(crate) fn cached(&self, topic: &str) -> Option<Freshness> {
        let mut routes = lock(&self.routes);
        let cached = routes.get_mut(topic)?;
        let now = Instant::now();
        let refresh = now >= cached.due;
        if refresh {
            cached.due = now + RETRY_AFTER;
        }
        Some(Freshness { route: Arc::clone(&cached.route), refresh })
    }

    /// The cached route, however old.
    pub(crate) fn peek(&self, topic: &str) -> Option<Arc<Route>> {
        lock(&self.routes).get(topic).map(|cached| Arc::clone(&cached.route))
    }

    /// Keeps a fetched route. Returns addresses that are no longer a master's: connections to them must not be reused.
    pub(crate) fn keep(&self, route: Route) -> (Arc<Route>, Vec<Arc<str>>) {
        let route = Arc::new(route);
        let mut routes = lock(&self.routes);
        if routes.len() >= MAX_TOPICS && !routes.contains_key(&route.topic) {
            routes.clear();
        }
        let is_whole = route.brokers.iter().all(|entry| entry.broker.master.is_some());
        let due = Instant::now() + if is_whole { MAX_AGE } else { RETRY_AFTER };
        routes.insert(Arc::clone(&route.topic), Cached { route: Arc::clone(&route), due });
        drop(routes);
        // A route without a master may only be one topic's view of an acting master, so it does not undo what others
        // said.
        let named = route.brokers.iter().map(|entry| &entry.broker);
        let changed = self.learn(named.filter(|info| info.master.is_some() || self.broker(&info.name).is_none()));
        (route, changed)
    }

    /// Makes a route due now, because a broker that it names did not behave as the route says. Not more than once in
    /// [`RETRY_AFTER`], however many callers complain.
    pub(crate) fn doubt(&self, topic: &str) {
        if let Some(cached) = lock(&self.routes).get_mut(topic) {
            let now = Instant::now();
            if cached.due > now + RETRY_AFTER {
                cached.due = now;
            }
        }
    }

    /// Forgets a route, because its topic is gone.
    pub(crate) fn forget(&self, topic: &str) {
        lock(&self.routes).remove(topic);
    }

    /// Keeps the addresses of brokers. Returns addresses that lost or changed their role as a master.
    pub(crate) fn learn<'a>(&self, brokers: impl IntoIterator<Item = &'a BrokerInfo>) -> Vec<Arc<str>> {
        let brokers: Vec<&BrokerInfo> = brokers.into_iter().collect();
        let mut known = lock(&self.brokers);
        let mut changed = Vec::new();
        for info in brokers {
            match known.get_mut(&info.name) {
                Some(entry) if entry.info == *info => entry.master_in_doubt = false,
                Some(entry) => {
                    if entry.info.master != info.master {
                        // Both ends of the change: the old master, and one that was a slave until now.
                        changed.extend(entry.info.master.clone());
                        changed.extend(info.master.clone());
                        entry.avoid_master_until = None;
                    }
                    entry.info = info.clone();
                    entry.master_in_doubt = false;
                }
                None => {
                    let entry = Known { info: info.clone(), avoid_master_until: None, master_in_doubt: false };
                    known.insert(Arc::clone(&info.name), entry);
                }
            }
        }
        changed
    }

    /// Addresses of a broker name, from whatever answer named it last.
    pub(crate) fn broker(&self, name: &str) -> Option<BrokerInfo> {
        lock(&self.brokers).get(name).map(|known| known.info.clone())
    }

    /// The master of a broker name.
    pub(crate) fn master(&self, name: &str) -> Option<Arc<str>> {
        lock(&self.brokers).get(name).and_then(|known| known.info.master.clone())
    }

    /// The master of a broker name, unless it could not be talked to since an answer named it.
    pub(crate) fn trusted_master(&self, name: &str) -> Option<Arc<str>> {
        let known = lock(&self.brokers);
        known.get(name).filter(|known| !known.master_in_doubt).and_then(|known| known.info.master.clone())
    }

    /// The master of that name could not be talked to: it may be another by now.
    pub(crate) fn doubt_master(&self, name: &str) {
        if let Some(known) = lock(&self.brokers).get_mut(name) {
            known.master_in_doubt = true;
        }
    }

    /// Leaves a master alone for a while, because it could not be reached.
    pub(crate) fn avoid_master(&self, name: &str) {
        if let Some(known) = lock(&self.brokers).get_mut(name) {
            known.avoid_master_until = Some(Instant::now() + AVOID_MASTER);
        }
    }

    /// Whether the master should be left alone now.
    pub(crate) fn master_is_avoided(&self, name: &str) -> bool {
        let known = lock(&self.brokers);
        known.get(name).and_then(|known| known.avoid_master_until).is_some_and(|until| Instant::now() < until)
    }
}

/// A poisoned lock guards a map whose operations cannot stop half-way, so its content is still right.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::route::{BrokerRoute, Permission};

    fn info(master: Option<&str>) -> BrokerInfo {
        BrokerInfo {
            name: "a".into(),
            cluster: "c".into(),
            master: master.map(Into::into),
            slaves: BTreeMap::from([(1, "h:9".into())]),
        }
    }

    fn route(master: Option<&str>) -> Route {
        let entry = BrokerRoute {
            broker: info(master),
            read_queues: 1,
            write_queues: 1,
            permission: Permission::READ_WRITE,
            topic_sys_flag: 0,
        };
        Route { topic: "t".into(), brokers: vec![entry] }
    }

    #[test]
    fn the_name_server_that_answered_is_asked_first() {
        let directory = Directory::new(&["x:1".into(), "y:1".into(), "z:1".into()]);
        directory.answered("y:1");
        let order: Vec<_> = directory.name_servers().iter().map(ToString::to_string).collect();
        assert_eq!(order, ["y:1", "z:1", "x:1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_route_is_refreshed_by_one_caller_and_used_by_all() {
        let directory = Directory::new(&["x:1".into()]);
        assert!(directory.cached("t").is_none());
        directory.keep(route(Some("h:1")));
        assert!(!directory.cached("t").unwrap().refresh);
        tokio::time::advance(MAX_AGE).await;
        assert!(directory.cached("t").unwrap().refresh);
        assert!(!directory.cached("t").unwrap().refresh);
        tokio::time::advance(RETRY_AFTER).await;
        assert!(directory.cached("t").unwrap().refresh);
    }

    #[tokio::test(start_paused = true)]
    async fn a_route_without_a_master_is_fetched_again_soon() {
        let directory = Directory::new(&["x:1".into()]);
        directory.keep(route(None));
        assert!(!directory.cached("t").unwrap().refresh);
        tokio::time::advance(RETRY_AFTER).await;
        assert!(directory.cached("t").unwrap().refresh);
    }

    #[test]
    fn a_changed_master_is_reported_with_both_addresses() {
        let directory = Directory::new(&["x:1".into()]);
        assert!(directory.keep(route(Some("h:1"))).1.is_empty());
        assert!(directory.keep(route(Some("h:1"))).1.is_empty());
        let changed: Vec<_> = directory.keep(route(Some("h:2"))).1.iter().map(ToString::to_string).collect();
        assert_eq!(changed, ["h:1", "h:2"]);
        assert!(directory.keep(route(None)).1.is_empty());
        assert_eq!(directory.master("a").as_deref(), Some("h:2"));
        assert_eq!(directory.learn([&info(None)]).len(), 1);
        assert_eq!(directory.master("a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_avoided_master_is_tried_again_later_and_a_new_one_at_once() {
        let directory = Directory::new(&["x:1".into()]);
        directory.keep(route(Some("h:1")));
        directory.avoid_master("a");
        assert!(directory.master_is_avoided("a"));
        tokio::time::advance(AVOID_MASTER).await;
        assert!(!directory.master_is_avoided("a"));
        directory.avoid_master("a");
        directory.keep(route(Some("h:2")));
        assert!(!directory.master_is_avoided("a"));
    }
}
