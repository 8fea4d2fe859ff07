//! `;name=value` lists of headers and URIs.

use crate::message::grammar::{ascii, find_unquoted, is_lws, is_token, quoted_len, trim, trim_start};

/// `;name=value` parameters, as received. Names compare case-insensitively; quoted values are returned without their quotes, backslashes
/// left in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Params<'a>(pub &'a [u8]);

impl<'a> Params<'a> {
    /// None: absent. `Some(b"")`: present without a value.
    pub fn value(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value.unwrap_or_default())
    }
    /// A value that is ASCII and not empty.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.value(name).filter(|value| !value.is_empty()).and_then(ascii)
    }
    /// Present, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }
    /// Each parameter in order; empty ones (`;;`) are skipped.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        self.pieces().filter(|piece| !piece.is_empty()).map(|piece| {
            let (name, value) = split(piece);
            (name, value.map(unquoted))
        })
    }
    /// What stands between the semicolons, trimmed: parameters as spelled, empty ones included.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = trim_start(self.0).strip_prefix(b";");
        std::iter::from_fn(move || {
            let all = rest?;
            let end = find_unquoted(all, b';');
            rest = end.map(|at| &all[at + 1..]);
            Some(trim(&all[..end.unwrap_or(all.len())]))
        })
    }
    /// `*( SEMI generic-param )` of RFC 3261 section 25.1, with any visible characters in an unquoted value: an IPv6 address without brackets
    /// (RFC 5118 section 4.5) and others occur.
    pub(crate) fn well_formed(&self) -> bool {
        let raw = trim_start(self.0);
        (raw.is_empty() || raw[0] == b';')
            && self.pieces().all(|piece| {
                let (name, value) = split(piece);
                is_token(name) && value.is_none_or(value_well_formed)
            })
    }
}

fn value_well_formed(value: &[u8]) -> bool {
    match value.first() {
        Some(b'"') => quoted_len(value) == Some(value.len()),
        Some(_) => value.iter().all(|&b| b > b' ' && b != 0x7f && !matches!(b, b'"' | b'<' | b'>' | b',' | b';')),
        None => false,
    }
}

fn split(piece: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'=', piece) {
        Some(at) => (trim(&piece[..at]), Some(trim(&piece[at + 1..]))),
        None => (piece, None),
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    if value.len() >= 2 && quoted_len(value) == Some(value.len()) && value[0] == b'"' { &value[1..value.len() - 1] } else { value }
}

/// Splits `value` at its first semicolon outside quotes: what stands before it (trimmed) and the parameters.
pub(crate) fn before_params(value: &[u8]) -> (&[u8], Params<'_>) {
    let at = find_unquoted(value, b';').unwrap_or(value.len());
    let head = &value[..at];
    let end = head.iter().rposition(|&b| !is_lws(b)).map_or(0, |n| n + 1);
    (&head[..end], Params(&value[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name_whatever_surrounds_them() {
        let p = Params(b" ; newparam =\r\n newvalue ;\r\n second ; Q = 0.33;x=\"a;b\\\"\"");
        assert_eq!(p.value("NEWPARAM"), Some(&b"newvalue"[..]));
        assert_eq!(p.value("second"), Some(&b""[..]));
        assert_eq!(p.text("q"), Some("0.33"));
        assert_eq!(p.value("x"), Some(&b"a;b\\\""[..]));
        assert_eq!(p.value("b"), None);
        assert!(p.well_formed());
    }

    #[test]
    fn stray_semicolons_and_open_quotes_are_not_well_formed() {
        for bad in [&b";;"[..], b";a;;b", b";a;", b";a=", b";a=\"b", b";a=b c", b"a", b";a=<b>", b";=b", b";a b"] {
            assert!(!Params(bad).well_formed(), "{}", bad.escape_ascii());
        }
        for good in [&b""[..], b";a", b";received=2001:db8::9:255", b";received=[2001:db8::9]", b" ; a = \"\" "] {
            assert!(Params(good).well_formed(), "{}", good.escape_ascii());
        }
    }
}
