//! Runs the Java programs of `tests/java` against Apache's own client: producing, dumping, bridging.
//!
//! The programs are compiled once per machine into the broker cache, in a folder named by the hash of their sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::brokers::{Access, cache, client_jars, once};
use crate::checker::hex_digest;
use crate::process::Process;

/// Every source file, by name.
const SOURCES: [(&str, &str); 8] = [
    ("Arguments.java", include_str!("../java/Arguments.java")),
    ("Bridge.java", include_str!("../java/Bridge.java")),
    ("Dump.java", include_str!("../java/Dump.java")),
    ("Json.java", include_str!("../java/Json.java")),
    ("NumberedProduce.java", include_str!("../java/NumberedProduce.java")),
    ("Produce.java", include_str!("../java/Produce.java")),
    ("Raw.java", include_str!("../java/Raw.java")),
    ("Usage.java", include_str!("../java/Usage.java")),
];

/// What a Java program printed: one JSON value per line.
pub type Report = Vec<Value>;

/// Sends the fidelity set to a topic and waits until all of it is visible. `timers` adds arbitrary delays, which
/// releases before 5.0 do not have. Returns how many messages the set holds.
pub fn produce_fidelity_set(access: &Access, topic: &str, seed: u64, timers: bool) -> u64 {
    let report = run(
        "Produce",
        access,
        &[("topic", topic), ("seed", &seed.to_string()), ("timer", if timers { "true" } else { "false" })],
    );
    report.last().and_then(|line| line["visible"].as_u64()).unwrap_or_else(|| panic!("Produce printed no count"))
}

/// Numbered messages over all queues of a topic.
#[derive(Debug, Clone)]
pub struct Numbered {
    /// How many messages.
    pub messages: u64,
    /// The number of the first one.
    pub first: u64,
    /// Messages per second over all queues; 0 is full speed.
    pub rate: u64,
    /// Body size in bytes, at least 8.
    pub body: usize,
    /// Messages per send.
    pub batch: usize,
    /// After how many seconds a queue that cannot be written gives up.
    pub deadline: u64,
}

impl Numbered {
    /// `messages` small messages at full speed in batches of 16.
    pub fn new(messages: u64) -> Self {
        Self { messages, first: 0, rate: 0, body: 128, batch: 16, deadline: 120 }
    }

    fn arguments(&self, topic: &str) -> Vec<(&'static str, String)> {
        vec![
            ("topic", topic.to_owned()),
            ("messages", self.messages.to_string()),
            ("first", self.first.to_string()),
            ("rate", self.rate.to_string()),
            ("body", self.body.to_string()),
            ("batch", self.batch.to_string()),
            ("deadline", self.deadline.to_string()),
        ]
    }
}

/// Sends numbered messages and returns one line per queue with what was acknowledged.
pub fn produce_numbered(access: &Access, topic: &str, numbered: &Numbered) -> Report {
    let arguments = numbered.arguments(topic);
    let borrowed: Vec<(&str, &str)> = arguments.iter().map(|(name, value)| (*name, value.as_str())).collect();
    run("NumberedProduce", access, &borrowed)
}

/// Starts sending numbered messages beside the test. The log at `log` receives the report.
pub fn start_numbered(access: &Access, topic: &str, numbered: &Numbered, log: &Path) -> Process {
    let mut command = program("NumberedProduce", access);
    for (name, value) in numbered.arguments(topic) {
        command.arg(format!("--{name}")).arg(value);
    }
    Process::start("NumberedProduce", command, log)
}

/// Reads all of a topic with Apache's pull consumer into `out`, one JSON line per message; see
/// [`crate::checker::dump`]. Returns the messages per queue and, as the last line, the totals with time and processor
/// time.
pub fn dump(access: &Access, topic: &str, out: &Path) -> Report {
    run("Dump", access, &[("topic", topic), ("out", &out.display().to_string())])
}

/// The command of the plain Java bridge, for benchmarks: it ends after `messages` messages.
pub fn bridge(source: &Access, target: &Access, topics: (&str, &str), messages: u64, batches: bool) -> Command {
    // The virtual machine as everybody runs it: the small one of the other programs would make the comparison unfair.
    let mut command = command("Bridge", source, &["-Xms512m", "-Xmx512m"]);
    command.args(["--target-name-server", &target.name_server_list(), "--topic", topics.0, "--target-topic", topics.1]);
    command.args(["--messages", &messages.to_string(), "--mode", if batches { "batch" } else { "single" }]);
    command
}

/// Runs a program to its end.
///
/// # Panics
/// When it fails; the message holds all that it printed.
pub fn run(name: &str, access: &Access, arguments: &[(&str, &str)]) -> Report {
    let mut command = program(name, access);
    for (name, value) in arguments {
        command.arg(format!("--{name}")).arg(value);
    }
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("cannot start `java`: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{name} failed with {}:\n{printed}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    printed.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The command that runs a program against a cluster; arguments other than the name servers are the caller's.
pub fn program(name: &str, access: &Access) -> Command {
    command(name, access, &["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"])
}

fn command(name: &str, access: &Access, options: &[&str]) -> Command {
    let classes = classes();
    let home = std::env::temp_dir().join("causeway-test-java");
    fs::create_dir_all(&home).unwrap();
    let mut command = Command::new("java");
    command.args(options).arg(format!("-Duser.home={}", home.display())).arg("-Drocketmq.client.logLevel=WARN");
    if let Some(tls) = &access.tls {
        command.args(tls.client_options());
    }
    if let Some(credentials) = &access.credentials {
        command.env("CAUSEWAY_ACCESS_KEY", &credentials.access_key);
        command.env("CAUSEWAY_SECRET_KEY", &credentials.secret_key);
    }
    command.arg("-cp").arg(format!("{}:{}/*", classes.display(), client_jars().display()));
    command.arg(name).args(["--name-server", &access.name_server_list()]);
    command
}

fn classes() -> PathBuf {
    compiled("java", &SOURCES, &client_jars())
}

/// The folder with the classes of these sources, compiled against the jars of a folder if they are not there yet.
///
/// # Panics
/// When there is no JDK, or the sources do not compile.
pub(crate) fn compiled(name: &str, sources: &[(&str, &str)], jars: &Path) -> PathBuf {
    let text: String = sources.iter().map(|(name, source)| format!("{name}\n{source}\n")).collect();
    let folder = cache().join(format!("{name}-{}", &hex_digest(text.as_bytes())[..16]));
    once(&folder, || {
        let paths = sources.iter().map(|(name, source)| {
            let path = folder.join(name);
            fs::write(&path, source).unwrap();
            path
        });
        let output = Command::new("javac")
            .args(["-nowarn", "-encoding", "UTF-8", "-cp"])
            .arg(jars.join("*"))
            .arg("-d")
            .arg(&folder)
            .args(paths)
            .output()
            .unwrap_or_else(|error| {
                panic!("the tests compile Java programs: cannot start `javac`: {error}. Install a JDK 17.")
            });
        assert!(output.status.success(), "javac failed:\n{}", String::from_utf8_lossy(&output.stderr));
    });
    folder
}
