//! A Causeway process: configured, started, killed, started again on its data, and asked.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::thread::{panicking, sleep};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::build;
use super::view::{Partition, Stream, decoded};
use crate::brokers::Access;
use crate::ports::Ports;
use crate::process::{Process, tail};
use crate::product::{self, Answer, Product};

/// The longest wait for a state.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a node is told besides its folder and port.
#[derive(Debug, Clone, Default)]
pub struct NodeSettings {
    /// Configuration keys (`section.key`) with their values as TOML.
    pub keys: BTreeMap<String, String>,
    /// Environment variables of the process.
    pub environment: Vec<(String, String)>,
    /// The binary, where it is not the one under test.
    pub binary: Option<PathBuf>,
}

impl NodeSettings {
    /// Sets a configuration key to a number.
    pub fn key(mut self, path: &str, value: u64) -> Self {
        self.keys.insert(path.to_owned(), value.to_string());
        self
    }

    /// Sets a configuration key to a text.
    pub fn text(mut self, path: &str, value: &str) -> Self {
        self.keys.insert(path.to_owned(), format!("{value:?}"));
        self
    }
}

/// A stream to create, from the earliest message on.
#[derive(Debug, Clone, Copy)]
pub struct NewStream<'a> {
    /// Its name.
    pub name: &'a str,
    /// Instance and topic.
    pub source: (&'a str, &'a str),
    /// Instance and topic.
    pub target: (&'a str, &'a str),
    /// Whether each copy keeps its own born timestamp.
    pub exact_born_timestamps: bool,
}

/// A node with a folder of its own. Dropping it ends the process; when the test is panicking the end of its log is
/// printed.
#[derive(Debug)]
pub struct Node {
    folder: PathBuf,
    address: String,
    product: Product,
    ports: Ports,
}

impl Node {
    /// Starts a new node in an empty folder and waits until it answers.
    ///
    /// # Panics
    /// When it does not start; the message holds the end of its log.
    pub fn start(folder: &Path, settings: &NodeSettings) -> Self {
        let mut node = Self::configured(folder, Ports::reserve(), settings);
        node.start_first();
        node
    }

    /// A node that is to be one of several: it has a configuration that says where it listens to the others, and no
    /// data.
    pub fn member(folder: &Path, name: &str, region: &str, settings: &NodeSettings) -> Self {
        Self::member_with(folder, name, region, |_| settings.clone())
    }

    /// The same, with settings that depend on the address where it listens to the others.
    pub fn member_with(folder: &Path, name: &str, region: &str, settings: impl FnOnce(&str) -> NodeSettings) -> Self {
        let ports = Ports::reserve();
        let listen = format!("127.0.0.1:{}", ports.at(1));
        let settings = settings(&listen).text("node.name", name).text("node.region", region);
        Self::configured(folder, ports, &settings.text("cluster.listen", &listen))
    }

    fn configured(folder: &Path, ports: Ports, settings: &NodeSettings) -> Self {
        build::ensure();
        let address = format!("127.0.0.1:{}", ports.at(0));
        let environment: Vec<(&str, &str)> =
            settings.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let config = configuration(folder, &address, settings);
        let mut product = Product::new(folder, &config, &address, &environment);
        settings.binary.iter().for_each(|binary| product.set_binary(binary));
        Self { folder: folder.to_owned(), address, product, ports }
    }

    /// Starts a node that founds a cluster, and waits until it answers and has printed the administrator's token.
    ///
    /// # Panics
    /// As [`Node::start`].
    pub fn start_first(&mut self) {
        self.product.start();
        assert!(self.product.token().is_some(), "the first start printed no token:\n{}", tail(&self.log(), 40));
    }

