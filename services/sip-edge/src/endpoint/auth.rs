//! Who sent this? Digest authentication of REGISTERs (401) and of requests that cross us (407): RFC 3261 section 22, RFC 8760.

use redial_core::Aor;
use sip_core::Message;

use super::{EndpointConfig, Now, Peer};

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
    /// Answer 401 or 407 with these header lines.
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
}

/// Checks the request's credentials.
pub fn authenticate(config: &EndpointConfig, _now: Now, _peer: Peer, _request: Message<'_>, _kind: Kind) -> Auth {
    if config.users.is_none() { Auth::Open } else { Auth::Forbidden }
}
