//! What a REGISTER leaves behind.

use crate::{EdgeId, Flow, UnixMillis};

/// Key of a binding inside its AoR: the Contact URI in comparable form (RFC 3261 section 19.1.4), or
/// `+sip.instance` and `reg-id` where the phone sent them (RFC 5626 section 6).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BindingId(pub String);

/// One contact of an AoR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    pub id: BindingId,
    /// The Contact URI as received, without angle brackets.
    pub uri: String,
    /// Contact header parameters as received, except `expires` and `q`; empty or starting with `;`.
    pub params: String,
    /// Preference in thousandths, 0 to 1000 (RFC 3261 section 20.10; absent counts as 1000).
    pub q: u16,
    pub expires_at: UnixMillis,
    pub call_id: String,
    pub cseq: u32,
    /// Path header values, topmost first (RFC 3327).
    pub path: Vec<String>,
    pub edge: EdgeId,
    pub flow: Flow,
    pub user_agent: String,
    /// It stands for a phone that answered a probe, and no REGISTER: no server upstream knows of it.
    pub probed: bool,
}

/// A number that is another one after every REGISTER that changes or refreshes these bindings. 64-bit FNV-1a, because replicas of
/// different builds compare it; the order does not matter.
#[must_use]
pub fn fingerprint(bindings: &[Binding]) -> u64 {
    let of = |binding: &Binding| {
        let words = [binding.expires_at.0.to_be_bytes(), u64::from(binding.cseq).to_be_bytes()];
        let bytes = binding.id.0.bytes().chain(words.into_iter().flatten());
        bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    };
    bindings.iter().map(of).fold(0, u64::wrapping_add)
}
