//! Where the parts of a message are.

use memchr::memchr_iter;

use super::grammar::{decimal, is_lws, is_token_byte, trim, trim_end};
use super::{Header, MAX_HEADERS, MAX_MESSAGE};

/// Scratch space that is reused from message to message. Offsets are into the received bytes and fit 16 bits because [`MAX_MESSAGE`] does.
#[derive(Clone, Debug, Default)]
pub struct Index {
    pub(super) start: Start,
    /// SIP/2.0, in any case.
    pub(super) version_known: bool,
    /// The start line is not `token SP token SP token`: readable enough to be answered, never to be forwarded.
    pub(super) start_irregular: bool,
    /// A line that is no header field, or a CR that ends no line.
    pub(super) malformed: bool,
    /// Start of the start line, after line breaks that RFC 3261 section 7.5 tells to skip.
    pub(super) begin: u16,
    pub(super) fields: Vec<Field>,
    /// Headers with a field, as bits: most that are asked for are not there.
    pub(super) present: u64,
    /// Headers with more than one.
    pub(super) repeated: u64,
    /// Start of the empty line.
    pub(super) fields_end: u16,
    pub(super) body: Span,
    pub(crate) length: Length,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u16,
    pub end: u16,
}

impl Span {
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start.into()..self.end.into()).unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    Request {
        method: Span,
        uri: Span,
    },
    /// Code 0: not three digits.
    Response {
        code: u16,
        reason: Span,
    },
}

impl Default for Start {
    fn default() -> Self {
        Self::Response { code: 0, reason: Span::default() }
    }
}

/// One header field with its folds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    /// Starts where the line starts. Empty for a line that is no header field.
    pub name: Span,
    /// Trimmed.
    pub value: Span,
    /// After the line break.
    pub line_end: u16,
    pub header: Header,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Length {
    #[default]
    Absent,
    Is(usize),
    /// Negative, no number, or two that differ.
    Malformed,
}

/// Not a SIP message at all: dropped and counted, or answered 400 where enough could be read to do so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("only line breaks: a keep-alive")]
    KeepAlive,
    #[error("larger than 64 kB or more than 256 header fields")]
    TooLarge,
    #[error("not a SIP start line")]
    StartLine,
    #[error("no empty line ends the header section")]
    NoEndOfHeaders,
    #[error("the first header line is a continuation of nothing")]
    HeaderLine,
}

impl Index {
    /// Indexes one datagram. Lenient where RFC 4475 asks for it: what is merely invalid is found by `validate`, so that it can be answered.
    /// # Errors
    /// See [`ParseError`].
    pub fn parse(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        let fields = std::mem::take(&mut self.fields);
        *self = Self { fields, ..Self::default() };
        self.fields.clear();
        if bytes.len() > MAX_MESSAGE {
            return Err(ParseError::TooLarge);
        }
        let begin = bytes.iter().position(|b| !matches!(b, b'\r' | b'\n')).ok_or(ParseError::KeepAlive)?;
        self.begin = begin as u16;

        let mut ends = memchr_iter(b'\n', &bytes[begin..]).map(|at| begin + at);
        let first = ends.next().ok_or(ParseError::StartLine)?;
        self.read_start(bytes, begin, without_cr(bytes, begin, first))?;
        let mut crlf = usize::from(without_cr(bytes, begin, first) < first);
        let mut line = first + 1;
        loop {
            let lf = ends.next().ok_or(ParseError::NoEndOfHeaders)?;
            let end = without_cr(bytes, line, lf);
            crlf += usize::from(end < lf);
            if end == line {
                self.fields_end = line as u16;
                line = lf + 1;
                break;
            }
            if matches!(bytes[line], b' ' | b'\t') {
                self.fold(bytes, line, end, lf + 1)?;
            } else if self.fields.len() == MAX_HEADERS {
                return Err(ParseError::TooLarge);
            } else {
                self.push(bytes, line, end, lf + 1);
            }
            line = lf + 1;
        }
        // Counting is far cheaper than looking for a CR in each line: any that ends no line is somewhere inside one.
        self.malformed |= memchr_iter(b'\r', &bytes[begin..line]).count() != crlf;
        self.read_length(bytes);
        let rest = bytes.len() - line;
        let body = if let Length::Is(length) = self.length { length.min(rest) } else { rest };
        self.body = Span { start: line as u16, end: (line + body) as u16 };
        Ok(())
    }

