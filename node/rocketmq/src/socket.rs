//! One TCP or TLS connection to a broker or name server, split into a side that reads and a side that writes.
//!
//! Parts: [`SocketOptions`]; [`connect`]; [`ReadSide`]; [`WriteSide`].
//! Dropping both sides closes the connection and, with [`SocketOptions::abort_on_close`], throws away what the kernel
//! has not delivered yet. Never shuts one direction down politely: that would deliver such bytes after the owner gave
//! up.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWrite, ReadHalf, WriteHalf, split};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::error::Error;
use crate::tls::Connector;

/// How to open a connection.
#[derive(Debug, Clone)]
pub(crate) struct SocketOptions {
    /// Longest time for the TCP connection and the TLS handshake together.
    pub(crate) connect_timeout: Duration,
    /// How long sent bytes may stay unacknowledged before the kernel ends the connection.
    pub(crate) user_timeout: Duration,
    /// SO_LINGER 0: closing resets the connection, undelivered bytes are dropped. For sends, whose late delivery would
    /// be a write after its owner's time.
    pub(crate) abort_on_close: bool,
    /// TLS, if the cluster speaks it.
    pub(crate) tls: Option<Connector>,
}

/// The side that receives.
pub(crate) enum ReadSide {
    Plain(OwnedReadHalf),
    Tls(Box<ReadHalf<TlsStream<TcpStream>>>),
}

/// The side that sends.
pub(crate) enum WriteSide {
    Plain(QuietWriteHalf),
    Tls(Box<WriteHalf<TlsStream<TcpStream>>>),
}

/// A write half that does not send FIN when dropped, which tokio's own does.
pub(crate) struct QuietWriteHalf(Option<OwnedWriteHalf>);

impl Drop for QuietWriteHalf {
    fn drop(&mut self) {
        if let Some(half) = self.0.take() {
            half.forget();
        }
    }
}

/// Opens a connection to `address` (`host:port`).
pub(crate) async fn connect(address: &str, options: &SocketOptions) -> Result<(ReadSide, WriteSide), Error> {
    let opening = async {
        let stream = TcpStream::connect(address).await.map_err(|error| unreachable(address, error))?;
        configure(&stream, options).map_err(|error| unreachable(address, error))?;
        match &options.tls {
            None => {
                let (read, write) = stream.into_split();
                Ok((ReadSide::Plain(read), WriteSide::Plain(QuietWriteHalf(Some(write)))))
            }
            Some(connector) => {
                let (read, write) = split(connector.connect(address, stream).await?);
                Ok((ReadSide::Tls(Box::new(read)), WriteSide::Tls(Box::new(write))))
            }
        }
    };
    match timeout(options.connect_timeout, opening).await {
        Ok(opened) => opened,
        Err(_) => Err(unreachable(address, format!("no connection within {:?}", options.connect_timeout))),
    }
}

fn configure(stream: &TcpStream, options: &SocketOptions) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(options.user_timeout))?;
    if options.abort_on_close {
        socket.set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

fn unreachable(address: &str, reason: impl ToString) -> Error {
    Error::Unreachable { address: address.to_owned(), reason: reason.to_string() }
}

impl ReadSide {
    /// Reads what is there into the buffer's spare room; 0 at the end of the stream.
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Plain(half) => half.read_buf(buffer).await,
            Self::Tls(half) => half.read_buf(buffer).await,
        }
    }
}

impl WriteSide {
    /// Writes a part of `head` followed by `body`, without joining them. Returns the number of bytes taken.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        head: &[u8],
        body: &[u8],
    ) -> Poll<io::Result<usize>> {
        let slices = [IoSlice::new(head), IoSlice::new(body)];
        let slices: &[IoSlice<'_>] = if body.is_empty() {
            slices.split_at(1).0
        } else if head.is_empty() {
            slices.split_at(1).1
        } else {
            &slices
        };
        let written = match self {
            Self::Plain(QuietWriteHalf(Some(half))) => ready!(Pin::new(half).poll_write_vectored(context, slices))?,
            Self::Plain(QuietWriteHalf(None)) => 0,
            Self::Tls(half) => ready!(Pin::new(half.as_mut()).poll_write_vectored(context, slices))?,
        };
        if written == 0 { Poll::Ready(Err(io::ErrorKind::WriteZero.into())) } else { Poll::Ready(Ok(written)) }
    }

    /// Hands over what TLS still buffers. Nothing to do for a plain connection.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(half) => Pin::new(half.as_mut()).poll_flush(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    async fn opened(abort_on_close: bool) -> (ReadSide, WriteSide, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let second = Duration::from_secs(1);
        let options = SocketOptions { connect_timeout: second * 30, user_timeout: second, abort_on_close, tls: None };
        let (read, write) = connect(&listener.local_addr().unwrap().to_string(), &options).await.unwrap();
        (read, write, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_connection_for_sends_is_reset_and_another_one_ends_in_order() {
        for (abort_on_close, kind) in [(true, Some(io::ErrorKind::ConnectionReset)), (false, None)] {
            let (read, write, mut peer) = opened(abort_on_close).await;
            drop(write);
            drop(read);
            assert_eq!(peer.read(&mut [0; 8]).await.err().map(|error| error.kind()), kind);
        }
    }

    #[tokio::test]
    async fn dropping_the_writing_side_alone_sends_nothing() {
        let (read, write, peer) = opened(false).await;
        drop(write);
        tokio::task::yield_now().await;
        let nothing = peer.try_read(&mut [0; 8]).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        drop(read);
    }

    #[tokio::test]
    async fn options_are_set_on_the_socket() {
        let (_read, write, _peer) = opened(true).await;
        let WriteSide::Plain(QuietWriteHalf(Some(half))) = &write else { panic!("not plain") };
        let socket = SockRef::from(half.as_ref());
        assert!(socket.tcp_nodelay().unwrap());
        assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(1)));
    }
}
