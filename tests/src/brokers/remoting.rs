//! The smallest client that can ask a name server or broker something: one connection, one JSON request, one answer.
//!
//! Only the harness's own questions go through here (is it ready, create this topic, where does this queue end). It
//! must never become a data path and shares nothing with the product's client.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use serde_json::{Value, json};
use sha1::Sha1;

use super::settings::Credentials;

/// No answer that the harness asks for is larger.
const MAXIMUM_ANSWER: usize = 64 << 20;

/// How to reach the servers of one cluster.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) credentials: Option<Credentials>,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// What a server said.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) code: i64,
    pub(super) remark: String,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// An open connection to one server, for one request at a time.
pub(super) struct Line {
    credentials: Option<Credentials>,
    stream: Box<dyn Stream>,
}

impl Line {
    /// Sends one request and waits for its answer. After an error the connection is of no use.
    pub(super) fn call(&mut self, code: i32, fields: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let mut fields: BTreeMap<String, String> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        if let Some(credentials) = &self.credentials {
            sign(credentials, &mut fields, body);
        }
        // 401 is the first version whose servers answer in standard JSON.
        let header = json!({
            "code": code, "language": "OTHER", "version": 401, "opaque": 1, "flag": 0,
            "serializeTypeCurrentRPC": "JSON", "extFields": fields,
        })
        .to_string();
        let size = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
        let mut frame = size(4 + header.len() + body.len())?.to_be_bytes().to_vec();
        frame.extend(size(header.len())?.to_be_bytes());
        frame.extend(header.as_bytes());
        frame.extend(body);
        self.stream.write_all(&frame)?;
        self.stream.flush()?;
        read_answer(&mut *self.stream)
    }
}

impl Remote {
    /// Sends one request to `address` (`host:port`; an IPv6 host may stand without brackets) and waits for its answer.
    pub(super) fn call(&self, address: &str, code: i32, fields: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        self.open(address)?.call(code, fields, body)
    }

    /// Opens a connection for several requests.
    pub(super) fn open(&self, address: &str) -> io::Result<Line> {
        Ok(Line { credentials: self.credentials.clone(), stream: self.connect(address)? })
    }

    fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        let address = socket_address(address)?;
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
        let connection = ClientConnection::new(config.clone(), ServerName::IpAddress(address.ip().into()));
        Ok(Box::new(StreamOwned::new(connection.map_err(io::Error::other)?, stream)))
    }
}

/// Parses `127.0.0.1:1`, `[::1]:1` and `::1:1`.
fn socket_address(text: &str) -> io::Result<SocketAddr> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("not an address: {text}"));
    let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    let host: IpAddr = host.trim_matches(['[', ']']).parse().map_err(|_| invalid())?;
    Ok(SocketAddr::new(host, port.parse().map_err(|_| invalid())?))
}

fn read_answer(stream: &mut dyn Stream) -> io::Result<Answer> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut word = [0; 4];
    stream.read_exact(&mut word)?;
    let length = usize::try_from(u32::from_be_bytes(word)).map_err(io::Error::other)?;
    if !(4..=MAXIMUM_ANSWER).contains(&length) {
        return Err(invalid("answer of an impossible length"));
    }
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;
    // The top byte of the second word names the header's encoding; the answer to a JSON request is JSON.
    let head =
        usize::try_from(u32::from_be_bytes(frame[..4].try_into().unwrap()) & 0x00ff_ffff).map_err(io::Error::other)?;
    let header = frame.get(4..4 + head).ok_or_else(|| invalid("header longer than the answer"))?;
    let header: Value = serde_json::from_slice(header)?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(Answer {
        code: header["code"].as_i64().ok_or_else(|| invalid("answer without a code"))?,
        remark: header["remark"].as_str().unwrap_or_default().to_owned(),
        fields: header["extFields"]
            .as_object()
            .map(|fields| fields.iter().map(|(name, value)| (name.clone(), text(value))).collect())
            .unwrap_or_default(),
        body: frame[4 + head..].to_vec(),
    })
}

/// The signature of both ACL generations: HMAC-SHA1 over the field values in the order of their names, then the body.
fn sign(credentials: &Credentials, fields: &mut BTreeMap<String, String>, body: &[u8]) {
    fields.insert("AccessKey".to_owned(), credentials.access_key.clone());
    let mut mac = Hmac::<Sha1>::new_from_slice(credentials.secret_key.as_bytes()).unwrap();
    for value in fields.values() {
        mac.update(value.as_bytes());
    }
    mac.update(body);
    fields.insert("Signature".to_owned(), STANDARD.encode(mac.finalize().into_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form_that_servers_use() {
        assert_eq!(socket_address("127.0.0.1:9876").unwrap(), "127.0.0.1:9876".parse().unwrap());
        assert_eq!(socket_address("[::1]:9876").unwrap(), "[::1]:9876".parse().unwrap());
        assert_eq!(socket_address("::1:9876").unwrap(), "[::1]:9876".parse().unwrap());
        assert!(socket_address("9876").is_err());
    }

    #[test]
    fn the_signature_covers_values_in_order_of_names_and_the_body() {
        let credentials = Credentials::new("ak", "secret-key");
        let mut fields = BTreeMap::from([("topic".to_owned(), "t".to_owned()), ("b".to_owned(), "x".to_owned())]);
        sign(&credentials, &mut fields, b"body");
        // Upper case sorts before lower case: AccessKey, b, topic.
        let mut mac = Hmac::<Sha1>::new_from_slice(b"secret-key").unwrap();
        mac.update(b"akxtbody");
        assert_eq!(fields["Signature"], STANDARD.encode(mac.finalize().into_bytes()));
    }
}
