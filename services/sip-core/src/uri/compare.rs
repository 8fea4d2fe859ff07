//! Canonical forms and equivalence: RFC 3261 sections 10.3 and 19.1.4, RFC 3966 section 4.

use std::fmt::Write as _;

use super::{Scheme, Uri, host_addr, is_visual_separator};
use crate::message::grammar::{UNRESERVED, is};

/// A parameter of these that only one side has makes two URIs different.
const ALWAYS_COMPARED: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

impl Uri<'_> {
    /// Canonical `user@host` (RFC 3261 section 10.3 step 5): user with needless escapes undone, host lower case, no port, no parameters.
    /// `%00` stays `%00`. None for other schemes and for a URI without user.
    pub fn aor(&self) -> Option<String> {
        if !self.is_sip() || self.user.is_empty() {
            return None;
        }
        let mut aor = String::with_capacity(self.user.len() + 1 + self.host.len());
        push_canonical(&mut aor, self.user, false);
        aor.push('@');
        push_host(&mut aor, self.host);
        Some(aor)
    }

    /// RFC 3261 section 19.1.4. Not transitive: a parameter that one side lacks is ignored.
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        if self.comparison_key() != other.comparison_key() {
            return false;
        }
        // Both sorted, so that thousands of parameters cost no more than their bytes.
        let (ours, theirs) = (self.params_by_name(), other.params_by_name());
        let mut theirs = theirs.iter().peekable();
        ours.iter().all(|(name, value)| {
            while theirs.next_if(|(n, _)| n < name).is_some() {}
            theirs.next_if(|(n, _)| n == name).is_none_or(|(_, v)| v == value)
        })
    }

    /// The first of each name counts, as it does in [`crate::message::Params::value`].
    fn params_by_name(&self) -> Vec<(String, Option<String>)> {
        let mut params: Vec<_> = self.params.iter().map(|(name, value)| (folded(name), value.map(folded))).collect();
        params.sort_by(|(a, _), (b, _)| a.cmp(b));
        params.dedup_by(|(later, _), (first, _)| later == first);
        params
    }

    /// A string that is equal for equivalent URIs (parameters that only one side has, other than user, ttl, method, maddr and transport, are left out).
    pub fn comparison_key(&self) -> String {
        let mut key = String::with_capacity(self.raw.len() + 8);
        match self.scheme {
            Scheme::Sip => key.push_str("sip:"),
            Scheme::Sips => key.push_str("sips:"),
            Scheme::Tel => {
                key.push_str("tel:");
                key.extend(self.user.iter().filter(|&&b| !is_visual_separator(b)).map(|b| char::from(b.to_ascii_lowercase())));
                // RFC 3966 section 4: all parameters count, in any order.
                let mut params: Vec<_> = self.params.iter().map(|(n, v)| (folded(n), v.map(folded))).collect();
                params.sort();
                for (name, value) in params {
                    // Writing to a String cannot fail.
                    let _ = write!(key, ";{name}={}", value.unwrap_or_default());
                }
                return key;
            }
            Scheme::Other => {
                let colon = memchr::memchr(b':', self.raw).unwrap_or(0);
                key.extend(self.raw[..colon].iter().map(|b| char::from(b.to_ascii_lowercase())));
                key.extend(self.raw[colon..].iter().map(|&b| char::from(b)));
                return key;
            }
        }
        if !self.user.is_empty() {
            push_canonical(&mut key, self.user, false);
            if let Some(password) = self.password {
                key.push(':');
                push_canonical(&mut key, password, false);
            }
            key.push('@');
        }
        push_host(&mut key, self.host);
        if let Some(port) = self.port {
            let _ = write!(key, ":{port}");
        }
        for name in ALWAYS_COMPARED {
            if let Some(value) = self.params.value(name) {
                let _ = write!(key, ";{name}={}", folded(value));
            }
        }
        if !self.headers.is_empty() {
            let mut headers: Vec<_> = self
                .headers
                .split(|&b| b == b'&')
                .map(|header| {
                    let at = memchr::memchr(b'=', header).unwrap_or(header.len());
                    let mut text = folded(&header[..at]);
                    push_canonical(&mut text, &header[at..], false);
                    text
                })
                .collect();
            headers.sort();
            for (n, header) in headers.iter().enumerate() {
                key.push(if n == 0 { '?' } else { '&' });
                key.push_str(header);
            }
        }
        key
    }
}

