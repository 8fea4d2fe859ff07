//! Messages that we originate.

use super::Message;

/// A response to a received request. Via, From, To, Call-ID, CSeq are copied from it byte for byte (RFC 3261 section 8.2.6), with `received` and
/// `rport` filled in the top Via where `source` is given (RFC 3581).
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseSpec<'a> {
    pub code: u16,
    /// Empty: the standard phrase of rsip's StatusCode.
    pub reason: &'a str,
    /// Added to To when it has no tag and the code is not 100.
    pub to_tag: &'a str,
    /// Where the request came from.
    pub source: Option<std::net::SocketAddr>,
    /// Copy Record-Route too (dialog-establishing responses).
    pub record_route: bool,
    /// Complete header lines `Name: value\r\n`, concatenated.
    pub headers: &'a str,
    /// With its Content-Type among `headers`.
    pub body: &'a [u8],
}

impl ResponseSpec<'_> {
    /// Appends the response to `out`.
    pub fn write(&self, _request: Message<'_>, _out: &mut Vec<u8>) {
        todo!()
    }
}

/// A request that we originate (REFER, OPTIONS, NOTIFY's answer is a response), composed through rsip.
#[derive(Clone, Copy, Debug)]
pub struct RequestSpec<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    /// Complete Via value.
    pub via: &'a str,
    /// Complete From value with tag.
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    pub max_forwards: u8,
    /// Route values, topmost first.
    pub routes: &'a [String],
    /// Other headers: name, value.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl RequestSpec<'_> {
    pub fn compose(&self) -> Vec<u8> {
        todo!()
    }
}

/// The ACK for a non-2xx final response to `invite` as it was sent (RFC 3261 section 17.1.1.3).
pub fn ack_for(_invite: Message<'_>, _response: Message<'_>) -> Vec<u8> {
    todo!()
}

/// The CANCEL for `invite` as it was sent (RFC 3261 section 9.1).
pub fn cancel_for(_invite: Message<'_>) -> Vec<u8> {
    todo!()
}
