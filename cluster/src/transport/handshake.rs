//! From a socket to a connection with a known peer: TCP, TLS, then the first frames.
//!
//! The side that opened the connection speaks first. The other answers with its own hello only when it wants the
//! connection, otherwise with a refusal, so whoever got a hello knows that it is let in.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use causeway_core::ids::NodeId;
use tokio::io::{ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::certificate::Facts;
use super::error::{ConnectionError, Error};
use super::frame::{Frame, FrameReader, FrameWriter};
use super::hello::{Caller, Expected, Hello, Identity, Peer, Purpose};
use super::refusal::{Refusal, RefusalCode};
use super::registry::{Pass, Registry};
use super::settings::Settings;
use super::socket::{self, LINGER_BYTES, Stream};
use super::tls::Tls;
use crate::SettingsFault;

/// The largest frame before both sides know each other, in bytes.
const MAXIMUM_FIRST_FRAME_BYTES: usize = 4096;
/// How long a side that refused listens on, so that its refusal arrives.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How connections are secured.
#[derive(Debug, Clone)]
pub enum Security {
    /// Not at all: between loopback addresses only.
    Plain,
    /// Mutual TLS.
    Tls(Arc<Tls>),
}

/// What every connection of this node needs.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) settings: Settings,
    pub(crate) security: Security,
    pub(crate) me: Hello,
    /// `me` as it is sent, on a connection for messages and on one for byte streams.
    hello: Bytes,
    streams_hello: Bytes,
    pub(crate) registry: Registry,
}

/// A connection whose two sides know each other.
pub(crate) struct Connection {
    pub(crate) peer: Arc<Peer>,
    /// What the side that opened it wants of it.
    pub(crate) purpose: Purpose,
    pub(crate) pass: Pass,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

pub(crate) type Reader = FrameReader<ReadHalf<Stream>>;
pub(crate) type Writer = FrameWriter<WriteHalf<Stream>>;

impl Endpoint {
    /// Draws the number of this process and checks that everything fits together.
    ///
    /// # Errors
    /// [`Error::Settings`], [`Error::Random`].
    pub(crate) fn new(settings: Settings, security: Security, identity: Identity) -> Result<Self, Error> {
        settings.validate()?;
        let fault = |setting, reason| Err(Error::Settings { faults: vec![SettingsFault { setting, reason }] });
        if identity.cluster.is_some() != (identity.node != NodeId(0)) {
            return fault("node", "must be 0 exactly as long as the node has no cluster");
        }
        if matches!(&security, Security::Tls(tls) if *tls.name() != identity.name) {
            return fault("name", "must be the one that the certificate was loaded for");
        }
        let mut process = [0; 16];
        getrandom::fill(&mut process).map_err(|error| Error::Random { reason: error.to_string() })?;
        let me = Hello { identity, process: u128::from_ne_bytes(process), purpose: Purpose::Messages };
        let for_streams = Hello { purpose: Purpose::Streams, ..me.clone() };
        let (Ok(hello), Ok(streams_hello)) = (me.encode(), for_streams.encode()) else {
            return fault("name", "cannot be sent");
        };
        Ok(Self { settings, security, hello, streams_hello, registry: Registry::new(me.clone()), me })
    }

    /// Opens a connection to `address` (`host:port`).
    ///
    /// # Errors
    /// Whatever prevents it, and [`ConnectionError::HandshakeTimeout`].
    pub(crate) async fn dial(
        &self,
        address: &str,
        expected: &Expected,
        purpose: Purpose,
    ) -> Result<Connection, ConnectionError> {
        self.in_time(async {
            let loopback_only = matches!(self.security, Security::Plain);
            let (tcp, address) = socket::connect(address, loopback_only, &self.settings).await?;
            let (stream, certificate) = match &self.security {
                Security::Plain => plain(tcp),
                Security::Tls(tls) => secured(tls.connect(tcp, expected.name.as_ref()).await?),
            };
            let (mut reader, mut writer) = self.framed(stream);
            let hello = match purpose {
                Purpose::Messages => &self.hello,
                Purpose::Streams => &self.streams_hello,
            };
            let said = writer.write(&Frame::Hello(hello.clone())).await;
            // A side that refuses may have closed before it read the hello: its words count more than the failure
            // to send.
            let other = match reader.next().await {
                Ok(Frame::Hello(other)) => other,
                Ok(Frame::Refused(refusal)) => return Err(ConnectionError::Refused(Refusal::decode(&refusal))),
                Ok(frame) => return Err(ConnectionError::Unexpected { kind: frame.kind() }),
                Err(ConnectionError::Closed) => return Err(said.err().unwrap_or(ConnectionError::Closed)),
                Err(error) => return Err(error),
            };
            said?;
            let caller = Caller { address, certificate };
            match self.judge(&other, expected, caller, |_| Ok(())).await {
                // The other side's own words about the purpose are of no use here.
                Ok(((peer, _), pass)) => Ok(self.connection((peer, purpose), pass, reader, writer)),
                Err(refusal) => Err(refuse(reader, writer, refusal).await),
            }
        })
        .await
    }

