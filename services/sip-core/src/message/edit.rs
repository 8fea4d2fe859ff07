//! Forwarding edits: a list of splices over the received bytes. What is not touched is copied as it came.

use std::net::SocketAddr;

use smallvec::SmallVec;

use super::grammar::{Elements, offset_in};
use super::index::Field;
use super::{Header, Message, Via};

/// Enough for a Via and a Record-Route of ours: an ordinary forward allocates nothing.
type Text = SmallVec<[u8; 384]>;

/// Collects changes to one message, then writes the result in one pass. Values are single lines: a line break in one becomes a space.
#[derive(Debug)]
pub struct Edit<'a> {
    message: Message<'a>,
    splices: SmallVec<[Splice; 8]>,
    /// What the splices put in.
    text: Text,
}

/// `start..end` of the received bytes is replaced by `text.0..text.1` of the edit's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Splice {
    start: usize,
    end: usize,
    text: (usize, usize),
}

impl<'a> Edit<'a> {
    pub fn new(message: Message<'a>) -> Self {
        Self { message, splices: SmallVec::new(), text: SmallVec::new() }
    }

    /// No effect on a response.
    pub fn request_uri(&mut self, uri: &str) -> &mut Self {
        let old = self.message.request_uri();
        if !old.is_empty() {
            let (start, end) = self.place(old);
            let text = self.text(|out| out.extend_from_slice(uri.as_bytes()));
            self.replace(start, end, text);
        }
        self
    }

    /// A new header line above the first header of that kind (Via, Record-Route, Route, Path), or at the end of the headers if there is none.
    /// The last one pushed is on top.
    pub fn push_front(&mut self, header: Header, value: &str) -> &mut Self {
        let first = self.fields(header).next();
        let at = first.map_or(self.fields_end(), |field| field.name.start.into());
        let text = self.line(header.name(), value);
        let splice = Splice { start: at, end: at, text };
        // Insertions at one place are written in the order of the list. At the end of the headers this is above what was appended.
        let before = self.splices.iter().position(|s| s.start == at && s.end == at).unwrap_or(self.splices.len());
        self.splices.insert(before, splice);
        self
    }

    /// A new header line at the end of the header section.
    pub fn append(&mut self, name: &str, value: &str) -> &mut Self {
        let at = self.fields_end();
        let text = self.line(name, value);
        self.splices.push(Splice { start: at, end: at, text });
        self
    }

    /// Removes the first single value of a list header (the top Via, the top Route), with its line when it was the only one. Called again it
    /// removes the next one.
    pub fn remove_first_value(&mut self, header: Header) -> &mut Self {
        if let Some((field, value, next)) = self.first_value(header) {
            match next {
                Some(next) => self.replace(value.0, next, (0, 0)),
                None => self.replace(field.name.start.into(), field.line_end.into(), (0, 0)),
            }
        }
        self
    }

    /// Replaces the first single value of a header; a header that is not there is appended.
    pub fn replace_first_value(&mut self, header: Header, value: &str) -> &mut Self {
        match self.first_value(header) {
            Some((_, (start, end), _)) => {
                let text = self.text(|out| out.extend_from_slice(value.as_bytes()));
                self.replace(start, end, text);
                self
            }
            None => self.append(header.name(), value),
        }
    }

    /// Notes in the top Via where the request came from; see [`Via::write_from`].
    pub fn received_from(&mut self, source: SocketAddr) -> &mut Self {
        if let Some((_, (start, end), _)) = self.first_value(Header::Via)
            && let Some(via) = self.message.bytes.get(start..end).and_then(Via::parse)
        {
            let text = self.text(|out| via.write_from(source, out));
            if self.text[text.0..text.1] == *via.raw {
                self.text.truncate(text.0);
            } else {
                self.replace(start, end, text);
            }
        }
        self
    }

    /// Removes every field of that header.
    pub fn remove(&mut self, header: Header) -> &mut Self {
        for field in self.fields(header) {
            self.replace(field.name.start.into(), field.line_end.into(), (0, 0));
        }
        self
    }

