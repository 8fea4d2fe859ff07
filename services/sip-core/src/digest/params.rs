//! `name=value, name="value"` lists of challenges and credentials (RFC 7235 section 2.1, RFC 3261 section 25.1).

use std::borrow::Cow;

/// One parameter's value. `raw` is what stands between the quotes, escapes as received: that is what both sides hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a> {
    pub(super) raw: &'a str,
    quoted: bool,
}

impl<'a> Value<'a> {
    /// What the value means: the backslashes of a quoted string undone.
    pub(super) fn meaning(self) -> Cow<'a, str> {
        if !self.quoted || !self.raw.contains('\\') {
            return Cow::Borrowed(self.raw);
        }
        let mut out = String::with_capacity(self.raw.len());
        let mut chars = self.raw.chars();
        while let Some(c) = chars.next() {
            out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
        }
        Cow::Owned(out)
    }
}

/// A quoted string that means `text`; control characters, which no quoted string may hold, become spaces.
pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if c == '"' || c == '\\' {
            out.push('\\');
        }
        out.push(if c.is_ascii_control() { ' ' } else { c });
    }
    out.push('"');
}

/// The parameters after the scheme `Digest`. None: another scheme, or not UTF-8.
pub(super) fn after_scheme(value: &[u8]) -> Option<Params<'_>> {
    let text = std::str::from_utf8(value).ok()?.trim_matches(SPACE);
    let (scheme, rest) = text.split_at_checked("Digest".len())?;
    (scheme.eq_ignore_ascii_case("Digest") && (rest.is_empty() || rest.starts_with(SPACE))).then_some(Params { rest, failed: false })
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Yields `Err` once at the first piece that is no parameter. Empty list elements are skipped (RFC 7230 section 7).
#[derive(Clone, Debug)]
pub(super) struct Params<'a> {
    rest: &'a str,
    failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'a> Params<'a> {
    fn one(&mut self) -> Option<(&'a str, Value<'a>)> {
        let (name, rest) = self.rest.split_once('=')?;
        let name = name.trim_end_matches(SPACE);
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        let rest = rest.trim_start_matches(SPACE);
        let (value, rest) = match rest.strip_prefix('"') {
            Some(inside) => {
                let end = closing_quote(inside)?;
                (Value { raw: &inside[..end], quoted: true }, &inside[end + 1..])
            }
            None => {
                let end = rest.bytes().position(|b| b == b',' || b.is_ascii_whitespace()).unwrap_or(rest.len());
                let (raw, rest) = rest.split_at(end);
                if raw.contains('"') {
                    return None;
                }
                (Value { raw, quoted: false }, rest)
            }
        };
        // A fold inside a value would be repeated by whoever echoes it.
        if value.raw.bytes().any(|b| b.is_ascii_control()) {
            return None;
        }
        let rest = rest.trim_start_matches(SPACE);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
        self.rest = rest;
        Some((name, value))
    }
}

impl<'a> Iterator for Params<'a> {
    type Item = Result<(&'a str, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        if self.failed || self.rest.is_empty() {
            return None;
        }
        let one = self.one().ok_or(Malformed);
        self.failed = one.is_err();
        Some(one)
    }
}

fn closing_quote(inside: &str) -> Option<usize> {
    let mut escaped = false;
    inside.bytes().position(|b| {
        let end = b == b'"' && !escaped;
        escaped = b == b'\\' && !escaped;
        end
    })
}

/// RFC 3261 section 25.1, with the `*` of `username*`.
fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &str) -> Vec<Result<(&str, &str), Malformed>> {
        after_scheme(text.as_bytes()).expect("is a digest").map(|p| p.map(|(n, v)| (n, v.raw))).collect()
    }

    #[test]
    fn lists_are_read_with_all_their_liberties() {
        assert_eq!(
            all("Digest a=b, c=\"d, e\" ,,f = \"\\\"g\\\\\",\r\n h="),
            [Ok(("a", "b")), Ok(("c", "d, e")), Ok(("f", "\\\"g\\\\")), Ok(("h", ""))]
        );
        assert_eq!(all("digest\ta=b"), [Ok(("a", "b"))]);
        assert_eq!(all("Digest "), []);
        assert_eq!(all("Digest"), []);
    }

    #[test]
    fn what_is_no_parameter_ends_the_list() {
        for bad in ["a", "=b", "a=\"b", "a=\"b\"c", "a b=c", "a=b\"c\"", "a=\"b\\\"", "a=\"b\r\n c\""] {
            assert_eq!(all(&format!("Digest x=y, {bad}, z=1")), [Ok(("x", "y")), Err(Malformed)], "{bad}");
        }
    }

    #[test]
    fn other_schemes_are_not_digest() {
        for other in ["Basic QWxhZGRpbg==", "Digestive a=b", "", "\u{e4}igest a=b"] {
            assert!(after_scheme(other.as_bytes()).is_none(), "{other}");
        }
        assert!(after_scheme(b"Digest a=\"\xff\"").is_none());
    }

    proptest! {
        #[test]
        fn a_quoted_text_means_itself(text in "[^\\x00-\\x1f\\x7f]{0,30}") {
            let mut list = String::from("Digest a=");
            quote(&text, &mut list);
            let values: Vec<_> = after_scheme(list.as_bytes()).unwrap().collect();
            prop_assert_eq!(values.len(), 1);
            prop_assert_eq!(&*values[0].unwrap().1.meaning(), &*text);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "Digest [a-c=\", \\\\\\PC]{0,60}") {
            let _ = after_scheme(&bytes).map(Iterator::count);
            if let Some(params) = after_scheme(text.as_bytes()) {
                params.flatten().for_each(|(_, value)| {
                    let _ = value.meaning();
                });
            }
        }
    }
}
