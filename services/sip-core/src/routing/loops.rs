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
    add(request.to_tag().unwrap_or("").as_bytes());
    add(request.from_tag().unwrap_or("").as_bytes());
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
    via.port_or_default() == own.port() && via.host_addr() == Some(own.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageBuf;

    const OWN: &str = "192.0.2.10:5062";
    const REQUEST: &str = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKabc\r\nRoute: <sip:192.0.2.10;lr>\r\n\
        To: <sip:bob@example.com>\r\nFrom: <sip:alice@example.com>;tag=a1\r\nCall-ID: c1@x\r\nCSeq: 7 INVITE\r\n\r\n";

    fn message(text: &str) -> MessageBuf {
        MessageBuf::parse(text.as_bytes().to_vec()).unwrap()
    }

    fn hash(text: &str) -> u32 {
        loop_hash(message(text).view(), 1)
    }

    /// The request after it went through us and through somebody else.
    fn returned(sent_by: &str, request: &str) -> String {
        let branch = Branch { edge: crate::routing::EdgeTag(7), worker: 0, serial: 9, loop_hash: hash(request) };
        request.replacen(
            "Via:",
            &format!("Via: SIP/2.0/UDP 198.51.100.1;branch=z9hG4bKq, SIP/2.0/UDP {sent_by};branch={branch};rport\r\nVia:"),
            1,
        )
    }

    fn looped(text: &str) -> bool {
        is_loop(message(text).view(), &["[2001:db8::1]:5060".parse().unwrap(), OWN.parse().unwrap()], hash(text))
    }

    #[test]
    fn an_unchanged_request_that_returns_is_a_loop() {
        assert!(!looped(REQUEST));
        assert!(looped(&returned(OWN, REQUEST)));
        assert!(looped(&returned("[2001:DB8:0::1]", REQUEST)), "the address counts, not its spelling");
    }

    #[test]
    fn a_changed_request_that_returns_is_a_spiral() {
        for (from, to) in [
            ("bob@example.com SIP", "carol@example.com SIP"),
            ("192.0.2.10;lr", "192.0.2.11;lr"),
            ("tag=a1", "tag=a2"),
            ("c1@x", "c2@x"),
            ("CSeq: 7 INVITE", "CSeq: 8 INVITE"),
            ("To:", "Proxy-Require: x\r\nTo:"),
            ("To:", "Proxy-Authorization: Digest a=b\r\nTo:"),
            ("<sip:bob@example.com>\r\n", "<sip:bob@example.com>;tag=t\r\n"),
        ] {
            assert!(!looped(&returned(OWN, REQUEST).replace(from, to)), "{from} -> {to}");
        }
    }

    #[test]
    fn the_via_of_somebody_else_is_no_loop() {
        assert!(!looped(&returned("192.0.2.10:5063", REQUEST)));
        assert!(!looped(&returned("192.0.2.11:5062", REQUEST)), "another pod may have handed it over");
        assert!(!looped(&returned("edge.example.com:5062", REQUEST)));
    }

    #[test]
    fn ack_and_cancel_hash_as_their_invite() {
        for method in ["ACK", "CANCEL"] {
            assert_eq!(hash(&REQUEST.replace("INVITE", method)), hash(REQUEST));
        }
        assert_ne!(loop_hash(message(REQUEST).view(), 2), hash(REQUEST), "the seed counts");
        assert_eq!(hash(&REQUEST.replace("192.0.2.9", "192.0.2.8")), hash(REQUEST), "the top Via differs each time round");
    }

    #[test]
    fn moving_a_value_to_another_header_changes_the_hash() {
        let route = REQUEST.replace("To:", "Route: a\r\nTo:");
        let require = REQUEST.replace("To:", "Proxy-Require: a\r\nTo:");
        assert_ne!(hash(&route), hash(&require));
    }
}
