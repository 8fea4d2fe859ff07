//! Which transaction a message belongs to (RFC 3261 sections 17.1.3 and 17.2.3).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

use crate::message::{Header, Message, Method, Via};

/// What a branch made by RFC 3261's rules begins with (section 8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// Two independent SipHash keys, drawn once per process.
static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(|| [RandomState::new(), RandomState::new()]);

/// The identity of a transaction within this process.
///
/// The parts that the RFC compares (100 to 300 bytes that the peer chooses) are kept as a 128-bit hash of them under a key that the peer does not
/// know: 16 bytes to copy and compare, nothing allocated, no way to make two transactions meet or to crowd one bucket of a table. Therefore a
/// table may use a cheap hasher over it. Not valid outside the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionKey(u64, u64);

#[derive(Clone, Copy)]
enum Side {
    Client = 1,
    Server = 2,
    /// A server transaction of a client that follows RFC 2543.
    Rfc2543 = 3,
}

impl TransactionKey {
    /// The server transaction that a request belongs to: its own, and for an ACK the one of its INVITE. None: no readable top Via, or without a
    /// branch cookie no readable CSeq.
    #[must_use]
    pub fn server(request: Message<'_>) -> Option<Self> {
        let method = match request.method() {
            Method::Ack => Method::Invite,
            other => other,
        };
        Self::of_request(request, method)
    }

    /// The server transaction of the INVITE that this CANCEL cancels (section 9.2).
    #[must_use]
    pub fn server_for_cancel(cancel: Message<'_>) -> Option<Self> {
        Self::of_request(cancel, Method::Invite)
    }

    /// The client transaction that sent a request with this branch. `method` as in CSeq of its response.
    #[must_use]
    pub fn client(branch: &str, method: Method<'_>) -> Self {
        let mut parts = Parts::new(Side::Client);
        parts.add(branch.as_bytes());
        parts.add(method.as_str().as_bytes());
        parts.key()
    }

    /// The client transaction that a response answers. None: no readable branch or CSeq.
    #[must_use]
    pub fn of_response(response: Message<'_>) -> Option<Self> {
        Some(Self::client(response.top_via()?.branch()?, response.cseq()?.method))
    }

    fn of_request(request: Message<'_>, method: Method<'_>) -> Option<Self> {
        let via = request.top_via()?;
        match via.branch() {
            Some(branch) if has_cookie(branch) => {
                let mut parts = Parts::new(Side::Server);
                parts.add(branch.as_bytes());
                parts.add_sent_by(&via);
                parts.add(method.as_str().as_bytes());
                Some(parts.key())
            }
            _ => Self::rfc2543(request, &via, method),
        }
    }

    /// Request-URI, tags, Call-ID, CSeq number and the whole top Via. The To tag is left out for INVITE, because its ACK carries the tag of our
    /// response; nothing is lost by that, since a second INVITE inside a dialog has a higher CSeq.
    fn rfc2543(request: Message<'_>, via: &Via<'_>, method: Method<'_>) -> Option<Self> {
        let mut parts = Parts::new(Side::Rfc2543);
        parts.add(request.request_uri());
        parts.add(request.from().and_then(|f| f.tag()).unwrap_or("").as_bytes());
        if method != Method::Invite {
            parts.add(request.to().and_then(|t| t.tag()).unwrap_or("").as_bytes());
        }
        parts.add(request.first(Header::CallId).unwrap_or(b""));
        parts.add(&request.cseq()?.number.to_be_bytes());
        parts.add(via.raw);
        parts.add(method.as_str().as_bytes());
        Some(parts.key())
    }
}

/// Whether the branch identifies a transaction by itself. The cookie alone does not (RFC 4475 section 3.2.1). The cookie is compared without regard to
/// case, as every token (RFC 3261 section 7.3.1); what follows it is compared byte for byte, because peers must repeat it unchanged and many use base64.
#[must_use]
pub fn has_cookie(branch: &str) -> bool {
    let bytes = branch.as_bytes();
    bytes.len() > MAGIC_COOKIE.len() && bytes[..MAGIC_COOKIE.len()].eq_ignore_ascii_case(MAGIC_COOKIE.as_bytes())
}

/// Hashes length and bytes of each part, so that no two different lists of parts look the same.
struct Parts<H>(H, H);

impl Parts<std::hash::DefaultHasher> {
    fn new(side: Side) -> Self {
        let mut parts = Self(KEYS[0].build_hasher(), KEYS[1].build_hasher());
        parts.0.write_u8(side as u8);
        parts.1.write_u8(side as u8);
        parts
    }
}

