//! SIP, SIPS (RFC 3261 section 19.1) and tel (RFC 3966) URIs as views over bytes.

mod compare;

use std::net::IpAddr;

use crate::message::Params;
use crate::message::grammar::{HOST, PASSWORD, URI_HEADER, URI_PARAM, USER, ascii, decimal, escaped_or, is};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Sip,
    Sips,
    Tel,
    Other,
}

/// A URI as received. Nothing is unescaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    pub scheme: Scheme,
    /// Still escaped. Empty when absent. For tel the number.
    pub user: &'a [u8],
    /// After the user's `:`. Not to be used any more (RFC 3261 section 19.1.1), but two URIs that differ in it are different.
    pub password: Option<&'a [u8]>,
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
        let colon = memchr::memchr(b':', bytes)?;
        let (scheme, rest) = (&bytes[..colon], &bytes[colon + 1..]);
        if scheme.eq_ignore_ascii_case(b"sip") {
            Self::sip(Scheme::Sip, rest, bytes)
        } else if scheme.eq_ignore_ascii_case(b"sips") {
            Self::sip(Scheme::Sips, rest, bytes)
        } else if scheme.eq_ignore_ascii_case(b"tel") {
            Self::tel(rest, bytes)
        } else {
            let named = scheme.first()?.is_ascii_alphabetic()
                && scheme.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
            let opaque = !rest.is_empty() && rest.iter().all(|&b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'"'));
            (named && opaque).then_some(Self::empty(Scheme::Other, bytes))
        }
    }

    fn empty(scheme: Scheme, raw: &'a [u8]) -> Self {
        Self { scheme, user: b"", password: None, host: "", port: None, params: Params(b""), headers: b"", raw }
    }

    fn sip(scheme: Scheme, rest: &'a [u8], raw: &'a [u8]) -> Option<Self> {
        let mut uri = Self::empty(scheme, raw);
        // The user may hold `;` and `?`; `@` is escaped everywhere, so the first one ends it.
        let mut rest = rest;
        if let Some(at) = memchr::memchr(b'@', rest) {
            let userinfo = &rest[..at];
            let colon = memchr::memchr(b':', userinfo);
            uri.user = &userinfo[..colon.unwrap_or(at)];
            uri.password = colon.map(|c| &userinfo[c + 1..]);
            let password_fits = uri.password.is_none_or(|p| escaped_or(PASSWORD, p));
            if uri.user.is_empty() || !escaped_or(USER, uri.user) || !password_fits {
                return None;
            }
            rest = &rest[at + 1..];
        }
        let question = memchr::memchr(b'?', rest);
        if let Some(at) = question {
            uri.headers = &rest[at + 1..];
            rest = &rest[..at];
            if uri.headers.is_empty() || !escaped_or(URI_HEADER, uri.headers) {
                return None;
            }
        }
        let semicolon = memchr::memchr(b';', rest).unwrap_or(rest.len());
        uri.params = Params(&rest[semicolon..]);
        (uri.host, uri.port) = split_host_port(&rest[..semicolon])?;
        params_fit(uri.params).then_some(uri)
    }

    fn tel(rest: &'a [u8], raw: &'a [u8]) -> Option<Self> {
        let semicolon = memchr::memchr(b';', rest).unwrap_or(rest.len());
        let number = &rest[..semicolon];
        let digits = number.strip_prefix(b"+").unwrap_or(number);
        let fits = digits.iter().any(|b| b.is_ascii_hexdigit() || matches!(b, b'*' | b'#'))
            && digits.iter().all(|&b| b.is_ascii_hexdigit() || matches!(b, b'*' | b'#') || is_visual_separator(b));
        let params = Params(&rest[semicolon..]);
        (fits && params_fit(params)).then_some(Self { user: number, params, ..Self::empty(Scheme::Tel, raw) })
    }

    /// Host as an address, brackets removed.
    pub fn host_addr(&self) -> Option<IpAddr> {
        host_addr(self.host)
    }

    pub(crate) fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }
}

/// RFC 3966 section 3.
fn is_visual_separator(b: u8) -> bool {
    matches!(b, b'-' | b'.' | b'(' | b')')
}