    /// Where a [`Node::member`] listens to other nodes.
    pub fn peer_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.at(1))
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.join("causeway.toml")
    }

    /// The administrator's token.
    pub fn token(&self) -> &str {
        self.product.token().unwrap_or_default()
    }

    /// Sets the token for requests: a node that joins prints none.
    pub fn set_token(&mut self, token: &str) {
        self.product.set_token(token);
    }

    /// Starts the process again, on the same data and port, and waits until it answers.
    ///
    /// # Panics
    /// As [`Node::start`].
    pub fn start_again(&mut self) {
        self.product.start();
    }

    /// Starts the process without waiting for it.
    pub fn launch(&mut self) {
        self.product.launch();
    }

    /// The binary of its next starts and commands, instead of the one under test.
    pub fn set_binary(&mut self, binary: &Path) {
        self.product.set_binary(binary);
    }

    /// Kills it (SIGKILL).
    pub fn kill9(&mut self) {
        self.product.kill9();
    }

    /// Asks it to end (SIGTERM) and waits for it.
    pub fn stop(&mut self) -> ExitStatus {
        self.product.stop()
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        self.product.process()
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Everything that it printed and logged.
    pub fn log(&self) -> PathBuf {
        self.product.log()
    }

    /// Looks at something; `None` when nothing answers, or not with success.
    pub fn look(&self, path: &str) -> Option<Value> {
        self.product.get(path).filter(|answer| (200..300).contains(&answer.status)).map(|answer| answer.body)
    }

    /// Looks at something.
    ///
    /// # Panics
    /// When nothing answers, or not with success.
    pub fn get(&self, path: &str) -> Value {
        accepted(path, self.product.get(path))
    }

    /// Changes something.
    ///
    /// # Panics
    /// As [`Node::get`].
    pub fn post(&self, path: &str, body: &Value) -> Value {
        accepted(path, self.product.post(path, body))
    }

    /// Tries to change something; the answer, whatever it is.
    pub fn try_post(&self, path: &str, body: &Value) -> Option<Value> {
        self.product.post(path, body).map(|answer| answer.body)
    }

    /// Tries a change that is refused, and returns the stable code.
    ///
    /// # Panics
    /// When it is not refused, or without a code.
    pub fn refused(&self, path: &str, body: &Value) -> String {
        let answer = self.product.post(path, body).unwrap_or_else(|| panic!("nothing answers {path}"));
        let code = answer.body["error"]["code"].as_str();
        assert!(answer.status >= 400, "{path} was accepted: {}", answer.body);
        code.unwrap_or_else(|| panic!("{path} answers {} without a code: {}", answer.status, answer.body)).to_owned()
    }

    /// The command line against this node, run to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let mut command = self.product.command();
        command.env("CAUSEWAY_ADDRESS", format!("http://{}", self.address));
        command.env("CAUSEWAY_TOKEN", self.token());
        output(command.args(arguments))
    }

    /// Registers a cluster as an instance.
    pub fn register(&self, name: &str, access: &Access) {
        self.post("/v1/instances", &instance(name, access));
    }

    /// Creates a stream.
    pub fn create_stream(&self, stream: &NewStream<'_>) {
        let born_timestamp = if stream.exact_born_timestamps { "exact" } else { "carried" };
        let body = json!({
            "name": stream.name,
            "source": { "instance": stream.source.0, "topic": stream.source.1, "start": "earliest" },
            "target": { "instance": stream.target.0, "topic": stream.target.1 },
            "run": { "born_timestamp": born_timestamp },
        });
        self.post("/v1/streams", &body);
    }

    /// A stream.
    pub fn stream(&self, name: &str) -> Stream {
        decoded(&self.get(&format!("/v1/streams/{name}")))
    }

    /// The partitions of a stream, sorted by source queue.
    pub fn partitions(&self, stream: &str) -> Vec<Partition> {
        #[derive(Deserialize)]
        struct Items {
            items: Vec<Partition>,
            next: Option<String>,
        }
        let list: Items = decoded(&self.get(&format!("/v1/streams/{stream}/partitions?limit=1000")));
        assert!(list.next.is_none(), "the list of partitions has more than one page");
        let mut items = list.items;
        items.sort_by(|one, other| one.source.cmp(&other.source));
        items
    }

    /// Waits until a stream is in a state for a reason, and returns the sentence beside them.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn wait_condition(&self, stream: &str, state: &str, code: Option<&str>) -> String {
        let wanted = |found: &Stream| found.state == state && found.code.as_deref() == code;
        self.wait_stream(stream, &format!("{state} ({code:?})"), wanted).why.unwrap_or_default()
    }

    /// Waits until a stream is as wanted.
    ///
    /// # Panics
    /// When it is not in time.
    pub fn wait_stream(&self, name: &str, what: &str, wanted: impl Fn(&Stream) -> bool) -> Stream {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.stream(name);
            if wanted(&found) {
                return found;
            }
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} for stream {name} to be {what}; it is {found:?}");
            sleep(Duration::from_millis(50));
        }
    }

    /// Tries an instance and returns the answer.
    pub fn test_instance(&self, name: &str, topic: Option<&str>) -> Value {
        let query = topic.map_or(String::new(), |topic| format!("?topic={topic}"));
        self.post(&format!("/v1/instances/{name}:test{query}"), &json!({}))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if panicking() {
            eprintln!("--- causeway\n{}", tail(&self.product.log(), 60));
        }
    }
}

/// The binary, for commands that need no node.
pub fn causeway(arguments: &[&str]) -> Output {
    build::ensure();
    output(Command::new(product::binary()).args(arguments))
}

/// The body that registers a cluster.
pub fn instance(name: &str, access: &Access) -> Value {
    let mut rocketmq = json!({ "name_servers": access.name_servers });
    if let Some(credentials) = &access.credentials {
        rocketmq["access_key"] = json!({ "value": credentials.access_key });
        rocketmq["secret"] = json!({ "value": credentials.secret_key });
    }
    if let Some(tls) = &access.tls {
        rocketmq["tls"] = json!({
            "certificate_authority_file": tls.authority,
            "certificate_file": tls.client_certificate,
            "key_file": tls.client_key,
        });
    }
    json!({ "name": name, "region": name, "rocketmq": rocketmq })
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"))
}

fn accepted(path: &str, answer: Option<Answer>) -> Value {
    let answer = answer.unwrap_or_else(|| panic!("nothing answers {path}"));
    assert!((200..300).contains(&answer.status), "{path} answers {}: {:#}", answer.status, answer.body);
    answer.body
}

fn configuration(folder: &Path, address: &str, settings: &NodeSettings) -> String {
    let mut sections: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    sections.insert("node", vec![format!("data_directory = {:?}", folder.join("data").display().to_string())]);
    sections.insert("http", vec![format!("listen = {address:?}")]);
    for (path, value) in &settings.keys {
        let (section, name) = path.split_once('.').unwrap_or_else(|| panic!("{path} has no section"));
        sections.entry(section).or_default().push(format!("{name} = {value}"));
    }
    let mut text = "version = 1\n".to_owned();
    for (section, lines) in sections {
        write!(text, "\n[{section}]\n{}\n", lines.join("\n")).unwrap();
    }
    text
}
