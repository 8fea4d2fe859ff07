//! The REFER of a recall (RFC 3515, RFC 4488, RFC 3892).

use std::net::SocketAddr;

use redial_core::Pair;
use sip_core::message::RequestSpec;

/// "Call `pair.callee` again", to one contact of `pair.caller`. Sent in the callee's name, so that a phone that shows who asks shows whom
/// it is about; nothing in it comes from the INVITE that armed the watch (P7).
pub(super) struct Refer<'a> {
    pub pair: &'a Pair,
    /// 1: without subscription. 2: with the implicit one.
    pub rung: u8,
    pub uri: &'a str,
    /// Route values, topmost first.
    pub routes: &'a [String],
    pub tag: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    /// Our listener as phones reach it: where NOTIFYs go.
    pub contact: SocketAddr,
    pub via: &'a str,
    /// Answers to the phone's challenges.
    pub authorization: &'a [(&'static str, String)],
}

impl Refer<'_> {
    pub(super) fn compose(&self) -> Vec<u8> {
        let callee = format!("<sip:{}>", self.pair.callee);
        let from = format!("{callee};tag={}", self.tag);
        let to = format!("<sip:{}>", self.pair.caller);
        let contact = format!("<sip:{}@{}>", self.tag, self.contact);
        let mut headers = vec![("Contact", contact.as_str()), ("Refer-To", callee.as_str()), ("Referred-By", callee.as_str())];
        if self.rung == 1 {
            headers.extend([("Refer-Sub", "false"), ("Supported", "norefersub")]);
        }
        headers.extend(self.authorization.iter().map(|(name, value)| (*name, value.as_str())));
        let request = RequestSpec {
            method: "REFER",
            uri: self.uri,
            via: self.via,
            from: &from,
            to: &to,
            call_id: self.call_id,
            cseq: self.cseq,
            max_forwards: 70,
            routes: self.routes,
            headers: &headers,
            body: &[],
        };
        request.compose()
    }
}
