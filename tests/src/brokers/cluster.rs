//! A whole cluster, from start to end.

use std::path::Path;
use std::sync::Arc;
use std::thread::panicking;

use tempfile::TempDir;

use super::admin::Admin;
use super::broker::Broker;
use super::end_reader::EndReader;
use super::fetch::broker_jars;
use super::name_server::NameServer;
use super::remoting::Remote;
use super::server_files::Shared;
use super::settings::{Access, ClusterSettings, Slaves};
use super::tls::TlsFiles;
use super::version::AclGeneration;

/// Running name servers and brokers with a folder of their own. Dropping it ends all processes and removes the folder;
/// when the test is panicking the folder stays and the ends of all logs are printed.
#[derive(Debug)]
pub struct Cluster {
    /// The masters, in order of their names.
    pub brokers: Vec<Broker>,
    /// The slaves that are not promoted. A promoted one moves to [`Cluster::brokers`].
    pub slaves: Vec<Broker>,
    name_servers: Vec<NameServer>,
    shared: Arc<Shared>,
    remote: Remote,
    folder: Option<TempDir>,
}

impl Cluster {
    /// Starts a cluster and returns when every broker serves and every name server knows it.
    ///
    /// # Panics
    /// When Java or Maven is missing, or a process does not start; the message holds the ends of its logs.
    pub fn start(settings: ClusterSettings) -> Self {
        // A slave of that generation cannot sign what it asks its master for: its replication would never start.
        let slaves_must_sign = settings.acl.is_some() && settings.slaves != Slaves::None;
        let can_sign = settings.version.acl_generation() == AclGeneration::Two;
        assert!(can_sign || !slaves_must_sign, "{} has no slaves under access control", settings.version);
        let folder = tempfile::Builder::new().prefix("causeway-cluster-").tempdir().unwrap();
        let path = folder.path().to_owned();
        let tls = settings.tls.map(|_| TlsFiles::create(&path.join("tls")));
        let remote = Remote {
            credentials: settings.acl.as_ref().map(|acl| acl.admin.clone()),
            tls: tls.as_ref().map(TlsFiles::client_config),
        };
        let shared = Arc::new(Shared { jars: broker_jars(settings.version), settings, tls });
        let mut name_servers: Vec<NameServer> = (0..shared.settings.name_servers)
            .map(|index| NameServer::start(&shared, &path.join(format!("namesrv-{index}"))))
            .collect();
        for server in &mut name_servers {
            server.wait_ready(&remote);
        }
        let mut cluster =
            Self { brokers: Vec::new(), slaves: Vec::new(), name_servers, shared, remote, folder: Some(folder) };
        cluster.start_brokers(&path);
        cluster.create_normal_user();
        cluster
    }

    fn start_brokers(&mut self, folder: &Path) {
        let addresses = self.name_servers();
        let settings = &self.shared.settings;
        let master = if settings.slaves == Slaves::Synchronous { "SYNC_MASTER" } else { "ASYNC_MASTER" };
        for index in 0..settings.brokers {
            let letter = char::from(b'a' + u8::try_from(index).unwrap());
            let name = format!("broker-{letter}");
            let new = |kind| Broker::new(&self.shared, &self.remote, &addresses, folder, &name, kind);
            self.brokers.push(new((0, master)));
            if settings.slaves != Slaves::None {
                self.slaves.push(new((1, "SLAVE")));
            }
        }
        // A slave learns its master's address when it registers, so masters come first.
        for broker in &mut self.brokers {
            broker.launch();
        }
        for broker in &mut self.brokers {
            broker.wait_ready();
        }
        for slave in &mut self.slaves {
            slave.launch();
        }
        for slave in &mut self.slaves {
            slave.wait_ready();
        }
    }

