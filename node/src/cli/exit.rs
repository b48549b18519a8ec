//! How a command ends: an exit code for scripts, and a sentence, a code and a page for people.

use std::fmt;
use std::process::ExitCode;

use causeway_core::error_code::ErrorCode;
use serde_json::json;

use crate::admin::model::error::{ErrorAnswer, ErrorBody};

/// The exit codes, the same for every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: it was done.
    Done,
    /// 1: it was tried and failed, or a check found something.
    Failed,
    /// 2: the command or a value in it makes no sense.
    Usage,
    /// 3: what was named does not exist.
    NotFound,
    /// 4: it is not allowed, or not possible now.
    Refused,
    /// 5: something else has the name, or it was changed in between.
    Conflict,
    /// 6: the node or an instance cannot be reached.
    Unavailable,
    /// 7: it did not happen in time.
    TimedOut,
}

impl Exit {
    /// The number that the process ends with.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Conflict => 5,
            Self::Unavailable => 6,
            Self::TimedOut => 7,
        }
    }

    /// The exit code that an error code ends a command with.
    #[must_use]
    pub fn of(code: ErrorCode) -> Self {
        use ErrorCode as Code;
        match code {
            Code::InvalidConfiguration | Code::InvalidRequest | Code::InvalidFilter | Code::SameTopic => Self::Usage,
            Code::NoSuchInstance
            | Code::NoSuchStream
            | Code::NoSuchPartition
            | Code::NoSuchNode
            | Code::NoSuchPath
            | Code::TopicMissing => Self::NotFound,
            Code::CannotResolve
            | Code::RequestTooLarge
            | Code::Unauthenticated
            | Code::NoSuchJoinToken
            | Code::NodeTooOld
            | Code::UnsafeBind
            | Code::ForeignRequest
            | Code::InstanceDenied
            | Code::InstanceRefused
            | Code::Unsupported => Self::Refused,
            Code::NameTaken
            | Code::CopiedAlready
            | Code::InstanceInUse
            | Code::VersionConflict
            | Code::AlreadyInitialised
            | Code::LastVoter
            | Code::NodeAlive
            | Code::CannotLead
            | Code::StaleEpoch => Self::Conflict,
            Code::Unreachable | Code::Busy | Code::TlsFailed | Code::Unavailable | Code::SecretUnavailable => {
                Self::Unavailable
            }
            Code::TimedOut => Self::TimedOut,
            Code::Malformed
            | Code::FileUnusable
            | Code::SourceGap
            | Code::RetentionWon
            | Code::SourceRolledBack
            | Code::SourceDiverged
            | Code::DamagedRecord
            | Code::BadRecord
            | Code::TargetTailGone
            | Code::TargetLost
            | Code::RepeatedFailure
            | Code::StorageFailed
            | Code::CertificateUnusable
            | Code::DataDirectory
            | Code::Internal
            | Code::WrittenByNewer
            | Code::AddressUnusable => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, Clone)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// Everything that is wrong; the first is the most important.
    pub faults: Vec<ErrorBody>,
    /// What to do, as a command where there is one.
    pub advice: Option<String>,
}

impl Failure {
    /// A failure that this command found by itself.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { exit: Exit::of(code), faults: vec![ErrorBody::new(code, message, None)], advice: None }
    }

    /// The command makes no sense as it was typed.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(ErrorCode::InvalidRequest, message) }
    }

    /// The same with something to do.
    #[must_use]
    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// Whether one of the faults has this code.
    #[must_use]
    pub fn has(&self, code: ErrorCode) -> bool {
        self.faults.iter().any(|fault| fault.code == code.to_string())
    }

    /// The same in the words that were typed, where what is wrong with a field begins with its value as it was sent.
    #[must_use]
    pub fn typed(mut self, field: &str, sent: &str, typed: &str) -> Self {
        for fault in self.faults.iter_mut().filter(|fault| fault.field.as_deref() == Some(field)) {
            let rest = fault.message.strip_prefix(sent).filter(|rest| rest.starts_with(' '));
            if let Some(rest) = rest {
                fault.message = format!("{typed}{rest}");
            }
        }
        self
    }

    /// The same with another exit code.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// What a node answered.
    #[must_use]
    pub fn answered(status: u16, answer: ErrorAnswer) -> Self {
        let ErrorAnswer { error, faults } = answer;
        let exit = known(&error.code).map_or_else(|| by_status(status), Exit::of);
        let advice = known(&error.code).and_then(advice).map(str::to_owned);
        Self { exit, faults: if faults.is_empty() { vec![error] } else { faults }, advice }
    }

    /// For scripts: the same shape as the API answers.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        json!({ "error": self.faults.first(), "faults": self.faults, "exit_code": self.exit.number() })
    }
}

