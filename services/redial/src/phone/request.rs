//! The phone's messages, spelled out.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use sip_core::Header;
use sip_core::message::Contact;

use super::{Phone, Received};

/// What a request is made of.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub method: &'static str,
    pub uri: String,
    /// Value of To.
    pub to: String,
    /// Call-ID.
    pub call: String,
    pub cseq: u32,
    /// Whole lines.
    pub headers: String,
    pub body: String,
    /// An ACK with a branch that is not the INVITE's.
    pub own_branch: bool,
}

impl Phone<'_> {
    /// A request with the next CSeq. `call` tells this phone's calls apart.
    pub(super) fn request(&mut self, method: &'static str, uri: &str, to: &str, call: &str) -> Request {
        self.cseq += 1;
        Request {
            method,
            uri: uri.to_owned(),
            to: to.to_owned(),
            call: format!("{call}-{:016x}", self.unique),
            cseq: self.cseq,
            headers: String::new(),
            body: String::new(),
            own_branch: false,
        }
    }

    pub(super) fn compose(&self, request: &Request) -> String {
        let Request { method, uri, to, call, cseq, headers, body, .. } = request;
        let (local, aor, branch) = (self.local, self.user.aor(), self.branch(request));
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch={branch};rport\r\nMax-Forwards: 70\r\nFrom: <{aor}>;tag={:x}\r\n\
             To: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\nUser-Agent: redial/{}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            self.unique,
            env!("CARGO_PKG_VERSION"),
            body.len(),
        )
    }

    pub(super) fn branch(&self, request: &Request) -> String {
        format!("z9hG4bK{:016x}-{}{}", self.unique, request.cseq, if request.own_branch { "-ack" } else { "" })
    }

    pub(super) fn contact(&self) -> String {
        format!("<sip:{}@{}>", self.user.name, self.local)
    }

    pub(super) fn response(&self, request: &Received, code: u16, reason: &str, headers: &str) -> Result<String> {
        let view = request.message.view();
        let mut text = format!("SIP/2.0 {code} {reason}\r\n");
        for (name, kind) in [("Via", Header::Via), ("Record-Route", Header::RecordRoute), ("From", Header::From)] {
            for value in view.fields(kind) {
                text.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value)));
            }
        }
        let to = request.header(Header::To)?;
        let tag = if to.contains(";tag=") || code == 100 { String::new() } else { format!(";tag={:x}", self.unique) };
        text.push_str(&format!("To: {to}{tag}\r\n"));
        text.push_str(&format!("Call-ID: {}\r\nCSeq: {}\r\n", request.header(Header::CallId)?, request.header(Header::CSeq)?));
        text.push_str(&format!("Contact: {}\r\n{headers}Content-Length: 0\r\n\r\n", self.contact()));
        Ok(text)
    }
}

/// An offer without media: nobody will speak.
pub(super) fn sdp(local: IpAddr) -> String {
    let family = if local.is_ipv4() { 4 } else { 6 };
    format!("v=0\r\no=- 1 1 IN IP{family} {local}\r\ns=-\r\nc=IN IP{family} {local}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n")
}

/// Remote target and Route lines of the dialog that a 2xx set up (RFC 3261 section 12.1.2).
pub(super) fn dialog(answer: &Received) -> Result<(String, String)> {
    let view = answer.message.view();
    let contact = view.contacts().flatten().next().context("the 200 has no Contact")?;
    let Contact::Addr(contact) = contact else { bail!("the 200 has Contact: *") };
    let mut routes: Vec<String> =
        view.values(Header::RecordRoute).map(|value| format!("Route: {}\r\n", String::from_utf8_lossy(value))).collect();
    routes.reverse();
    Ok((String::from_utf8_lossy(contact.uri.raw).into_owned(), routes.concat()))
}
