//! What a client sends in Authorization or Proxy-Authorization (RFC 7616 section 3.4).

use std::borrow::Cow;

use super::Algorithm;
use super::params::{Value, after_scheme};
use crate::uri::{Scheme, Uri};

/// Credentials with qop=auth. All but `username` and `realm` are as received between the quotes, escapes kept, because that is what is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    pub username: Cow<'a, str>,
    pub realm: Cow<'a, str>,
    pub nonce: &'a str,
    pub uri: &'a str,
    pub algorithm: Algorithm,
    /// `auth` in the sender's spelling.
    pub qop: &'a str,
    pub cnonce: &'a str,
    /// Eight hexadecimal digits.
    pub nc: &'a str,
    /// Hexadecimal digits, as many as the algorithm makes.
    pub response: &'a str,
}

/// Why a header value is not used. A request without usable credentials is challenged; only `Malformed` deserves a 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CredentialsError {
    #[error("another authentication scheme")]
    Scheme,
    #[error("not a list of parameters, or one of ours twice or with an impossible value")]
    Malformed,
    #[error("a parameter is missing")]
    Missing,
    #[error("an algorithm or qop that was not offered")]
    NotOffered,
}

/// Whose credentials these are, whatever else they say and whether or not they are right: for who is not the one to judge them. None: not digest, or
/// the name is hidden or not to be read.
#[must_use]
pub fn username_of(value: &[u8]) -> Option<Cow<'_, str>> {
    let mut named = after_scheme(value)?.filter_map(Result::ok).filter(|(name, _)| name.eq_ignore_ascii_case("username"));
    named.next().map(|(_, value)| value.meaning()).filter(|_| named.next().is_none())
}