    /// Removes every field of that name (case-insensitive; of a recognised header the compact form too).
    pub fn remove_named(&mut self, name: &str) -> &mut Self {
        let header = Header::from_name(name.as_bytes());
        if header != Header::Other {
            return self.remove(header);
        }
        let bytes = self.message.bytes;
        for field in self.fields(header).filter(|f| f.name.of(bytes).eq_ignore_ascii_case(name.as_bytes())) {
            self.replace(field.name.start.into(), field.line_end.into(), (0, 0));
        }
        self
    }

    /// Writes the edited message to the end of `out`, Content-Length kept as it is (bodies are never edited).
    pub fn write(&self, out: &mut Vec<u8>) {
        let bytes = &self.message.bytes[..self.message.index.body.end.into()];
        let mut order: SmallVec<[Splice; 8]> = self.splices.clone();
        // Stable, and insertions before what is removed at the same place.
        order.sort_by_key(|s| (s.start, s.end != s.start));
        out.reserve(bytes.len() + self.text.len());
        let mut at = usize::from(self.message.index.begin);
        for splice in order {
            // Inside of something that is removed as a whole: gone with it.
            if splice.start < at {
                at = at.max(splice.end);
                continue;
            }
            out.extend_from_slice(&bytes[at..splice.start]);
            out.extend_from_slice(&self.text[splice.text.0..splice.text.1]);
            at = splice.end;
        }
        out.extend_from_slice(&bytes[at..]);
    }

    fn fields(&self, header: Header) -> impl Iterator<Item = &'a Field> + use<'a> {
        self.message.indexed(header)
    }

    fn fields_end(&self) -> usize {
        self.message.index.fields_end.into()
    }

    fn place(&self, part: &[u8]) -> (usize, usize) {
        let start = offset_in(self.message.bytes, part);
        (start, start + part.len())
    }

    /// The first value that is not removed yet: its field, its place and where the next value in the same line starts.
    fn first_value(&self, header: Header) -> Option<(&'a Field, (usize, usize), Option<usize>)> {
        let bytes = self.message.bytes;
        for field in self.fields(header) {
            let value = field.value.of(bytes);
            let mut elements = if header.is_list() { Elements::new(value) } else { Elements::one(value) }.peekable();
            while let Some(element) = elements.next() {
                let (start, end) = self.place(element);
                if !self.is_removed(start) {
                    return Some((field, (start, end), elements.peek().map(|next| self.place(next).0)));
                }
            }
        }
        None
    }

    fn is_removed(&self, at: usize) -> bool {
        self.splices.iter().any(|s| s.text == (0, 0) && (s.start..s.end).contains(&at))
    }

    fn replace(&mut self, start: usize, end: usize, text: (usize, usize)) {
        self.splices.retain(|s| s.start == s.end || (s.start, s.end) != (start, end));
        self.splices.push(Splice { start, end, text });
    }

    fn text(&mut self, write: impl FnOnce(&mut Text)) -> (usize, usize) {
        let start = self.text.len();
        write(&mut self.text);
        for b in &mut self.text[start..] {
            if matches!(b, b'\r' | b'\n') {
                *b = b' ';
            }
        }
        (start, self.text.len())
    }