/// One block of lines for each fault, then what to do.
impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.faults.iter().enumerate() {
            if position > 0 {
                formatter.write_str("\n")?;
            }
            if let Some(field) = &fault.field {
                write!(formatter, "{field}: ")?;
            }
            write!(formatter, "{}\n  {}", fault.message, read(&fault.code))?;
        }
        if let Some(advice) = &self.advice {
            write!(formatter, "\n  -> {advice}")?;
        }
        Ok(())
    }
}

/// The error code of this text, if this release knows it.
#[must_use]
pub fn known(text: &str) -> Option<ErrorCode> {
    ErrorCode::ALL.iter().copied().find(|code| code.to_string() == text)
}

/// A code as what to type to read about it. The page of a code that this release does not know, the node has.
#[must_use]
pub fn read(code: &str) -> String {
    let elsewhere = || format!("read: GET /errors/{code} from the node, which is newer");
    known(code).map_or_else(elsewhere, |code| format!("read: causeway explain {code}"))
}

fn by_status(status: u16) -> Exit {
    match status {
        404 => Exit::NotFound,
        409 | 412 => Exit::Conflict,
        408 | 504 => Exit::TimedOut,
        502 | 503 => Exit::Unavailable,
        500 | 501 => Exit::Failed,
        _ => Exit::Refused,
    }
}

fn advice(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::NoSuchInstance => "causeway instance list",
        ErrorCode::NoSuchStream => "causeway stream list",
        ErrorCode::NoSuchPartition => "causeway partition list STREAM",
        ErrorCode::Unauthenticated => {
            "set CAUSEWAY_TOKEN, or name a file with --token-file; the node printed its token at its first start"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_error_has_its_exit_code() {
        for (code, number) in [
            (ErrorCode::InvalidRequest, 2),
            (ErrorCode::NoSuchStream, 3),
            (ErrorCode::Unauthenticated, 4),
            (ErrorCode::NameTaken, 5),
            (ErrorCode::Unavailable, 6),
            (ErrorCode::TimedOut, 7),
            (ErrorCode::Internal, 1),
        ] {
            let answer = ErrorAnswer { error: ErrorBody::new(code, "m", None), faults: Vec::new() };
            assert_eq!(Failure::answered(418, answer).exit.number(), number, "{code}");
        }
    }

    #[test]
    fn a_code_of_a_newer_node_falls_back_to_the_status() {
        let body =
            |code: &str| ErrorBody { code: code.to_owned(), message: "m".to_owned(), field: None, help: String::new() };
        for (status, number) in [(404, 3), (409, 5), (503, 6), (504, 7), (500, 1), (403, 4)] {
            let answer = ErrorAnswer { error: body("CWY-0999"), faults: Vec::new() };
            assert_eq!(Failure::answered(status, answer).exit.number(), number, "{status}");
        }
    }

    #[test]
    fn a_failure_reads_as_sentence_code_page_and_advice() {
        let answer = ErrorAnswer {
            error: ErrorBody::new(ErrorCode::NoSuchStream, "there is no stream ordrs", None),
            faults: Vec::new(),
        };
        let text = Failure::answered(404, answer).to_string();
        let expected = "there is no stream ordrs\n  read: causeway explain CWY-0105\n  -> causeway stream list";
        assert_eq!(text, expected);
        assert_eq!(read("CWY-0999"), "read: GET /errors/CWY-0999 from the node, which is newer");
    }
}
