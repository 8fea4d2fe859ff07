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

/// The cookie is compared without regard to case, as every token (RFC 3261 section 7.3.1); what follows it is compared byte for byte, because peers
/// must repeat it unchanged and many use base64.
#[must_use]
pub fn has_cookie(branch: &str) -> bool {
    branch.as_bytes().get(..MAGIC_COOKIE.len()).is_some_and(|b| b.eq_ignore_ascii_case(MAGIC_COOKIE.as_bytes()))
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
        let secure = via.transport.eq_ignore_ascii_case("TLS") || via.transport.eq_ignore_ascii_case("WSS");
        self.add(&via.port.unwrap_or(if secure { 5061 } else { 5060 }).to_be_bytes());
    }

    fn key(self) -> TransactionKey {
        TransactionKey(self.0.finish(), self.1.finish())
    }
}
