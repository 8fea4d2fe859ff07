//! RFC 3261 section 16.3 and RFC 4475: what must be answered with an error before anything is done.

use super::Message;

/// The answer to a request that is not processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// 400, 416, 483, 501, 505...
    pub code: u16,
    /// Reason phrase that tells the sender what is wrong.
    pub reason: &'static str,
}

/// Checks that hold for every request whoever handles it: version (505), mandatory headers once each, CSeq number and method (400),
/// Via, From, To, Call-ID, Max-Forwards readable, Content-Length within the datagram, Request-URI well formed (400).
/// The scheme (416), Max-Forwards 0 (483) and Require (420) are decisions of [`crate::routing`].
/// # Errors
/// The answer to send.
pub fn validate_request(_message: Message<'_>) -> Result<(), Reject> {
    todo!()
}

/// # Errors
/// Why the response is dropped, as a metric label.
pub fn validate_response(_message: Message<'_>) -> Result<(), &'static str> {
    todo!()
}
