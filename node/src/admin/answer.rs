//! How the API answers: one error type for every refused request, its HTTP status and JSON, and versions as `ETag`.
//!
//! Handlers return [`Error`]; nothing else in the API builds an error body.

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, IF_MATCH, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use causeway_core::error_code::ErrorCode;
use causeway_core::ids::NodeId;
use causeway_core::outcome::Refusal;
use serde::Serialize;

use super::model::error::{ErrorAnswer, ErrorBody};

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestFault {
    /// The stable code.
    pub code: ErrorCode,
    /// The field that is meant, as `source.topic`; none where it is no single field.
    pub field: Option<String>,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl RequestFault {
    /// A fault of one field.
    #[must_use]
    pub fn of(code: ErrorCode, field: &str, message: impl Into<String>) -> Self {
        Self { code, field: Some(field.to_owned()), message: message.into() }
    }
}

/// Why a request was not carried out. What the client can do differs with each.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Correct what is named and ask again; never empty.
    #[error("the request has faults")]
    Invalid(Vec<RequestFault>),
    /// The state of the cluster does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Read the resource again, then decide: it is not at the version in `If-Match`.
    #[error("the version is {current}, not the one in If-Match: it was changed in between")]
    Precondition {
        /// The version that it has.
        current: u64,
    },
    /// Send the right token.
    #[error("there is no token, or none that this node knows; it is sent as \"Authorization: Bearer TOKEN\"")]
    Unauthenticated,
    /// Wait.
    #[error("too many different wrong tokens came from this address; wait {seconds} s")]
    LockedOut {
        /// For how long.
        seconds: u64,
    },
    /// Use an address that the node is known by; the request came through a foreign page or name.
    #[error("{0}")]
    Foreign(String),
    /// Ask for something that exists.
    #[error("there is no {0} here")]
    NoSuchPath(String),
    /// Name a node of the cluster.
    #[error("no node is called {0}")]
    NoSuchNode(String),
    /// Use another method.
    #[error("{0} is not possible here")]
    NoSuchMethod(String),
    /// Send less.
    #[error("the body is larger than {maximum_bytes} bytes")]
    TooLarge {
        /// The most that is read.
        maximum_bytes: usize,
    },
    /// The body did not arrive in time, or not whole.
    #[error("the body did not arrive whole within {seconds} s")]
    Incomplete {
        /// How long was waited.
        seconds: u64,
    },
    /// Ask the leader, or again later.
    #[error("{why}")]
    Unavailable {
        /// Why this node cannot do it now.
        why: String,
        /// The node that can, if known.
        leader: Option<NodeId>,
        /// Nothing was changed, so that the same request can be sent again. Otherwise the client has to look first.
        nothing_done: bool,
    },
    /// A RocketMQ instance, or a secret that it needs, is the reason.
    #[error("{message}")]
    Instance {
        /// The stable code.
        code: ErrorCode,
        /// What happened.
        message: String,
    },
    /// A defect of the node, or its disk.
    #[error("{message}")]
    Node {
        /// The stable code.
        code: ErrorCode,
        /// What happened.
        message: String,
    },
}

impl Error {
    /// One faulty field.
    #[must_use]
    pub fn field(code: ErrorCode, field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![RequestFault::of(code, field, message)])
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(faults) => faults.first().map_or(ErrorCode::InvalidRequest, |fault| fault.code),
            Self::Refused(refusal) => refusal.code(),
            Self::Precondition { .. } => ErrorCode::VersionConflict,
            Self::Unauthenticated | Self::LockedOut { .. } => ErrorCode::Unauthenticated,
            Self::Foreign(_) => ErrorCode::ForeignRequest,
            Self::Incomplete { .. } => ErrorCode::InvalidRequest,
            Self::NoSuchPath(_) | Self::NoSuchMethod(_) => ErrorCode::NoSuchPath,
            Self::NoSuchNode(_) => ErrorCode::NoSuchNode,
            Self::TooLarge { .. } => ErrorCode::RequestTooLarge,
            Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Instance { code, .. } | Self::Node { code, .. } => *code,
        }
    }

    /// The JSON of this error.
    #[must_use]
    pub fn answer(&self) -> ErrorAnswer {
        let several = match self {
            Self::Invalid(faults) => {
                let body = |fault: &RequestFault| ErrorBody::new(fault.code, &fault.message, fault.field.as_deref());
                ErrorAnswer::of(faults.iter().map(body).collect())
            }
            _ => None,
        };
        several.unwrap_or_else(|| ErrorAnswer {
            error: ErrorBody::new(self.code(), self.to_string(), None),
            faults: Vec::new(),
        })
    }
}

