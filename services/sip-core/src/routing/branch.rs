//! The branch that we put into our Via: who sent the request, and what it looked like when it came (RFC 3261 section 16.6 step 8, RFC 5393).

use std::fmt;

use super::flow_token::{FlowEnd, Reader, write_end};
use crate::keyed;
use crate::transaction::key::MAGIC_COOKIE;

/// Marks branches of this project; bump it with the layout.
const MARK: &[u8] = b"-r1";
const FIELDS: [usize; 4] = [8, 2, 16, 8];
const LENGTH: usize = MAGIC_COOKIE.len() + MARK.len() + 8 + 2 + 16 + 8;
const EDGE_LABEL: &[u8; 8] = b"edge tag";
const BACK_LABEL: &[u8; 8] = b"way back";
/// As in RFC 5626 section 5.2.
const MAC: usize = 10;

/// An edge pod in as few characters as a branch, a tag and a token have room for: a keyed hash of its name, the same wherever it is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EdgeTag(pub u32);

impl EdgeTag {
    /// The pod that reads it, whichever that is.
    pub const HERE: Self = Self(0);

    /// Never [`Self::HERE`].
    #[must_use]
    pub fn of(secret: &[u8], name: &str) -> Self {
        Self(u32::from_be_bytes(keyed::mac(secret, EDGE_LABEL, &[name.as_bytes()])).max(1))
    }

    #[must_use]
    pub fn is_here(self) -> bool {
        self == Self::HERE
    }
}

/// Any pod that receives a response reads from it whose transaction it is; any pod that receives a request again sees the loop.
///
/// Fixed-width lower-case hexadecimal, so that peers that compare or store branches without regard to case do no harm. `serial` should start at a
/// number that nobody can guess: a sender of forged responses would have to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Branch {
    /// Of the edge pod that owns the transaction.
    pub edge: EdgeTag,
    /// Of the loop inside the pod that owns the transaction.
    pub worker: u8,
    /// Unique within the worker.
    pub serial: u64,
    /// The second part of RFC 5393 section 4.2.1, see [`super::loop_hash`].
    pub loop_hash: u32,
}

impl Branch {
    /// None: not a branch of this project. What [`Self::with_way_back`] has added is for [`Self::way_back`] to judge.
    #[must_use]
    pub fn parse(branch: &str) -> Option<Self> {
        let (own, added) = branch.as_bytes().split_at_checked(LENGTH)?;
        if added.first().is_some_and(|dash| *dash != b'-') {
            return None;
        }
        let mut rest = own.strip_prefix(MAGIC_COOKIE.as_bytes())?.strip_prefix(MARK)?;
        let mut fields = [0_u64; 4];
        for (field, width) in fields.iter_mut().zip(FIELDS) {
            let (digits, tail) = rest.split_at_checked(width)?;
            *field = hex(digits)?;
            rest = tail;
        }
        let [edge, worker, serial, loop_hash] = fields;
        Some(Self {
            edge: EdgeTag(u32::try_from(edge).ok()?),
            worker: u8::try_from(worker).ok()?,
            serial,
            loop_hash: u32::try_from(loop_hash).ok()?,
        })
    }

    /// The text on the stack, for senders that write into a buffer of their own.
    #[must_use]
    pub fn text(&self) -> BranchText {
        let mut text = [0_u8; LENGTH];
        text[..MAGIC_COOKIE.len()].copy_from_slice(MAGIC_COOKIE.as_bytes());
        let mut at = MAGIC_COOKIE.len();
        text[at..at + MARK.len()].copy_from_slice(MARK);
        at += MARK.len();
        let fields = [u64::from(self.edge.0), u64::from(self.worker), self.serial, u64::from(self.loop_hash)];
        for (field, width) in fields.into_iter().zip(FIELDS) {
            for i in 0..width {
                text[at + i] = DIGITS[(field >> (4 * (width - 1 - i))) as usize & 15];
            }
            at += width;
        }
        BranchText(text)
    }

