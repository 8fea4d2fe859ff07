//! RFC 3261 section 16.3 and RFC 4475: what must be answered with an error before anything is done.

use super::index::Length;
use super::{Contact, Header, Message, Method, NameAddr, Via};
use crate::uri::Uri;

/// The answer to a request that is not processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// 400, 416, 483, 501, 505...
    pub code: u16,
    /// Reason phrase that tells the sender what is wrong.
    pub reason: &'static str,
}

impl Reject {
    fn bad(reason: &'static str) -> Self {
        Self { code: 400, reason }
    }
}

/// RFC 3261 section 8.1.1 without Max-Forwards, which RFC 2543 does not know.
const MANDATORY: [(Header, &str, &str); 4] = [
    (Header::From, "Missing From", "from-missing"),
    (Header::To, "Missing To", "to-missing"),
    (Header::CallId, "Missing Call-ID", "call-id-missing"),
    (Header::CSeq, "Missing CSeq", "cseq-missing"),
];

/// Besides the mandatory ones of each at most one field in a request: which one to follow could be read differently by the next element.
/// (Content-Length has its own rule.)
const SINGLE: [Header; 7] = {
    use Header::*;
    [MaxForwards, Expires, ContentType, Event, ReferTo, ReferredBy, SubscriptionState]
};

/// Checks that hold for every request whoever handles it: version (505), mandatory headers once each, CSeq number and method (400),
/// Via, From, To, Call-ID, Max-Forwards readable, Content-Length within the datagram, Request-URI well formed (400).
/// The scheme (416), Max-Forwards 0 (483) and Require (420) are decisions of [`crate::routing`].
/// # Errors
/// The answer to send.
pub fn validate_request(message: Message<'_>) -> Result<(), Reject> {
    if !message.index.version_known {
        return Err(Reject { code: 505, reason: "Version Not Supported" });
    }
    if message.index.start_irregular {
        return Err(Reject::bad("Malformed Request Line"));
    }
    let uri = Uri::parse(message.request_uri()).ok_or(Reject::bad("Malformed Request URI"))?;
    // RFC 3261 section 19.1.1, table 1.
    if !uri.headers.is_empty() {
        return Err(Reject::bad("Headers In Request URI"));
    }
    frame(message).map_err(|(reason, _)| Reject::bad(reason))?;
    let cseq = message.cseq().ok_or(Reject::bad("Malformed CSeq"))?;
    if cseq.method != message.method() {
        // RFC 4475 section 3.1.2.18 prefers 501 where the method means nothing to us anyway.
        let unknown = matches!(message.method(), Method::Other(_));
        return Err(if unknown { Reject { code: 501, reason: "Not Implemented" } } else { Reject::bad("CSeq Method Mismatch") });
    }
    if message.max_forwards() == Some(None) {
        return Err(Reject::bad("Malformed Max-Forwards"));
    }
    let top = vias(message).map_err(|(reason, _)| Reject::bad(reason))?;
    // RFC 4475 section 3.2.1: the cookie promises a unique branch and none follows.
    if top.branch().is_some_and(|branch| branch.eq_ignore_ascii_case("z9hG4bK")) {
        return Err(Reject::bad("Empty Via Branch"));
    }
    dialog(message).map_err(|(reason, _)| Reject::bad(reason))?;
    let contact = |contact: Option<Contact<'_>>| contact.is_some_and(|c| c == Contact::Star || well_formed(c.addr().copied()));
    if !message.contacts().all(contact) {
        return Err(Reject::bad("Malformed Contact"));
    }
    for (header, reason) in
        [(Header::Route, "Malformed Route"), (Header::RecordRoute, "Malformed Record-Route"), (Header::Path, "Malformed Path")]
    {
        if !message.values(header).map(NameAddr::parse).all(well_formed) {
            return Err(Reject::bad(reason));
        }
    }
    // Phones put Replaces into a Refer-To without brackets; the target of the REFER makes of it what it can.
    if message.has(Header::ReferTo) && message.refer_to().is_none() {
        return Err(Reject::bad("Malformed Refer-To"));
    }
    Ok(())
}

