//! A failed request to a source or target: what operators are told about it.
//!
//! Trouble passes or is repaired outside; it blocks a partition and never skips a message. What does not pass by itself
//! is a [`causeway_core::fault::Fault`].

use causeway_core::error_code::ErrorCode;

use crate::connect;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Its stable code.
    pub code: ErrorCode,
    /// What happened, in one sentence.
    pub why: String,
}

impl Trouble {
    pub(crate) fn new(code: ErrorCode, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

impl From<causeway_rocketmq::Error> for Trouble {
    fn from(error: causeway_rocketmq::Error) -> Self {
        Self { code: connect::code_of(&error), why: error.to_string() }
    }
}
