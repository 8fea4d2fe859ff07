//! The branch that we put into our Via: who sent the request, and what it looked like when it came (RFC 3261 section 16.6 step 8, RFC 5393).

use std::fmt;

use crate::transaction::key::MAGIC_COOKIE;

/// Marks branches of this project; bump it with the layout.
const MARK: &[u8] = b"-r1";
const FIELDS: [usize; 4] = [8, 2, 16, 8];
const LENGTH: usize = MAGIC_COOKIE.len() + MARK.len() + 8 + 2 + 16 + 8;

/// Any pod that receives a response reads from it whose transaction it is; any pod that receives a request again sees the loop.
///
/// Fixed-width lower-case hexadecimal, so that peers that compare or store branches without regard to case do no harm. `serial` should start at a
/// number that nobody can guess: a sender of forged responses would have to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Branch {
    /// Of the edge pod.
    pub edge_tag: u32,
    /// Of the loop inside the pod that owns the transaction.
    pub worker: u8,
    /// Unique within the worker.
    pub serial: u64,
    /// The second part of RFC 5393 section 4.2.1, see [`super::loop_hash`].
    pub loop_hash: u32,
}

impl Branch {
    /// None: not a branch of this project.
    #[must_use]
    pub fn parse(branch: &str) -> Option<Self> {
        let mut rest = branch.as_bytes().strip_prefix(MAGIC_COOKIE.as_bytes())?.strip_prefix(MARK)?;
        if branch.len() != LENGTH {
            return None;
        }
        let mut fields = [0_u64; 4];
        for (field, width) in fields.iter_mut().zip(FIELDS) {
            let (digits, tail) = rest.split_at_checked(width)?;
            *field = hex(digits)?;
            rest = tail;
        }
        let [edge_tag, worker, serial, loop_hash] = fields;
        Some(Self {
            edge_tag: u32::try_from(edge_tag).ok()?,
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
        let fields = [u64::from(self.edge_tag), u64::from(self.worker), self.serial, u64::from(self.loop_hash)];
        for (field, width) in fields.into_iter().zip(FIELDS) {
            for i in 0..width {
                text[at + i] = b"0123456789abcdef"[(field >> (4 * (width - 1 - i))) as usize & 15];
            }
            at += width;
        }
        BranchText(text)
    }
}

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
        let text = Branch { edge_tag: 0xdead_beef, worker: 1, serial: 2, loop_hash: 0xff }.to_string();
        assert_eq!(text, "z9hG4bK-r1deadbeef010000000000000002000000ff");
    }

    #[test]
    fn branches_of_others_are_not_ours() {
        let ours = Branch { edge_tag: 1, worker: 1, serial: 1, loop_hash: 1 }.to_string();
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
        fn printed_and_parsed_it_is_the_same(edge_tag: u32, worker: u8, serial: u64, loop_hash: u32) {
            let branch = Branch { edge_tag, worker, serial, loop_hash };
            prop_assert_eq!(Branch::parse(&branch.to_string()), Some(branch));
        }

        #[test]
        fn any_text_is_read_without_harm_and_only_in_its_one_spelling(text in "(z9hG4bK-r1)?[0-9a-gA-F\\PC]{0,40}") {
            if let Some(branch) = Branch::parse(&text) {
                prop_assert_eq!(branch.to_string(), text);
            }
        }
    }
}
