//! Names of recalls: the From tag of a REFER says which edge and worker sent it and which of its recalls it is.
//!
//! A NOTIFY brings the tag back in To, perhaps to another worker or edge. The last part is a keyed hash over things that never repeat, so
//! a tag cannot be guessed and no list of used ones is needed.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use redial_core::{EdgeId, UnixMillis};
use sha2::Sha256;
use sip_core::routing::EdgeTag;

use crate::endpoint::EndpointConfig;

const PREFIX: &str = "rr";

pub(super) struct Names {
    tag: EdgeTag,
    worker: u8,
    edge: EdgeId,
    secret: [u8; 32],
}

/// Edge and worker that made this tag. None: no recall's tag.
#[must_use]
pub fn owner_of_tag(tag: &str) -> Option<(EdgeTag, u8)> {
    parts(tag).map(|(owner, _)| owner)
}

/// Owner and number of the recall.
pub(super) fn parts(tag: &str) -> Option<((EdgeTag, u8), u64)> {
    let rest = tag.strip_prefix(PREFIX)?;
    let (edge, rest) = rest.split_at_checked(8)?;
    let (worker, rest) = rest.split_at_checked(2)?;
    let (number, rest) = rest.split_once('-')?;
    if rest.len() != 16 {
        return None;
    }
    let owner = (EdgeTag(u32::from_str_radix(edge, 16).ok()?), u8::from_str_radix(worker, 16).ok()?);
    Some((owner, u64::from_str_radix(number, 16).ok()?))
}

impl Names {
    pub(super) fn new(config: &EndpointConfig, worker: u8) -> Self {
        let tag = EdgeTag::of(&config.secret, config.edge.as_str());
        Self { tag, worker, edge: config.edge.clone(), secret: config.secret }
    }

    /// Tag and Call-ID of recall `number`. Numbers repeat after a restart; the time does not.
    pub(super) fn mint(&self, now: UnixMillis, number: u64) -> (String, String) {
        let hash = self.hash(b"recall\0", now, number);
        let mut tag = format!("{PREFIX}{:08x}{:02x}{number:x}-", self.tag.0, self.worker);
        let mut call_id = String::with_capacity(32);
        for (n, byte) in hash.iter().take(24).enumerate() {
            let _ = write!(if n < 8 { &mut tag } else { &mut call_id }, "{byte:02x}");
        }
        (tag, call_id)
    }

    /// A client nonce (RFC 7616 section 3.4) for the `attempt`-th request of that recall.
    pub(super) fn cnonce(&self, now: UnixMillis, number: u64, attempt: u32) -> String {
        let hash = self.hash(b"cnonce\0", now, number ^ u64::from(attempt).rotate_left(32));
        hash.iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn hash(&self, use_of: &[u8], now: UnixMillis, number: u64) -> [u8; 32] {
        // HMAC takes keys of any length; the error cannot happen.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else { return [0; 32] };
        mac.update(use_of);
        mac.update(self.edge.as_str().as_bytes());
        mac.update(&[0, self.worker]);
        mac.update(&now.0.to_be_bytes());
        mac.update(&number.to_be_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("worker", &self.worker).field("edge", &self.edge).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(worker: u8) -> Names {
        Names { tag: EdgeTag(0xa1), worker, edge: EdgeId::new("edge-a"), secret: [7; 32] }
    }

    #[test]
    fn a_tag_says_its_owner_and_number() {
        for (worker, number) in [(0, 0), (3, 17), (255, u64::MAX)] {
            let (tag, call_id) = names(worker).mint(UnixMillis(1), number);
            assert_eq!(parts(&tag), Some(((EdgeTag(0xa1), worker), number)));
            assert_eq!(owner_of_tag(&tag), Some((EdgeTag(0xa1), worker)));
            assert_eq!(call_id.len(), 32);
        }
    }

    #[test]
    fn tags_differ_by_time_worker_and_number() {
        let mint = |w, t, n| names(w).mint(UnixMillis(t), n);
        let all = [mint(0, 1, 1), mint(1, 1, 1), mint(0, 2, 1), mint(0, 1, 2)];
        for (i, a) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|b| a.0 != b.0 && a.1 != b.1));
        }
    }

    #[test]
    fn other_tags_are_nobodys() {
        for tag in [
            "",
            "rr",
            "rr0",
            "rr0000000000",
            "rr00000000001-",
            "rr00000000xx1-0123456789abcdef",
            "as58f4201b",
            "rré1-0123456789abcdef",
            "rr0000000000-0123456789abcdef",
        ] {
            assert_eq!(owner_of_tag(tag), None, "{tag}");
        }
    }
}
