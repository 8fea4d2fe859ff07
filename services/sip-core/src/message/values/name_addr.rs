//! name-addr and addr-spec values: RFC 3261 section 20.10.

use super::Params;
use super::params::before_params;
use crate::message::grammar::{decimal, quoted_len, trim, trim_start};
use crate::uri::Uri;

/// name-addr or addr-spec with parameters: From, To, Route, Record-Route, Refer-To.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// As spelled, quotes included; empty when absent.
    pub display: &'a [u8],
    pub uri: Uri<'a>,
    /// Header parameters (after `>`, or after the first `;` of a bare addr-spec).
    pub params: Params<'a>,
    pub raw: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// White space before `<` may be missing and an unquoted display name may hold more than tokens, as phones send it, but nothing that
    /// makes it ambiguous (RFC 4475 section 3.1.2.15).
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let raw = trim(value);
        let (display, uri, params) = Self::split(raw)?;
        Some(Self { display, uri: Uri::parse(uri)?, params, raw })
    }

    /// Tag of a value whose URI was checked before, or does not matter: reading the URI is most of what [`Self::parse`] costs.
    #[must_use]
    pub fn tag_of(value: &'a [u8]) -> Option<&'a str> {
        Self::split(trim(value))?.2.text("tag")
    }

    /// Display name, URI and parameters of a trimmed value.
    fn split(raw: &'a [u8]) -> Option<(&'a [u8], &'a [u8], Params<'a>)> {
        let open = match raw.first()? {
            b'"' => {
                let quoted = quoted_len(raw)?;
                quoted + raw.len() - quoted - trim_start(&raw[quoted..]).len()
            }
            _ => match memchr::memchr3(b'<', b';', b'"', raw) {
                Some(at) if raw[at] == b'<' => at,
                _ => {
                    let (uri, params) = before_params(raw);
                    return Some((b"", uri, params));
                }
            },
        };
        let display = trim(&raw[..open]);
        let (b'<', inner) = raw[open..].split_first()? else { return None };
        let close = memchr::memchr(b'>', inner)?;
        let params = Params(&inner[close + 1..]);
        if trim_start(params.0).first().is_some_and(|&b| b != b';') || !display_well_formed(display) {
            return None;
        }
        Some((display, &inner[..close], params))
    }

    pub fn tag(&self) -> Option<&'a str> {
        self.params.text("tag")
    }

    /// An addr-spec without `<>`: its parameters are the header's, and it must not have URI headers (RFC 3261 section 20.10).
    #[must_use]
    pub fn is_bare(&self) -> bool {
        std::ptr::eq(self.uri.raw.as_ptr(), self.raw.as_ptr())
    }
}

fn display_well_formed(display: &[u8]) -> bool {
    display.first() == Some(&b'"')
        || display
            .iter()
            .all(|&b| !matches!(b, b'"' | b'>' | b',' | b';' | b':' | b'\\' | 0x7f) && (b >= b' ' || crate::message::grammar::is_lws(b)))
}

/// One value of Contact (RFC 3261 section 20.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact<'a> {
    Star,
    Addr(NameAddr<'a>),
}

impl<'a> Contact<'a> {
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        match trim(value) {
            b"*" => Some(Self::Star),
            value => NameAddr::parse(value).map(Self::Addr),
        }
    }
    /// None for `*`.
    #[must_use]
    pub fn addr(&self) -> Option<&NameAddr<'a>> {
        match self {
            Self::Star => None,
            Self::Addr(addr) => Some(addr),
        }
    }
    /// `q` in thousandths; None: absent. Some(None): malformed.
    pub fn q(&self) -> Option<Option<u16>> {
        self.addr()?.params.value("q").map(qvalue)
    }
    /// Seconds. None: absent. Some(None): no number in 32 bits.
    pub fn expires(&self) -> Option<Option<u32>> {
        self.addr()?.params.value("expires").map(decimal)
    }
}

/// `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`
fn qvalue(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole @ (b'0' | b'1')] => (whole, &b""[..]),
        [whole @ (b'0' | b'1'), b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut thousandths = u16::from(whole - b'0') * 1000;
    for (digit, weight) in fraction.iter().zip([100, 10, 1]) {
        thousandths += digit.is_ascii_digit().then(|| u16::from(digit - b'0') * weight)?;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> NameAddr<'_> {
        NameAddr::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn display_names_are_quoted_or_words_and_need_no_space() {
        let quoted = parse("\"Q \\\" <sip:x@y>\"\r\n <sip:a@b;lr>;tag=1");
        assert_eq!((quoted.display, quoted.uri.user, quoted.tag()), (&b"\"Q \\\" <sip:x@y>\""[..], &b"a"[..], Some("1")));
        assert_eq!(parse("one two<sip:a@b>").display, b"one two");
        assert_eq!(parse("<sip:a@b>").display, b"");
        assert_eq!(parse("J\u{fc}rgen (desk) <sip:a@b>").uri.host, "b");
    }

    #[test]
    fn parameters_of_a_bare_address_are_the_headers() {
        let bare = parse("sip:a@b;user=phone ; tag = x");
        assert!(bare.is_bare() && bare.uri.params.0.is_empty());
        assert_eq!((bare.tag(), bare.params.text("user")), (Some("x"), Some("phone")));
        let bracketed = parse("<sip:a@b;user=phone>;tag=x");
        assert!(!bracketed.is_bare());
        assert_eq!(bracketed.uri.params.text("user"), Some("phone"));
        assert_eq!(bracketed.params.text("user"), None);
    }

    #[test]
    fn the_tag_is_found_without_reading_the_uri() {
        for (value, tag) in [("\"a;tag=0\" <sip:a@b;tag=2>;x;tag=1 ", Some("1")), ("sip:a@b;tag=x", Some("x")), ("<sip:a@b;tag=2>", None)] {
            assert_eq!((NameAddr::tag_of(value.as_bytes()), parse(value).tag()), (tag, tag), "{value}");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_is_none() {
        for bad in [
            "\"open <sip:a@b>",
            "Bell, Alexander <sip:a@b>",
            "<sip:a@b",
            "< sip:a@b >",
            "<sip:a@b> x",
            "",
            "\"only a name\"",
            "*",
            "a\"b\" <sip:a@b>",
            "<<sip:a@b>>",
        ] {
            assert_eq!(NameAddr::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn contact_has_star_q_and_expires() {
        assert_eq!(Contact::parse(b" * "), Some(Contact::Star));
        let c = |text: &'static str| Contact::parse(text.as_bytes()).unwrap();
        assert_eq!(c("<sip:a@b>;q=0.33;expires=60").q(), Some(Some(330)));
        assert_eq!(c("<sip:a@b>;Q=1.000").q(), Some(Some(1000)));
        assert_eq!(c("<sip:a@b>;q=0.").q(), Some(Some(0)));
        for bad in ["1.1", "2", "0.1234", "", ".5", "0.x", "-1"] {
            assert_eq!(qvalue(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(c("<sip:a@b>;expires=280297596632815").expires(), Some(None));
        assert_eq!(c("<sip:a@b>").expires(), None);
    }
}
