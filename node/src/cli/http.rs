//! Asks a node: one request, one answer, a failure that says what to do.
//!
//! The token goes only to this machine (a tunnel's end included), because the API has no TLS. No proxy is used,
//! whatever the environment says. Answers are read up to a limit.

use std::net::IpAddr;
use std::time::Duration;

use causeway_core::error_code::ErrorCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{HeaderMap, Method, Request};
use zeroize::Zeroizing;

use crate::admin::model::error::ErrorAnswer;
use crate::cli::exit::Failure;

/// The largest answer that is read, in bytes.
const MAXIMUM_ANSWER_BYTES: u64 = 32 * 1024 * 1024;

/// The largest file, a backup, that is taken, in bytes.
const MAXIMUM_FILE_BYTES: u64 = 260 * 1024 * 1024;

/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a node may take to answer what it knows.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a node may take for what makes it ask instances.
pub const WORK_TIMEOUT: Duration = Duration::from_secs(120);

/// A node's API.
pub struct Api {
    agent: ureq::Agent,
    base: String,
    token: Option<Zeroizing<String>>,
}

impl Api {
    /// The API at an address, `http://127.0.0.1:7500` or `127.0.0.1:7500`.
    ///
    /// # Errors
    /// [`Failure`] where the address is no loopback HTTP address.
    pub fn new(address: &str, token: Option<Zeroizing<String>>) -> Result<Self, Failure> {
        let base = check(address)?;
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .proxy(None)
            .max_redirects(0)
            .user_agent(concat!("causeway/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { agent: config.new_agent(), base, token })
    }

    /// Where the API is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.base
    }

    /// Looks at something.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask(&Method::GET, path, None, LOOK_TIMEOUT)
    }

    /// Looks at something within a time.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn get_within(&self, path: &str, timeout: Duration) -> Result<Value, Failure> {
        self.ask(&Method::GET, path, None, timeout)
    }

    /// Every item of a list, page by page.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn list(&self, path: &str) -> Result<Vec<Value>, Failure> {
        /// More pages than that are not a list but a mistake of the server.
        const MAXIMUM_PAGES: usize = 1_000;
        let mut items = Vec::new();
        let mut after = None;
        for _ in 0..MAXIMUM_PAGES {
            let query = after.as_deref().map_or(String::new(), |name| format!("&after={}", segment(name)));
            let mut page = self.get(&format!("{path}?limit=1000{query}"))?;
            match page.get_mut("items").map(Value::take) {
                Some(Value::Array(part)) => items.extend(part),
                _ => return Err(self.strange("a list without items")),
            }
            after = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if after.is_none() {
                return Ok(items);
            }
        }
        Err(self.strange("a list without an end"))
    }

    /// Changes something, or starts some work.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn post(&self, path: &str, body: Option<&impl Serialize>) -> Result<Value, Failure> {
        // The body may hold a secret that the node is to seal.
        let body = match body {
            Some(body) => Zeroizing::new(serde_json::to_vec(body).map_err(|error| Failure::usage(error.to_string()))?),
            None => Zeroizing::new(Vec::new()),
        };
        self.ask(&Method::POST, path, Some(body.as_slice()), WORK_TIMEOUT)
    }

    /// Replaces something that is at a version.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn put(&self, path: &str, version: u64, body: &impl Serialize) -> Result<Value, Failure> {
        // The body may hold a secret that the node is to seal.
        let body = Zeroizing::new(serde_json::to_vec(body).map_err(|error| Failure::usage(error.to_string()))?);
        self.ask_at(&Method::PUT, path, Some(version), Some(body.as_slice()), WORK_TIMEOUT)
    }

    /// Removes something.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.ask(&Method::DELETE, path, None, WORK_TIMEOUT)
    }

    /// Whether the node answers at all, and what it says where it was removed from its cluster. Needs no token.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn answers(&self) -> Result<Option<String>, Failure> {
        let (_, text) = self.bytes(&Method::GET, "/healthz", None, None, CONNECT_TIMEOUT, MAXIMUM_ANSWER_BYTES)?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.trim_end().strip_prefix("removed: ").map(str::to_owned))
    }

    /// The bytes of a file, and what the head of the answer says of it.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn download(&self, path: &str) -> Result<(HeaderMap, Vec<u8>), Failure> {
        self.bytes(&Method::GET, path, None, None, WORK_TIMEOUT, MAXIMUM_FILE_BYTES)
    }

    /// Takes an answer as a type.
    ///
    /// # Errors
    /// [`Failure`] where the node answers something else, being another version or another program.
    pub fn read<T: DeserializeOwned>(&self, answer: &Value) -> Result<T, Failure> {
        T::deserialize(answer).map_err(|error| self.strange(&error.to_string()))
    }

    fn ask(&self, method: &Method, path: &str, body: Option<&[u8]>, timeout: Duration) -> Result<Value, Failure> {
        self.ask_at(method, path, None, body, timeout)
    }

    fn ask_at(
        &self,
        method: &Method,
        path: &str,
        version: Option<u64>,
        body: Option<&[u8]>,
        timeout: Duration,
    ) -> Result<Value, Failure> {
        let (_, text) = self.bytes(method, path, version, body, timeout, MAXIMUM_ANSWER_BYTES)?;
        serde_json::from_slice(&text).map_err(|error| self.strange(&error.to_string()))
    }

    fn bytes(
        &self,
        method: &Method,
        path: &str,
        version: Option<u64>,
        body: Option<&[u8]>,
        timeout: Duration,
        maximum: u64,
    ) -> Result<(HeaderMap, Vec<u8>), Failure> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(version) = version {
            request = request.header("if-match", format!("\"{version}\""));
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", Zeroizing::new(format!("Bearer {}", token.as_str())).as_str());
        }
        let answer = match body {
            None => self.run(request.body(()), timeout),
            Some(body) => self.run(request.header("content-type", "application/json").body(body), timeout),
        };
        let mut answer = answer.map_err(|error| self.unreachable(method, &error))?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().with_config().limit(maximum).read_to_vec();
        let text = text.map_err(|error| self.unreachable(method, &error))?;
        if (200..300).contains(&status) {
            return Ok((std::mem::take(answer.headers_mut()), text));
        }
        match serde_json::from_slice::<ErrorAnswer>(&text) {
            Ok(answer) => Err(self.answered(status, answer)),
            Err(_) => Err(self.strange(&format!("HTTP status {status} without a Causeway error"))),
        }
    }

    fn answered(&self, status: u16, answer: ErrorAnswer) -> Failure {
        let refused = answer.error.code == ErrorCode::Unauthenticated.to_string();
        let failure = Failure::answered(status, answer);
        if refused && self.token.is_some() {
            let lost = "if it is lost, stop the node and: causeway token reset --config FILE";
            return failure.advise(format!("the token that was sent is not this node's; {lost}"));
        }
        failure
    }

    fn run<S: ureq::AsSendBody>(
        &self,
        request: Result<Request<S>, ureq::http::Error>,
        timeout: Duration,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        let request = self.agent.configure_request(request?).timeout_global(Some(timeout)).build();
        self.agent.run(request)
    }

    fn unreachable(&self, method: &Method, error: &ureq::Error) -> Failure {
        let base = &self.base;
        let unknown = if *method == Method::GET { "" } else { "; whether it was done is not known" };
        match error {
            ureq::Error::Timeout(_) => {
                Failure::new(ErrorCode::TimedOut, format!("the node at {base} did not answer in time{unknown}"))
            }
            ureq::Error::Io(cause) if cause.kind() == std::io::ErrorKind::ConnectionRefused => {
                Failure::new(ErrorCode::Unavailable, format!("no node listens at {base}")).advise(
                    "start one with: causeway run --config FILE, or name another with --address or CAUSEWAY_ADDRESS",
                )
            }
            ureq::Error::Http(_) => {
                Failure::usage("the token has characters that no token has; check CAUSEWAY_TOKEN or the token file")
            }
            other => {
                Failure::new(ErrorCode::Unavailable, format!("the node at {base} cannot be asked: {other}{unknown}"))
            }
        }
    }

    fn strange(&self, what: &str) -> Failure {
        let message = format!("{} does not answer like this version of Causeway: {what}", self.base);
        Failure::new(ErrorCode::Malformed, message).advise("compare versions with: causeway version")
    }
}

