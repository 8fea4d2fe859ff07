//! One Contact of a REGISTER: how long it lasts, what it is keyed by, what is kept of it.

use std::time::Duration;

use redial_core::link::ContactChange;
use redial_core::{Binding, BindingId, EdgeId, Flow, UnixMillis};
use sip_core::message::{Contact, NameAddr};
use sip_core::uri::Scheme;

use super::{HOUR, MAX_BINDING_BYTES, Refusal};
use crate::endpoint::EndpointConfig;

/// What all contacts of one REGISTER have in common.
pub(super) struct Shared<'a> {
    pub call_id: &'a str,
    pub cseq: u32,
    pub path: Vec<String>,
    pub edge: &'a EdgeId,
    pub flow: Flow,
    pub user_agent: String,
}

pub(super) fn change(
    config: &EndpointConfig,
    now: UnixMillis,
    address: &NameAddr<'_>,
    header_expires: Option<Option<u32>>,
    shared: &Shared<'_>,
) -> Result<ContactChange, Refusal> {
    if !matches!(address.uri.scheme, Scheme::Sip | Scheme::Sips) {
        return Err(Refusal::BadContact);
    }
    let asked = Contact::Addr(*address).expires().or(header_expires);
    put(now, address, lifetime(config, asked)?, shared)
}

/// What is stored of a contact for so long; None: it is removed.
pub(super) fn put(
    now: UnixMillis,
    address: &NameAddr<'_>,
    lifetime: Option<Duration>,
    shared: &Shared<'_>,
) -> Result<ContactChange, Refusal> {
    let (contact, id) = (Contact::Addr(*address), binding_id(address)?);
    let Some(lifetime) = lifetime else { return Ok(ContactChange::Remove(id)) };
    let uri = std::str::from_utf8(address.uri.raw).map_err(|_| Refusal::BadContact)?.to_owned();
    let q = match contact.q() {
        None => 1000,
        Some(q) => q.ok_or(Refusal::BadContact)?,
    };
    let binding = Binding {
        id,
        uri,
        params: kept_params(address.params.0).ok_or(Refusal::BadContact)?,
        q,
        expires_at: now.after(lifetime),
        call_id: shared.call_id.to_owned(),
        cseq: shared.cseq,
        path: shared.path.clone(),
        edge: shared.edge.clone(),
        flow: shared.flow.clone(),
        user_agent: shared.user_agent.clone(),
        probed: false,
    };
    if size(&binding) > MAX_BINDING_BYTES { Err(Refusal::TooMuch) } else { Ok(ContactChange::Put(binding)) }
}

/// How long the binding lasts; None: it is removed.
pub(super) fn lifetime(config: &EndpointConfig, asked: Option<Option<u32>>) -> Result<Option<Duration>, Refusal> {
    let seconds = match asked {
        Some(Some(0)) => return Ok(None),
        Some(Some(seconds)) => u64::from(seconds),
        Some(None) => u64::from(HOUR),
        None => config.register_default.as_secs(),
    };
    let min = config.register_min.as_secs();
    // Of less than an hour (RFC 3261 section 10.3 step 7). Only an interval that was really asked for is refused; our own default and the stand-in for a malformed one are not the phone's fault.
    if seconds < min && seconds < u64::from(HOUR) && matches!(asked, Some(Some(_))) {
        return Err(Refusal::TooBrief { min });
    }
    Ok(Some(Duration::from_secs(seconds.min(config.register_max.as_secs()))))
}

/// RFC 5626 section 6: the instance and its flow number where both are given, so that a phone that comes back from another address
/// replaces its old binding; a reg-id without instance is ignored. Otherwise the URI in comparable form (RFC 3261 section 10.3 step 7).
fn binding_id(address: &NameAddr<'_>) -> Result<BindingId, Refusal> {
    let instance = address.params.value("+sip.instance").filter(|v| !v.is_empty());
    let reg_id = address.params.value("reg-id");
    if let (Some(instance), Some(reg_id)) = (instance, reg_id) {
        let instance = std::str::from_utf8(instance).map_err(|_| Refusal::BadContact)?;
        let reg_id = std::str::from_utf8(reg_id).ok().and_then(|r| r.parse::<u32>().ok()).filter(|r| (1..1 << 31).contains(r));
        let reg_id = reg_id.ok_or(Refusal::BadContact)?;
        return Ok(BindingId(format!("{};reg-id={reg_id}", instance.to_ascii_lowercase())));
    }
    Ok(BindingId(address.uri.comparison_key()))
}

/// Contact parameters as they came, without those that the registrar computes.
fn kept_params(raw: &[u8]) -> Option<String> {
    let mut kept = String::new();
    for param in split_params(raw) {
        let name = param.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii();
        if !param.is_empty() && !name.eq_ignore_ascii_case(b"expires") && !name.eq_ignore_ascii_case(b"q") {
            kept.push(';');
            kept.push_str(&clean(param)?);
        }
    }
    Some(kept)
}

/// At semicolons outside quoted strings, trimmed.
fn split_params(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    raw.split(move |&b| {
        let cut = b == b';' && !quoted;
        if escaped {
            escaped = false;
        } else {
            escaped = quoted && b == b'\\';
            quoted ^= b == b'"';
        }
        cut
    })
    .map(<[u8]>::trim_ascii)
}

/// The text of a header value on one line: a fold becomes one space (RFC 3261 section 7.3.1). None when it is not UTF-8 or holds a
/// control character that could end a header line.
pub(super) fn clean(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value.trim_ascii()).ok()?;
    if !text.bytes().any(|b| b.is_ascii_control()) {
        return Some(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    for (n, line) in text.split("\r\n").enumerate() {
        if n > 0 {
            if !line.starts_with([' ', '\t']) {
                return None;
            }
            out.push(' ');
        }
        let line = if n > 0 { line.trim_start_matches([' ', '\t']) } else { line };
        out.push_str(line.trim_end_matches([' ', '\t']));
    }
    if out.bytes().any(|b| b.is_ascii_control() && b != b'\t') { None } else { Some(out) }
}

fn size(b: &Binding) -> usize {
    b.id.0.len() + b.uri.len() + b.params.len() + b.call_id.len() + b.user_agent.len() + b.path.iter().map(String::len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_back_but_for_expires_and_q() {
        let kept = |raw: &str| kept_params(raw.as_bytes());
        assert_eq!(kept("").unwrap(), "");
        assert_eq!(kept(";expires=10;unknownparam;Q=0.5").unwrap(), ";unknownparam");
        assert_eq!(kept(r#"; +sip.instance="<urn:uuid:1;2\";3>" ; q=1;x"#).unwrap(), r#";+sip.instance="<urn:uuid:1;2\";3>";x"#);
        assert_eq!(kept(";a=\"x\r\n y\";b").unwrap(), ";a=\"x y\";b");
        assert_eq!(kept(";a=\"x\ry\""), None);
        assert_eq!(kept(";a=\"x\r\nEvil: y\""), None);
        assert_eq!(kept_params(b";a=\xff"), None);
    }

    #[test]
    fn folds_become_one_space() {
        assert_eq!(clean(b" <sip:a@b>\r\n\t;lr ").unwrap(), "<sip:a@b> ;lr");
        assert_eq!(clean(b"a\0b"), None);
    }
}
