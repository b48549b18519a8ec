//! What every refused or failed request answers.

use causeway_core::error_code::ErrorCode;
use serde::{Deserialize, Serialize};

/// Where every node serves the page of an error code, without a token: a path of its API.
#[must_use]
pub fn help(code: ErrorCode) -> String {
    format!("/errors/{code}")
}

/// The body of every answer whose HTTP status is 400 or above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorAnswer {
    /// The first, or only, thing that is wrong.
    pub error: ErrorBody,
    /// Everything that is wrong, the first included; empty (and left out) when there is only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<ErrorBody>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The stable code, as `CWY-0102`.
    pub code: String,
    /// What is wrong and what to write or do instead, for people. Never parse it.
    pub message: String,
    /// The field of the request that is meant, as `source.topic`; none where it is no single field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Where the node serves the page of the code, as `/errors/CWY-0102`.
    pub help: String,
}

impl ErrorBody {
    /// The body for a code, with its documentation page.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>, field: Option<&str>) -> Self {
        Self { code: code.to_string(), message: message.into(), field: field.map(str::to_owned), help: help(code) }
    }
}

impl ErrorAnswer {
    /// An answer with everything that is wrong; `None` for an empty list.
    #[must_use]
    pub fn of(mut faults: Vec<ErrorBody>) -> Option<Self> {
        let error = faults.first()?.clone();
        if faults.len() == 1 {
            faults.clear();
        }
        Some(Self { error, faults })
    }
}
