//! message/sipfrag bodies (RFC 3420) as REFER's NOTIFY carries them (RFC 3515 section 2.4.5).

use crate::message::grammar::decimal;

/// Status code of the fragment's status line. None: the fragment starts with anything else.
pub fn status(body: &[u8]) -> Option<u16> {
    let line = body.split(|&b| matches!(b, b'\r' | b'\n')).find(|line| !line.is_empty())?;
    let (version, rest) = line.split_at_checked(7)?;
    let rest = rest.strip_prefix(b" ")?;
    let (code, rest) = rest.split_at_checked(3)?;
    let ends = rest.first().is_none_or(|&b| b == b' ');
    let code = decimal(code).filter(|code| (100..700).contains(code))?;
    (version.eq_ignore_ascii_case(b"SIP/2.0") && ends).then_some(code as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_is_read_with_or_without_the_rest() {
        assert_eq!(status(b"SIP/2.0 100 Trying"), Some(100));
        assert_eq!(status(b"SIP/2.0 200 OK\r\nContact: <sip:a@b>\r\n"), Some(200));
        assert_eq!(status(b"sip/2.0 603\r\n"), Some(603));
        assert_eq!(status(b"\r\nSIP/2.0 486 Busy Here\n"), Some(486));
    }

    #[test]
    fn anything_else_is_none() {
        for bad in
            [&b""[..], b"INVITE sip:a@b SIP/2.0", b"SIP/2.0 99 x", b"SIP/2.0 4294967296 x", b"SIP/2.0  200", b"SIP/2.0 700", b"SIP/1.0 200"]
        {
            assert_eq!(status(bad), None, "{}", bad.escape_ascii());
        }
    }
}