    fn read_start(&mut self, bytes: &[u8], begin: usize, end: usize) -> Result<(), ParseError> {
        let line = &bytes[begin..end];
        let span = |from: usize, to: usize| Span { start: (begin + from) as u16, end: (begin + to) as u16 };
        if starts_with_sip(line) {
            let version = line.iter().position(|&b| b == b' ').unwrap_or(line.len());
            self.version_known = line[..version].eq_ignore_ascii_case(b"SIP/2.0");
            let code_at = (version + 1).min(line.len());
            let code_end = line[code_at..].iter().position(|&b| b == b' ').map_or(line.len(), |n| code_at + n);
            let code = &line[code_at..code_end];
            let code = if code.len() == 3 { decimal(code).unwrap_or(0) as u16 } else { 0 };
            self.start = Start::Response { code, reason: span((code_end + 1).min(line.len()), line.len()) };
            return Ok(());
        }
        let method = line.iter().position(|&b| !is_token_byte(b)).unwrap_or(line.len());
        let trimmed = trim_end(line);
        let version = trimmed.iter().rposition(|&b| is_lws(b)).ok_or(ParseError::StartLine)? + 1;
        if method == 0 || version <= method || !is_lws(line[method]) || !starts_with_sip(&trimmed[version..]) {
            return Err(ParseError::StartLine);
        }
        self.version_known = trimmed[version..].eq_ignore_ascii_case(b"SIP/2.0");
        let uri = trim(&line[method..version]);
        if uri.is_empty() {
            return Err(ParseError::StartLine);
        }
        let at = method + line[method..version].iter().position(|&b| !is_lws(b)).unwrap_or(0);
        self.start_irregular = at != method + 1
            || at + uri.len() + 1 != version
            || trimmed.len() != line.len()
            || memchr::memchr3(b' ', b'\t', b'\r', uri).is_some()
            || line[method] != b' '
            || line[version - 1] != b' ';
        self.start = Start::Request { method: span(0, method), uri: span(at, at + uri.len()) };
        Ok(())
    }

    fn push(&mut self, bytes: &[u8], line: usize, end: usize, line_end: usize) {
        let text = &bytes[line..end];
        let name = text.iter().position(|&b| !is_token_byte(b)).unwrap_or(text.len());
        let colon = name + text[name..].iter().position(|b| !matches!(b, b' ' | b'\t')).unwrap_or(0);
        let (name, value_at, header) = if name > 0 && text.get(colon) == Some(&b':') {
            (name, line + colon + 1, Header::from_name(&text[..name]))
        } else {
            self.malformed = true;
            (0, line, Header::Other)
        };
        self.repeated |= self.present & header.bit();
        self.present |= header.bit();
        self.fields.push(Field {
            name: Span { start: line as u16, end: (line + name) as u16 },
            value: trimmed(bytes, value_at, end),
            line_end: line_end as u16,
            header,
        });
    }

    fn fold(&mut self, bytes: &[u8], line: usize, end: usize, line_end: usize) -> Result<(), ParseError> {
        let field = self.fields.last_mut().ok_or(ParseError::HeaderLine)?;
        let more = trimmed(bytes, line, end);
        if more.start < more.end {
            if field.value.start == field.value.end {
                field.value.start = more.start;
            }
            field.value.end = more.end;
        }
        field.line_end = line_end as u16;
        Ok(())
    }

    fn read_length(&mut self, bytes: &[u8]) {
        for field in self.fields.iter().filter(|f| f.header == Header::ContentLength) {
            let read = decimal(field.value.of(bytes)).map_or(Length::Malformed, |n| Length::Is(n as usize));
            self.length = match self.length {
                Length::Absent => read,
                same if same == read => same,
                _ => Length::Malformed,
            };
        }
    }
}

fn starts_with_sip(line: &[u8]) -> bool {
    line.get(..4).is_some_and(|p| p.eq_ignore_ascii_case(b"SIP/"))
}