impl<'a> Credentials<'a> {
    /// Reads one header field's value. Unknown parameters are ignored.
    /// # Errors
    /// See [`CredentialsError`].
    pub fn parse(value: &'a [u8]) -> Result<Self, CredentialsError> {
        use CredentialsError::{Malformed, Missing, NotOffered, Scheme};

        const NAMES: [&str; 11] =
            ["username", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "qop", "nc", "username*", "userhash"];
        let mut found: [Option<Value<'a>>; NAMES.len()] = [None; NAMES.len()];
        for param in after_scheme(value).ok_or(Scheme)? {
            let (name, value) = param.map_err(|_| Malformed)?;
            if let Some(at) = NAMES.iter().position(|n| n.eq_ignore_ascii_case(name))
                && found[at].replace(value).is_some()
            {
                return Err(Malformed);
            }
        }
        let [username, realm, nonce, uri, response, algorithm, cnonce, qop, nc, extended, userhash] = found;
        if userhash.is_some_and(|v| v.raw.eq_ignore_ascii_case("true")) {
            return Err(NotOffered);
        }
        let username = match (username, extended) {
            (Some(plain), None) => plain.meaning(),
            (None, Some(extended)) => Cow::Owned(extended_value(extended.raw).ok_or(Malformed)?),
            (None, None) => return Err(Missing),
            (Some(_), Some(_)) => return Err(Malformed),
        };
        let algorithm = match algorithm {
            Some(value) => Algorithm::from_token(value.raw.as_bytes()).ok_or(NotOffered)?,
            None => Algorithm::Md5,
        };
        let qop = qop.ok_or(Missing)?.raw;
        if !qop.eq_ignore_ascii_case("auth") {
            return Err(NotOffered);
        }
        let credentials = Self {
            username,
            realm: realm.ok_or(Missing)?.meaning(),
            nonce: nonce.ok_or(Missing)?.raw,
            uri: uri.ok_or(Missing)?.raw,
            algorithm,
            qop,
            cnonce: cnonce.ok_or(Missing)?.raw,
            nc: nc.ok_or(Missing)?.raw,
            response: response.ok_or(Missing)?.raw,
        };
        let digits = match algorithm {
            Algorithm::Md5 => 32,
            Algorithm::Sha256 => 64,
        };
        if is_hex(credentials.nc, 8) && is_hex(credentials.response, digits) { Ok(credentials) } else { Err(Malformed) }
    }

    /// Whether the credentials were made for this Request-URI, as far as a proxy can tell. Byte for byte, or else both SIP URIs with the same user
    /// and host: phones leave out ports and parameters, and proxies in between add them. User and host must hold, or credentials seen on one call
    /// would serve for a call to somebody else.
    #[must_use]
    pub fn is_for(&self, request_uri: &[u8]) -> bool {
        if self.uri.as_bytes() == request_uri {
            return true;
        }
        let sip = |uri: &Uri<'_>| matches!(uri.scheme, Scheme::Sip | Scheme::Sips);
        match (Uri::parse(self.uri.as_bytes()), Uri::parse(request_uri)) {
            (Some(ours), Some(theirs)) => {
                sip(&ours) && sip(&theirs) && ours.user == theirs.user && ours.host.eq_ignore_ascii_case(theirs.host)
            }
            _ => false,
        }
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `UTF-8''J%C3%A4s%C3%B8n` (RFC 8187 section 3.2); other character sets are refused as RFC 7616 section 3.4 asks.
fn extended_value(text: &str) -> Option<String> {
    let (charset, rest) = text.split_once('\'')?;
    let (_language, encoded) = rest.split_once('\'')?;
    if !charset.eq_ignore_ascii_case("UTF-8") {
        return None;
    }
    let mut out = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            out.push(u8::try_from(digit()? << 4 | digit()?).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const R: &str = "0123456789abcdef0123456789abcdef";

    fn parse(text: &str) -> Result<Credentials<'_>, CredentialsError> {
        Credentials::parse(text.as_bytes())
    }

    #[test]
    fn every_liberty_that_phones_take_is_read() {
        let text = format!(
            "DIGEST Username=\"al\\\"ice\",REALM=\"example.com\",nonce=\"a\\\"b\",uri=\"sip:example.com\",response=\"{R}\",\r\n \
             algorithm=\"md5\", cnonce=\"c,d\" , QOP=\"auth\", nc=0000000A, opaque=\"\", x-own=1"
        );
        let c = parse(&text).unwrap();
        assert_eq!(
            (&*c.username, &*c.realm, c.nonce, c.cnonce, c.nc, c.qop),
            ("al\"ice", "example.com", "a\\\"b", "c,d", "0000000A", "auth")
        );
        assert_eq!(c.algorithm, Algorithm::Md5);
    }

    #[test]
    fn an_extended_user_name_is_decoded() {
        let text = format!(
            "Digest username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, realm=r, nonce=n, uri=u, response={R}, cnonce=c, qop=auth, nc=00000001, userhash=false"
        );
        assert_eq!(parse(&text).unwrap().username, "Jäsøn Doe");
        for bad in ["UTF-8''%C3", "UTF-8''%zz", "UTF-8''%4", "iso-8859-1''J%E4", "plain"] {
            assert_eq!(parse(&text.replace("UTF-8''J%C3%A4s%C3%B8n%20Doe", bad)), Err(CredentialsError::Malformed), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_right_is_refused() {
        let good = format!(
            "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:h\", response=\"{R}\", cnonce=\"c\", qop=auth, nc=00000001"
        );
        assert!(parse(&good).is_ok());
        for (from, to, expected) in [
            ("Digest", "Basic", CredentialsError::Scheme),
            ("username=\"u\"", "username=\"u\", username=\"v\"", CredentialsError::Malformed),
            ("username=\"u\"", "username=\"u\", username*=UTF-8''u", CredentialsError::Malformed),
            ("username=\"u\"", "username=\"u\", userhash=true", CredentialsError::NotOffered),
            ("username=\"u\"", "x=\"u\"", CredentialsError::Missing),
            ("realm=\"r\"", "x=y", CredentialsError::Missing),
            ("qop=auth", "x=y", CredentialsError::Missing),
            ("cnonce=\"c\"", "x=y", CredentialsError::Missing),
            ("qop=auth", "qop=auth-int", CredentialsError::NotOffered),
            ("qop=auth", "qop=auth, algorithm=MD5-sess", CredentialsError::NotOffered),
            ("qop=auth", "qop=auth, algorithm=SHA-256", CredentialsError::Malformed),
            ("nc=00000001", "nc=1", CredentialsError::Malformed),
            ("nc=00000001", "nc=0000000g", CredentialsError::Malformed),
            ("\"sip:h\"", "\"sip:h", CredentialsError::Malformed),
            (R, "0123", CredentialsError::Malformed),
        ] {
            assert_eq!(parse(&good.replace(from, to)), Err(expected), "{from} -> {to}");
        }
    }

    #[test]
    fn a_name_is_read_from_credentials_that_we_would_not_accept() {
        let name = |value: &'static str| username_of(value.as_bytes());
        assert_eq!(name("Digest username=\"a\\\"b\", realm=\"r\", response=\"x\"").as_deref(), Some("a\"b"));
        for none in ["Basic username=\"a\"", "Digest realm=\"r\"", "Digest username=\"a\", username=\"b\"", ""] {
            assert_eq!(name(none), None, "{none}");
        }
    }

    #[test]
    fn credentials_hold_for_the_same_user_and_host() {
        let text = |uri: &str| format!("Digest username=u, realm=r, nonce=n, uri=\"{uri}\", response={R}, cnonce=c, qop=auth, nc=00000001");
        for (uri, request_uri, expected) in [
            ("sip:bob@example.com", "sip:bob@example.com", true),
            ("sip:bob@example.com", "sip:bob@Example.com:5060;transport=udp", true),
            ("sips:bob@example.com;x=1", "sip:bob@example.com", true),
            ("sip:example.com", "sip:example.com:5060", true),
            ("tel:+491", "tel:+491", true),
            ("sip:bob@example.com", "sip:carol@example.com", false),
            ("sip:bob@example.com", "sip:Bob@example.com", false),
            ("sip:bob@example.com", "sip:bob@example.org", false),
            ("sip:bob@example.com", "sip:example.com", false),
            ("tel:+491", "tel:+492", false),
            ("*", "sip:example.com", false),
            ("", "sip:example.com", false),
        ] {
            assert_eq!(parse(&text(uri)).unwrap().is_for(request_uri.as_bytes()), expected, "{uri} for {request_uri}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "Digest (username|nonce|nc|qop|uri|[a-z*]{1,3})=\\PC{0,60}") {
            let _ = Credentials::parse(&bytes);
            let _ = parse(&text);
        }
    }
}
