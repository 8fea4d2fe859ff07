//! Keyed hashes and the text forms they travel in. Everything that several edges must be able to check without asking each other is made from these.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// HMAC-SHA-256 of `parts` under `secret`, cut to `N` bytes (at most 32). `label` keeps the uses of one secret apart. The parts are joined without
/// marks: the caller sees to it that at most one has a variable length.
pub(crate) fn mac<const N: usize>(secret: &[u8], label: &'static [u8; 8], parts: &[&[u8]]) -> [u8; N] {
    const { assert!(N <= 32) };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(label);
    for part in parts {
        mac.update(part);
    }
    let full = mac.finalize().into_bytes();
    std::array::from_fn(|i| full[i])
}

/// Without telling by its duration where the first difference is.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// RFC 4648 section 5 without padding. Every character may stand in a URI's user part and in a quoted string as it is.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = u32::from_be_bytes([0, chunk[0], chunk.get(1).copied().unwrap_or(0), chunk.get(2).copied().unwrap_or(0)]);
        for i in 0..=chunk.len() {
            out.push(char::from(BASE64URL[(group >> (18 - 6 * i)) as usize & 63]));
        }
    }
    out
}

/// The one spelling that [`base64url`] gives is accepted, no other.
pub(crate) fn from_base64url(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() % 4 == 1 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for chunk in text.chunks(4) {
        let mut group = 0_u32;
        for (i, c) in chunk.iter().enumerate() {
            group |= u32::from(sextet(*c)?) << (18 - 6 * i);
        }
        let bytes = group.to_be_bytes();
        let (kept, rest) = bytes[1..].split_at(chunk.len() - 1);
        if rest.iter().any(|b| *b != 0) {
            return None;
        }
        out.extend_from_slice(kept);
    }
    Some(out)
}

fn sextet(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'-' => Some(62),
        b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn base64url_is_that_of_rfc_4648() {
        for (plain, text) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64url(plain.as_bytes()), text);
            assert_eq!(from_base64url(text.as_bytes()).as_deref(), Some(plain.as_bytes()));
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn a_second_spelling_of_the_same_bytes_is_refused() {
        for text in ["Zh", "Zm9", "Z", "Zg==", "Zm+v", "Zm/v", "Zm9v\n", "Zm9vZ"] {
            assert_eq!(from_base64url(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn base64url_round_trips(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert_eq!(from_base64url(base64url(&bytes).as_bytes()), Some(bytes));
        }

        #[test]
        fn whatever_decodes_is_the_only_spelling(text in "[A-Za-z0-9_-]{0,40}") {
            if let Some(bytes) = from_base64url(text.as_bytes()) {
                prop_assert_eq!(base64url(&bytes), text);
            }
        }
    }
}