impl<H: Hasher> Parts<H> {
    fn add(&mut self, part: &[u8]) {
        for hasher in [&mut self.0, &mut self.1] {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
    }

    /// Host in lower case and port, the transport's default written out.
    fn add_sent_by(&mut self, via: &Via<'_>) {
        let mut lower = [0_u8; 64];
        for chunk in via.host.as_bytes().chunks(lower.len()) {
            let lower = &mut lower[..chunk.len()];
            lower.copy_from_slice(chunk);
            lower.make_ascii_lowercase();
            self.add(lower);
        }
        self.add(&via.port_or_default().to_be_bytes());
    }

    fn key(self) -> TransactionKey {
        TransactionKey(self.0.finish(), self.1.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageBuf;
    use proptest::prelude::*;

    const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\nVia: SIP/2.0/UDP Phone.example.com:5060;branch=z9hG4bKabc;rport\r\n\
        Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKzzz\r\nMax-Forwards: 70\r\nTo: <sip:bob@example.com>\r\nFrom: <sip:alice@example.com>;tag=a1\r\n\
        Call-ID: c1@x\r\nCSeq: 7 INVITE\r\nContent-Length: 0\r\n\r\n";

    /// INVITE of a client of RFC 2543: no cookie.
    fn old() -> String {
        INVITE.replace("z9hG4bKabc", "1")
    }

    fn as_method(text: &str, method: &str) -> String {
        text.replace("INVITE", method)
    }

    fn message(text: &str) -> MessageBuf {
        MessageBuf::parse(text.as_bytes().to_vec()).unwrap()
    }

    fn server(text: &str) -> Option<TransactionKey> {
        TransactionKey::server(message(text).view())
    }

    #[test]
    fn a_retransmission_has_the_key_of_its_request() {
        assert!(server(INVITE).is_some());
        assert_eq!(server(INVITE), server(INVITE));
        assert_eq!(
            server(INVITE),
            server(&INVITE.replace("Phone.example.com:5060", "phone.EXAMPLE.com")),
            "sent-by is compared, not spelled"
        );
        assert_eq!(
            server(INVITE),
            server(&INVITE.replace("Max-Forwards: 70", "Subject: new").replace("c1@x", "c2@x")),
            "only the branch counts"
        );
    }

    #[test]
    fn other_branches_senders_and_methods_are_other_transactions() {
        for (from, to) in [("z9hG4bKabc", "z9hG4bKabC"), ("Phone.", "phone2."), (":5060", ":5062"), ("INVITE", "OPTIONS")] {
            assert_ne!(server(INVITE), server(&INVITE.replace(from, to)), "{from} -> {to}");
        }
    }

    #[test]
    fn ack_belongs_to_its_invite_and_cancel_has_its_own_transaction() {
        for invite in [INVITE.to_owned(), old()] {
            let cancel = as_method(&invite, "CANCEL");
            let ack = as_method(&invite, "ACK").replace("<sip:bob@example.com>", "<sip:bob@example.com>;tag=ours");
            assert_eq!(server(&ack), server(&invite));
            assert_ne!(server(&cancel), server(&invite));
            assert_eq!(TransactionKey::server_for_cancel(message(&cancel).view()), server(&invite));
            assert_eq!(TransactionKey::server_for_cancel(message(&invite).view()), server(&invite));
        }
    }

    #[test]
    fn without_a_cookie_the_parts_of_rfc_2543_count() {
        assert!(server(&old()).is_some());
        assert_eq!(server(&old()), server(&old().replace("Max-Forwards: 70", "Subject: again")));
        for (from, to) in [
            ("sip:bob@example.com SIP", "sip:bob@example.org SIP"),
            ("tag=a1", "tag=a2"),
            ("c1@x", "c2@x"),
            ("CSeq: 7", "CSeq: 8"),
            ("branch=1;rport", "branch=1"),
        ] {
            assert_ne!(server(&old()), server(&old().replace(from, to)), "{from} -> {to}");
        }
        let bye = as_method(&old(), "BYE");
        assert_ne!(server(&bye), server(&bye.replace("<sip:bob@example.com>", "<sip:bob@example.com>;tag=t")));
        for branch in ["z9hG4bK", "", "z9hG4b"] {
            let text = INVITE.replace("z9hG4bKabc", branch);
            assert_ne!(server(&text), server(&text.replace("c1@x", "c2@x")), "{branch:?} identifies nothing");
        }
    }

    #[test]
    fn what_has_no_readable_via_has_no_key() {
        assert_eq!(server(&INVITE.replace("SIP/2.0/UDP Phone.example.com:5060;branch=z9hG4bKabc;rport", "garbage")), None);
        assert_eq!(server(&old().replace("CSeq: 7", "CSeq: x")), None);
    }

    #[test]
    fn a_response_finds_the_client_transaction_by_branch_and_cseq_method() {
        let ok = INVITE.replace("INVITE sip:bob@example.com SIP/2.0", "SIP/2.0 200 OK");
        assert_eq!(TransactionKey::of_response(message(&ok).view()), Some(TransactionKey::client("z9hG4bKabc", Method::Invite)));
        let cancelled = ok.replace("7 INVITE", "7 CANCEL");
        assert_eq!(TransactionKey::of_response(message(&cancelled).view()), Some(TransactionKey::client("z9hG4bKabc", Method::Cancel)));
        assert_ne!(TransactionKey::client("z9hG4bKabc", Method::Invite), TransactionKey::client("z9hG4bKabc", Method::Cancel));
        assert_ne!(Some(TransactionKey::client("z9hG4bKabc", Method::Invite)), server(INVITE), "the sides are apart");
    }

    proptest! {
        #[test]
        fn keys_are_equal_exactly_when_the_parts_are(a in "[ab]{1,3}", b in "[ab]{1,3}", host_a in "[xX]{1,3}", host_b in "[xX]{1,3}") {
            let text = |branch: &str, host: &str| INVITE.replace("z9hG4bKabc", &format!("z9hG4bK{branch}")).replace("Phone.example.com", host);
            let same = a == b && host_a.eq_ignore_ascii_case(&host_b);
            prop_assert_eq!(server(&text(&a, &host_a)) == server(&text(&b, &host_b)), same);
        }
    }
}
