//! One name server process.

use std::path::Path;
use std::time::{Duration, Instant};

use super::remoting::Remote;
use super::server_files::{self, Shared};
use crate::ports::Ports;
use crate::process::{Process, tail};

/// GET_BROKER_CLUSTER_INFO: which brokers a name server knows.
pub(super) const CLUSTER_INFO: i32 = 106;

#[derive(Debug)]
pub(super) struct NameServer {
    pub(super) address: String,
    pub(super) process: Process,
    _ports: Ports,
}

impl NameServer {
    /// Starts the process; [`NameServer::wait_ready`] tells when it serves.
    pub(super) fn start(shared: &Shared, home: &Path) -> Self {
        let ports = Ports::reserve();
        let command = server_files::name_server(shared, home, ports.at(0));
        let process = Process::start("name server", command, &home.join("output.log"));
        let host = shared.settings.host();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Self { address: format!("{host}:{}", ports.at(0)), process, _ports: ports }
    }

    pub(super) fn wait_ready(&mut self, remote: &Remote) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while remote.call(&self.address, CLUSTER_INFO, &[], &[]).is_err() {
            if self.process.ended().is_some() || Instant::now() > deadline {
                panic!("the name server does not start:\n{}", self.log_tail(40));
            }
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    pub(super) fn log_tail(&self, lines: usize) -> String {
        let server = self.process.log().with_file_name("server.log");
        format!("{}\n{}", self.process.log_tail(lines), tail(&server, lines))
    }
}