/// End of the line that the LF at `lf` ends, without its CR.
fn without_cr(bytes: &[u8], line: usize, lf: usize) -> usize {
    if lf > line && bytes[lf - 1] == b'\r' { lf - 1 } else { lf }
}

fn trimmed(bytes: &[u8], mut start: usize, mut end: usize) -> Span {
    while start < end && is_lws(bytes[start]) {
        start += 1;
    }
    while end > start && is_lws(bytes[end - 1]) {
        end -= 1;
    }
    Span { start: start as u16, end: end as u16 }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::message::Message;

    fn error(bytes: &[u8]) -> ParseError {
        Index::default().parse(bytes).expect_err("no message")
    }

    #[test]
    fn what_is_no_message_says_why() {
        for (bytes, why) in [
            (&b""[..], ParseError::KeepAlive),
            (b"\r\n\r\n", ParseError::KeepAlive),
            (b"\0", ParseError::StartLine),
            (b"INVITE sip:a@b SIP/2.0", ParseError::StartLine),
            (b"GET / HTTP/1.1\r\n\r\n", ParseError::StartLine),
            (b"INVITE SIP/2.0\r\n\r\n", ParseError::StartLine),
            (b" INVITE sip:a@b SIP/2.0\r\n\r\n", ParseError::StartLine),
            (b"INVITE sip:a@b SIP/2.0\r\nVia: x\r\n", ParseError::NoEndOfHeaders),
            (b"INVITE sip:a@b SIP/2.0\r\n x\r\n\r\n", ParseError::HeaderLine),
        ] {
            assert_eq!(error(bytes), why, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn limits_hold_before_anything_else() {
        assert_eq!(error(&vec![b'\r'; MAX_MESSAGE + 1]), ParseError::TooLarge);
        let with = |n: usize| [b"SIP/2.0 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(n), b"\r\n".to_vec()].concat();
        assert_eq!(error(&with(MAX_HEADERS + 1)), ParseError::TooLarge);
        assert_eq!(Index::default().parse(&with(MAX_HEADERS)), Ok(()));
        let mut largest = with(1);
        largest.resize(MAX_MESSAGE, b'b');
        let mut index = Index::default();
        let view = Message::parse(&largest, &mut index).expect("fits");
        assert_eq!((view.bytes().len(), view.body().len()), (MAX_MESSAGE, MAX_MESSAGE - with(1).len()));
    }

    #[test]
    fn a_used_index_does_not_remember() {
        let mut index = Index::default();
        let _ = index.parse(b"INVITE  sip:a@b SIP/9\r\nbad\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
        assert!(index.start_irregular && index.malformed && index.length == Length::Malformed);
        let capacity = index.fields.capacity();
        index.parse(b"INVITE sip:a@b SIP/2.0\r\nVia: x\r\n\r\n").expect("message");
        assert!(!index.start_irregular && !index.malformed && index.length == Length::Absent && index.fields.len() == 1);
        assert_eq!(index.fields.capacity(), capacity, "room is kept");
    }

    proptest! {
        /// The fields lie end to end between start line and empty line: no byte belongs to none or to two.
        #[test]
        fn fields_are_seamless_and_in_bounds(lines in vec("[\\x20-\\x7e\\t]{0,20}", 0..12), body in vec(any::<u8>(), 0..20)) {
            let mut bytes = b"\r\nSIP/2.0 200 OK\r\n".to_vec();
            let first = bytes.len();
            lines.iter().for_each(|line| bytes.extend_from_slice(format!("{line}\r\n").as_bytes()));
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(&body);
            let mut index = Index::default();
            if index.parse(&bytes).is_ok() {
                let mut at = first;
                for field in &index.fields {
                    prop_assert_eq!(usize::from(field.name.start), at);
                    prop_assert!(field.name.start <= field.name.end && field.name.end <= field.value.start);
                    prop_assert!(field.value.start <= field.value.end && field.value.end < field.line_end);
                    at = field.line_end.into();
                }
                prop_assert_eq!(at, usize::from(index.fields_end));
                prop_assert!(index.fields_end < index.body.start && usize::from(index.body.end) <= bytes.len());
            }
        }
    }
}
