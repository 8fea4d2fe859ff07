//! The user part of our Record-Route: where the two sides of a call are reached.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::EdgeTag;
use crate::Message;
use crate::keyed;

const LABEL: &[u8; 8] = b"flowtok3";
const PAD_LABEL: &[u8; 8] = b"flowpad3";
/// RFC 5626 section 5.2 uses 80 bits; we take 96, which fills base64 groups evenly.
const MAC: usize = 12;
const HAS_WATCH: u8 = 1;
const CALLER_V6: u8 = 2;
const CALLEE_V6: u8 = 4;
/// Both ends name their edge.
const HAS_EDGES: u8 = 8;

/// One side of a call: the edge and its listener that it came by, and its address as that edge saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowEnd {
    pub edge: EdgeTag,
    pub listener: u8,
    pub addr: SocketAddr,
}

/// The recall that led to the call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchedCall {
    pub caller: String,
    pub callee: String,
    pub fence: u64,
}

/// Makes in-dialog requests routable without any state: both flows of the call, and which watch it belongs to (RFC 5626 section 5.2's idea).
///
/// It is signed, so that nobody can make us send to an address of his choice. Each side can read the other's address from it, as it can from Contact;
/// but not the watch, because the call may be anonymous (RFC 3323): that part is under a keyed pad that the signature chooses (the idea of SIV, RFC
/// 5297: no nonce, and only equal tokens look equal). Any pod that shares the secret reads it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FlowToken {
    pub caller: FlowEnd,
    pub callee: FlowEnd,
    /// [`tag_hash`] of the From tag that the caller gave the dialog.
    pub caller_tag: u32,
    pub watch: Option<WatchedCall>,
}