    /// ACL 1.0 reads its users from a file; ACL 2.0 knows only the super user at first.
    fn create_normal_user(&self) {
        let settings = &self.shared.settings;
        if let (Some(acl), AclGeneration::Two) = (&settings.acl, settings.version.acl_generation()) {
            self.admin().create_user(&acl.user);
            self.admin().allow(&acl.user, &[("Topic:*", &["Pub", "Sub", "Get"]), ("Group:*", &["Sub", "Get"])]);
        }
    }

    /// What was asked for.
    pub fn settings(&self) -> &ClusterSettings {
        &self.shared.settings
    }

    /// The name server addresses.
    pub fn name_servers(&self) -> Vec<String> {
        self.name_servers.iter().map(|server| server.address.clone()).collect()
    }

    /// How a client reaches the cluster; with access control, as the super user.
    pub fn access(&self) -> Access {
        Access {
            name_servers: self.name_servers(),
            credentials: self.shared.settings.acl.as_ref().map(|acl| acl.admin.clone()),
            tls: self.shared.tls.clone(),
        }
    }

    /// The same as the normal user.
    pub fn user_access(&self) -> Access {
        Access { credentials: self.shared.settings.acl.as_ref().map(|acl| acl.user.clone()), ..self.access() }
    }

    /// Topics, users and offsets of the cluster.
    pub fn admin(&self) -> Admin<'_> {
        Admin { remote: &self.remote, cluster: self }
    }

    /// A reader of where a topic's queues end, for many looks a second.
    pub fn end_reader(&self, topic: &str, queues: u32) -> EndReader {
        let masters = self.brokers.iter().map(|broker| (broker.name().to_owned(), broker.address()));
        EndReader::new(self.remote.clone(), masters.collect(), topic, queues)
    }

    /// The place in [`Cluster::slaves`] of the slave of master `index`.
    ///
    /// # Panics
    /// When it has none (any more).
    pub fn slave_of(&self, index: usize) -> usize {
        let name = self.brokers[index].name();
        let place = self.slaves.iter().position(|slave| slave.name() == name);
        place.unwrap_or_else(|| panic!("{name} has no slave"))
    }

    /// Processor time that all running servers used so far, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let servers = self.name_servers.iter().map(|server| &server.process);
        let brokers = self.brokers.iter().chain(&self.slaves).filter(|broker| broker.is_started()).map(Broker::process);
        servers.chain(brokers).map(|process| process.cpu_seconds()).sum()
    }

    /// Makes the slave of master `index` the master, as an operator does by hand: the old master must be gone already;
    /// the slave is stopped and its store started again as broker id 0 on another port. What the slave had not received
    /// is lost.
    ///
    /// # Panics
    /// When the old master still runs or there is no such slave.
    pub fn promote_slave(&mut self, index: usize) {
        assert!(!self.brokers[index].is_started(), "end the old master before its slave is promoted");
        let mut slave = self.slaves.remove(self.slave_of(index));
        slave.stop_or_kill();
        slave.become_master();
        slave.start();
        self.brokers[index] = slave;
    }
}

impl Broker {
    /// A paused process cannot follow SIGTERM; an operator kills that one.
    fn stop_or_kill(&mut self) {
        if self.is_started() {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", self.process().id())).unwrap_or_default();
            let paused = state.rsplit_once(')').is_some_and(|(_, after)| after.trim_start().starts_with('T'));
            if paused { self.kill9() } else { self.stop() }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let Some(folder) = self.folder.take() else { return };
        if panicking() {
            for server in &self.name_servers {
                eprintln!("--- name server {}\n{}", server.address, server.log_tail(15));
            }
            for broker in self.brokers.iter().chain(&self.slaves) {
                eprintln!("--- broker {} {}\n{}", broker.name(), broker.id(), broker.log_tail(40));
            }
            eprintln!("--- everything is kept in {}", folder.keep().display());
        } else {
            // Processes first: a broker that still writes would leave files behind.
            self.brokers.clear();
            self.slaves.clear();
            self.name_servers.clear();
        }
    }
}
