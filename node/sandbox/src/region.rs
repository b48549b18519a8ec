//! One embedded region: a RocketMQ name server and a broker in this process, on loopback, in a temporary folder.
//!
//! These are the rocketmq-rust 1.0.0 servers. They make the sandbox run with nothing but Rust; what only Apache's own
//! brokers do (reordering of pipelined sends, master and slave, access control) is tested elsewhere.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rocketmq_broker::config::broker_config::BrokerConfig;
use rocketmq_broker::config::validated::ValidatedBrokerConfig;
use rocketmq_namesrv::NamesrvConfig;
use rocketmq_observability::{TelemetryHandle, TelemetryRuntimeGuard};
use rocketmq_runtime::RuntimeContext;
use rocketmq_store::MessageStoreConfig;
use rocketmq_transport::api::ServerConfig;
use tokio::sync::oneshot;

/// Commit log files of the embedded broker, in bytes. Small, so that a sandbox that runs for hours can delete old ones.
const COMMIT_LOG_FILE_BYTES: usize = 64 * 1024 * 1024;

/// How long a name server may take until it accepts connections.
const START_LIMIT: Duration = Duration::from_secs(20);

/// Why a region did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No free loopback ports.
    #[error("no free loopback ports were found: {0}")]
    Ports(#[source] std::io::Error),
    /// The name server did not accept connections in time.
    #[error("the embedded name server of {region} did not start: {reason}")]
    NameServer {
        /// The region's name.
        region: String,
        /// What it said.
        reason: String,
    },
    /// The broker did not start.
    #[error("the embedded broker of {region} did not start: {reason}")]
    Broker {
        /// The region's name.
        region: String,
        /// What it said.
        reason: String,
    },
}

/// A running region.
pub(crate) struct Region {
    /// Its name.
    pub(crate) name: String,
    /// Where its name server listens.
    pub(crate) name_server: SocketAddr,
    /// Where its broker listens.
    pub(crate) broker: SocketAddr,
    folder: PathBuf,
    runtime: RuntimeContext,
    running: Option<rocketmq_broker::BrokerBootstrap<rocketmq_broker::Running>>,
    stop_name_server: Option<oneshot::Sender<()>>,
}

impl Region {
    /// Starts a name server and a broker whose files live below `folder`.
    ///
    /// # Errors
    /// [`Error`] says which of the two did not start, and why.
    pub(crate) async fn start(name: &str, folder: &Path) -> Result<Self, Error> {
        let runtime = RuntimeContext::from_current(format!("sandbox-{name}"));
        let (name_server, stop_name_server) = start_name_server(name, folder, &runtime).await?;
        let port = free_broker_port().map_err(Error::Ports)?;
        let mut region = Self {
            name: name.to_owned(),
            name_server,
            broker: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            folder: folder.to_owned(),
            runtime,
            running: None,
            stop_name_server: Some(stop_name_server),
        };
        region.start_broker().await?;
        Ok(region)
    }

    /// Starts the broker on its port with whatever its folder holds.
    ///
    /// # Errors
    /// [`Error::Broker`] with what it said.
    pub(crate) async fn start_broker(&mut self) -> Result<(), Error> {
        if self.running.is_some() {
            return Ok(());
        }
        let failed = |reason: String| Error::Broker { region: self.name.clone(), reason };
        let store = self.folder.join("store").to_string_lossy().into_owned();
        let port = u32::from(self.broker.port());
        let mut broker = BrokerConfig {
            broker_ip1: "127.0.0.1".into(),
            listen_port: port,
            store_path_root_dir: store.clone().into(),
            namesrv_addr: Some(self.name_server.to_string().into()),
            ..BrokerConfig::default()
        };
        broker.broker_identity.broker_name = format!("{}-a", self.name).into();
        broker.broker_identity.broker_cluster_name = self.name.clone().into();
        broker.broker_server_config.bind_address = "127.0.0.1".to_owned();
        broker.broker_server_config.listen_port = port;
        let store = MessageStoreConfig {
            store_path_root_dir: store.into(),
            mapped_file_size_commit_log: COMMIT_LOG_FILE_BYTES,
            ha_listen_port: usize::from(self.broker.port()) + 1,
            ..MessageStoreConfig::default()
        };
        let configuration =
            ValidatedBrokerConfig::try_from_parts(broker, store).map_err(|error| failed(error.to_string()))?;
        let builder =
            rocketmq_broker::Builder::new(self.runtime.service_context("broker"), TelemetryRuntimeGuard::noop());
        let initialised = builder.with_validated_config(configuration).build().initialize().await;
        let initialised = initialised.map_err(|error| failed(error.to_string()))?;
        self.running = Some(initialised.start().await.map_err(|error| failed(error.to_string()))?);
        Ok(())
    }

    /// Stops the broker; its files stay.
    pub(crate) async fn stop_broker(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.shutdown().await;
        }
    }

    /// Whether the broker runs.
    pub(crate) fn broker_runs(&self) -> bool {
        self.running.is_some()
    }

    /// Stops everything.
    pub(crate) async fn stop(mut self) {
        self.stop_broker().await;
        if let Some(stop) = self.stop_name_server.take() {
            let _ = stop.send(());
        }
        let _ = self.runtime.shutdown_tasks(Duration::from_secs(5)).await;
    }
}

async fn start_name_server(
    name: &str,
    folder: &Path,
    runtime: &RuntimeContext,
) -> Result<(SocketAddr, oneshot::Sender<()>), Error> {
    let port = free_port().map_err(Error::Ports)?;
    let home = folder.join("name-server");
    let file = |leaf: &str| home.join(leaf).to_string_lossy().into_owned();
    let configuration = NamesrvConfig {
        rocketmq_home: home.to_string_lossy().into_owned(),
        kv_config_path: file("kv-config.json"),
        config_store_path: file("name-server.properties"),
        ..NamesrvConfig::default()
    };
    let server =
        ServerConfig { listen_port: u32::from(port), bind_address: "127.0.0.1".to_owned(), ..ServerConfig::default() };
    let context = runtime.service_context("name-server");
    let builder = rocketmq_namesrv::bootstrap::Builder::new(context, TelemetryHandle::noop());
    let bootstrap = builder.set_name_server_config(configuration).set_server_config(server).build();
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(bootstrap.boot_with_shutdown(async move {
        let _ = stopped.await;
    }));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let deadline = tokio::time::Instant::now() + START_LIMIT;
    while tokio::net::TcpStream::connect(address).await.is_err() {
        let failed = |reason: String| Error::NameServer { region: name.to_owned(), reason };
        if running.is_finished() {
            let reason = match running.await {
                Ok(Ok(())) => "it stopped at once".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            return Err(failed(reason));
        }
        if tokio::time::Instant::now() > deadline {
            return Err(failed(format!("it did not listen within {} s", START_LIMIT.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok((address, stop))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// A port that is free together with the two that the broker derives from it: two below for its fast listener, one
/// above for replication.
fn free_broker_port() -> std::io::Result<u16> {
    for _ in 0..100 {
        let middle = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = middle.local_addr()?.port();
        let (Some(below), Some(above)) = (port.checked_sub(2), port.checked_add(1)) else { continue };
        let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free(below) && free(above) {
            return Ok(port);
        }
    }
    Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "no free port triple on loopback"))
}
