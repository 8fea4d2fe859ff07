//! Messages that we originate.

use std::io::Write as _;

use super::index::Field;
use super::reason::phrase;
use super::{Header, Message, Via};

/// RFC 3261 section 8.1.1.6.
const MAX_FORWARDS: u8 = 70;

/// A response to a received request. Via, From, To, Call-ID, CSeq are copied from it byte for byte (RFC 3261 section 8.2.6), with `received` and
/// `rport` filled in the top Via where `source` is given (RFC 3581).
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseSpec<'a> {
    pub code: u16,
    /// Empty: the standard phrase; see [`super::reason`].
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
    /// Appends the response to `out`. Of a request that failed validation what is there is copied, so that its error can be sent.
    pub fn write(&self, request: Message<'_>, out: &mut Vec<u8>) {
        out.reserve(usize::from(request.index.fields_end) + self.headers.len() + self.body.len() + 128);
        out.extend_from_slice(b"SIP/2.0 ");
        // Writing to a Vec cannot fail, here and below.
        let _ = write!(out, "{:03} ", self.code);
        out.extend_from_slice(if self.reason.is_empty() { phrase(self.code) } else { self.reason }.as_bytes());
        out.extend_from_slice(b"\r\n");
        let mut copied = 0u64;
        for field in &request.index.fields {
            let first = copied & field.header.bit() == 0;
            match field.header {
                Header::Via if first => self.top_via(request, field, out),
                Header::Via => line(request, field, b"", out),
                Header::RecordRoute if self.record_route => line(request, field, b"", out),
                Header::To if first => self.to(request, field, out),
                Header::From | Header::CallId | Header::CSeq if first => line(request, field, b"", out),
                // RFC 3261 section 8.2.6.1.
                Header::Other if self.code == 100 && field.name.of(request.bytes).eq_ignore_ascii_case(b"Timestamp") => {
                    line(request, field, b"", out)
                }
                _ => continue,
            }
            copied |= field.header.bit();
        }
        out.extend_from_slice(self.headers.as_bytes());
        let _ = write!(out, "Content-Length: {}\r\n\r\n", self.body.len());
        out.extend_from_slice(self.body);
    }

    fn top_via(&self, request: Message<'_>, field: &Field, out: &mut Vec<u8>) {
        let value = field.value.of(request.bytes);
        let top = super::grammar::Elements::new(value).next().unwrap_or_default();
        match (self.source, Via::parse(top)) {
            (Some(source), Some(via)) => {
                out.extend_from_slice(&request.bytes[field.name.start.into()..field.value.start.into()]);
                via.write_from(source, out);
                out.extend_from_slice(&value[super::grammar::offset_in(value, top) + top.len()..]);
                out.extend_from_slice(b"\r\n");
            }
            _ => line(request, field, b"", out),
        }
    }

    fn to(&self, request: Message<'_>, field: &Field, out: &mut Vec<u8>) {
        let tagged = self.code == 100 || self.to_tag.is_empty() || request.to().is_some_and(|to| to.params.has("tag"));
        line(request, field, b"", out);
        if !tagged {
            out.truncate(out.len() - 2);
            out.extend_from_slice(b";tag=");
            out.extend_from_slice(self.to_tag.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// One field as received, without white space at its end.
fn line(from: Message<'_>, field: &Field, name: &[u8], out: &mut Vec<u8>) {
    let start = if name.is_empty() { field.name.start } else { field.value.start };
    out.extend_from_slice(name);
    out.extend_from_slice(&from.bytes[start.into()..field.value.end.into()]);
    out.extend_from_slice(b"\r\n");
}

pub use rsip::Method as RequestMethod;

/// A request that we originate, composed through rsip.
#[derive(Clone, Copy, Debug)]
pub struct RequestSpec<'a> {
    pub method: RequestMethod,
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
    /// The complete message. Header values go through rsip as raw strings.
    pub fn compose(&self) -> Vec<u8> {
        use rsip::headers::{self as h, UntypedHeader as _};
        let mut headers = rsip::Headers::default();
        headers.push(h::Via::new(self.via).into());
        for route in self.routes {
            headers.push(h::Route::new(route.as_str()).into());
        }
        headers.push(h::MaxForwards::new(self.max_forwards.to_string()).into());
        headers.push(h::From::new(self.from).into());
        headers.push(h::To::new(self.to).into());
        headers.push(h::CallId::new(self.call_id).into());
        headers.push(h::CSeq::new(format!("{} {}", self.cseq, self.method)).into());
        for &(name, value) in self.headers {
            headers.push(rsip::Header::Other(name.into(), value.into()));
        }
        headers.push(h::ContentLength::new(self.body.len().to_string()).into());
        let request = rsip::Request { method: self.method, uri: carried(self.uri), version: rsip::Version::V2, headers, body: Vec::new() };
        let mut out = request.to_string().into_bytes();
        out.extend_from_slice(self.body);
        out
    }
}

/// rsip's URI that prints as `uri` does. What rsip reads wrong (IPv6 references, `?` headers, unknown parameters in odd spellings) it carries
/// whole in place of the host, so that it prints what it was given.
fn carried(uri: &str) -> rsip::Uri {
    let read = rsip::Uri::try_from(uri).ok().filter(|read| read.to_string() == uri);
    read.unwrap_or_else(|| rsip::Uri { host_with_port: rsip::Host::Domain(uri.into()).into(), ..rsip::Uri::default() })
}

/// The ACK for a non-2xx final response to `invite` as it was sent (RFC 3261 section 17.1.1.3).
pub fn ack_for(invite: Message<'_>, response: Message<'_>) -> Vec<u8> {
    hop_request("ACK", invite, response)
}

/// The CANCEL for `invite` as it was sent (RFC 3261 section 9.1).
pub fn cancel_for(invite: Message<'_>) -> Vec<u8> {
    hop_request("CANCEL", invite, invite)
}

/// A request that follows `invite` hop by hop: same Request-URI, top Via, Route, From, Call-ID and CSeq number; To as in `to_of`.
fn hop_request(method: &str, invite: Message<'_>, to_of: Message<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(invite.request_uri());
    out.extend_from_slice(b" SIP/2.0\r\n");
    if let Some(via) = invite.values(Header::Via).next() {
        out.extend_from_slice(b"Via: ");
        out.extend_from_slice(via);
        out.extend_from_slice(b"\r\n");
    }
    for field in invite.indexed(Header::Route) {
        line(invite, field, b"Route: ", &mut out);
    }
    let _ = write!(out, "Max-Forwards: {MAX_FORWARDS}\r\n");
    let to = if to_of.first(Header::To).is_some() { to_of } else { invite };
    for (from, header, name) in [(invite, Header::From, &b"From: "[..]), (to, Header::To, b"To: "), (invite, Header::CallId, b"Call-ID: ")]
    {
        if let Some(field) = from.indexed(header).next() {
            line(from, field, name, &mut out);
        }
    }
    let number = invite.cseq().map_or(0, |cseq| cseq.number);
    let _ = write!(out, "CSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::message::{MessageBuf, Method, validate_request, validate_response};

    const INVITE: &[u8] = b"INVITE sip:kai@198.51.100.8;ob SIP/2.0\r\nv: SIP/2.0/UDP us;branch=z9hG4bK2,\r\n SIP/2.0/UDP 198.51.100.7;rport;branch=z9hG4bK1\r\n\
Record-Route: <sip:us;lr>\r\nROUTE: <sip:r1;lr>, <sip:r2;lr>\r\nf:Mira <sip:mira@lakeside.example>;tag=f\r\nt: sip:kai@harbor.example \r\n\
Timestamp: 7\r\ni: x@y\r\nCSeq: 0042\r\n INVITE\r\n\r\n";

    fn response(spec: ResponseSpec<'_>) -> String {
        let invite = MessageBuf::parse(INVITE.to_vec()).unwrap();
        let mut out = b"before".to_vec();
        spec.write(invite.view(), &mut out);
        String::from_utf8(out).unwrap().strip_prefix("before").expect("appended").to_owned()
    }

    #[test]
    fn a_response_copies_its_request_byte_for_byte() {
        let text = response(ResponseSpec {
            code: 486,
            to_tag: "t",
            source: Some(([198, 51, 100, 1], 5070).into()),
            headers: "Retry-After: 9\r\n",
            body: b"hi",
            ..ResponseSpec::default()
        });
        assert_eq!(
            text,
            "SIP/2.0 486 Busy Here\r\nv: SIP/2.0/UDP us;branch=z9hG4bK2;received=198.51.100.1,\r\n SIP/2.0/UDP 198.51.100.7;rport;branch=z9hG4bK1\r\n\
             f:Mira <sip:mira@lakeside.example>;tag=f\r\nt: sip:kai@harbor.example;tag=t\r\ni: x@y\r\nCSeq: 0042\r\n INVITE\r\nRetry-After: 9\r\n\
             Content-Length: 2\r\n\r\nhi"
        );
    }

    #[test]
    fn a_100_has_no_tag_of_ours_but_the_timestamp() {
        let trying = response(ResponseSpec { code: 100, to_tag: "t", ..ResponseSpec::default() });
        assert!(trying.starts_with("SIP/2.0 100 Trying\r\n") && trying.contains("Timestamp: 7\r\n") && !trying.contains("tag=t"));
        let ok = response(ResponseSpec { code: 200, record_route: true, reason: "Fine", ..ResponseSpec::default() });
        assert!(ok.starts_with("SIP/2.0 200 Fine\r\n") && ok.contains("Record-Route: <sip:us;lr>\r\n") && !ok.contains("Timestamp"));
    }

    #[test]
    fn our_own_index_reads_what_rsip_composed() {
        let routes = ["<sip:r1;lr>".to_owned(), "<sip:[2001:db8::2];lr>".to_owned()];
        let spec = RequestSpec {
            method: RequestMethod::Refer,
            uri: "sip:john.doe@[2001:db8::1]:5070;transport=udp;ob",
            via: "SIP/2.0/UDP [2001:db8::9];rport;branch=z9hG4bKx",
            from: "<sip:redial@harbor.example>;tag=u",
            to: "\"M\" <sip:mira@lakeside.example>",
            call_id: "c@us",
            cseq: 7,
            max_forwards: 70,
            routes: &routes,
            headers: &[("Refer-To", "<sip:kai@harbor.example?Replaces=a%3Bb>"), ("Refer-Sub", "false"), ("Content-Type", "text/plain")],
            body: b"\x00\xff",
        };
        let message = MessageBuf::parse(spec.compose()).unwrap();
        let view = message.view();
        assert_eq!(validate_request(view), Ok(()));
        assert_eq!((view.method(), view.request_uri(), view.body()), (Method::Refer, spec.uri.as_bytes(), spec.body));
        assert_eq!(view.top_via().and_then(|v| v.branch()), Some("z9hG4bKx"));
        assert!(view.values(Header::Route).eq(routes.iter().map(String::as_bytes)));
        assert_eq!((view.first(Header::From), view.first(Header::To)), (Some(spec.from.as_bytes()), Some(spec.to.as_bytes())));
        assert_eq!((view.call_id(), view.cseq().map(|c| c.number), view.max_forwards()), (Some("c@us"), Some(7), Some(Some(70))));
        assert_eq!(view.first(Header::ReferTo), Some(spec.headers[0].1.as_bytes()));
        assert_eq!(view.first(Header::ReferSub), Some(&b"false"[..]));
    }

    #[test]
    fn rsip_prints_every_uri_as_it_was_given() {
        for uri in [
            "sip:alice@192.0.2.9:5070;ob",
            "sip:john.doe@[2001:db8::1]:5070;transport=udp;ob",
            "sips:a%20b@example.com",
            "sip:+15551234@gw.example.com;user=phone;x-y=\"z\"",
            "sip:192.0.2.9",
            "tel:+15551234",
        ] {
            assert_eq!(carried(uri).to_string(), uri);
        }
    }

    proptest! {
        #[test]
        fn whatever_a_phone_calls_itself_is_the_request_uri(user in "[a-zA-Z0-9._%+-]{1,12}", host in "[a-z0-9.]{1,12}|\\[[0-9a-f:]{2,12}\\]", rest in "(:[0-9]{1,4})?(;[a-z]{1,6}(=[a-zA-Z0-9%]{1,6})?){0,3}") {
            let uri = format!("sip:{user}@{host}{rest}");
            prop_assert_eq!(carried(&uri).to_string(), uri);
        }
    }

    #[test]
    fn ack_and_cancel_follow_the_invite() {
        let invite = MessageBuf::parse(INVITE.to_vec()).unwrap();
        let busy = MessageBuf::parse(response(ResponseSpec { code: 486, to_tag: "t", ..ResponseSpec::default() }).into_bytes()).unwrap();
        assert_eq!(validate_response(busy.view()), Ok(()));
        let common = "sip:kai@198.51.100.8;ob SIP/2.0\r\nVia: SIP/2.0/UDP us;branch=z9hG4bK2\r\nRoute: <sip:r1;lr>, <sip:r2;lr>\r\nMax-Forwards: 70\r\n\
                      From: Mira <sip:mira@lakeside.example>;tag=f\r\nTo: sip:kai@harbor.example";
        let end = "Content-Length: 0\r\n\r\n";
        assert_eq!(
            String::from_utf8(ack_for(invite.view(), busy.view())).unwrap(),
            format!("ACK {common};tag=t\r\nCall-ID: x@y\r\nCSeq: 42 ACK\r\n{end}")
        );
        assert_eq!(
            String::from_utf8(cancel_for(invite.view())).unwrap(),
            format!("CANCEL {common}\r\nCall-ID: x@y\r\nCSeq: 42 CANCEL\r\n{end}")
        );
    }
}