/// A text as one segment of a path, or as the value of a query.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

fn check(address: &str) -> Result<String, Failure> {
    let rest = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    if rest.is_empty() || rest.contains(['/', '@', '?', '#']) || rest.contains(char::is_whitespace) {
        return Err(Failure::usage(format!(
            "{address} is not the address of an API; write it as http://127.0.0.1:7500"
        )));
    }
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    };
    if let Some(port) = port.filter(|port| !port.parse().is_ok_and(|port: u16| port > 0)) {
        return Err(Failure::usage(format!("{port} in {address} is not a port; ports are 1 to 65535")));
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !loopback {
        let message = format!("{address} is not on this machine, and the token would travel there in clear");
        return Err(Failure::new(ErrorCode::UnsafeBind, message)
            .advise("open a tunnel, for example: ssh -L 7500:127.0.0.1:7500 HOST, and use http://127.0.0.1:7500"));
    }
    Ok(format!("http://{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::exit::Exit;

    #[test]
    fn only_this_machine_gets_the_token() {
        for good in ["http://127.0.0.1:7500", "127.0.0.1:7500/", "http://[::1]:1", "localhost:80", "http://localhost"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "http://10.0.0.1:7500",
            "https://localhost:1",
            "http://node-1",
            "",
            "http://a@localhost",
            "http://localhost/x",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_that_is_none_is_told_as_one() {
        for bad in ["http://127.0.0.1:99999", "[::1]:0", "localhost:api"] {
            let failure = check(bad).expect_err("no port");
            assert_eq!(failure.exit, Exit::Usage, "{bad}");
            assert!(failure.to_string().contains("is not a port"), "{failure}");
        }
        assert!(check("http://10.0.0.1:7500").expect_err("elsewhere").to_string().contains("not on this machine"));
    }

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(segment("orders-1.a_b~"), "orders-1.a_b~");
        assert_eq!(segment("../x?y=%é"), "..%2Fx%3Fy%3D%25%C3%A9");
    }
}
