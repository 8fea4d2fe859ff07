//! The phone's messages, spelled out.

use anyhow::{Context as _, Result};
use sip_core::Message;
use sip_core::message::Header;

use super::{Call, Phone};
use crate::DOMAIN;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0\r\n";

pub(super) fn register(phone: &Phone, id: &str, seconds: u32, headers: &str) -> String {
    let (who, via, contact) = (&phone.who, phone.via(), phone.contact());
    format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\n{via};branch=z9hG4bK-{id};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{who}@{DOMAIN}>;tag={id}\r\nTo: <sip:{who}@{DOMAIN}>\r\nCall-ID: {id}\r\nCSeq: 1 REGISTER\r\n\
         Contact: {contact};expires={seconds}\r\nUser-Agent: scripted phone\r\n{headers}Content-Length: 0\r\n\r\n"
    )
}

pub(super) fn invite(phone: &Phone, peer: &str, id: &str, headers: &str) -> String {
    let (who, via, contact) = (&phone.who, phone.via(), phone.contact());
    format!(
        "INVITE sip:{peer}@{DOMAIN} SIP/2.0\r\n{via};branch=z9hG4bK-{id};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{who}@{DOMAIN}>;tag={id}\r\nTo: <sip:{peer}@{DOMAIN}>\r\nCall-ID: {id}\r\nCSeq: 1 INVITE\r\n\
         Contact: {contact}\r\n{headers}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
}

/// ACK of a 2xx goes through the dialog (RFC 3261 section 13.2.2.4), of any other answer through the transaction (section 17.1.1.3).
pub(super) fn ack(phone: &Phone, call: &Call, branch: &str) -> String {
    if call.status() < 300 {
        return in_dialog(phone, call, "ACK", call.cseq, branch);
    }
    let (who, via) = (&phone.who, phone.via());
    let Call { id, peer, cseq, .. } = call;
    let to = call.answer.header(Header::To);
    // The INVITE's own branch.
    let branch = if *cseq == 1 { id.clone() } else { format!("{id}{}", super::digest::AGAIN) };
    format!(
        "ACK sip:{peer}@{DOMAIN} SIP/2.0\r\n{via};branch=z9hG4bK-{branch};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:{who}@{DOMAIN}>;tag={id}\r\nTo: {to}\r\nCall-ID: {id}\r\nCSeq: {cseq} ACK\r\nContent-Length: 0\r\n\r\n"
    )
}

pub(super) fn bye(phone: &Phone, call: &Call, branch: &str) -> String {
    in_dialog(phone, call, "BYE", call.cseq + 1, branch)
}

/// CANCEL of an INVITE without Route (RFC 3261 section 9.1).
pub(super) fn cancel(invite: &str) -> Result<String> {
    let (head, _) = invite.split_once("\r\n\r\n").context("no end of headers")?;
    let copied = head
        .split("\r\n")
        .filter(|line| ["INVITE ", "Via:", "Max-F", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|start| line.starts_with(start)));
    let head: String = copied.map(|line| format!("{line}\r\n")).collect();
    let head = head.replacen("INVITE ", "CANCEL ", 1).replace(" INVITE\r\n", " CANCEL\r\n");
    Ok(format!("{head}Content-Length: 0\r\n\r\n"))
}

/// A request of the callee, through the route set that the INVITE brought (RFC 3261 section 12.1.1).
pub(super) fn callee_in_dialog(phone: &Phone, invite: Message<'_>, method: &str, cseq: u32, branch: &str) -> Result<String> {
    let (via, contact, peer) = (phone.via(), phone.contact(), field(invite, Header::Contact)?);
    let target = uri(&peer);
    let routes: String = invite.values(Header::RecordRoute).map(|r| format!("Route: {}\r\n", String::from_utf8_lossy(r))).collect();
    Ok(format!(
        "{method} {target} SIP/2.0\r\n{via};branch=z9hG4bK-{branch};rport\r\nMax-Forwards: 70\r\n{routes}\
         From: {};tag={}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: {contact}\r\nContent-Length: 0\r\n\r\n",
        field(invite, Header::To)?,
        own_tag(phone, invite)?,
        field(invite, Header::From)?,
        field(invite, Header::CallId)?,
    ))
}

pub(super) fn in_dialog(phone: &Phone, call: &Call, method: &str, cseq: u32, branch: &str) -> String {
    let (who, via, contact) = (&phone.who, phone.via(), phone.contact());
    let id = &call.id;
    let to = call.answer.header(Header::To);
    let peer = call.answer.header(Header::Contact);
    let target = uri(&peer);
    // The caller's route set is the Record-Route of the answer, last first (RFC 3261 section 12.1.2).
    let mut routes: Vec<_> = call.answer.message().values(Header::RecordRoute).collect();
    routes.reverse();
    let routes: String = routes.iter().map(|r| format!("Route: {}\r\n", String::from_utf8_lossy(r))).collect();
    format!(
        "{method} {target} SIP/2.0\r\n{via};branch=z9hG4bK-{branch};rport\r\nMax-Forwards: 70\r\n{routes}\
         From: <sip:{who}@{DOMAIN}>;tag={id}\r\nTo: {to}\r\nCall-ID: {id}\r\nCSeq: {cseq} {method}\r\nContact: {contact}\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A response with Via, From, To, Call-ID, CSeq and Record-Route of the request (RFC 3261 sections 8.2.6 and 12.1.1).
pub(super) fn response(phone: &Phone, request: Message<'_>, status: u16, headers: &str) -> Result<String> {
    let mut text = format!("SIP/2.0 {status} Scripted\r\n");
    for (name, header) in [("Via", Header::Via), ("Record-Route", Header::RecordRoute)] {
        for value in request.fields(header) {
            text += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
        }
    }
    for (name, header) in [("From", Header::From), ("Call-ID", Header::CallId), ("CSeq", Header::CSeq)] {
        text += &format!("{name}: {}\r\n", field(request, header)?);
    }
    let tag = if request.to().is_some_and(|t| t.tag().is_some()) { String::new() } else { format!(";tag={}", own_tag(phone, request)?) };
    text += &format!("To: {}{tag}\r\nContact: {}\r\n{headers}", field(request, Header::To)?, phone.contact());
    if request.method().as_str() == "INVITE" && (200..300).contains(&status) {
        text += &format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}", SDP.len());
    } else {
        text += "Content-Length: 0\r\n\r\n";
    }
    Ok(text)
}

/// NOTIFY of a REFER's implicit subscription (RFC 3515 section 2.4.4), towards whoever sent the REFER.
pub(super) fn notify(phone: &Phone, refer: Message<'_>, id: &str, cseq: u32, status: u16) -> Result<String> {
    let (via, contact, peer) = (phone.via(), phone.contact(), field(refer, Header::Contact)?);
    let target = uri(&peer);
    let state = if status < 200 { "active;expires=60" } else { "terminated;reason=noresource" };
    let body = format!("SIP/2.0 {status} Scripted\r\n");
    Ok(format!(
        "NOTIFY {target} SIP/2.0\r\n{via};branch=z9hG4bK-{id};rport\r\nMax-Forwards: 70\r\n\
         From: {};tag={}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} NOTIFY\r\nContact: {contact}\r\nEvent: refer\r\n\
         Subscription-State: {state}\r\nContent-Type: message/sipfrag\r\nContent-Length: {}\r\n\r\n{body}",
        field(refer, Header::To)?,
        own_tag(phone, refer)?,
        field(refer, Header::From)?,
        field(refer, Header::CallId)?,
        body.len()
    ))
}

/// What a Contact says in angle brackets, or all of it.
fn uri(contact: &str) -> &str {
    contact.split_once('<').and_then(|(_, c)| c.split_once('>')).map_or(contact, |(uri, _)| uri)
}

/// The same tag for everything that this phone says in one dialog.
fn own_tag(phone: &Phone, request: Message<'_>) -> Result<String> {
    let id = field(request, Header::CallId)?;
    let hash = id.bytes().fold(u32::from(phone.local.port()), |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
    Ok(format!("{}{hash:08x}", phone.who))
}

fn field(message: Message<'_>, header: Header) -> Result<String> {
    let value = message.first(header).with_context(|| format!("no {header:?}"))?;
    Ok(String::from_utf8_lossy(value).into_owned())
}
