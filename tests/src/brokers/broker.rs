//! One broker: its process, its store on disk, and what can happen to both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::name_server::CLUSTER_INFO;
use super::remoting::Remote;
use super::server_files::{self, BrokerFacts, Shared};
use crate::ports::Ports;
use crate::process::{Process, tail};

/// GET_BROKER_RUNTIME_INFO: succeeds once a broker serves.
const RUNTIME_INFO: i32 = 28;

/// A broker of a cluster. Ended ones keep their store and can be started again.
#[derive(Debug)]
pub struct Broker {
    name: String,
    id: u64,
    role: &'static str,
    home: PathBuf,
    store: PathBuf,
    ports: Ports,
    name_servers: Vec<String>,
    shared: Arc<Shared>,
    remote: Remote,
    process: Option<Process>,
}

impl Broker {
    pub(super) fn new(
        shared: &Arc<Shared>,
        remote: &Remote,
        name_servers: &[String],
        folder: &Path,
        name: &str,
        (id, role): (u64, &'static str),
    ) -> Self {
        let home = folder.join(format!("{name}-{id}"));
        Self {
            name: name.to_owned(),
            id,
            role,
            store: home.join("store"),
            home,
            ports: Ports::reserve(),
            name_servers: name_servers.to_vec(),
            shared: shared.clone(),
            remote: remote.clone(),
            process: None,
        }
    }

    /// The broker name; a master and its slave share it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// 0 for a master.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The port that clients use.
    pub fn port(&self) -> u16 {
        self.ports.at(2)
    }

    /// Where the broker listens, as RocketMQ writes it (an IPv6 host without brackets).
    pub fn address(&self) -> String {
        format!("{}:{}", self.shared.settings.host(), self.port())
    }

    /// Where clients are told to find it: [`Broker::address`] unless the settings announce another host.
    pub fn announced(&self) -> String {
        self.shared.settings.announced.map_or_else(|| self.address(), |host| format!("{host}:{}", self.port()))
    }

    /// The folder of the commit log, the consume queues and the broker's own state.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The running process.
    ///
    /// # Panics
    /// When the broker is not running.
    pub fn process(&self) -> &Process {
        self.process.as_ref().unwrap_or_else(|| panic!("{} is not running", self.name))
    }

    /// Whether the process was started and has not been ended through this value.
    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// Starts the process on the broker's ports and store and waits until it serves.
    ///
    /// # Panics
    /// When it is running already or does not serve within two minutes; the message holds the end of its logs.
    pub fn start(&mut self) {
        self.launch();
        self.wait_ready();
    }

    /// Kills the process (SIGKILL): memory is lost, what reached the page cache stays.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// Ends the process as an operator does (SIGTERM) and waits for it.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate(Duration::from_secs(60));
        }
    }

    /// [`Broker::stop`] and [`Broker::start`].
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Stops the process where it is (SIGSTOP).
    pub fn pause(&self) {
        self.process().pause();
    }

    /// Lets a paused process go on (SIGCONT).
    pub fn resume(&self) {
        self.process().resume();
    }

    /// The end of what the broker printed and logged.
    pub fn log_tail(&self, lines: usize) -> String {
        let printed = tail(&self.home.join("output.log"), lines);
        format!("{printed}\n{}", tail(&self.home.join("server.log"), lines))
    }

    pub(super) fn launch(&mut self) {
        assert!(self.process.is_none(), "{} is running already", self.name);
        let name_servers = self.name_servers.join(";");
        let facts = BrokerFacts {
            name: &self.name,
            id: self.id,
            role: self.role,
            port: self.port(),
            store: &self.store,
            name_servers: &name_servers,
        };
        let command = server_files::broker(&self.shared, &self.home, &facts);
        let title = format!("broker {} {}", self.name, self.id);
        self.process = Some(Process::start(&title, command, &self.home.join("output.log")));
    }

    /// Waits until the broker answers and every name server knows it at this address.
    pub(super) fn wait_ready(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        let known = format!("\"{}\"", self.announced());
        loop {
            let listed = |server: &String| {
                let answer = self.remote.call(server, CLUSTER_INFO, &[], &[]);
                answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.body).contains(&known))
            };
            let runtime = self.remote.call(&self.address(), RUNTIME_INFO, &[], &[]);
            // While it still starts, a broker answers with an exception.
            if runtime.is_ok_and(|answer| answer.code == 0) && self.name_servers.iter().all(listed) {
                return;
            }
            let process = self.process.as_mut().unwrap_or_else(|| panic!("{} was never started", self.name));
            if process.ended().is_some() || Instant::now() > deadline {
                panic!("broker {} does not start:\n{}", self.name, self.log_tail(60));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Makes a stopped slave the master of its broker name, on other ports and with its own store.
    pub(super) fn become_master(&mut self) {
        assert!(self.process.is_none(), "stop the slave before it is promoted");
        self.id = 0;
        self.role = "ASYNC_MASTER";
        self.ports = Ports::reserve();
    }
}
