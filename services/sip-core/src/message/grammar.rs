//! Character classes and scanning of RFC 3261 section 25.1. Linear white space here is SP, HTAB and the line breaks of a fold.

/// The classes a byte is in, one bit each.
pub(crate) const TOKEN: u8 = 1;
pub(crate) const UNRESERVED: u8 = 2;
/// user-unreserved too; `#` is none, but phones dial it unescaped (`sip:*21#@...`).
pub(crate) const USER: u8 = 4;
pub(crate) const PASSWORD: u8 = 8;
/// param-unreserved too; `=` is none, but values in base 64 end with it.
pub(crate) const URI_PARAM: u8 = 16;
/// hnv-unreserved too; `@` and `;` should be escaped in a header, but Replaces in a Refer-To comes with them.
pub(crate) const URI_HEADER: u8 = 32;
/// hostname; `_` is none, but names with it are in use.
pub(crate) const HOST: u8 = 64;

/// Received bytes are scanned by one look-up each.
static CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        let mut class = 0;
        if c.is_ascii_alphanumeric() {
            class = TOKEN | UNRESERVED | USER | PASSWORD | URI_PARAM | URI_HEADER | HOST;
        }
        if matches!(c, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~') {
            class |= TOKEN;
        }
        if matches!(c, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')') {
            class |= UNRESERVED | USER | PASSWORD | URI_PARAM | URI_HEADER;
        }
        if matches!(c, b'&' | b'=' | b'+' | b'$' | b',') {
            class |= USER | PASSWORD;
        }
        if matches!(c, b';' | b'?' | b'/' | b'#') {
            class |= USER;
        }
        if matches!(c, b'[' | b']' | b'/' | b':' | b'&' | b'+' | b'$' | b'=') {
            class |= URI_PARAM;
        }
        if matches!(c, b'[' | b']' | b'/' | b'?' | b':' | b'+' | b'$' | b'=' | b'&' | b'@' | b';') {
            class |= URI_HEADER;
        }
        if matches!(c, b'-' | b'.' | b'_') {
            class |= HOST;
        }
        table[b] = class;
        b += 1;
    }
    table
};

/// Whether the byte is in one of the classes.
pub(crate) fn is(class: u8, b: u8) -> bool {
    CLASSES[b as usize] & class != 0
}

/// Whether all bytes are of the class or part of a `%` escape.
pub(crate) fn escaped_or(class: u8, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        match rest {
            [] => return true,
            [first, more @ ..] if is(class, *first) => rest = more,
            [b'%', high, low, more @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest = more,
            _ => return false,
        }
    }
}

pub(crate) fn is_token_byte(b: u8) -> bool {
    is(TOKEN, b)
}

pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token_byte(b))
}

pub(crate) fn is_lws(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

pub(crate) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_lws(*first)
    {
        bytes = rest;
    }
    bytes
}

pub(crate) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_lws(*last)
    {
        bytes = rest;
    }
    bytes
}

pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// As text when all of it is ASCII: nothing that may be compared or looked up is anything else.
pub(crate) fn ascii(bytes: &[u8]) -> Option<&str> {
    bytes.is_ascii().then(|| std::str::from_utf8(bytes).ok()).flatten()
}

/// `1*DIGIT` that fits 32 bits; leading zeros count for nothing.
pub(crate) fn decimal(bytes: &[u8]) -> Option<u32> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u32, |n, &b| {
        let digit = b.is_ascii_digit().then(|| u32::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}

/// Length of the quoted string at the start of `bytes`, both quotes included. None: it does not end.
pub(crate) fn quoted_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Offset of the first `wanted` outside quoted strings. An unterminated string reaches to the end.
pub(crate) fn find_unquoted(bytes: &[u8], wanted: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr2(wanted, b'"', bytes.get(at..)?)?;
        if bytes[at] == wanted {
            return Some(at);
        }
        at += quoted_len(&bytes[at..])?;
    }
}

/// Where `part`, a piece of `whole`, starts in it.
pub(crate) fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize).min(whole.len())
}

/// The values of one comma-separated field: commas in quoted strings and in `<>` do not separate. Empty elements are values too, so that
/// whoever reads them notices.
#[derive(Clone, Debug)]
pub(crate) struct Elements<'a> {
    rest: Option<&'a [u8]>,
    list: bool,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(field: &'a [u8]) -> Self {
        Self { rest: Some(field), list: true }
    }

    /// A field whose commas belong to its value.
    pub(crate) fn one(field: &'a [u8]) -> Self {
        Self { rest: Some(field), list: false }
    }
}

/// Offset of the comma that ends the first element.
fn element_end(field: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr::memchr3(b',', b'"', b'<', field.get(at..)?)?;
        match field[at] {
            b',' => return Some(at),
            b'"' => at += quoted_len(&field[at..])?,
            _ => at += memchr::memchr(b'>', &field[at..])?,
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let field = self.rest?;
        let element = match self.list.then(|| element_end(field)).flatten() {
            Some(comma) => {
                self.rest = Some(&field[comma + 1..]);
                &field[..comma]
            }
            None => {
                self.rest = None;
                field
            }
        };
        Some(trim(element))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_separate() {
        let field = br#""a, \"b" <sip:x,y@h>;q=1 , <sip:z@h>,, "open, <"#;
        let all: Vec<_> = Elements::new(field).collect();
        assert_eq!(all, [&br#""a, \"b" <sip:x,y@h>;q=1"#[..], b"<sip:z@h>", b"", br#""open, <"#]);
    }

    #[test]
    fn decimals_that_do_not_fit_are_none() {
        assert_eq!(decimal(b"0009"), Some(9));
        assert_eq!(decimal(b"4294967295"), Some(u32::MAX));
        for bad in [&b"4294967296"[..], b"", b"-1", b"1 ", b"36893488147419103232"] {
            assert_eq!(decimal(bad), None);
        }
    }

    #[test]
    fn a_quoted_string_ends_at_its_own_quote() {
        assert_eq!(quoted_len(br#""a\"b"c"#), Some(6));
        assert_eq!(quoted_len(br#""a\"#), None);
        assert_eq!(quoted_len(br#"""#), None);
        assert_eq!(find_unquoted(br#"a=";";b"#, b';'), Some(5));
    }
}
