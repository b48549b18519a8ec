//! The documentation pages of all error codes, inside the program, so that it explains itself wherever it runs: over
//! HTTP as `/errors/CWY-NNNN`, in the terminal with `causeway explain`.
//!
//! Served without a token: they are the same for everybody.

use actix_web::{HttpResponse, web};
use causeway_core::error_code::ErrorCode;

use super::model::error::help;
use super::server;

macro_rules! pages {
    ($($code:ident = $number:literal),* $(,)?) => {
        /// The page of a code, as Markdown.
        #[must_use]
        pub fn page(code: ErrorCode) -> &'static str {
            match code {
                $(ErrorCode::$code => include_str!(concat!("../../../docs/errors/CWY-", $number, ".md"))),*
            }
        }
    };
}

pages! {
    InvalidConfiguration = "0101",
    InvalidRequest = "0102",
    NameTaken = "0103",
    NoSuchInstance = "0104",
    NoSuchStream = "0105",
    NoSuchPartition = "0106",
    InstanceInUse = "0107",
    VersionConflict = "0108",
    SameTopic = "0109",
    InvalidFilter = "0110",
    CannotResolve = "0111",
    NoSuchPath = "0112",
    RequestTooLarge = "0113",
    CopiedAlready = "0114",
    NoSuchNode = "0115",
    LastVoter = "0116",
    NodeAlive = "0117",
    CannotLead = "0118",
    FileUnusable = "0119",
    Unauthenticated = "0201",
    SecretUnavailable = "0202",
    UnsafeBind = "0203",
    ForeignRequest = "0204",
    CertificateUnusable = "0205",
    NoSuchJoinToken = "0206",
    Unreachable = "0301",
    InstanceDenied = "0302",
    TopicMissing = "0303",
    Malformed = "0304",
    Busy = "0305",
    TlsFailed = "0306",
    Unsupported = "0307",
    TimedOut = "0308",
    InstanceRefused = "0309",
    SourceGap = "0401",
    RetentionWon = "0402",
    SourceRolledBack = "0403",
    SourceDiverged = "0404",
    DamagedRecord = "0405",
    BadRecord = "0406",
    TargetTailGone = "0407",
    TargetLost = "0408",
    RepeatedFailure = "0409",
    AlreadyInitialised = "0501",
    Unavailable = "0502",
    StaleEpoch = "0503",
    StorageFailed = "0504",
    DataDirectory = "0505",
    Internal = "0506",
    WrittenByNewer = "0507",
    AddressUnusable = "0508",
    NodeTooOld = "0509",
}

/// What a code means, in a few words: the page's heading.
#[must_use]
pub fn title(code: ErrorCode) -> &'static str {
    page(code).lines().next().and_then(|heading| heading.split_once(": ")).map_or("", |(_, title)| title)
}

/// Whether a path is one of the pages.
#[must_use]
pub fn is_page(path: &str) -> bool {
    ErrorCode::ALL.iter().any(|code| path == help(*code))
}

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    for code in ErrorCode::ALL.iter().copied() {
        // Plain text: browsers show Markdown so, instead of saving it.
        let serve =
            move || async move { HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(page(code)) };
        config.service(server::resource(&help(code)).route(web::get().to(serve)));
    }
}

#[cfg(test)]
mod tests {
    use causeway_core::error_code::ErrorCode;

    use super::{is_page, page, title};

    #[test]
    fn every_code_has_the_page_that_is_its_own() {
        for code in ErrorCode::ALL {
            assert!(page(*code).starts_with(&format!("# {code}: {}\n", title(*code))), "{code}");
            assert!(!title(*code).is_empty() && is_page(&format!("/errors/{code}")), "{code}");
        }
        for other in ["/errors/CWY-9999", "errors/CWY-0101", "/errors/", "/errors/CWY-0101/", "/errors/cwy-0101"] {
            assert!(!is_page(other), "{other}");
        }
    }
}
