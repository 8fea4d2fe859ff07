//! How responses that we make find their way, and what identifies them.

use std::net::SocketAddr;

use sip_core::Message;
use sip_core::message::{ResponseSpec, Via};

use super::identity::{self, DEFAULT_PORT};
use super::{EndpointConfig, Peer};

/// Where responses to this request go (RFC 3261 section 18.2.2, RFC 3581 section 4).
///
/// By a connection: the same way back. With `rport`: to where it came from. Without: to the source address and the port of sent-by; but a sent-by with another host than the source
/// tells of a NAT in between, and what the NAT maps is the source port, so then there, too.
pub(crate) fn destination(config: &EndpointConfig, request: Message<'_>, from: Peer) -> Peer {
    if config.transport(from).is_stream() {
        return from;
    }
    let Some(via) = request.top_via() else { return from };
    if via.params.value("rport").is_some() || sent_by_ip(&via) != Some(from.addr.ip().to_canonical()) {
        return from;
    }
    Peer { addr: SocketAddr::new(from.addr.ip(), via.port.unwrap_or(DEFAULT_PORT)), ..from }
}

fn sent_by_ip(via: &Via<'_>) -> Option<std::net::IpAddr> {
    let host = via.host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(via.host);
    host.parse().ok().map(|ip: std::net::IpAddr| ip.to_canonical())
}

/// The same tag for every answer to the same request, whether or not anything was kept of it, and by whichever edge.
pub(crate) fn to_tag(config: &EndpointConfig, request: Message<'_>) -> String {
    let branch = request.top_via().and_then(|v| v.branch()).unwrap_or_default();
    let from = request.from_tag().unwrap_or_default();
    let call_id = request.call_id().unwrap_or_default();
    identity::tag(config, &[call_id.as_bytes(), from.as_bytes(), branch.as_bytes()])
}

/// A response with nothing but a status line and the copied headers.
pub(crate) fn plain(code: u16) -> ResponseSpec<'static> {
    ResponseSpec { code, ..ResponseSpec::default() }
}

/// Seconds after which a refused sender may try again: long enough to drain a queue, short enough to be waited for.
const RETRY_AFTER: &str = "Retry-After: 5\r\n";

/// 503 with Retry-After (RFC 3261 section 21.5.4).
pub(crate) fn unavailable(reason: &'static str) -> ResponseSpec<'static> {
    ResponseSpec { code: 503, reason, headers: RETRY_AFTER, ..ResponseSpec::default() }
}
