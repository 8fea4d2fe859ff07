//! The REFER of a recall (RFC 3515, RFC 4488, RFC 3892).

use std::net::SocketAddr;

use redial_core::Pair;
use redial_core::link::Target;
use sip_core::message::RequestSpec;

use crate::endpoint::target::request_uri;

/// "Call `pair.callee` again", to one contact of `pair.caller`. Sent in the callee's name, so that a phone that shows who asks shows whom
/// it is about; nothing in it comes from the INVITE that armed the watch (P7).
pub(super) struct Refer<'a> {
    pub pair: &'a Pair,
    /// 1: without subscription. 2: with the implicit one.
    pub rung: u8,
    pub target: &'a Target,
    pub tag: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    /// Our listener as phones reach it: where NOTIFYs go.
    pub contact: SocketAddr,
    pub via: &'a str,
}

impl Refer<'_> {
    /// None when the stored contact is no URI that a request can be sent to.
    pub(super) fn compose(&self) -> Option<Vec<u8>> {
        let uri = request_uri(&self.target.uri)?;
        let callee = format!("<sip:{}>", self.pair.callee);
        let from = format!("{callee};tag={}", self.tag);
        let to = format!("<sip:{}>", self.pair.caller);
        let contact = format!("<sip:{}@{}>", self.tag, self.contact);
        let common = [("Contact", contact.as_str()), ("Refer-To", callee.as_str()), ("Referred-By", callee.as_str())];
        let without_subscription = [common[0], common[1], common[2], ("Refer-Sub", "false"), ("Supported", "norefersub")];
        let request = RequestSpec {
            method: "REFER",
            uri,
            via: self.via,
            from: &from,
            to: &to,
            call_id: self.call_id,
            cseq: self.cseq,
            max_forwards: 70,
            routes: &self.target.path,
            headers: if self.rung == 1 { &without_subscription } else { &common },
            body: &[],
        };
        Some(request.compose())
    }
}