/// `*( ";" pname [ "=" pvalue ] )`
fn params_fit(params: Params<'_>) -> bool {
    let Some(all) = params.0.strip_prefix(b";") else { return params.0.is_empty() };
    all.split(|&b| b == b';').all(|piece| {
        let (name, value) = match memchr::memchr(b'=', piece) {
            Some(at) => (&piece[..at], Some(&piece[at + 1..])),
            None => (piece, None),
        };
        !name.is_empty() && escaped_or(URI_PARAM, name) && value.is_none_or(|v| !v.is_empty() && escaped_or(URI_PARAM, v))
    })
}

/// `host [ ":" port ]` without white space. An IPv6 reference is checked for its characters only: RFC 5118 section 4.10 wants a third colon
/// tolerated.
pub(crate) fn split_host_port(bytes: &[u8]) -> Option<(&str, Option<u16>)> {
    let end = if bytes.first() == Some(&b'[') {
        let close = memchr::memchr(b']', bytes)?;
        let inner = &bytes[1..close];
        let fits = inner.contains(&b':') && inner.iter().all(|&b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'));
        fits.then_some(close + 1)?
    } else {
        let end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
        let fits = end > 0 && bytes[..end].iter().all(|&b| is(HOST, b));
        fits.then_some(end)?
    };
    let port = match bytes[end..].split_first() {
        None => None,
        Some((b':', port)) => Some(u16::try_from(decimal(port)?).ok()?),
        Some(_) => return None,
    };
    Some((ascii(&bytes[..end])?, port))
}

/// A host as an address, with the brackets of an IPv6 reference or without.
pub(crate) fn host_addr(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn the_parts_of_a_sip_uri() {
        let u = parse("sips:alice;day=tue:se%63ret@Example.COM:5071;transport=tcp;lr?subject=a%20b&to=x");
        assert_eq!((u.scheme, u.user, u.password), (Scheme::Sips, &b"alice;day=tue"[..], Some(&b"se%63ret"[..])));
        assert_eq!((u.host, u.port, u.headers), ("Example.COM", Some(5071), &b"subject=a%20b&to=x"[..]));
        assert_eq!((u.params.text("transport"), u.params.has("lr")), (Some("tcp"), true));
        assert_eq!(parse("SIP:example.com").user, b"");
        assert_eq!(parse("sip:who;par=u%40example.net@example.com").user, b"who;par=u%40example.net");
        assert_eq!(parse("sip:*21#@example.com").user, b"*21#");
        assert_eq!(parse("sip:h;lr;token=YWI==").params.text("token"), Some("YWI=="));
    }

    #[test]
    fn ipv6_references_need_their_brackets() {
        assert_eq!(parse("sip:[2001:db8::10:5070]").port, None);
        assert_eq!(parse("sip:[2001:db8::10]:5070").port, Some(5070));
        assert_eq!(parse("sip:[2001:db8::10]").host_addr(), "2001:db8::10".parse().ok());
        assert_eq!(parse("sip:u@[2001:db8:::192.0.2.1]").host_addr(), None);
        assert_eq!(Uri::parse(b"sip:2001:db8::10"), None);
    }

    #[test]
    fn tel_and_other_schemes_are_uris_too() {
        let tel = parse("tel:+1-201-555-0123;ext=7");
        assert_eq!((tel.scheme, tel.user, tel.params.text("ext")), (Scheme::Tel, &b"+1-201-555-0123"[..], Some("7")));
        assert_eq!(parse("soap.beep://192.0.2.103:3002").scheme, Scheme::Other);
        assert_eq!(parse("isbn:2983792873").scheme, Scheme::Other);
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_none() {
        for bad in [
            "",
            "sip:",
            "sip",
            ":a@b",
            "<sip:a@b>",
            "sip:@b",
            "sip:a@",
            "sip:a@b@c",
            "sip:a b@c",
            "sip:a@b;",
            "sip:a@b;;lr",
            "sip:a@b;lr=",
            "sip:a@b:",
            "sip:a@b:70000",
            "sip:a@b:x",
            "sip:a%2@b",
            "sip:a%zz@b",
            "sip:a@b?",
            "sip:a@[::1",
            "sip:a@[]",
            "sip:a@[g::1]",
            "sip:a@b; lr",
            " sip:a@b",
            "sip:\u{e4}@b",
            "tel:",
            "tel:+",
            "tel:12x",
            "9x:y",
            "x:",
            "x:a b",
            "sip:a@b?x=y z",
            "sip:a\0b@c",
        ] {
            assert_eq!(Uri::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