/// The HTTP status that goes with a code.
#[must_use]
pub fn status_of(code: ErrorCode) -> StatusCode {
    use ErrorCode as Code;
    match code {
        Code::InvalidConfiguration | Code::InvalidRequest | Code::SameTopic | Code::InvalidFilter => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ForeignRequest => StatusCode::FORBIDDEN,
        Code::NoSuchInstance | Code::NoSuchStream | Code::NoSuchPartition | Code::NoSuchNode | Code::NoSuchPath => {
            StatusCode::NOT_FOUND
        }
        Code::NameTaken
        | Code::InstanceInUse
        | Code::CannotResolve
        | Code::CopiedAlready
        | Code::AlreadyInitialised
        | Code::LastVoter
        | Code::NodeAlive
        | Code::CannotLead
        | Code::NodeTooOld
        | Code::StaleEpoch => StatusCode::CONFLICT,
        Code::VersionConflict => StatusCode::PRECONDITION_FAILED,
        Code::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Unavailable | Code::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Code::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        Code::SecretUnavailable
        | Code::Unreachable
        | Code::InstanceDenied
        | Code::TopicMissing
        | Code::Malformed
        | Code::TlsFailed
        | Code::Unsupported
        | Code::InstanceRefused => StatusCode::BAD_GATEWAY,
        // A code that is never a reason to refuse a request: if one arrives here, the node has a defect.
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        match self {
            // Several faults have no one code: the request as a whole is bad.
            Self::Invalid(faults) if faults.len() != 1 => StatusCode::BAD_REQUEST,
            Self::LockedOut { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NoSuchMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Incomplete { .. } => StatusCode::REQUEST_TIMEOUT,
            _ => status_of(self.code()),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::Unauthenticated => {
                response.insert_header((WWW_AUTHENTICATE, "Bearer realm=\"causeway\""));
            }
            Self::LockedOut { seconds } => {
                response.insert_header((RETRY_AFTER, seconds.to_string()));
            }
            Self::Unavailable { leader, nothing_done, .. } => {
                if *nothing_done {
                    response.insert_header((RETRY_AFTER, "1"));
                }
                if let Some(leader) = leader {
                    response.insert_header(("Causeway-Leader", leader.to_string()));
                }
            }
            _ => {}
        }
        response.json(self.answer())
    }
}

/// What every handler returns.
pub type Answer = Result<HttpResponse, Error>;

/// 200 with a JSON body.
#[must_use]
pub fn json<T: Serialize>(value: &T) -> HttpResponse {
    HttpResponse::Ok().json(value)
}

/// A status, a JSON body and the version of the resource as `ETag`.
#[must_use]
pub fn versioned<T: Serialize>(status: StatusCode, version: u64, value: &T) -> HttpResponse {
    HttpResponse::build(status).insert_header((ETAG, format!("\"{version}\""))).json(value)
}

/// Compares the header `If-Match`, if the request has one, with the version of the resource.
///
/// # Errors
/// [`Error::Precondition`] when no listed version is the current one.
pub fn check_version(request: &HttpRequest, current: u64) -> Result<(), Error> {
    let Some(header) = request.headers().get(IF_MATCH) else {
        return Ok(());
    };
    let wanted = format!("\"{current}\"");
    let matches = header.to_str().is_ok_and(|text| {
        text.split(',').map(str::trim).any(|tag| tag == "*" || tag == wanted || tag == wanted.trim_matches('"'))
    });
    if matches { Ok(()) } else { Err(Error::Precondition { current }) }
}

/// The version that the header `If-Match` names, for changes that must name one.
///
/// # Errors
/// [`Error::Invalid`] when the header is missing or names no single version.
pub fn required_version(request: &HttpRequest) -> Result<u64, Error> {
    let text = request.headers().get(IF_MATCH).and_then(|header| header.to_str().ok());
    text.and_then(|text| text.trim().trim_matches('"').parse().ok()).ok_or_else(|| {
        let message = "this change needs the header If-Match with the version that GET showed as ETag, as \"3\"";
        Error::field(ErrorCode::InvalidRequest, "If-Match", message)
    })
}

#[cfg(test)]
mod tests {
    use actix_web::ResponseError;
    use actix_web::http::StatusCode;
    use actix_web::test::TestRequest;
    use causeway_core::error_code::ErrorCode;
    use causeway_core::name::Name;
    use causeway_core::outcome::Refusal;

    use super::{Error, RequestFault, check_version, required_version, status_of};

    fn every_error() -> Vec<Error> {
        let name = Name::new("orders").unwrap();
        vec![
            Error::Invalid(vec![RequestFault::of(ErrorCode::InvalidRequest, "name", "x")]),
            Error::Refused(Refusal::NoSuchStream(name)),
            Error::Precondition { current: 3 },
            Error::Unauthenticated,
            Error::LockedOut { seconds: 2 },
            Error::Foreign("x".to_owned()),
            Error::NoSuchPath("x".to_owned()),
            Error::NoSuchNode("x".to_owned()),
            Error::NoSuchMethod("x".to_owned()),
            Error::TooLarge { maximum_bytes: 1 },
            Error::Incomplete { seconds: 1 },
            Error::Unavailable { why: "x".to_owned(), leader: None, nothing_done: true },
            Error::Instance { code: ErrorCode::Unreachable, message: "x".to_owned() },
            Error::Node { code: ErrorCode::Internal, message: "x".to_owned() },
        ]
    }

    #[test]
    fn every_error_has_a_code_a_message_and_a_page_and_is_no_success() {
        for error in every_error() {
            let answer = error.answer();
            assert!(ErrorCode::ALL.iter().any(|code| code.to_string() == answer.error.code), "{error:?}");
            assert!(!answer.error.message.is_empty(), "{error:?}");
            assert!(answer.error.help == format!("/errors/{}", answer.error.code), "{error:?}");
            assert!(error.status_code().as_u16() >= 400, "{error:?}");
        }
    }

    #[test]
    fn several_faults_are_all_told_and_one_stands_alone() {
        let fault = |field: &str| RequestFault::of(ErrorCode::NoSuchInstance, field, "x");
        let one = Error::Invalid(vec![fault("a")]);
        assert_eq!((one.status_code(), one.answer().faults.len()), (StatusCode::NOT_FOUND, 0));
        let two = Error::Invalid(vec![fault("a"), fault("b")]);
        assert_eq!((two.status_code(), two.answer().faults.len()), (StatusCode::BAD_REQUEST, 2));
        assert_eq!(two.answer().error.field.as_deref(), Some("a"));
    }

    #[test]
    fn no_code_answers_as_a_success() {
        assert!(ErrorCode::ALL.iter().all(|code| status_of(*code).as_u16() >= 400));
    }

    #[test]
    fn if_match_compares_versions() {
        let with = |value: &str| TestRequest::default().insert_header(("If-Match", value)).to_http_request();
        assert!(check_version(&TestRequest::default().to_http_request(), 3).is_ok());
        for good in ["\"3\"", "3", "*", "\"1\", \"3\""] {
            assert!(check_version(&with(good), 3).is_ok(), "{good}");
        }
        for bad in ["\"2\"", "", "\"33\"", "W/\"3\""] {
            assert!(matches!(check_version(&with(bad), 3), Err(Error::Precondition { current: 3 })), "{bad}");
        }
        assert_eq!(required_version(&with("\"7\"")).unwrap(), 7);
        assert!(required_version(&with("*")).is_err());
        assert!(required_version(&TestRequest::default().to_http_request()).is_err());
    }
}
