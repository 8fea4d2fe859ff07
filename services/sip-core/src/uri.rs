//! SIP, SIPS (RFC 3261 section 19.1) and tel (RFC 3966) URIs as views over bytes.

use crate::message::Params;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    pub scheme: Scheme,
    /// Still escaped. Empty when absent. For tel the number.
    pub user: &'a [u8],
    /// As spelled, brackets of an IPv6 reference included. Empty for tel and unknown schemes.
    pub host: &'a str,
    pub port: Option<u16>,
    pub params: Params<'a>,
    /// After `?`, without it.
    pub headers: &'a [u8],
    pub raw: &'a [u8],
}

impl<'a> Uri<'a> {
    /// None: not a URI at all, or a sip(s) URI that RFC 3261 section 25 does not allow.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        todo!()
    }
    /// Canonical `user@host` (RFC 3261 section 10.3 step 5): user with needless escapes undone, host lower case, no port, no parameters.
    /// `%00` stays `%00`. None for other schemes and for a URI without user.
    pub fn aor(&self) -> Option<String> {
        todo!()
    }
    /// RFC 3261 section 19.1.4.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        todo!()
    }
    /// A string that is equal for equivalent URIs (parameters that only one side has, other than user, ttl, method, maddr and transport, are left out).
    pub fn comparison_key(&self) -> String {
        todo!()
    }
    /// Host as an address, brackets removed.
    pub fn host_addr(&self) -> Option<std::net::IpAddr> {
        todo!()
    }
}