impl FlowToken {
    /// Letters, digits, `-` and `_` only: a URI's user part without escapes. 42 characters for two IPv4 flows of the edge that reads it.
    #[must_use]
    pub fn encode(&self, secret: &[u8]) -> String {
        let mut bytes = Vec::with_capacity(128);
        bytes.push(0);
        let mut flags = 0;
        let edges = !self.caller.edge.is_here() || !self.callee.edge.is_here();
        if edges {
            flags |= HAS_EDGES;
        }
        for (end, v6) in [(&self.caller, CALLER_V6), (&self.callee, CALLEE_V6)] {
            if end.addr.is_ipv6() {
                flags |= v6;
            }
            write_end(&mut bytes, end, edges);
        }
        bytes.extend_from_slice(&self.caller_tag.to_be_bytes());
        if let Some(watch) = &self.watch {
            flags |= HAS_WATCH;
            bytes.extend_from_slice(&watch.fence.to_be_bytes());
            // A length that does not fit makes a token that nobody can read; no message is that long.
            bytes.extend_from_slice(&u32::try_from(watch.caller.len()).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend_from_slice(watch.caller.as_bytes());
            bytes.extend_from_slice(watch.callee.as_bytes());
        }
        bytes[0] = flags;
        let mac = keyed::mac::<MAC>(secret, LABEL, &[&bytes]);
        pad(secret, &mac, bytes.get_mut(open_length(flags)..).unwrap_or_default());
        bytes.extend_from_slice(&mac);
        keyed::base64url(&bytes)
    }

    /// None: not signed with this secret.
    #[must_use]
    pub fn decode(secret: &[u8], user: &str) -> Option<Self> {
        let mut bytes = keyed::from_base64url(user.as_bytes())?;
        let length = bytes.len().checked_sub(MAC)?;
        let (content, mac) = bytes.split_at_mut(length);
        pad(secret, mac, content.get_mut(open_length(*content.first()?)..)?);
        if !keyed::same(mac, &keyed::mac::<MAC>(secret, LABEL, &[content])) {
            return None;
        }
        let mut reader = Reader(content);
        let [flags] = reader.array()?;
        let edges = flags & HAS_EDGES != 0;
        let caller = reader.end(flags & CALLER_V6 != 0, edges)?;
        let callee = reader.end(flags & CALLEE_V6 != 0, edges)?;
        let caller_tag = u32::from_be_bytes(reader.array()?);
        let watch = if flags & HAS_WATCH == 0 {
            None
        } else {
            let fence = u64::from_be_bytes(reader.array()?);
            let length = usize::try_from(u32::from_be_bytes(reader.array()?)).ok()?;
            Some(WatchedCall { caller: reader.text(length)?, callee: reader.text(reader.0.len())?, fence })
        };
        reader.0.is_empty().then_some(Self { caller, callee, caller_tag, watch })
    }

    /// The side that a request inside the dialog is for, by its tags: a side's address may be another one by now, or to another edge; its tag never
    /// changes (RFC 3261 section 12.2.1.1). None: a request of another dialog.
    #[must_use]
    pub fn other_side(&self, request: Message<'_>) -> Option<FlowEnd> {
        let is_callers = |tag: Option<&str>| tag_hash(tag.unwrap_or_default()) == self.caller_tag;
        if is_callers(request.from_tag()) { Some(self.callee) } else { is_callers(request.to_tag()).then_some(self.caller) }
    }
}

/// 32-bit FNV-1a: pods of different builds compare it. The token is signed, and only the two sides see it: who finds a second tag with the same hash
/// gains nothing.
#[must_use]
pub fn tag_hash(tag: &str) -> u32 {
    tag.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The address's family and whether the edge is named stand elsewhere.
pub(super) fn write_end(bytes: &mut Vec<u8>, end: &FlowEnd, edge: bool) {
    if edge {
        bytes.extend_from_slice(&end.edge.0.to_be_bytes());
    }
    bytes.push(end.listener);
    bytes.extend_from_slice(&end.addr.port().to_be_bytes());
    match end.addr {
        SocketAddr::V4(addr) => bytes.extend_from_slice(&addr.ip().octets()),
        SocketAddr::V6(addr) => {
            bytes.extend_from_slice(&addr.ip().octets());
            bytes.extend_from_slice(&addr.scope_id().to_be_bytes());
        }
    }
}

/// How much of a token with these flags everybody may read: all but the watch.
fn open_length(flags: u8) -> usize {
    let edge = if flags & HAS_EDGES == 0 { 0 } else { 4 };
    let end = |v6: u8| edge + if flags & v6 == 0 { 1 + 2 + 4 } else { 1 + 2 + 16 + 4 };
    1 + end(CALLER_V6) + end(CALLEE_V6) + 4
}

/// Covers `bytes`, or uncovers them.
fn pad(secret: &[u8], mac: &[u8], bytes: &mut [u8]) {
    for (n, block) in bytes.chunks_mut(32).enumerate() {
        let key = keyed::mac::<32>(secret, PAD_LABEL, &[&n.to_be_bytes(), mac]);
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
    }
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    pub(super) fn end(&mut self, v6: bool, edge: bool) -> Option<FlowEnd> {
        let edge = if edge { EdgeTag(u32::from_be_bytes(self.array()?)) } else { EdgeTag::HERE };
        let [listener] = self.array()?;
        let port = u16::from_be_bytes(self.array()?);
        let addr = if v6 {
            let ip = Ipv6Addr::from(self.array::<16>()?);
            SocketAddr::V6(SocketAddrV6::new(ip, port, 0, u32::from_be_bytes(self.array()?)))
        } else {
            SocketAddr::new(IpAddr::V4(Ipv4Addr::from(self.array::<4>()?)), port)
        };
        Some(FlowEnd { edge, listener, addr })
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        String::from_utf8(head.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &[u8] = b"shared by all edges";

    fn edges() -> impl Strategy<Value = EdgeTag> {
        prop_oneof![Just(EdgeTag::HERE), any::<u32>().prop_map(EdgeTag)]
    }

    fn ends() -> impl Strategy<Value = FlowEnd> {
        let v4 = (edges(), any::<u8>(), any::<[u8; 4]>(), any::<u16>()).prop_map(|(edge, listener, ip, port)| FlowEnd {
            edge,
            listener,
            addr: SocketAddr::new(IpAddr::from(ip), port),
        });
        let v6 = (edges(), any::<u8>(), any::<[u8; 16]>(), any::<u16>(), any::<u32>()).prop_map(|(edge, listener, ip, port, scope)| {
            FlowEnd { edge, listener, addr: SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into() }
        });
        prop_oneof![v4, v6]
    }

    fn tokens() -> impl Strategy<Value = FlowToken> {
        let watch = ("\\PC{0,40}", "[a-z]{0,10}@example.com", any::<u64>()).prop_map(|(caller, callee, fence)| WatchedCall {
            caller,
            callee,
            fence,
        });
        (ends(), ends(), any::<u32>(), proptest::option::of(watch)).prop_map(|(caller, callee, caller_tag, watch)| FlowToken {
            caller,
            callee,
            caller_tag,
            watch,
        })
    }

    #[test]
    fn two_ipv4_flows_take_42_characters_that_need_no_escape() {
        let end = FlowEnd { edge: EdgeTag::HERE, listener: 0, addr: ([192, 0, 2, 1], 5060).into() };
        let text = FlowToken { caller: end, callee: end, caller_tag: 1, watch: None }.encode(SECRET);
        assert_eq!(text.len(), 42);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{text}");
    }

    #[test]
    fn neither_side_reads_from_it_who_called_whom() {
        let end = FlowEnd { edge: EdgeTag::HERE, listener: 0, addr: ([192, 0, 2, 1], 5060).into() };
        let watch = Some(WatchedCall { caller: "alice@example.com".to_owned(), callee: "bob@example.com".to_owned(), fence: 7 });
        let text = FlowToken { caller: end, callee: end, caller_tag: 1, watch }.encode(SECRET);
        let bytes = keyed::from_base64url(text.as_bytes()).unwrap();
        assert!(!bytes.windows(5).any(|part| part == b"alice" || part == b"examp"));
    }

    proptest! {
        #[test]
        fn encoded_and_decoded_it_is_the_same(token in tokens()) {
            let text = token.encode(SECRET);
            prop_assert_eq!(FlowToken::decode(SECRET, &text), Some(token));
            prop_assert_eq!(FlowToken::decode(b"another secret", &text), None);
        }

        #[test]
        fn any_changed_character_is_refused(token in tokens(), at: prop::sample::Index, with in "[A-Za-z0-9_=%é-]") {
            let text = token.encode(SECRET);
            let mut changed: Vec<String> = text.chars().map(String::from).collect();
            let at = at.index(changed.len());
            prop_assume!(changed[at] != with);
            changed[at] = with;
            prop_assert_eq!(FlowToken::decode(SECRET, &changed.concat()), None);
        }

        #[test]
        fn any_cut_token_and_any_other_text_is_refused(token in tokens(), keep: prop::sample::Index, other in "\\PC{0,60}") {
            let text = token.encode(SECRET);
            prop_assert_eq!(FlowToken::decode(SECRET, &text[..keep.index(text.len())]), None);
            prop_assert_eq!(FlowToken::decode(SECRET, &other), None);
        }
    }
}
