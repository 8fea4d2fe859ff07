//! What a proxy checks before it forwards a request (RFC 3261 section 16.3).

use crate::message::{Header, Message, Reject};

/// Written where the request has none (RFC 3261 section 16.6 step 3).
const DEFAULT_MAX_FORWARDS: u8 = 70;

/// The Max-Forwards value to write into the forwarded request.
/// # Errors
/// 483 when it has arrived with 0, 400 when it is not a number from 0 to 255.
pub fn max_forwards(request: Message<'_>) -> Result<u8, Reject> {
    match request.max_forwards() {
        None => Ok(DEFAULT_MAX_FORWARDS),
        Some(Some(0)) => Err(Reject { code: 483, reason: "Too Many Hops" }),
        Some(Some(hops)) => Ok(hops - 1),
        Some(None) => Err(Reject { code: 400, reason: "Invalid Max-Forwards" }),
    }
}

/// The option tags of `header` (Require for what we answer ourselves, Proxy-Require for what we forward) that are not among `supported`: they go
/// into Unsupported of a 420. Empty: go on. Not to be asked for ACK and CANCEL (section 8.2.2.3).
#[must_use]
pub fn unsupported<'a>(request: Message<'a>, header: Header, supported: &[&str]) -> Vec<&'a str> {
    request.tokens(header).filter(|tag| !supported.iter().any(|s| s.eq_ignore_ascii_case(tag))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageBuf;

    fn options(headers: &str) -> MessageBuf {
        MessageBuf::parse(format!("OPTIONS sip:example.com SIP/2.0\r\n{headers}\r\n").into_bytes()).unwrap()
    }

    #[test]
    fn max_forwards_counts_down_and_ends_at_zero() {
        for (headers, expected) in [
            ("", Ok(70)),
            ("Max-Forwards: 70\r\n", Ok(69)),
            ("Max-Forwards: 1\r\n", Ok(0)),
            ("Max-Forwards: 255\r\n", Ok(254)),
            ("Max-Forwards: 0\r\n", Err(483)),
            ("Max-Forwards: 256\r\n", Err(400)),
            ("Max-Forwards: -1\r\n", Err(400)),
            ("Max-Forwards: many\r\n", Err(400)),
        ] {
            assert_eq!(max_forwards(options(headers).view()).map_err(|e| e.code), expected, "{headers}");
        }
    }

    #[test]
    fn unsupported_names_every_unknown_option_as_it_was_given() {
        let request = options("Require: PATH, 100rel\r\nProxy-Require: privacy\r\nRequire: x-Foo\r\n");
        assert_eq!(unsupported(request.view(), Header::Require, &["path"]), ["100rel", "x-Foo"]);
        assert_eq!(unsupported(request.view(), Header::ProxyRequire, &[]), ["privacy"]);
        assert!(unsupported(request.view(), Header::Require, &["path", "100rel", "x-foo"]).is_empty());
        assert!(unsupported(options("").view(), Header::Require, &[]).is_empty());
    }
}
