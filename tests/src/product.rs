//! The product as its users run it: the `causeway` binary, a configuration file, its HTTP API.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::Process;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the `causeway` binary is: `$CAUSEWAY_BINARY`, else beside the folder of the running test.
///
/// # Panics
/// When it is not built.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CAUSEWAY_BINARY") {
        return PathBuf::from(path);
    }
    // Tests run as target/<profile>/deps/<test>, binaries lie in target/<profile>.
    let test = std::env::current_exe().unwrap();
    let found = test.ancestors().skip(1).take(2).map(|folder| folder.join("causeway")).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "no causeway binary near {}: build it with `cargo build -p causeway` (same profile and target folder)",
            test.display()
        )
    })
}

/// A node as a process. Dropping it kills it.
#[derive(Debug)]
pub struct Product {
    folder: PathBuf,
    environment: Vec<(String, String)>,
    binary: Option<PathBuf>,
    address: String,
    token: Option<String>,
    process: Option<Process>,
}

/// What the API answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body; null when it is empty, a string when it is not JSON.
    pub body: Value,
}

impl Product {
    /// Writes `config` to `folder`/causeway.toml. `address` is the `host:port` that the configuration gives to the API.
    pub fn new(folder: &Path, config: &str, address: &str, environment: &[(&str, &str)]) -> Self {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("causeway.toml"), config).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (folder, address) = (folder.to_owned(), address.to_owned());
        Self { folder, environment, binary: None, address, token: None, process: None }
    }

    /// Runs `causeway run` and waits until the API answers.
    ///
    /// # Panics
    /// When it ends or does not answer in time; the message holds the end of its log.
    pub fn start(&mut self) {
        let first = !self.log().exists();
        self.launch();
        let deadline = Instant::now() + PATIENCE;
        while self.get("/healthz").is_none_or(|answer| answer.status >= 500) {
            let process = self.process.as_mut().unwrap();
            if process.ended().is_some() || Instant::now() > deadline {
                panic!("causeway does not start:\n{}", process.log_tail(60));
            }
            sleep(Duration::from_millis(20));
        }
        // A new node prints its token a moment after it answers.
        while self.token.is_none() {
            self.token = printed_token(&fs::read_to_string(self.log()).unwrap_or_default());
            if !first || Instant::now() > deadline {
                break;
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Runs `causeway run` without waiting.
    pub fn launch(&mut self) {
        assert!(self.process.as_mut().is_none_or(|process| process.ended().is_some()), "causeway is running already");
        let mut command = self.command();
        command.args(["run", "--config"]).arg(self.folder.join("causeway.toml"));
        self.process = Some(Process::start("causeway", command, &self.log()));
    }

    /// The binary with this node's environment and folder, for other subcommands.
    pub fn command(&self) -> Command {
        let mut command = Command::new(self.binary.clone().unwrap_or_else(binary));
        command.current_dir(&self.folder).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Another binary than [`binary`] from now on.
    pub fn set_binary(&mut self, binary: &Path) {
        self.binary = Some(binary.to_owned());
    }

    /// The running process.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap_or_else(|| panic!("causeway was never started"))
    }

    /// SIGKILL.
    pub fn kill9(&mut self) -> ExitStatus {
        self.process().kill9()
    }

    /// SIGTERM, and waits for the graceful end.
    pub fn stop(&mut self) -> ExitStatus {
        self.process().terminate(PATIENCE)
    }

    /// Everything that all starts printed.
    pub fn log(&self) -> PathBuf {
        self.folder.join("causeway.log")
    }

    /// The administrator's token, if it is known.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Sets the token for requests.
    pub fn set_token(&mut self, token: &str) {
        self.token = Some(token.to_owned());
    }

    /// The URL of a path of the API.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// GET; `None` when nothing answers.
    pub fn get(&self, path: &str) -> Option<Answer> {
        self.read(self.signed(agent().get(self.url(path))).call())
    }

    /// POST with a JSON body; `None` when nothing answers.
    pub fn post(&self, path: &str, body: &Value) -> Option<Answer> {
        self.read(self.signed(agent().post(self.url(path))).send_json(body))
    }

    /// PUT with a JSON body; `None` when nothing answers.
    pub fn put(&self, path: &str, body: &Value) -> Option<Answer> {
        self.read(self.signed(agent().put(self.url(path))).send_json(body))
    }

    /// DELETE; `None` when nothing answers.
    pub fn delete(&self, path: &str) -> Option<Answer> {
        self.read(self.signed(agent().delete(self.url(path))).call())
    }

    fn signed<Body>(&self, request: ureq::RequestBuilder<Body>) -> ureq::RequestBuilder<Body> {
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn read(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Option<Answer> {
        let mut answer = answer.ok()?;
        let text = answer.body_mut().read_to_string().ok()?;
        let body = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        Some(Answer { status: answer.status().as_u16(), body })
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .new_agent()
}

/// The token that the first start prints: the longest word of the first line that speaks of a token and has a long one.
fn printed_token(log: &str) -> Option<String> {
    let word = |line: &str| {
        let words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        words.filter(|word| word.len() >= 24).max_by_key(|word| word.len()).map(str::to_owned)
    };
    let mut lines = log.lines().skip_while(|line| !line.to_lowercase().contains("token"));
    lines.by_ref().take(4).find_map(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_on_its_line_or_below() {
        let token = "cwy_0123456789abcdef0123456789abcdef";
        assert_eq!(printed_token(&format!("started\nadmin token: {token}\n")).as_deref(), Some(token));
        assert_eq!(printed_token(&format!("The token, shown once:\n\n  {token}\n")).as_deref(), Some(token));
        assert_eq!(printed_token("no secret here\n"), None);
    }
}
