//! The Causeway node of the sandbox, and its HTTP API as anybody would use it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use causeway::admin::model::status::{StatusAnswer, StreamStatus};
use causeway::admin::model::stream::{CreateStream, FilterSettings, RunSettings, SourceSettings, TargetSettings};
use causeway::app::Node;
use causeway::config::{InstanceConfig, NodeConfig};
use causeway_core::instance::InstanceSpec;
use causeway_core::name::Name;
use causeway_core::stream::StartPosition;

/// The name of the stream, and of the topic at both ends.
pub(crate) const ORDERS: &str = "orders";

/// How long the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running node and how to talk to it.
pub(crate) struct SandboxNode {
    node: Node,
    api: Api,
    /// Where the token was written.
    pub(crate) token_file: PathBuf,
}

/// The node's HTTP API.
#[derive(Clone)]
pub(crate) struct Api {
    agent: ureq::Agent,
    /// The address in front of every path.
    pub(crate) address: String,
    /// The token of the first start.
    pub(crate) token: String,
}

impl SandboxNode {
    /// Starts a node that knows both regions, given by name and name server.
    ///
    /// # Errors
    /// A sentence that says what did not work.
    pub(crate) async fn start(folder: &Path, port: u16, regions: [(&str, SocketAddr); 2]) -> Result<Self, String> {
        let mut config = NodeConfig::with_data_directory(&folder.join("node")).map_err(|faults| faults.to_string())?;
        config.http.listen = SocketAddr::from(([127, 0, 0, 1], port));
        // The node stands beside the target, where writes have to be quick.
        config.node.region = Name::new(regions[1].0).map_err(|error| error.to_string())?;
        for (name, name_server) in regions {
            config.instances.push(InstanceConfig { spec: instance(name, name_server)?, identity: None });
        }
        let node = Node::start(config).await.map_err(|error| error.to_string())?;
        let token = node.first_token().ok_or("the node gave no token: its folder is not new")?;
        let token_file = folder.join("token");
        write_private(&token_file, &token).map_err(|error| format!("the token cannot be written: {error}"))?;
        let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build().into();
        let api = Api { agent, address: format!("http://{}", node.address()), token };
        Ok(Self { node, api, token_file })
    }

    /// The node's HTTP API.
    pub(crate) fn api(&self) -> Api {
        self.api.clone()
    }

    /// Stops the node gracefully.
    ///
    /// # Errors
    /// A sentence that says what did not work.
    pub(crate) async fn stop(self) -> Result<(), String> {
        self.node.stop().await.map_err(|error| error.to_string())
    }
}

fn instance(name: &str, name_server: SocketAddr) -> Result<InstanceSpec, String> {
    let name = Name::new(name).map_err(|error| error.to_string())?;
    Ok(InstanceSpec {
        region: name.clone(),
        name,
        name_servers: vec![name_server.to_string()],
        credentials: None,
        tls: None,
    })
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

impl Api {
    /// Creates the stream between the two regions.
    ///
    /// # Errors
    /// What the node answered.
    pub(crate) async fn create_stream(&self, source: &str, target: &str) -> Result<(), String> {
        let request = CreateStream {
            name: ORDERS.to_owned(),
            source: SourceSettings {
                instance: source.to_owned(),
                topic: ORDERS.to_owned(),
                start: StartPosition::Earliest,
                filter: FilterSettings::default(),
            },
            target: TargetSettings { instance: target.to_owned(), topic: ORDERS.to_owned() },
            run: RunSettings::default(),
        };
        let api = self.clone();
        blocking(move || {
            let url = format!("{}/v1/streams", api.address);
            let sent = api.agent.post(&url).header("Authorization", api.bearer()).send_json(&request);
            sent.map(drop).map_err(|error| format!("the stream was not created: {error}"))
        })
        .await
    }

    /// What the node says of the stream.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(crate) async fn stream(&self) -> Result<Option<StreamStatus>, String> {
        let api = self.clone();
        blocking(move || {
            let url = format!("{}/v1/status", api.address);
            let mut answer = api
                .agent
                .get(&url)
                .header("Authorization", api.bearer())
                .call()
                .map_err(|error| format!("the node does not answer: {error}"))?;
            let status: StatusAnswer = answer.body_mut().read_json().map_err(|error| error.to_string())?;
            Ok(status.streams.into_iter().find(|stream| stream.name.as_str() == ORDERS))
        })
        .await
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?
}