    /// The branch and behind it, signed, where the request came from: with that any pod can pass a response on when the one that owns the transaction
    /// is gone (RFC 3261 sections 16.11 and 18.1.2). The next Via alone would not do: a made-up response could name anybody there.
    #[must_use]
    pub fn with_way_back(&self, secret: &[u8], to: &FlowEnd) -> String {
        let mut bytes = Vec::with_capacity(48);
        bytes.push(u8::from(to.addr.is_ipv6()));
        write_end(&mut bytes, to, true);
        let own = self.text();
        let mac = keyed::mac::<MAC>(secret, BACK_LABEL, &[own.as_str().as_bytes(), &bytes]);
        bytes.extend_from_slice(&mac);
        let mut text = String::with_capacity(LENGTH + 1 + 2 * bytes.len());
        text.push_str(own.as_str());
        text.push('-');
        for byte in bytes {
            text.extend([byte >> 4, byte & 15].map(|digit| char::from(DIGITS[usize::from(digit)])));
        }
        text
    }

    /// What [`Self::with_way_back`] has added. None: nothing, or not signed with this secret for this branch.
    #[must_use]
    pub fn way_back(secret: &[u8], branch: &str) -> Option<FlowEnd> {
        Self::parse(branch)?;
        let (own, added) = branch.as_bytes().split_at_checked(LENGTH)?;
        let digits = added.strip_prefix(b"-")?;
        if digits.len() % 2 != 0 {
            return None;
        }
        let bytes = digits.chunks(2).map(|pair| u8::try_from(hex(pair)?).ok()).collect::<Option<Vec<u8>>>()?;
        let (content, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC)?)?;
        if !keyed::same(mac, &keyed::mac::<MAC>(secret, BACK_LABEL, &[own, content])) {
            return None;
        }
        let mut reader = Reader(content);
        let [v6] = reader.array()?;
        let end = reader.end(v6 == 1, true)?;
        reader.0.is_empty().then_some(end)
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

/// See [`Branch::text`].
#[derive(Clone, Copy, Debug)]
pub struct BranchText([u8; LENGTH]);

impl BranchText {
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

fn hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |n, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(n << 4 | u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_has_the_cookie_and_only_token_characters() {
        let text = Branch { edge: EdgeTag(0xdead_beef), worker: 1, serial: 2, loop_hash: 0xff }.to_string();
        assert_eq!(text, "z9hG4bK-r1deadbeef010000000000000002000000ff");
    }

    #[test]
    fn branches_of_others_are_not_ours() {
        let ours = Branch { edge: EdgeTag(1), worker: 1, serial: 1, loop_hash: 1 }.to_string();
        for other in [
            "",
            "z9hG4bK",
            "z9hG4bK-r1",
            "z9hG4bK776asdhds",
            &ours[..ours.len() - 1],
            &format!("{ours}0"),
            &ours.to_uppercase(),
            &ours.replace("r1", "r2"),
        ] {
            assert_eq!(Branch::parse(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn printed_and_parsed_it_is_the_same(edge: u32, worker: u8, serial: u64, loop_hash: u32) {
            let branch = Branch { edge: EdgeTag(edge), worker, serial, loop_hash };
            prop_assert_eq!(Branch::parse(&branch.to_string()), Some(branch));
        }

        #[test]
        fn any_text_is_read_without_harm_and_only_in_its_one_spelling(text in "(z9hG4bK-r1)?[0-9a-gA-F\\PC]{0,40}") {
            prop_assert_eq!(Branch::way_back(b"secret", &text), None);
            if let Some(branch) = Branch::parse(&text) {
                prop_assert_eq!(branch.to_string(), &text[..LENGTH]);
            }
        }

        #[test]
        fn the_way_back_is_read_from_the_branch_that_it_was_signed_for(
            edge: u32, ip: std::net::IpAddr, port: u16, serial: u64, at: prop::sample::Index, digit in "[0-9a-f]"
        ) {
            let to = FlowEnd { edge: EdgeTag(edge), listener: 3, addr: (ip, port).into() };
            let branch = Branch { edge: EdgeTag(7), worker: 1, serial, loop_hash: 5 };
            let text = branch.with_way_back(b"secret", &to);
            prop_assert_eq!(Branch::parse(&text), Some(branch));
            prop_assert_eq!(Branch::way_back(b"secret", &text), Some(to));
            prop_assert_eq!(Branch::way_back(b"another", &text), None);
            let at = MAGIC_COOKIE.len() + MARK.len() + at.index(text.len() - MAGIC_COOKIE.len() - MARK.len());
            prop_assume!(text[at..=at] != digit);
            let mut changed = text.clone();
            changed.replace_range(at..=at, &digit);
            prop_assert_eq!(Branch::way_back(b"secret", &changed), None);
            prop_assert_eq!(Branch::way_back(b"secret", &text[..text.len() - 2]), None);
        }
    }
}
