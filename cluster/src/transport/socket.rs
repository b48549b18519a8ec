//! TCP sockets: how they are opened, set and left.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::error::ConnectionError;
use super::settings::Settings;

/// How long, and for how many bytes, a side that ends a connection listens on so that its last words arrive: closing a
/// socket with unread bytes resets the connection, and a reset throws away what the other side has not read yet.
const LINGER: Duration = Duration::from_secs(1);
pub(crate) const LINGER_BYTES: usize = 64 * 1024;
/// The operating system counts keepalive in whole seconds.
const SHORTEST_KEEPALIVE: Duration = Duration::from_secs(1);

/// A TCP connection, with or without TLS.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Any of them.
pub(crate) type Stream = Box<dyn Duplex>;

/// Connects to one of the addresses that `address` (`host:port`) resolves to.
///
/// # Errors
/// [`ConnectionError::Unreachable`], and [`ConnectionError::PlainBeyondLoopback`] when only loopback is allowed.
pub(crate) async fn connect(
    address: &str,
    loopback_only: bool,
    settings: &Settings,
) -> Result<(TcpStream, SocketAddr), ConnectionError> {
    let unreachable = |reason: String| ConnectionError::Unreachable { address: address.to_owned(), reason };
    let found = lookup_host(address).await.map_err(|error| unreachable(error.to_string()))?;
    let mut last = unreachable("the name has no address".to_owned());
    for address in found {
        if loopback_only && !address.ip().is_loopback() {
            return Err(ConnectionError::PlainBeyondLoopback { address });
        }
        match open(address, settings).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = unreachable(error.to_string()),
        }
    }
    Err(last)
}

async fn open(address: SocketAddr, settings: &Settings) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // While nobody listens on a local port, the kernel may give a connection that very port as its own end, and
    // connect it with itself.
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    configure(&stream, settings)?;
    Ok(stream)
}

/// Sets what every connection of this crate needs.
pub(crate) fn configure(stream: &TcpStream, settings: &Settings) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let every = settings.ping_every.max(SHORTEST_KEEPALIVE);
    let idle = settings.dead_after.max(SHORTEST_KEEPALIVE);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle).with_interval(every))?;
    // A side notices by itself, and sooner, that the other one is gone. This bounds how long the kernel goes on sending
    // what a closed connection left behind.
    socket.set_tcp_user_timeout(Some(settings.dead_after.saturating_mul(2)))?;
    // What the kernel holds unsent is ahead of a heartbeat and cannot be overtaken: at most about one piece. An older
    // kernel without it only makes heartbeats wait longer behind a large message.
    let unsent = u32::try_from(settings.piece_bytes).unwrap_or(u32::MAX);
    if let Err(error) = socket.set_tcp_notsent_lowat(unsent) {
        tracing::debug!(%error, "the kernel does not bound unsent bytes");
    }
    Ok(())
}

/// Ends a connection so that what was sent last still arrives.
pub(crate) async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let leaving = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut read = 0;
        let mut bytes = [0; 4096];
        while read < LINGER_BYTES {
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(more) => read += more,
            }
        }
    };
    // Out of time or not, the connection ends here.
    let _ = timeout(LINGER, leaving).await;
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::{ConnectionError, Settings, connect, linger};

    #[tokio::test]
    async fn options_are_set_on_the_socket() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stream, _) = connect(&address, true, &Settings::default()).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Settings::default().dead_after * 2));
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Settings::default().dead_after);
    }

    #[tokio::test]
    async fn plain_connections_do_not_leave_the_machine() {
        let refused = connect("192.0.2.1:9", true, &Settings::default()).await.unwrap_err();
        assert!(matches!(refused, ConnectionError::PlainBeyondLoopback { .. }), "{refused}");
        let unknown = connect("localhost:nowhere", true, &Settings::default()).await.unwrap_err();
        assert!(matches!(unknown, ConnectionError::Unreachable { .. }), "{unknown}");
    }

    #[tokio::test]
    async fn last_words_arrive_although_the_other_side_still_sends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(&[0; 1000]).await.unwrap();
        far.write_all(b"last words").await.unwrap();
        let leaving = tokio::spawn(linger(far));
        let mut words = Vec::new();
        near.read_to_end(&mut words).await.unwrap();
        near.write_all(&[0; 1000]).await.unwrap();
        assert_eq!(words, b"last words");
        drop(near);
        leaving.await.unwrap();
    }
}