/// What is needed to match a response and pass it on. The rest of it is for the one who asked.
/// # Errors
/// Why the response is dropped, as a metric label.
pub fn validate_response(message: Message<'_>) -> Result<(), &'static str> {
    if !message.index.version_known {
        return Err("version");
    }
    if !message.status().is_some_and(|code| (100..700).contains(&code)) {
        return Err("status");
    }
    frame(message).map_err(|(_, label)| label)?;
    message.cseq().ok_or("cseq")?;
    vias(message).map_err(|(_, label)| label)?;
    dialog(message).map_err(|(_, label)| label)
}

/// Reason phrase for a request, metric label for a response.
type Fault = (&'static str, &'static str);

/// Header lines, the number of each, and the body's length.
fn frame(message: Message<'_>) -> Result<(), Fault> {
    if message.index.malformed {
        return Err(("Malformed Header", "header"));
    }
    for (header, reason, label) in MANDATORY {
        if !message.has(header) {
            return Err((reason, label));
        }
    }
    let twice = |header: Header| message.index.repeated & header.bit() != 0;
    if MANDATORY.iter().any(|&(header, ..)| twice(header)) || (message.is_request() && SINGLE.into_iter().any(twice)) {
        return Err(("Duplicate Header", "duplicate-header"));
    }
    match message.index.length {
        Length::Malformed => Err(("Malformed Content-Length", "content-length")),
        Length::Is(length) if length > message.body().len() => Err(("Body Shorter Than Content-Length", "content-length")),
        _ => Ok(()),
    }
}

/// The top one.
fn vias(message: Message<'_>) -> Result<Via<'_>, Fault> {
    let mut top = None;
    for via in message.vias() {
        let via = via.filter(|via| via.params.well_formed()).ok_or(("Malformed Via", "via"))?;
        top = top.or(Some(via));
    }
    top.ok_or(("Missing Via", "via-missing"))
}

/// From, To and Call-ID.
fn dialog(message: Message<'_>) -> Result<(), Fault> {
    if !well_formed(message.from()) {
        return Err(("Malformed From", "from"));
    }
    if !well_formed(message.to()) {
        return Err(("Malformed To", "to"));
    }
    message.call_id().map(|_| ()).ok_or(("Malformed Call-ID", "call-id"))
}

/// RFC 3261 section 20.10: a URI with headers needs its brackets.
fn well_formed(addr: Option<NameAddr<'_>>) -> bool {
    addr.is_some_and(|a| a.params.well_formed() && (a.uri.headers.is_empty() || !a.is_bare()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageBuf;

    const GOOD: &str = "OPTIONS sip:a@b SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nf: <sip:c@d>;tag=1\r\nt: <sip:a@b>\r\ni: x\r\nCSeq: 1 OPTIONS\r\n\r\n";

    fn code(text: &str) -> u16 {
        let message = MessageBuf::parse(text.as_bytes().to_vec()).unwrap_or_else(|e| panic!("{e}: {text}"));
        validate_request(message.view()).map_or_else(|reject| reject.code, |()| 200)
    }

    fn with(line: &str) -> u16 {
        code(&GOOD.replace("CSeq", &format!("{line}\r\nCSeq")))
    }

    #[test]
    fn what_rfc_2543_left_out_is_tolerated() {
        assert_eq!(code(GOOD), 200);
        assert_eq!(code(&GOOD.replace(";branch=z9hG4bK1", "").replace(";tag=1", "")), 200);
    }

    #[test]
    fn each_mandatory_header_is_needed_once() {
        for header in ["v: SIP", "f: ", "t: ", "i: ", "CSeq"] {
            let line = GOOD.split_inclusive("\r\n").find(|l| l.starts_with(header)).expect("line");
            assert_eq!(code(&GOOD.replace(line, "")), 400, "without {header}");
            let twice = if header.starts_with('v') { 200 } else { 400 };
            assert_eq!(code(&GOOD.replace(line, &line.repeat(2))), twice, "twice {header}");
        }
    }

    #[test]
    fn one_unreadable_value_among_good_ones_is_a_400() {
        for line in [
            "Via: SIP/2.0/UDP h;branch=z9hG4bK2, , SIP/2.0/UDP i",
            "Via: nonsense",
            "Route: <sip:r;lr>, sip:2001:db8::1",
            "Record-Route: <sip:r;lr",
            "Path: \"open",
            "Contact: <sip:c@d>;;q=1",
            "Contact:",
            "Max-Forwards: 256",
            "Max-Forwards: -1",
            "Content-Length: 1",
            "Content-Length: one",
            "Refer-To: nobody",
            "no colon",
            ": no name",
            "X: a\rY: b",
        ] {
            assert_eq!(with(line), 400, "{line}");
        }
        for line in [
            "Contact: *",
            "Expires: soon",
            "Date: yesterday",
            "Supported:",
            "Refer-To: sip:e@f?Replaces=x%40y%3Bto-tag%3D1",
            "Max-Forwards: 0068",
            "Content-Length: 000",
        ] {
            assert_eq!(with(line), 200, "{line}");
        }
    }

    #[test]
    fn the_request_line_is_exact() {
        for (line, answer) in [
            ("OPTIONS  sip:a@b SIP/2.0", 400),
            ("OPTIONS\tsip:a@b SIP/2.0", 400),
            ("OPTIONS sip:a@b  SIP/2.0", 400),
            ("OPTIONS sip:a@b SIP/2.0 ", 400),
            ("OPTIONS sip:a@b ;x SIP/2.0", 400),
            ("OPTIONS sip:a@b?x=y SIP/2.0", 400),
            ("OPTIONS <sip:a@b> SIP/2.0", 400),
            ("OPTIONS sip:a@b SIP/2.1", 505),
            ("OPTIONS sip:a@b sip/2.0", 200),
            ("OPTIONS tel:+1 SIP/2.0", 200),
            ("OPTION sip:a@b SIP/2.0", 501),
            ("BYE sip:a@b SIP/2.0", 400),
        ] {
            assert_eq!(code(&GOOD.replace("OPTIONS sip:a@b SIP/2.0", line)), answer, "{line}");
        }
    }

    #[test]
    fn a_response_needs_only_what_finds_its_way() {
        let verdict = |text: String| {
            let message = MessageBuf::parse(text.into_bytes()).expect("message");
            validate_response(message.view())
        };
        let good = GOOD.replace("OPTIONS sip:a@b SIP/2.0", "SIP/2.0 200 OK");
        assert_eq!(verdict(good.clone()), Ok(()));
        assert_eq!(verdict(good.replace("CSeq", "Contact: ;;\r\nExpires: 1\r\nExpires: 2\r\nCSeq")), Ok(()));
        for (from, to, label) in [
            ("200", "099", "status"),
            ("200", "700", "status"),
            ("SIP/2.0 200", "SIP/3.0 200", "version"),
            ("CSeq: 1", "CSeq: x", "cseq"),
            ("v: SIP", "v: ;", "via"),
            ("v: SIP", "X: SIP", "via-missing"),
            ("i: x", "i: x y", "call-id"),
            ("<sip:a@b>", "<sip:a@b", "to"),
            ("f: ", "f: \"", "from"),
            ("i: x", "i: x\r\nCall-ID: y", "duplicate-header"),
        ] {
            assert_eq!(verdict(good.replacen(from, to, 1)), Err(label), "{to}");
        }
    }
}
