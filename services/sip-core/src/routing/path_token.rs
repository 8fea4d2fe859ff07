//! The user part of our Path (RFC 3327), or of the Contact that stands for a phone's: by which flow the phone is reached.

use super::flow_token::{FlowEnd, Reader, write_end};
use crate::keyed;

const LABEL: &[u8; 8] = b"pathtok1";
/// As in [`super::FlowToken`].
const MAC: usize = 12;
const V6: u8 = 1;
const HAS_EDGE: u8 = 2;

/// Makes requests from a registrar to a phone routable without any state (RFC 5626 section 5.1). Signed, so that nobody can make us send to an address of
/// his choice. It has nothing in common with a [`super::FlowToken`], which phones get to see: whoever has only that cannot begin a call by it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathToken {
    pub flow: FlowEnd,
    /// The phone's Contact URI, where the registrar was given ours in its place.
    pub contact: Option<String>,
}

impl PathToken {
    /// Letters, digits, `-` and `_` only: a URI's user part without escapes.
    #[must_use]
    pub fn encode(&self, secret: &[u8]) -> String {
        let contact = self.contact.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(40 + contact.len());
        let edge = !self.flow.edge.is_here();
        bytes.push(if self.flow.addr.is_ipv6() { V6 } else { 0 } | if edge { HAS_EDGE } else { 0 });
        write_end(&mut bytes, &self.flow, edge);
        bytes.extend_from_slice(contact.as_bytes());
        let mac = keyed::mac::<MAC>(secret, LABEL, &[&bytes]);
        bytes.extend_from_slice(&mac);
        keyed::base64url(&bytes)
    }

    /// None: not signed with this secret.
    #[must_use]
    pub fn decode(secret: &[u8], user: &str) -> Option<Self> {
        let bytes = keyed::from_base64url(user.as_bytes())?;
        let (content, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        if !keyed::same(mac, &keyed::mac::<MAC>(secret, LABEL, &[content])) {
            return None;
        }
        let mut reader = Reader(content);
        let [flags] = reader.array()?;
        let flow = reader.end(flags & V6 != 0, flags & HAS_EDGE != 0)?;
        let contact = std::str::from_utf8(reader.0).ok()?;
        Some(Self { flow, contact: (!contact.is_empty()).then(|| contact.to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::EdgeTag;
    use super::*;
    use crate::routing::FlowToken;
    use proptest::prelude::*;

    const SECRET: &[u8] = b"shared by all edges";

    fn token(edge: u32, addr: &str, contact: Option<&str>) -> PathToken {
        let flow = FlowEnd { edge: EdgeTag(edge), listener: 1, addr: addr.parse().unwrap() };
        PathToken { flow, contact: contact.map(str::to_owned) }
    }

    #[test]
    fn what_is_written_is_read() {
        for token in [
            token(0, "192.0.2.7:4000", None),
            token(9, "[2001:db8::7]:4000", None),
            token(0, "192.0.2.7:4000", Some("sip:alice@10.0.0.7:5060;ob")),
        ] {
            let text = token.encode(SECRET);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')), "{text}");
            assert_eq!(PathToken::decode(SECRET, &text), Some(token.clone()));
            assert_eq!(PathToken::decode(b"another secret", &text), None);
            assert_eq!(FlowToken::decode(SECRET, &text), None);
        }
    }

    proptest! {
        #[test]
        fn nothing_else_is_a_token(text in "[A-Za-z0-9_-]{0,120}") {
            prop_assert_eq!(PathToken::decode(SECRET, &text), None);
        }

        #[test]
        fn one_changed_letter_breaks_it(at in 0_usize..40, letter in "[A-Za-z0-9]") {
            let mut text = token(0, "192.0.2.7:4000", Some("sip:alice@10.0.0.7")).encode(SECRET);
            let changed = text.get(at..=at) != Some(letter.as_str());
            text.replace_range(at..=at, &letter);
            prop_assert_eq!(PathToken::decode(SECRET, &text).is_none(), changed);
        }
    }
}
