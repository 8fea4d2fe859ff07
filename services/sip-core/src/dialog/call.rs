//! The dialog of an INVITE that we sent (RFC 3261 section 12).

use crate::message::{Header, Message, Method, RequestMethod, RequestSpec};

/// Our side of it: what its requests are made of, and which of the peer's belong to it.
#[derive(Debug)]
pub struct Dialog {
    call_id: String,
    local_tag: String,
    /// Value of From in our requests.
    local: String,
    /// Value of To in our requests.
    remote: String,
    remote_tag: String,
    /// Request-URI: the peer's Contact.
    target: String,
    /// Route values, topmost first.
    routes: Vec<String>,
    remote_cseq: Option<u32>,
}

/// Why a request of the peer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// 481: not of this dialog.
    Foreign,
    /// 500: older than what was seen (section 12.2.2).
    OutOfOrder,
}

impl Dialog {
    /// Of the 2xx to our INVITE (section 12.1.2). `from` is the INVITE's From value, `local_tag` its tag; `uri` is used where the peer's
    /// Contact is none that a request can be sent to. None: the response has no To tag.
    #[must_use]
    pub fn established(from: &str, local_tag: &str, uri: &str, response: Message<'_>) -> Option<Self> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let contact = contact_of(response);
        let mut routes: Vec<String> = response.values(Header::RecordRoute).map(text).collect();
        routes.reverse();
        Some(Self {
            call_id: response.call_id()?.to_owned(),
            local_tag: local_tag.to_owned(),
            local: from.to_owned(),
            remote: text(response.first(Header::To)?),
            remote_tag: response.to()?.tag()?.to_owned(),
            target: contact.unwrap_or_else(|| uri.to_owned()),
            routes,
            remote_cseq: None,
        })
    }

    #[must_use]
    pub fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// The peer's last CSeq number.
    #[must_use]
    pub fn remote_cseq(&self) -> Option<u32> {
        self.remote_cseq
    }

    /// Request-URI of our requests.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// A request inside the dialog. An ACK has the CSeq number of its INVITE, every other request one that no request had before.
    #[must_use]
    pub fn request(&self, method: RequestMethod, cseq: u32, via: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let (from, to, call_id) = (self.local.as_str(), self.remote.as_str(), self.call_id.as_str());
        let spec =
            RequestSpec { method, uri: &self.target, via, from, to, call_id, cseq, max_forwards: 70, routes: &self.routes, headers, body };
        spec.compose()
    }

    /// Whether a request of the peer belongs here, its CSeq, and a new Contact where it brings one (section 12.2.2).
    ///
    /// # Errors
    /// [`Refused`] says how it is answered.
    pub fn on_request(&mut self, request: Message<'_>) -> Result<(), Refused> {
        let from = request.from().and_then(|from| from.tag());
        let to = request.to().and_then(|to| to.tag());
        if request.call_id() != Some(self.call_id.as_str()) || from != Some(self.remote_tag.as_str()) || to != Some(self.local_tag.as_str())
        {
            return Err(Refused::Foreign);
        }
        let cseq = request.cseq().map(|cseq| cseq.number).ok_or(Refused::OutOfOrder)?;
        if self.remote_cseq.is_some_and(|last| cseq <= last) {
            return Err(Refused::OutOfOrder);
        }
        self.remote_cseq = Some(cseq);
        if matches!(request.method(), Method::Invite | Method::Update)
            && let Some(contact) = contact_of(request)
        {
            self.target = contact;
        }
        Ok(())
    }
}

fn contact_of(message: Message<'_>) -> Option<String> {
    let contact = message.contacts().flatten().find_map(|contact| contact.addr().map(|addr| addr.uri.raw))?;
    std::str::from_utf8(contact).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageBuf;

    fn message(text: &str) -> MessageBuf {
        MessageBuf::parse(text.replace('\n', "\r\n").into_bytes()).unwrap()
    }

    fn answered() -> Dialog {
        let ok = message(
            "SIP/2.0 200 OK\nVia: SIP/2.0/UDP us;branch=z9hG4bK1\nRecord-Route: <sip:p1;lr>, <sip:p2;lr>\nFrom: \"B\" <sip:bob@x>;tag=we\n\
             To: <sip:alice@x>;tag=they\nCall-ID: c\nCSeq: 1 INVITE\nContact: \"A\" <sip:alice@192.0.2.9:5070;ob>;x=y\nContent-Length: 0\n\n",
        );
        Dialog::established("\"B\" <sip:bob@x>;tag=we", "we", "sip:alice@192.0.2.9", ok.view()).unwrap()
    }

    fn request(method: &str, cseq: u32, tag: &str, contact: &str) -> MessageBuf {
        message(&format!(
            "{method} sip:we@us SIP/2.0\nVia: SIP/2.0/UDP them;branch=z9hG4bK{cseq}\nFrom: <sip:alice@x>;tag={tag}\nTo: \"B\" <sip:bob@x>;tag=we\n\
             Call-ID: c\nCSeq: {cseq} {method}\nMax-Forwards: 70\nContact: <{contact}>\nContent-Length: 0\n\n"
        ))
    }

    #[test]
    fn requests_go_to_the_contact_by_the_reversed_route() {
        let bye = MessageBuf::parse(answered().request(RequestMethod::Bye, 3, "SIP/2.0/UDP us;branch=z9hG4bK3", &[], &[])).unwrap();
        let bye = bye.view();
        assert_eq!((bye.method(), bye.request_uri()), (Method::Bye, &b"sip:alice@192.0.2.9:5070;ob"[..]));
        assert!(bye.values(Header::Route).eq([&b"<sip:p2;lr>"[..], b"<sip:p1;lr>"]));
        assert_eq!((bye.from().unwrap().tag(), bye.to().unwrap().tag()), (Some("we"), Some("they")));
    }

    #[test]
    fn the_peers_requests_count_up_and_may_move_it() {
        let mut dialog = answered();
        assert_eq!(dialog.on_request(request("INVITE", 7, "they", "sip:alice@192.0.2.9:6000").view()), Ok(()));
        assert_eq!((dialog.target(), dialog.remote_cseq()), ("sip:alice@192.0.2.9:6000", Some(7)));
        assert_eq!(dialog.on_request(request("BYE", 7, "they", "sip:x@y").view()), Err(Refused::OutOfOrder));
        assert_eq!(dialog.on_request(request("BYE", 8, "else", "sip:x@y").view()), Err(Refused::Foreign));
        assert_eq!(dialog.on_request(request("BYE", 8, "they", "sip:x@y").view()), Ok(()));
        assert_eq!(dialog.target(), "sip:alice@192.0.2.9:6000", "a BYE moves nobody");
    }
}
