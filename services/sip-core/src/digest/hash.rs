//! The hashes of RFC 7616 section 3.4.

use std::fmt;

use md5::Md5;
use sha2::{Digest, Sha256};

/// RFC 8760 adds SHA-256 to SIP; MD5 is what most phones know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    /// Case-insensitive. None for what we do not speak, the `-sess` variants among it.
    #[must_use]
    pub fn from_token(token: &[u8]) -> Option<Self> {
        [Self::Md5, Self::Sha256].into_iter().find(|a| token.eq_ignore_ascii_case(a.as_str().as_bytes()))
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }
}

/// H(user:realm:password): as good as the password inside its realm, so it does not print itself and compares in constant time.
#[derive(Clone, Copy)]
pub enum Ha1 {
    Md5([u8; 16]),
    Sha256([u8; 32]),
}

impl Ha1 {
    #[must_use]
    pub fn new(algorithm: Algorithm, user: &str, realm: &str, password: &str) -> Self {
        let parts = [user.as_bytes(), realm.as_bytes(), password.as_bytes()];
        match algorithm {
            Algorithm::Md5 => Self::Md5(joined::<Md5>(&parts).into()),
            Algorithm::Sha256 => Self::Sha256(joined::<Sha256>(&parts).into()),
        }
    }

    /// As htdigest writes it: 32 hexadecimal digits are MD5, 64 SHA-256.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        match text.len() {
            32 => from_hex(text).map(Self::Md5),
            64 => from_hex(text).map(Self::Sha256),
            _ => None,
        }
    }

    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Md5(_) => Algorithm::Md5,
            Self::Sha256(_) => Algorithm::Sha256,
        }
    }

    /// What takes its place with a `-sess` algorithm (RFC 7616 section 3.4.2).
    #[must_use]
    pub fn session(&self, nonce: &str, cnonce: &str) -> Self {
        let secret = self.hex();
        let parts = [secret.as_bytes(), nonce.as_bytes(), cnonce.as_bytes()];
        match self {
            Self::Md5(_) => Self::Md5(joined::<Md5>(&parts).into()),
            Self::Sha256(_) => Self::Sha256(joined::<Sha256>(&parts).into()),
        }
    }

    fn hex(&self) -> Hex {
        match self {
            Self::Md5(bytes) => Hex::new(bytes),
            Self::Sha256(bytes) => Hex::new(bytes),
        }
    }
}

impl PartialEq for Ha1 {
    fn eq(&self, other: &Self) -> bool {
        crate::keyed::same(self.hex().as_bytes(), other.hex().as_bytes())
    }
}

impl Eq for Ha1 {}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ha1").field(&self.algorithm()).finish()
    }
}

/// The response value (section 3.4.1): with `counted` (nc, cnonce, qop), without as RFC 2069 has it.
pub(super) fn response(ha1: &Ha1, nonce: &str, counted: Option<[&[u8]; 3]>, method: &str, uri: &str) -> Hex {
    let a2 = [method.as_bytes(), uri.as_bytes()];
    let secret = ha1.hex();
    let ha2 = match ha1 {
        Ha1::Md5(_) => Hex::new(&joined::<Md5>(&a2)),
        Ha1::Sha256(_) => Hex::new(&joined::<Sha256>(&a2)),
    };
    let with_qop;
    let without;
    let parts: &[&[u8]] = match counted {
        Some([nc, cnonce, qop]) => {
            with_qop = [secret.as_bytes(), nonce.as_bytes(), nc, cnonce, qop, ha2.as_bytes()];
            &with_qop
        }
        None => {
            without = [secret.as_bytes(), nonce.as_bytes(), ha2.as_bytes()];
            &without
        }
    };
    match ha1 {
        Ha1::Md5(_) => Hex::new(&joined::<Md5>(parts)),
        Ha1::Sha256(_) => Hex::new(&joined::<Sha256>(parts)),
    }
}

/// H(a:b:c).
fn joined<H: Digest>(parts: &[&[u8]]) -> sha2::digest::Output<H> {
    let mut hash = H::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    hash.finalize()
}

/// Lower-case hexadecimal digits of a hash, on the stack.
pub(super) struct Hex {
    digits: [u8; 64],
    length: usize,
}

impl Hex {
    /// `bytes`: at most 32.
    fn new(bytes: &[u8]) -> Self {
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[b"0123456789abcdef"[usize::from(byte >> 4)], b"0123456789abcdef"[usize::from(byte & 15)]]);
        }
        Self { digits, length: (2 * bytes.len()).min(64) }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.digits[..self.length]
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |b: u8| char::from(b).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_read_in_any_case_and_sess_is_not_ours() {
        assert_eq!(Algorithm::from_token(b"md5"), Some(Algorithm::Md5));
        assert_eq!(Algorithm::from_token(b"Sha-256"), Some(Algorithm::Sha256));
        for other in ["MD5-sess", "SHA-256-sess", "SHA-512-256", "SHA256", ""] {
            assert_eq!(Algorithm::from_token(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_hash_does_not_print_itself() {
        let ha1 = Ha1::from_hex("939e7578ed9e3c518a452acee763bce9").unwrap();
        assert_eq!(format!("{ha1:?}"), "Ha1(Md5)");
    }

    #[test]
    fn a_hash_is_32_or_64_hexadecimal_digits() {
        assert_eq!(Ha1::from_hex("939E7578ed9e3c518a452acee763bce9"), Ha1::from_hex("939e7578ed9e3c518a452acee763bce9"));
        for bad in ["", "939e", "g39e7578ed9e3c518a452acee763bce9", "+39e7578ed9e3c518a452acee763bce9", "ä939e7578ed9e3c518a452acee763bc"]
        {
            assert_eq!(Ha1::from_hex(bad), None, "{bad}");
        }
    }
}