    /// Takes a connection that another node opened. `admit` has the last word about who is let in.
    ///
    /// # Errors
    /// Whatever prevents it, and [`ConnectionError::HandshakeTimeout`].
    pub(crate) async fn accept(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        admit: impl Fn(&Peer) -> Result<(), Refusal>,
    ) -> Result<Connection, ConnectionError> {
        self.in_time(async {
            socket::configure(&tcp, &self.settings)?;
            let (stream, certificate) = match &self.security {
                Security::Plain => plain(tcp),
                Security::Tls(tls) => secured(tls.accept(tcp).await?),
            };
            let (mut reader, mut writer) = self.framed(stream);
            let other = match reader.next().await {
                Ok(Frame::Hello(other)) => other,
                Ok(frame) => return Err(ConnectionError::Unexpected { kind: frame.kind() }),
                Err(error @ (ConnectionError::Frame(_) | ConnectionError::UnexpectedTls)) => {
                    let refusal = Refusal::new(RefusalCode::Malformed, error.to_string());
                    refuse(reader, writer, refusal).await;
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            let caller = Caller { address, certificate };
            match self.judge(&other, &Expected::default(), caller, admit).await {
                Ok((said, pass)) => {
                    writer.write(&Frame::Hello(self.hello.clone())).await?;
                    Ok(self.connection(said, pass, reader, writer))
                }
                Err(refusal) => Err(refuse(reader, writer, refusal).await),
            }
        })
        .await
    }

    async fn in_time<T>(
        &self,
        shaking: impl Future<Output = Result<T, ConnectionError>>,
    ) -> Result<T, ConnectionError> {
        let waited = self.settings.handshake_timeout;
        timeout(waited, shaking).await.unwrap_or(Err(ConnectionError::HandshakeTimeout { waited }))
    }

    fn framed(&self, stream: Stream) -> (Reader, Writer) {
        let (read, write) = split(stream);
        let Settings { handshake_timeout, dead_after, .. } = self.settings;
        // In the handshake only its own time limit counts; the shorter one begins with the connection.
        let silence = handshake_timeout.saturating_mul(2);
        let reader = FrameReader::new(read, MAXIMUM_FIRST_FRAME_BYTES, silence);
        (reader, FrameWriter::new(write, dead_after))
    }

    async fn judge(
        &self,
        said: &[u8],
        expected: &Expected,
        caller: Caller,
        admit: impl Fn(&Peer) -> Result<(), Refusal>,
    ) -> Result<((Arc<Peer>, Purpose), Pass), Refusal> {
        let (peer, purpose) = self.me.judge(said, expected, caller)?;
        admit(&peer)?;
        let pass = match peer.is_member {
            true => self.registry.admit(peer.identity.node, peer.process).await?,
            false => Pass::unregistered(),
        };
        Ok(((peer, purpose), pass))
    }

    fn connection(
        &self,
        (peer, purpose): (Arc<Peer>, Purpose),
        pass: Pass,
        mut reader: Reader,
        writer: Writer,
    ) -> Connection {
        reader.maximum = self.settings.maximum_frame_bytes;
        reader.silence = self.settings.dead_after;
        Connection { peer, purpose, pass, reader, writer }
    }
}

fn plain(tcp: TcpStream) -> (Stream, Option<Facts>) {
    (Box::new(tcp), None)
}

/// A stream with TLS and what its certificate says.
fn secured((stream, facts): (Stream, Facts)) -> (Stream, Option<Facts>) {
    (stream, Some(facts))
}

/// Tells the other side why the connection is not wanted, and ends it so that this arrives.
pub(crate) async fn refuse(mut reader: Reader, mut writer: Writer, refusal: Refusal) -> ConnectionError {
    let leaving = async {
        if writer.write(&Frame::Refused(refusal.encode())).await.is_ok() && writer.close().await.is_ok() {
            reader.drain(LINGER_BYTES).await;
        }
    };
    // Out of time or not, the connection ends here.
    let _ = timeout(LAST_WORDS, leaving).await;
    ConnectionError::Refusing(refusal)
}
