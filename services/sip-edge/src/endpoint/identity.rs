//! Which names and addresses are ours.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use redial_core::Aor;
use sip_core::uri::{Scheme, Uri};

use super::EndpointConfig;

/// Port of a Via that names none (RFC 3261 section 18.2.1).
pub(crate) const DEFAULT_PORT: u16 = 5060;
const DEFAULT_TLS_PORT: u16 = 5061;

/// The URI's host is a domain that we are registrar for, or an address that we listen on.
pub(crate) fn is_ours(config: &EndpointConfig, uri: &Uri<'_>) -> bool {
    is_domain(config, uri.host) || is_listener(config, uri)
}

/// The URI's host and port are one of our listeners'.
pub(crate) fn is_listener(config: &EndpointConfig, uri: &Uri<'_>) -> bool {
    let Some(host) = uri.host_addr() else { return false };
    let addr = SocketAddr::new(host.to_canonical(), uri.port.unwrap_or_else(|| default_port(uri)));
    config.listeners.iter().any(|l| l.advertised == addr || l.bound == addr)
}

/// Port of a URI that names none (RFC 3261 section 19.1.2).
pub(crate) fn default_port(uri: &Uri<'_>) -> u16 {
    let by_tls = || uri.params.value("transport").is_some_and(|word| word.eq_ignore_ascii_case(b"tls"));
    if uri.scheme == Scheme::Sips || by_tls() { DEFAULT_TLS_PORT } else { DEFAULT_PORT }
}

fn is_domain(config: &EndpointConfig, host: &str) -> bool {
    config.domains.iter().any(|d| d.eq_ignore_ascii_case(host))
}

/// The AoR of ours that the URI names. A phone that is told our address in place of a domain means the first domain.
/// None: no SIP URI with a user, or somebody else's.
pub(crate) fn aor(config: &EndpointConfig, uri: &Uri<'_>) -> Option<Aor> {
    if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) || uri.user.is_empty() {
        return None;
    }
    let canonical = uri.aor()?;
    if is_domain(config, uri.host) {
        return Some(Aor::new(canonical));
    }
    let domain = config.domains.first().filter(|_| is_listener(config, uri))?;
    let (user, _) = canonical.rsplit_once('@')?;
    Some(Aor::new(format!("{user}@{domain}")))
}

const TAG_PREFIX: &str = "rd";

/// A tag that is the same whenever and wherever the same parts are given, and that nobody without the secret can foretell.
pub(crate) fn tag(config: &EndpointConfig, parts: &[&[u8]]) -> String {
    let mut hasher = DefaultHasher::new();
    config.secret.hash(&mut hasher);
    parts.hash(&mut hasher);
    let mut tag = String::with_capacity(TAG_PREFIX.len() + 16);
    tag.push_str(TAG_PREFIX);
    for byte in hasher.finish().to_be_bytes() {
        for digit in [byte >> 4, byte & 15] {
            tag.extend(char::from_digit(digit.into(), 16));
        }
    }
    tag
}

/// It looks like a tag of [`tag`].
pub(crate) fn is_own_tag(tag: &str) -> bool {
    tag.strip_prefix(TAG_PREFIX).is_some_and(|digits| digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::testing;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn domains_and_listeners_are_ours() {
        let config = testing::config();
        for ours in ["sip:bob@example.com", "sip:bob@EXAMPLE.com:5099", "sip:192.0.2.1", "sip:x@192.0.2.1:5060;transport=udp"] {
            assert!(is_ours(&config, &uri(ours)), "{ours}");
        }
        for other in ["sip:bob@example.org", "sip:192.0.2.1:5070", "sip:bob@sub.example.com"] {
            assert!(!is_ours(&config, &uri(other)), "{other}");
        }
    }

    #[test]
    fn an_address_stands_for_the_first_domain() {
        let config = testing::config();
        assert_eq!(aor(&config, &uri("sip:bob@192.0.2.1")).unwrap().as_str(), "bob@example.com");
        assert_eq!(aor(&config, &uri("sip:bob@Example.Com")).unwrap().as_str(), "bob@example.com");
        assert_eq!(aor(&config, &uri("sip:bob@192.0.2.9")), None);
        assert_eq!(aor(&config, &uri("sip:example.com")), None);
    }

    #[test]
    fn a_tag_of_ours_is_known_again() {
        let config = testing::config();
        assert!(is_own_tag(&tag(&config, &[b"a"])));
        assert_ne!(tag(&config, &[b"a", b"b"]), tag(&config, &[b"ab"]));
        for other in ["", "rd", "1928301774", "rdxx0123456789abcd", "rd0"] {
            assert!(!is_own_tag(other), "{other}");
        }
    }
}
