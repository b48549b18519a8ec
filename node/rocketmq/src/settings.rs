//! How to reach one RocketMQ cluster.
//!
//! Parts: [`ClientSettings`], checked once by [`ClientSettings::validate`]; [`SlaveReads`], when a slave may be read.
//! Never reads the environment or a file; the caller resolves references to secrets first.

use std::time::Duration;

use crate::error::Error;
use crate::tls::TlsSettings;
use crate::wire::sign::Credentials;

/// Most connections for sending that one broker may get.
const MAX_SEND_CONNECTIONS: usize = 64;

/// Everything that a [`crate::Client`] needs to know.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Name servers as `host:port`, tried in turn until one answers.
    pub name_servers: Vec<String>,
    /// Confines broker listing and topic creation to one cluster of that name; `None` means all that are registered.
    pub cluster: Option<String>,
    /// Signs every request when set.
    pub credentials: Option<Credentials>,
    /// Speaks TLS to name servers and brokers when set. Never falls back to plain text.
    pub tls: Option<TlsSettings>,
    /// Longest time for a TCP connection and its TLS handshake.
    pub connect_timeout: Duration,
    /// Longest time for one answer, beyond what a long poll adds.
    pub request_timeout: Duration,
    /// How long the kernel may keep bytes that the other side has not taken before it drops the connection. A settle
    /// wait after a lost owner must be longer than this.
    pub unacknowledged: Duration,
    /// Group named in pulls. A name that begins with `CID_RMQ_SYS_` needs no registration at the broker.
    pub consumer_group: String,
    /// Group named in sends.
    pub producer_group: String,
    /// When a slave may be read instead of its master.
    pub slave_reads: SlaveReads,
    /// Connections for sending per broker, of each client. Queues are spread over them, so that closing one (a
    /// cancelled or timed-out send does that) disturbs few others.
    pub send_connections: usize,
}

/// When a slave may be read instead of its master. Pulls say so with `from_slave`, because a slave may lag or may have
/// diverged: the caller verifies the boundary before it trusts such data. Use `Never` where a read must prove what a
/// master holds, as for the tail of a target queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlaveReads {
    /// Only when the route has no master or the master cannot be reached.
    #[default]
    WhenMasterIsGone,
    /// Also when the master suggests it, which it does for data that left its memory.
    ColdCatchUp,
    /// Not even then.
    Never,
}

impl ClientSettings {
    /// Settings with defaults for everything but the addresses.
    pub fn new(name_servers: Vec<String>) -> Self {
        Self {
            name_servers,
            cluster: None,
            credentials: None,
            tls: None,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(10),
            unacknowledged: Duration::from_millis(1_300),
            consumer_group: "CID_RMQ_SYS_CAUSEWAY".to_owned(),
            producer_group: "CAUSEWAY_PRODUCER".to_owned(),
            slave_reads: SlaveReads::default(),
            send_connections: 4,
        }
    }

    /// Checks every field. The error names all faults, joined by `; `.
    pub fn validate(&self) -> Result<(), Error> {
        let mut faults = Vec::new();
        if self.name_servers.is_empty() {
            faults.push("no name server given".to_owned());
        }
        for address in &self.name_servers {
            if !is_host_and_port(address) {
                faults.push(format!("name server `{address}` is not host:port"));
            }
        }
        for (name, group) in [("consumer group", &self.consumer_group), ("producer group", &self.producer_group)] {
            if !is_resource_name(group) {
                faults.push(format!("{name} `{group}` must be 1 to 255 of letters, digits, `%|-_`"));
            }
        }
        let spans = [
            ("connect timeout", self.connect_timeout),
            ("request timeout", self.request_timeout),
            ("time for unacknowledged bytes", self.unacknowledged),
        ];
        for (name, value) in spans {
            if value < Duration::from_millis(1) || value > Duration::from_secs(600) {
                faults.push(format!("{name} {value:?} is not between 1 ms and 10 minutes"));
            }
        }
        if self.send_connections == 0 || self.send_connections > MAX_SEND_CONNECTIONS {
            faults.push(format!("send connections must be 1 to {MAX_SEND_CONNECTIONS}"));
        }
        if faults.is_empty() { Ok(()) } else { Err(Error::Settings(faults.join("; "))) }
    }
}

/// Whether a text has the shape `host:port`, with IPv6 hosts in brackets.
pub(crate) fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host = match host.strip_prefix('[') {
        Some(rest) => match rest.strip_suffix(']') {
            Some(inner) => inner,
            None => return false,
        },
        None if host.contains(':') => return false,
        None => host,
    };
    !host.is_empty()
        && host.len() <= 255
        && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/')
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// Topic and group names as `TopicValidator` allows them, with the longer limit of retry topics.
pub(crate) fn is_resource_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'|' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_are_reported_at_once() {
        let mut settings = ClientSettings::new(vec!["no-port".into(), "ok:9876".into()]);
        settings.consumer_group = "white space".into();
        settings.connect_timeout = Duration::ZERO;
        settings.send_connections = 0;
        let Err(Error::Settings(text)) = settings.validate() else { panic!("accepted") };
        for part in ["no-port", "white space", "connect timeout", "send connections"] {
            assert!(text.contains(part), "{part} missing in {text}");
        }
        assert!(!text.contains("ok:9876"));
    }

    #[test]
    fn addresses_need_a_host_and_a_port() {
        for good in ["127.0.0.1:9876", "[::1]:9876", "broker.example:10911"] {
            assert!(is_host_and_port(good), "{good}");
        }
        for bad in ["", ":1", "host", "host:0", "host:70000", "::1:9876", "[::1:9876", "http://host:80", "a b:1"] {
            assert!(!is_host_and_port(bad), "{bad}");
        }
    }
}
