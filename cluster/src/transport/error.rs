//! Why a connection was not made or ended, and why a call was not answered.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use causeway_core::ids::NodeId;
use causeway_core::name::Name;
use rustls::{AlertDescription, Error as TlsError, InvalidMessage};

use super::certificate::CertificateProblem;
use super::frame::FrameError;
use super::refusal::Refusal;
use crate::SettingsFault;

/// Why a connection was not made, or ended. Cheap to clone: many waiting requests may get the same one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionError {
    /// The address does not resolve, or nobody answers there.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// What the operating system said.
        reason: String,
    },
    /// Without TLS nothing leaves the machine.
    #[error("{address} is not a loopback address, and plain TCP is for loopback addresses only")]
    PlainBeyondLoopback {
        /// What the peer's address resolved to.
        address: SocketAddr,
    },
    /// The peer's name has no DNS form, so no certificate can carry it.
    #[error("the node name {name} cannot be part of a DNS name, so no certificate can carry it")]
    UnusableName {
        /// The peer's name.
        name: Name,
    },
    /// TCP, TLS and the first frames together took too long.
    #[error("the handshake was not complete within {waited:?}")]
    HandshakeTimeout {
        /// The limit.
        waited: Duration,
    },
    /// This side does not accept the certificate of the other.
    #[error("the other side's certificate {0}")]
    Certificate(CertificateProblem),
    /// The other side does not accept the certificate of this one.
    #[error("the other side does not accept this node's certificate: {reason}")]
    CertificateRefused {
        /// The TLS alert in words.
        reason: String,
    },
    /// This side speaks TLS, the other does not.
    #[error("the other side does not speak TLS")]
    NotTls,
    /// The other side speaks TLS, this one does not.
    #[error("the other side speaks TLS, this node is set to plain TCP")]
    UnexpectedTls,
    /// TLS failed in another way.
    #[error("TLS failed: {reason}")]
    Tls {
        /// What the library said.
        reason: String,
    },
    /// The other side refused, in its own words.
    #[error("the other side refused: {0}")]
    Refused(Refusal),
    /// This side refused.
    #[error("this node refused: {0}")]
    Refusing(Refusal),
    /// The other side sent bytes that are no frame.
    #[error("the other side sent {0}")]
    Frame(FrameError),
    /// The other side sent a frame that has no place here.
    #[error("a frame of kind {kind} came where it has no place")]
    Unexpected {
        /// Its kind.
        kind: &'static str,
    },
    /// Nothing was heard for too long, not even a ping.
    #[error("nothing was heard for {waited:?}")]
    Silent {
        /// The limit.
        waited: Duration,
    },
    /// The other side took nothing of what was sent for too long.
    #[error("the other side took no bytes for {waited:?}")]
    Stalled {
        /// The limit.
        waited: Duration,
    },
    /// The other side asks for ever more and does not read the answers.
    #[error("the other side does not read its answers")]
    Overrun,
    /// The other side closed the connection, or ended.
    #[error("the other side closed the connection")]
    Closed,
    /// The network failed.
    #[error("the connection failed: {reason}")]
    Io {
        /// What the operating system said.
        reason: String,
    },
    /// This side stops, or does not want the connection any more.
    #[error("this node gave the connection up")]
    GivenUp,
}

/// Why a call failed. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The settings have faults; nothing was started.
    #[error("the transport's settings have {} faults", faults.len())]
    Settings {
        /// All of them.
        faults: Vec<SettingsFault>,
    },
    /// Without TLS nothing listens beyond the machine.
    #[error("{address} is not a loopback address, and plain TCP is for loopback addresses only")]
    PlainBeyondLoopback {
        /// The address to listen on.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on: {reason}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        reason: String,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes: {reason}")]
    Random {
        /// What it said.
        reason: String,
    },
    /// No such peer is set; nothing was sent.
    #[error("node {node} is not a peer")]
    UnknownPeer {
        /// Who was asked for.
        node: NodeId,
    },
    /// The message is too large; nothing was sent.
    #[error("the message has {bytes} bytes, the maximum is {maximum}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        maximum: usize,
    },
    /// Too much waits for this peer already; nothing was sent.
    #[error("too much waits for this peer already")]
    BufferFull,
    /// There was no connection; nothing was sent.
    #[error("not sent: {0}")]
    NotSent(ConnectionError),
    /// The other side had too many requests in progress; it did not look at this one.
    #[error("the other side has too many requests in progress")]
    PeerBusy,
    /// The other side ended the request without an answer. **The outcome is unknown.**
    #[error("the other side failed to answer")]
    PeerFailed,
    /// The other side did not take a message that came in pieces.
    #[error("the other side did not take the message: {reason}")]
    NotTaken {
        /// Its own words.
        reason: String,
    },
    /// The connection ended after sending began. **The outcome is unknown.**
    #[error("the connection ended before the answer: {0}")]
    Interrupted(ConnectionError),
    /// No answer came in time. **The outcome is unknown.**
    #[error("no answer within {waited:?}")]
    Timeout {
        /// How long the call waited.
        waited: Duration,
    },
    /// The transport was shut down, or the peer is none any more; nothing was sent.
    #[error("the transport was shut down or the peer removed")]
    Stopped,
}

