//! Who may ask: a bearer token on everything but the page's own files, the pages of error codes and the health check.
//!
//! The state keeps only SHA-256 hashes of tokens; a token is 256 random bits, so a plain hash is enough. Comparison
//! takes the same time wherever hashes differ, and looks at every token. No token is ever logged.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::AUTHORIZATION;
use actix_web::middleware::Next;
use actix_web::{ResponseError, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use causeway_core::state::State;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::answer::Error;
use super::lockout::Lockout;
use super::seam::Site;
use super::{error_pages, page};

/// The longest token that is looked at, in bytes.
const MAXIMUM_TOKEN_BYTES: usize = 512;

/// Draws a token: `cwy_` and 256 random bits. Propose the hash of it, show it once, forget it.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn draw_token() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    getrandom::fill(bytes.as_mut())?;
    Ok(Zeroizing::new(format!("cwy_{}", URL_SAFE_NO_PAD.encode(bytes.as_ref()))))
}

/// The hash of a token, as `Command::PutToken` takes it.
#[must_use]
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// What authentication remembers between requests.
#[derive(Debug, Default)]
pub struct Gate {
    lockout: Mutex<Lockout>,
}

impl Gate {
    /// Decides about one request.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] for no token or a wrong one, [`Error::LockedOut`] for a wrong one that came too soon.
    pub fn check(&self, state: &State, address: IpAddr, header: Option<&str>, now: Instant) -> Result<(), Error> {
        let hash = header.and_then(bearer).map(token_hash).ok_or(Error::Unauthenticated)?;
        if known(state, &hash) {
            return Ok(());
        }
        let mut lockout = self.lockout.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = lockout.worth_a_line(now) {
            tracing::warn!(%address, count, "requests came with a wrong token, the last from this address");
        }
        if let Some(left) = lockout.remaining(address, now) {
            return Err(Error::LockedOut { seconds: left.as_secs().saturating_add(1) });
        }
        lockout.failed(address, hash, now);
        Err(Error::Unauthenticated)
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    let usable = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MAXIMUM_TOKEN_BYTES;
    usable.then_some(token)
}

fn known(state: &State, hash: &[u8; 32]) -> bool {
    let mut found = subtle::Choice::from(0);
    for stored in state.tokens.values() {
        found |= stored.ct_eq(hash);
    }
    found.into()
}

/// The middleware.
pub(super) async fn require_token<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, actix_web::Error> {
    let decision = if is_open(request.path()) { Ok(()) } else { decide(&request) };
    match decision {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(error) => Ok(request.into_response(error.error_response()).map_into_right_body()),
    }
}

/// Paths that answer without a token: nothing there tells anything about streams or instances.
fn is_open(path: &str) -> bool {
    path == "/healthz" || page::is_page(path) || error_pages::is_page(path)
}

fn decide(request: &ServiceRequest) -> Result<(), Error> {
    let Some(site) = request.app_data::<web::Data<Site>>() else {
        return Err(Error::Unauthenticated);
    };
    // A peer without an address (a Unix socket, a test) shares one entry of the table.
    let address = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    site.gate.check(&site.context.cluster.view(), address, header, Instant::now())
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Instant;

    use causeway_core::name::Name;
    use causeway_core::state::State;

    use super::{Gate, bearer, draw_token, token_hash};
    use crate::admin::answer::Error;
    use crate::admin::lockout::{FREE_FAILURES, LONGEST_LOCK};

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn state(token: &str) -> State {
        let tokens = [(Name::new("admin").unwrap(), token_hash(token))].into();
        State { tokens, ..State::default() }
    }

    #[test]
    fn only_the_right_token_passes() {
        let (gate, now, state) = (Gate::default(), Instant::now(), state("right"));
        assert!(gate.check(&state, HOME, Some("Bearer right"), now).is_ok());
        assert!(gate.check(&state, HOME, Some("bearer  right"), now).is_ok());
        for wrong in [None, Some(""), Some("right"), Some("Bearer "), Some("Bearer Right"), Some("Basic right")] {
            assert!(matches!(gate.check(&state, HOME, wrong, now), Err(Error::Unauthenticated)), "{wrong:?}");
        }
        assert!(gate.check(&State::default(), HOME, Some("Bearer right"), now).is_err());
    }

    #[test]
    fn guessing_makes_wrong_tokens_wait_and_never_a_right_one() {
        let (gate, now, state) = (Gate::default(), Instant::now(), state("right"));
        for guess in 0..FREE_FAILURES {
            assert!(gate.check(&state, HOME, Some(&format!("Bearer guess-{guess}")), now).is_err());
        }
        let locked = gate.check(&state, HOME, Some("Bearer guess-again"), now);
        assert!(matches!(locked, Err(Error::LockedOut { seconds: 1.. })), "{locked:?}");
        assert!(gate.check(&state, HOME, Some("Bearer right"), now).is_ok());
        let locked = gate.check(&state, HOME, Some("Bearer guess-again"), now);
        assert!(matches!(locked, Err(Error::LockedOut { .. })), "a right token lets no guesses in");
        let later = gate.check(&state, HOME, Some("Bearer guess-again"), now + LONGEST_LOCK);
        assert!(matches!(later, Err(Error::Unauthenticated)), "{later:?}");
    }

    #[test]
    fn requests_without_a_token_are_no_guesses() {
        let (gate, now, state) = (Gate::default(), Instant::now(), state("right"));
        for _ in 0..100 {
            assert!(gate.check(&state, HOME, None, now).is_err());
        }
        assert!(gate.check(&state, HOME, Some("Bearer right"), now).is_ok());
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, two) = (draw_token().unwrap(), draw_token().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 47);
        assert_eq!(bearer(&format!("Bearer {}", *one)), Some(one.as_str()));
        assert_eq!(bearer(&format!("Bearer {}", "x".repeat(513))), None);
    }
}