    fn line(&mut self, name: &str, value: &str) -> (usize, usize) {
        let (start, _) = self.text(|out| {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
        });
        self.text.extend_from_slice(b"\r\n");
        (start, self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageBuf;

    const HEAD: &str = "INVITE sip:a@b SIP/2.0\r\nX: 1\r\nv : SIP/2.0/UDP one , SIP/2.0/UDP two\r\nRoute: <sip:r1;lr>,\r\n <sip:r2;lr>\r\nVIA: SIP/2.0/UDP three\nx:2\r\nMax-Forwards:  70 \r\n\r\nbody";

    fn edited(change: impl FnOnce(&mut Edit<'_>)) -> String {
        let message = MessageBuf::parse(HEAD.as_bytes().to_vec()).unwrap();
        let mut edit = Edit::new(message.view());
        change(&mut edit);
        let mut out = Vec::new();
        edit.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_what_is_named_changes() {
        assert_eq!(edited(|_| ()), HEAD);
        assert_eq!(edited(|e| _ = e.request_uri("sip:c@d")), HEAD.replace("sip:a@b", "sip:c@d"));
        assert_eq!(edited(|e| _ = e.replace_first_value(Header::MaxForwards, "69")), HEAD.replace("70", "69"));
        assert_eq!(edited(|e| _ = e.replace_first_value(Header::Via, "V")), HEAD.replace("SIP/2.0/UDP one", "V"));
        assert_eq!(edited(|e| _ = e.remove_named("X")), HEAD.replace("X: 1\r\n", "").replace("x:2\r\n", ""));
        assert_eq!(edited(|e| _ = e.remove_named("V")), edited(|e| _ = e.remove(Header::Via)));
        assert_eq!(edited(|e| _ = e.append("Y", "z")), HEAD.replace("\r\n\r\n", "\r\nY: z\r\n\r\n"));
        assert_eq!(edited(|e| _ = e.replace_first_value(Header::Expires, "9")), HEAD.replace("\r\n\r\n", "\r\nExpires: 9\r\n\r\n"));
    }

    #[test]
    fn values_go_one_by_one_and_the_line_with_the_last() {
        assert_eq!(edited(|e| _ = e.remove_first_value(Header::Via)), HEAD.replace("SIP/2.0/UDP one , ", ""));
        assert_eq!(
            edited(|e| _ = e.remove_first_value(Header::Via).remove_first_value(Header::Via)),
            HEAD.replace("v : SIP/2.0/UDP one , SIP/2.0/UDP two\r\n", "")
        );
        assert_eq!(
            edited(|e| _ = e.remove_first_value(Header::Route).remove_first_value(Header::Route).remove_first_value(Header::Route)),
            HEAD.replace("Route: <sip:r1;lr>,\r\n <sip:r2;lr>\r\n", "")
        );
        assert_eq!(
            edited(|e| _ = e.remove_first_value(Header::Via).replace_first_value(Header::Via, "V")),
            HEAD.replace("SIP/2.0/UDP one , SIP/2.0/UDP two", "V")
        );
    }

    #[test]
    fn what_is_pushed_stands_above_and_the_last_one_on_top() {
        let two = edited(|e| _ = e.push_front(Header::Via, "A").push_front(Header::Via, "B"));
        assert_eq!(two, HEAD.replace("v : ", "Via: B\r\nVia: A\r\nv : "));
        let swapped = edited(|e| _ = e.remove(Header::Route).push_front(Header::Route, "<sip:n>"));
        assert_eq!(swapped, HEAD.replace("Route: <sip:r1;lr>,\r\n <sip:r2;lr>\r\n", "Route: <sip:n>\r\n"));
        let absent = edited(|e| _ = e.append("Y", "1").push_front(Header::Path, "<sip:p>").append("Z", "2"));
        assert_eq!(absent, HEAD.replace("\r\n\r\n", "\r\nPath: <sip:p>\r\nY: 1\r\nZ: 2\r\n\r\n"));
    }

    #[test]
    fn later_changes_win_and_removal_takes_changes_along() {
        let max = |e: &mut Edit<'_>| _ = e.replace_first_value(Header::MaxForwards, "1").replace_first_value(Header::MaxForwards, "2");
        assert_eq!(edited(max), HEAD.replace("70", "2"));
        let gone = edited(|e| _ = e.replace_first_value(Header::MaxForwards, "1").remove(Header::MaxForwards));
        assert_eq!(gone, HEAD.replace("Max-Forwards:  70 \r\n", ""));
    }

    #[test]
    fn a_line_break_in_a_value_cannot_become_a_header() {
        let text = edited(|e| _ = e.append("Y", "1\r\nEvil: 2"));
        assert!(text.contains("Y: 1  Evil: 2\r\n"));
    }

    #[test]
    fn the_source_is_noted_in_the_top_via_only() {
        let source = "192.0.2.1:9".parse().unwrap();
        assert_eq!(edited(|e| _ = e.received_from(source)), HEAD.replace("UDP one", "UDP one;received=192.0.2.1"));
        assert_eq!(
            edited(|e| _ = e.received_from(source).push_front(Header::Via, "A")),
            HEAD.replace("v : SIP/2.0/UDP one", "Via: A\r\nv : SIP/2.0/UDP one;received=192.0.2.1")
        );
    }
}
