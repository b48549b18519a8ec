//! What every answer carries, and which requests are turned away before anything else is looked at.
//!
//! The API is bound to loopback, but a browser on the same machine also runs other people's pages. Such a page must
//! neither ask through a name of its own that it made to point here (the `Host` header tells) nor send a request from
//! its own origin (the `Origin` header tells).

use std::net::{IpAddr, Ipv6Addr};

use actix_web::ResponseError;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;

use super::answer::Error;

/// What the page may load and do: its own files, its own API, nothing else.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'";

/// The middleware: checks `Host` and `Origin`, then adds the security headers to whatever is answered.
pub(super) async fn protect<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let mut response = match check(request.headers(), request.uri().host()) {
        Ok(()) => next.call(request).await?.map_into_left_body(),
        Err(error) => request.into_response(error.error_response()).map_into_right_body(),
    };
    add_headers(response.headers_mut());
    Ok(response)
}

fn check(headers: &HeaderMap, host_of_target: Option<&str>) -> Result<(), Error> {
    let host = headers.get(header::HOST).map(|value| value.to_str().unwrap_or_default());
    if let Some(named) = host.or(host_of_target).filter(|named| !is_loopback(named)) {
        let message = format!("this API answers only to loopback names such as localhost, not to {}", shown(named));
        return Err(Error::Foreign(message));
    }
    let Some(origin) = headers.get(header::ORIGIN).map(|value| value.to_str().unwrap_or_default()) else {
        return Ok(());
    };
    if origin.strip_prefix("http://").is_some_and(|from| host == Some(from)) {
        return Ok(());
    }
    Err(Error::Foreign(format!("a page of another origin, {}, may not use this API", shown(origin))))
}

/// A foreign text, short and printable enough to be repeated in an answer.
fn shown(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(80).collect()
}

/// Whether a `Host` value names this machine's loopback, whatever the port (a tunnel changes the port).
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if !(port.is_empty() || port.strip_prefix(':').is_some_and(is_port)) {
                return false;
            }
            return address.parse() == Ok(Ipv6Addr::LOCALHOST);
        }
        None => match host.split_once(':') {
            Some((name, port)) if is_port(port) => name,
            Some(_) => return false,
            None => host,
        },
    };
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn add_headers(headers: &mut HeaderMap) {
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

    use super::{check, is_loopback};

    #[test]
    fn only_loopback_names_pass() {
        for good in ["localhost", "localhost:7500", "LOCALHOST:1", "127.0.0.1", "127.0.0.9:80", "[::1]", "[::1]:7500"] {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:7500",
            "[::2]",
            "[::1",
            "[::1]evil",
            "localhost:",
            "localhost:x",
            "localhost@evil",
            "2130706433",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    fn headers(host: &'static str, origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn only_the_own_page_may_ask() {
        for origin in [None, Some("http://localhost:7500")] {
            assert!(check(&headers("localhost:7500", origin), None).is_ok(), "{origin:?}");
        }
        for origin in ["null", "http://localhost:3000", "https://localhost:7500", "http://evil.example", ""] {
            assert!(check(&headers("localhost:7500", Some(origin)), None).is_err(), "{origin}");
        }
        assert!(check(&headers("evil.example:7500", None), None).is_err());
        assert!(check(&HeaderMap::new(), Some("evil.example")).is_err());
    }
}
