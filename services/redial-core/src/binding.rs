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
}