impl Error {
    /// Whether the other side may have handled the request, or still may, although no answer came back.
    #[must_use]
    pub fn outcome_is_unknown(&self) -> bool {
        matches!(self, Self::PeerFailed | Self::Interrupted(_) | Self::Timeout { .. })
    }
}

impl From<FrameError> for ConnectionError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Tls => Self::UnexpectedTls,
            other => Self::Frame(other),
        }
    }
}

impl From<io::Error> for ConnectionError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof, WriteZero};
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
            return Self::of_tls(tls);
        }
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof | WriteZero => Self::Closed,
            _ => Self::Io { reason: error.to_string() },
        }
    }
}

impl ConnectionError {
    /// Whether both sides were reached and did not agree on how to protect the connection.
    pub(crate) fn is_of_tls(&self) -> bool {
        matches!(
            self,
            Self::Certificate(_)
                | Self::CertificateRefused { .. }
                | Self::NotTls
                | Self::UnexpectedTls
                | Self::Tls { .. }
        )
    }

    fn of_tls(error: &TlsError) -> Self {
        match error {
            TlsError::InvalidCertificate(problem) => Self::Certificate(problem.into()),
            TlsError::NoCertificatesPresented => Self::Certificate(CertificateProblem::Missing),
            TlsError::AlertReceived(alert) => match said_of_certificate(*alert) {
                Some(reason) => Self::CertificateRefused { reason: reason.to_owned() },
                None => Self::Tls { reason: error.to_string() },
            },
            TlsError::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::InvalidEmptyPayload
                | InvalidMessage::MessageTooLarge,
            ) => Self::NotTls,
            other => Self::Tls { reason: other.to_string() },
        }
    }
}

/// What an alert says about the certificate that this side showed; none when it is about something else.
fn said_of_certificate(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateRequired => "it asks for one and got none",
        AlertDescription::UnknownCA => "it does not know the authority that signed it",
        AlertDescription::DecryptError => "its signature is not of the authority that it names",
        AlertDescription::CertificateExpired => "it has expired or is not valid yet",
        AlertDescription::BadCertificate => "it carries another name than expected, or is damaged",
        AlertDescription::CertificateRevoked => "it is revoked",
        AlertDescription::UnsupportedCertificate => "it is not meant for this use",
        AlertDescription::CertificateUnknown | AlertDescription::AccessDenied => "no reason was given",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::{AlertDescription, CertificateError, Error as TlsError};

    use super::{CertificateProblem, ConnectionError};

    fn of(error: TlsError) -> ConnectionError {
        io::Error::new(io::ErrorKind::InvalidData, error).into()
    }

    #[test]
    fn a_tls_error_inside_an_io_error_keeps_its_meaning() {
        let expired = of(TlsError::InvalidCertificate(CertificateError::Expired));
        assert_eq!(expired, ConnectionError::Certificate(CertificateProblem::Expired));
        let missing = of(TlsError::NoCertificatesPresented);
        assert_eq!(missing, ConnectionError::Certificate(CertificateProblem::Missing));
        let alert = of(TlsError::AlertReceived(AlertDescription::UnknownCA));
        assert!(matches!(alert, ConnectionError::CertificateRefused { .. }), "{alert:?}");
        let other = of(TlsError::AlertReceived(AlertDescription::DecodeError));
        assert!(matches!(other, ConnectionError::Tls { .. }), "{other:?}");
    }

    #[test]
    fn an_end_without_a_word_is_a_close() {
        for kind in [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe] {
            assert_eq!(ConnectionError::from(io::Error::from(kind)), ConnectionError::Closed);
        }
    }
}
