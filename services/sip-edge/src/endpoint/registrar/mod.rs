//! The registrar of RFC 3261 section 10.3 as functions: a REGISTER becomes the change to store, the stored bindings become the 200.
//!
//! Nothing is kept here. Order of Call-ID and CSeq (step 7) is decided by the store, which holds the older binding. The answer to an
//! identical REGISTER is the same change again, so retransmissions and repeats are harmless.

mod answer;
mod contact;
mod learned;
mod refusal;

pub use answer::ok_headers;
pub use learned::learned;
pub use refusal::Refusal;

use redial_core::Aor;
use redial_core::link::{BindingChange, ContactChange, Register};
use sip_core::Message;
use sip_core::message::{Contact, Header, NameAddr};
use sip_core::uri::Scheme;

use super::{EndpointConfig, Now, Peer, identity};
use contact::{Shared, clean};

/// Most contacts in one REGISTER. Phones send one, gateways a handful.
pub const MAX_CONTACTS: usize = 16;
/// Most Path values: proxies between the phone and us.
pub const MAX_PATH: usize = 8;
/// Most bytes that one binding may make the store keep.
pub const MAX_BINDING_BYTES: usize = 4096;
/// User-Agent is kept only to recognise phones of a kind.
const MAX_USER_AGENT: usize = 128;

/// The AoR that a REGISTER is about (step 5): the To URI, canonical, of a domain of ours or at our address.
/// # Errors
/// [`Refusal::NotAnAor`] and [`Refusal::NotOurs`].
pub fn target(config: &EndpointConfig, request: Message<'_>) -> Result<Aor, Refusal> {
    let to = request.to().ok_or(Refusal::Malformed)?.uri;
    if !matches!(to.scheme, Scheme::Sip | Scheme::Sips) {
        return Err(Refusal::NotAnAor);
    }
    identity::aor(config, &to).ok_or(Refusal::NotOurs)
}

/// Seconds that stand for an interval which is malformed (RFC 3261 section 20.10) or not told.
pub(crate) const HOUR: u32 = 3600;

/// What a REGISTER asks to be stored. `proved` is the AoR whose password the sender knows; None is right only where no users file is kept.
/// `from` is the way back to the sender. Require (step 2) and authentication (step 3) come before.
/// # Errors
/// The answer to give, see [`Refusal`]. Nothing of the request is to be stored then (step 7: all or nothing).
pub fn change(config: &EndpointConfig, now: Now, from: Peer, request: Message<'_>, proved: Option<&Aor>) -> Result<Register, Refusal> {
    let aor = target(config, request)?;
    let own = match proved {
        Some(proved) => *proved == aor,
        None => config.users.is_none(),
    };
    if !own {
        return Err(Refusal::NotOwn);
    }
    let call_id = request.call_id().ok_or(Refusal::Malformed)?;
    let cseq = request.cseq().ok_or(Refusal::Malformed)?.number;
    let change = match contacts(request)? {
        Contacts::None => BindingChange::Fetch,
        Contacts::Star => BindingChange::RemoveAll,
        Contacts::Each(contacts) => {
            let (edge, flow) = (config.edge_of(from), config.flow_of(from));
            let path = path(request)?;
            // A phone that does not know Path could not see who put itself in the way of its calls, so RFC 3327 section 5.3's strictest choice is
            // taken: 420.
            if !path.is_empty() && !supports_path(request) {
                return Err(Refusal::PathNotSupported);
            }
            let shared = Shared { call_id, cseq, path, edge: &edge, flow, user_agent: user_agent(request) };
            let expires = request.expires();
            let changes = contacts.iter().map(|c| contact::change(config, now.unix, c, expires, &shared));
            BindingChange::Each(changes.collect::<Result<Vec<ContactChange>, Refusal>>()?)
        }
    };
    Ok(Register { aor, call_id: call_id.to_owned(), cseq, change })
}

enum Contacts<'a> {
    None,
    Star,
    Each(Vec<NameAddr<'a>>),
}

/// Reads all Contact values before any is used (step 6).
fn contacts(request: Message<'_>) -> Result<Contacts<'_>, Refusal> {
    let mut each = Vec::new();
    let mut star = false;
    for contact in request.contacts() {
        match contact.ok_or(Refusal::BadContact)? {
            Contact::Star if star => return Err(Refusal::BadStar),
            Contact::Star => star = true,
            Contact::Addr(_) if each.len() == MAX_CONTACTS => return Err(Refusal::TooMuch),
            Contact::Addr(address) => each.push(address),
        }
    }
    match (star, each.is_empty()) {
        (false, true) if request.first(Header::Contact).is_some() => Err(Refusal::BadContact),
        (false, true) => Ok(Contacts::None),
        (false, false) => Ok(Contacts::Each(each)),
        (true, true) if request.expires() == Some(Some(0)) => Ok(Contacts::Star),
        (true, _) => Err(Refusal::BadStar),
    }
}

pub(crate) fn supports_path(request: Message<'_>) -> bool {
    request.tokens(Header::Supported).any(|t| t.eq_ignore_ascii_case("path"))
}

/// Path values, topmost first.
fn path(request: Message<'_>) -> Result<Vec<String>, Refusal> {
    let mut path = Vec::new();
    for value in request.values(Header::Path) {
        if path.len() == MAX_PATH {
            return Err(Refusal::TooMuch);
        }
        NameAddr::parse(value).filter(|p| matches!(p.uri.scheme, Scheme::Sip | Scheme::Sips)).ok_or(Refusal::BadPath)?;
        path.push(clean(value).ok_or(Refusal::BadPath)?);
    }
    Ok(path)
}

/// Readable part of User-Agent; unreadable octets are replaced.
fn user_agent(request: Message<'_>) -> String {
    let value = request.first(Header::UserAgent).unwrap_or_default();
    let value = &value[..value.len().min(MAX_USER_AGENT)];
    String::from_utf8_lossy(value).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests;
