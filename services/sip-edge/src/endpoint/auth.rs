//! Who sent this? Digest authentication of REGISTERs (401) and of requests that cross us (407): RFC 3261 section 22, RFC 8760.
//!
//! No state: any edge that shares the secret judges what another one challenged. A wrong password, an unknown user and no credentials at
//! all get the same challenge after the same work, so that nobody learns which users exist.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use redial_core::Aor;
use sip_core::Message;
use sip_core::digest::nonce::{self, Freshness};
use sip_core::digest::{Algorithm, Challenge, Credentials, Ha1, verify};
use sip_core::message::Header;
use sip_core::uri::Uri;

use super::{EndpointConfig, Now, Peer, identity};
use crate::users::Users;

/// What a nonce is bound to where edges share an address: a load balancer that gives the next request to another of them may show it another source.
const ANY_SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// How long one nonce serves: several calls, and most of a REGISTER's refresh interval is longer anyway.
const NONCE_LIFETIME: Duration = Duration::from_secs(300);
/// Credentials looked at in one request: a phone sends one per realm that it passed.
const MAX_CREDENTIALS: usize = 8;

/// Which challenge and which credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 401, WWW-Authenticate, Authorization: we are the registrar.
    Www,
    /// 407, Proxy-Authenticate, Proxy-Authorization: we are the proxy.
    Proxy,
}

/// What is known of the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Knows this AoR's password.
    Proved(Aor),
    /// No users file is kept: nobody is asked.
    Open,
    /// Answer [`Kind::code`] with these header lines.
    Challenge(String),
    /// Answer 403: the sender is a user, but speaks in another user's name.
    Forbidden,
}

impl Kind {
    /// Status code of the challenge.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Www => 401,
            Self::Proxy => 407,
        }
    }

    fn credentials(self) -> Header {
        match self {
            Self::Www => Header::Authorization,
            Self::Proxy => Header::ProxyAuthorization,
        }
    }

    fn challenge(self) -> &'static str {
        match self {
            Self::Www => "WWW-Authenticate",
            Self::Proxy => "Proxy-Authenticate",
        }
    }
}

/// Checks the request's credentials for the realm of its sender. With [`Kind::Proxy`] a From of our domains must be the user's own (RFC 3261
/// section 22.1 leaves that to policy; a watch is armed in From's name, P7). A REGISTER's To is the registrar's to check.
#[must_use]
pub fn authenticate(config: &EndpointConfig, now: Now, peer: Peer, request: Message<'_>, kind: Kind) -> Auth {
    let Some(users) = &config.users else { return Auth::Open };
    let users = users.load();
    let mut stale = false;
    for value in request.fields(kind.credentials()).take(MAX_CREDENTIALS) {
        match judge(config, &users, now, peer, request, value) {
            Verdict::Proved(aor) => {
                return if kind == Kind::Proxy && !is_own(config, request, &aor) { Auth::Forbidden } else { Auth::Proved(aor) };
            }
            Verdict::OldNonce => stale = true,
            Verdict::Nothing => {}
        }
    }
    let Some(realm) = realm(config, request, kind) else { return Auth::Forbidden };
    Auth::Challenge(challenge(config, &users, now, peer, realm, kind, stale))
}

enum Verdict {
    Proved(Aor),
    /// Right but for the nonce's age or maker.
    OldNonce,
    Nothing,
}

fn judge(config: &EndpointConfig, users: &Users, now: Now, peer: Peer, request: Message<'_>, value: &[u8]) -> Verdict {
    // Other schemes and realms are for others; what is malformed or was not offered is as good as nothing.
    let Ok(credentials) = Credentials::parse(value) else { return Verdict::Nothing };
    if !config.domains.iter().any(|d| *d == *credentials.realm) {
        return Verdict::Nothing;
    }
    let account = users.account(&credentials.username, &credentials.realm);
    let ha1 = account.and_then(|a| a.ha1.of(credentials.algorithm));
    // An unknown user costs as much time as a known one.
    let matches = verify(&credentials, request.method().as_str(), &ha1.unwrap_or(nobody(credentials.algorithm)));
    let (Some(account), Some(_), true) = (account, ha1, matches && is_for(config, &credentials, request)) else {
        return Verdict::Nothing;
    };
    let judge = |source| nonce::check(&config.secret, credentials.nonce, now.unix.0, source, NONCE_LIFETIME);
    let freshness = match judge(peer.addr.ip()) {
        // Who shares the address may know of others who do before we know of them.
        Freshness::Forged if config.peers.is_some() => judge(ANY_SOURCE),
        freshness => freshness,
    };
    match freshness {
        Freshness::Fresh => Verdict::Proved(account.aor.clone()),
        // RFC 2617 section 3.2.1: stale says "invalid nonce, but a valid digest for it". A phone whose address changed has done nothing
        // wrong either, and some phones give up for good at a second challenge without it.
        Freshness::Stale | Freshness::Forged => Verdict::OldNonce,
    }
}

/// The credentials' uri is the request's, or names this server and no user: simple clients compute every response over the server's
/// address. The method is covered either way, so a REGISTER's credentials never serve for a call.
fn is_for(config: &EndpointConfig, credentials: &Credentials<'_>, request: Message<'_>) -> bool {
    credentials.is_for(request.request_uri())
        || Uri::parse(credentials.uri.as_bytes()).is_some_and(|u| u.user.is_empty() && identity::is_ours(config, &u))
}

fn nobody(algorithm: Algorithm) -> Ha1 {
    match algorithm {
        Algorithm::Md5 => Ha1::Md5([0; 16]),
        Algorithm::Sha256 => Ha1::Sha256([0; 32]),
    }
}

fn is_own(config: &EndpointConfig, request: Message<'_>, proved: &Aor) -> bool {
    request.from().and_then(|f| identity::aor(config, &f.uri)).is_none_or(|from| from == *proved)
}

/// The domain that the sender claims to belong to: of To in a REGISTER, else of From; the first of ours where that is none of ours.
fn realm<'a>(config: &'a EndpointConfig, request: Message<'_>, kind: Kind) -> Option<&'a str> {
    let sender = match kind {
        Kind::Www => request.to(),
        Kind::Proxy => request.from(),
    };
    let claimed = sender.and_then(|s| config.domains.iter().find(|d| d.eq_ignore_ascii_case(s.uri.host)));
    claimed.or(config.domains.first()).map(String::as_str)
}

/// One header per algorithm, the stronger first (RFC 8760 section 2.3).
fn challenge(config: &EndpointConfig, users: &Users, now: Now, peer: Peer, realm: &str, kind: Kind, stale: bool) -> String {
    let shared = config.peers.as_ref().is_some_and(|peers| peers.is_shared());
    let source = if shared { ANY_SOURCE } else { peer.addr.ip() };
    let nonce = nonce::issue(&config.secret, now.unix.0, source);
    let offered = users.offered(realm);
    let mut lines = String::with_capacity(256);
    for (algorithm, is_offered) in [(Algorithm::Sha256, offered.sha256), (Algorithm::Md5, offered.md5)] {
        if is_offered {
            // Writing into a String cannot fail.
            let _ = write!(lines, "{}: {}\r\n", kind.challenge(), Challenge { realm, nonce: &nonce, algorithm, stale });
        }
    }
    lines
}

#[cfg(test)]
mod tests;