/// Canonical and lower case: everything but the userinfo compares case-insensitively.
fn folded(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    push_canonical(&mut text, bytes, true);
    text
}

/// Escapes of unreserved characters are undone, all others get upper-case digits; what is neither reserved nor unreserved is escaped.
fn push_canonical(out: &mut String, bytes: &[u8], lower: bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut rest = bytes;
    while let [first, more @ ..] = rest {
        let (byte, escaped, after) = match rest {
            [b'%', high, low, after @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, true, after),
                _ => (b'%', false, more),
            },
            _ => (*first, false, more),
        };
        rest = after;
        let reserved = matches!(byte, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',' | b'[' | b']');
        if is(UNRESERVED, byte) || (reserved && !escaped) {
            out.push(char::from(if lower { byte.to_ascii_lowercase() } else { byte }));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

fn hex(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).map(|d| d as u8)
}

/// Lower case; an address in its one canonical spelling (RFC 5952).
fn push_host(out: &mut String, host: &str) {
    // Writing to a String cannot fail.
    let _ = match host_addr(host) {
        Some(std::net::IpAddr::V6(v6)) => write!(out, "[{v6}]"),
        _ => {
            out.extend(host.chars().map(|c| c.to_ascii_lowercase()));
            Ok(())
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::uri::Uri;

    fn parse(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
    }

    fn same(a: &str, b: &str) -> bool {
        let (a, b) = (parse(a), parse(b));
        assert_eq!(a.equivalent(&b), b.equivalent(&a), "symmetric");
        if a.equivalent(&b) {
            assert_eq!(a.comparison_key(), b.comparison_key());
        }
        a.equivalent(&b)
    }

    #[test]
    fn aor_is_user_and_lower_case_host_only() {
        assert_eq!(parse("sip:%41li%63e:pw@Example.COM:5070;transport=tcp?x=y").aor().as_deref(), Some("Alice@example.com"));
        assert_eq!(parse("sips:null-%00-x@h").aor().as_deref(), Some("null-%00-x@h"));
        assert_eq!(parse("sip:a%3b%40@h").aor().as_deref(), Some("a%3B%40@h"));
        assert_eq!(parse("sip:*21#@h").aor(), parse("sip:*21%23@h").aor());
        assert_eq!(parse("sip:u@[2001:DB8:0::1]").aor().as_deref(), Some("u@[2001:db8::1]"));
        assert_eq!(parse("sip:example.com").aor(), None);
        assert_eq!(parse("tel:+1").aor(), None);
    }

    #[test]
    fn uris_that_rfc_3261_calls_equivalent() {
        for (a, b) in [
            ("sip:%61nna@north.example;transport=TCP", "sip:anna@NORTH.example;Transport=tcp"),
            ("sip:carl@south.example", "sip:carl@south.example;newparam=5"),
            ("sip:carl@south.example;security=on", "sip:carl@south.example;newparam=5"),
            ("sip:c@h;b=2;a=1;c", "sip:c@h;A=1;x;c;b=2"),
            ("sip:c@h;a=1;a=2", "sip:c@h;a=1"),
            ("sip:b@h;transport=tcp;method=REGISTER?to=sip:x%40y", "sip:b@h;method=REGISTER;transport=tcp?to=sip:x%40y"),
            ("sip:b@h?subject=project%20x&priority=urgent", "sip:b@h?priority=urgent&subject=project%20x"),
            ("tel:+1-201-555-0123", "TEL:+1(201)555.0123"),
            ("ISBN:1", "isbn:1"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn uris_that_rfc_3261_calls_different() {
        for (a, b) in [
            ("sip:anna@h", "sip:Anna@h"),
            ("sip:anna@h", "sips:anna@h"),
            ("sip:b@h", "sip:b@h:5060"),
            ("sip:b@h", "sip:b@h;transport=udp"),
            ("sip:b@h", "sip:b@h:6000;transport=tcp"),
            ("sip:c@h", "sip:c@h?Subject=next%20meeting"),
            ("sip:c@h;security=on", "sip:c@h;security=off"),
            ("sip:c@h;a;b=1;z", "sip:c@h;b=2;y"),
            ("sip:c@h;maddr=192.0.2.1", "sip:c@h"),
            ("sip:c@h", "sip:c:pw@h"),
            ("sip:a;b@h", "sip:a%3Bb@h"),
            ("tel:+1;ext=1", "tel:+1"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
