//! What a proxy checks before it forwards a request (RFC 3261 section 16.3).

use crate::message::{Header, Message, Reject};

/// Written where the request has none (RFC 3261 section 16.6 step 3).
const DEFAULT_MAX_FORWARDS: u8 = 70;

/// The Max-Forwards value to write into the forwarded request.
/// # Errors
/// 483 when it has arrived with 0, 400 when it is not a number from 0 to 255.
pub fn max_forwards(request: Message<'_>) -> Result<u8, Reject> {
    match request.max_forwards() {
        None => Ok(DEFAULT_MAX_FORWARDS),
        Some(Some(0)) => Err(Reject { code: 483, reason: "Too Many Hops" }),
        Some(Some(hops)) => Ok(hops - 1),
        Some(None) => Err(Reject { code: 400, reason: "Invalid Max-Forwards" }),
    }
}

/// The option tags of `header` (Require for what we answer ourselves, Proxy-Require for what we forward) that are not among `supported`: they go
/// into Unsupported of a 420. Empty: go on. Not to be asked for ACK and CANCEL (section 8.2.2.3).
#[must_use]
pub fn unsupported<'a>(request: Message<'a>, header: Header, supported: &[&str]) -> Vec<&'a str> {
    request.tokens(header).filter(|tag| !supported.iter().any(|s| s.eq_ignore_ascii_case(tag))).collect()
}
