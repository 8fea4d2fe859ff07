//! Loop detection (RFC 3261 section 16.3 step 4 as RFC 5393 replaces it).

use std::hash::Hasher;
use std::net::SocketAddr;

use rustc_hash::FxHasher;

use super::Branch;
use crate::message::{Header, Message, Via};

/// A hash of everything in the request that influences where we send it, for the branch: Request-URI as received, tags, Call-ID, CSeq number, Route,
/// Proxy-Require, Proxy-Authorization (RFC 5393 section 4.2.1). The method is left out, so that ACK and CANCEL hash as their INVITE; the top Via is
/// left out, because it differs each time round.
///
/// `seed` is the same for all pods. No secret is needed: who forges the hash gets only his own request refused.
#[must_use]
pub fn loop_hash(request: Message<'_>, seed: u64) -> u32 {
    let mut hasher = FxHasher::default();
    hasher.write_u64(seed);
    let mut add = |part: &[u8]| {
        hasher.write_usize(part.len());
        hasher.write(part);
    };
    add(request.request_uri());
    add(request.to().and_then(|to| to.tag()).unwrap_or("").as_bytes());
    add(request.from().and_then(|from| from.tag()).unwrap_or("").as_bytes());
    add(request.first(Header::CallId).unwrap_or(b""));
    add(&request.cseq().map_or(0, |cseq| cseq.number).to_be_bytes());
    for header in [Header::Route, Header::ProxyRequire, Header::ProxyAuthorization] {
        add(b"");
        request.fields(header).for_each(&mut add);
    }
    let hash = hasher.finish();
    (hash ^ (hash >> 32)) as u32
}

/// True when one of the Vias is ours and carries this hash: the request was here before and nothing has changed since, so 482. With another hash it is
/// a spiral, which is legal.
///
/// Only the addresses that this pod advertises count: another pod of ours may have handed the request over unchanged.
#[must_use]
pub fn is_loop(request: Message<'_>, advertised: &[SocketAddr], hash: u32) -> bool {
    request.vias().flatten().any(|via| {
        via.branch().and_then(Branch::parse).is_some_and(|branch| branch.loop_hash == hash)
            && advertised.iter().any(|own| is_sent_by(&via, *own))
    })
}

/// Whether the Via was written by the listener that advertises `own`.
#[must_use]
pub fn is_sent_by(via: &Via<'_>, own: SocketAddr) -> bool {
    let host = via.host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(via.host);
    via.port.unwrap_or(5060) == own.port() && host.parse() == Ok(own.ip())
}
