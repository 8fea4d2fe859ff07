//! Messages out of a stream of bytes (RFC 3261 sections 7.5 and 18.3, RFC 5626 section 4.4.1).
//!
//! Where a message ends is read by the same [`Index`] that will read the message, so the two cannot disagree about it: an element that frames by one
//! spelling of Content-Length and parses by another takes a body for a second request.

use crate::message::index::{Length, ParseError};
use crate::message::{Index, MAX_MESSAGE};

/// RFC 5626 section 4.4.1: what a phone sends to see that the connection is alive.
const PING: &[u8] = b"\r\n\r\n";
/// A buffer that has grown beyond this for a large message is given back.
const KEPT: usize = 16 << 10;

/// What a stream holds next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One message with its body and nothing else.
    Message(Vec<u8>),
    /// To be answered by one CRLF.
    Ping,
}

/// Where the next message begins cannot be known: the stream is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unframed {
    #[error("not SIP")]
    NotSip,
    #[error("larger than 64 kB or more than 256 header fields")]
    TooLarge,
    /// With the header section, so that it can be answered.
    #[error("no Content-Length, or none that can be read")]
    NoLength(Vec<u8>),
}

/// The bytes of one stream that are no whole message yet.
#[derive(Debug, Default)]
pub struct Framer {
    bytes: Vec<u8>,
    /// Before it everything has been handed out.
    begin: usize,
    /// Start of the line that is being looked for the end of.
    line: usize,
    /// Up to here there is no line break in it.
    seen: usize,
    /// End of the message, once its header section is complete.
    end: Option<usize>,
    index: Index,
}

impl Framer {
    /// Where received bytes are appended. Nothing else may be changed in it.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.begin > 0 {
            self.bytes.drain(..self.begin);
            (self.line, self.seen, self.end) = (self.line - self.begin, self.seen - self.begin, self.end.map(|end| end - self.begin));
            self.begin = 0;
            if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
                self.bytes = Vec::new();
            }
        }
        &mut self.bytes
    }

    /// Part of a message is there.
    #[must_use]
    pub fn is_within(&self) -> bool {
        self.bytes[self.begin..].iter().any(|b| !matches!(b, b'\r' | b'\n'))
    }

    /// Takes out what comes next. None: more bytes are needed. Costs time in proportion to the bytes, however they are cut.
    ///
    /// # Errors
    /// See [`Unframed`]; it is the same however often it is asked.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, Unframed> {
        if self.end.is_none() {
            if self.seen == self.begin
                && let Some(ping) = self.skip_line_breaks()
            {
                return Ok(ping.then_some(Frame::Ping));
            }
            match self.find_head()? {
                Some(head) => self.end = Some(self.find_end(head)?),
                None => return Ok(None),
            }
        }
        let Some(end) = self.end.filter(|end| *end <= self.bytes.len()) else { return Ok(None) };
        let message = self.bytes[self.begin..end].to_vec();
        (self.begin, self.line, self.seen, self.end) = (end, end, end, None);
        Ok(Some(Frame::Message(message)))
    }

    /// Between messages. True: a ping; false: more bytes must tell what this is; None: a message begins.
    fn skip_line_breaks(&mut self) -> Option<bool> {
        loop {
            let rest = &self.bytes[self.begin..];
            let ping = rest.starts_with(PING);
            let wait = !ping && PING.starts_with(rest);
            let skip = match rest.first() {
                _ if ping => PING.len(),
                _ if wait => 0,
                Some(b'\r' | b'\n') => 1,
                _ => return None,
            };
            self.begin += skip;
            (self.line, self.seen) = (self.begin, self.begin);
            if ping || wait {
                return Some(ping);
            }
        }
    }

    /// End of the header section: after the first line that is empty, by LF or CRLF, as [`Index`] sees it.
    fn find_head(&mut self) -> Result<Option<usize>, Unframed> {
        // A phone that speaks TLS to this port, or HTTP by mistake, need not be waited for.
        if self.bytes.get(self.begin).is_some_and(|b| !b.is_ascii_graphic()) {
            return Err(Unframed::NotSip);
        }
        while let Some(at) = memchr::memchr(b'\n', &self.bytes[self.seen..]) {
            let lf = self.seen + at;
            let line = self.bytes[self.line..lf].strip_suffix(b"\r").unwrap_or(&self.bytes[self.line..lf]);
            let is_end = line.is_empty();
            if is_end {
                return self.fits(lf + 1).map(Some);
            }
            (self.line, self.seen) = (lf + 1, lf + 1);
        }
        self.seen = self.bytes.len();
        self.fits(self.seen).map(|_| None)
    }

    fn find_end(&mut self, head: usize) -> Result<usize, Unframed> {
        let section = &self.bytes[self.begin..head];
        match self.index.parse(section) {
            Ok(()) => {}
            Err(ParseError::TooLarge) => return Err(Unframed::TooLarge),
            Err(_) => return Err(Unframed::NotSip),
        }
        match self.index.length {
            Length::Is(length) => self.fits(head.saturating_add(length)),
            Length::Absent | Length::Malformed => Err(Unframed::NoLength(section.to_vec())),
        }
    }

    fn fits(&self, end: usize) -> Result<usize, Unframed> {
        if end - self.begin > MAX_MESSAGE { Err(Unframed::TooLarge) } else { Ok(end) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]]) -> (Vec<Frame>, Option<Unframed>) {
        let (mut framer, mut frames) = (Framer::default(), Vec::new());
        for piece in pieces {
            framer.buffer().extend_from_slice(piece);
            loop {
                match framer.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(why) => return (frames, Some(why)),
                }
            }
        }
        (frames, None)
    }

    fn message(length: &str, body: &str) -> String {
        format!("OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK1\r\n{length}\r\n\r\n{body}")
    }

    fn taken(text: &str) -> Frame {
        Frame::Message(text.as_bytes().to_vec())
    }

    #[test]
    fn every_spelling_of_the_length_is_read() {
        let spellings = [
            "Content-Length: 4",
            "l:4",
            "L :\t4",
            "CONTENT-LENGTH  :  4  ",
            "Content-Length:\r\n 4",
            "Content-Length:4\r\nl: 4",
            "X: Content-Length: 9\r\nl: 4",
        ];
        for spelling in spellings {
            let first = message(spelling, "body");
            let second = message("l: 0", "");
            assert_eq!(all(&[(first.clone() + &second).as_bytes()]), (vec![taken(&first), taken(&second)], None), "{spelling}");
        }
        let bare = message("l: 4", "body").replace('\r', "");
        assert_eq!(all(&[bare.as_bytes()]).0, [taken(&bare)], "lines that end with LF alone");
    }

    #[test]
    fn without_a_length_nothing_more_is_read() {
        for spelling in ["Subject: x", "Content-Length: x", "Content-Length: -1", "l: 4\r\nl: 5", "Content-Length:"] {
            let text = message(spelling, "");
            let (frames, why) = all(&[text.as_bytes(), b"more"]);
            assert_eq!((frames.len(), why), (0, Some(Unframed::NoLength(text.clone().into()))), "{spelling}");
        }
        for strange in ["\x16\x03\x01\x02", "GET / HTTP/1.1\r\n\r\n", " INVITE sip:a@b SIP/2.0\r\n\r\n"] {
            assert_eq!(all(&[strange.as_bytes()]).1, Some(Unframed::NotSip), "{strange:?}");
        }
    }

    #[test]
    fn line_breaks_between_messages_are_pings_or_nothing() {
        let text = message("l: 0", "");
        let (m, p) = (|| taken(&text), || Frame::Ping);
        for (stream, frames) in [
            ("\r\n\r\n".to_owned(), vec![p()]),
            ("\r\n".to_owned(), vec![]),
            ("\n\n\n".to_owned(), vec![]),
            (format!("\r\n{text}"), vec![m()]),
            (format!("\r\n\r\n{text}\r\n\r\n\r\n\r\n"), vec![p(), m(), p(), p()]),
            (format!("\n\r\n\r\n{text}"), vec![p(), m()]),
        ] {
            assert_eq!(all(&[stream.as_bytes()]), (frames, None), "{stream:?}");
            let mut framer = Framer::default();
            framer.buffer().extend_from_slice(b"\r\n\r");
            assert!(framer.next_frame() == Ok(None) && !framer.is_within(), "a lone CRLF may be the answer to a ping of ours");
        }
    }

    #[test]
    fn what_is_too_large_is_known_before_it_has_come() {
        let endless = [b"OPTIONS sip:a SIP/2.0\r\nX: ".to_vec(), vec![b'x'; MAX_MESSAGE]].concat();
        assert_eq!(all(&[&endless]).1, Some(Unframed::TooLarge));
        for length in ["65535", "18446744073709551615", "99999999999999999999999"] {
            let (frames, why) = all(&[message(&format!("l: {length}"), "").as_bytes()]);
            assert!(frames.is_empty() && matches!(why, Some(Unframed::TooLarge | Unframed::NoLength(_))), "{length}: {why:?}");
        }
        let many = message(&"X: y\r\n".repeat(300), "");
        assert_eq!(all(&[many.as_bytes()]).1, Some(Unframed::TooLarge));
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same(
            parts in vec(prop_oneof![
                "[a-z\\r\\n]{0,40}".prop_map(|body| message(&format!("l: {}", body.len()), &body)),
                "[\\r\\n]{0,6}",
                "[ -~\\r\\n\\x00-\\x20]{0,30}",
            ], 0..6),
            cuts in vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream = parts.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            let bytes: Vec<&[u8]> = stream.chunks(1).collect();
            let whole = all(&[&stream]);
            prop_assert_eq!(&all(&pieces), &whole);
            prop_assert_eq!(&all(&bytes), &whole);
        }

        #[test]
        fn what_is_framed_is_read_to_its_end(body in "[ -~\\r\\n]{0,60}", after in "[ -~\\r\\n]{0,60}") {
            let text = message(&format!("Content-Length: {}", body.len()), &body);
            let (frames, _) = all(&[(text.clone() + &after).as_bytes()]);
            let Some(Frame::Message(first)) = frames.first() else { panic!("{frames:?}") };
            let mut index = Index::default();
            let read = crate::Message::parse(first, &mut index).expect("message");
            prop_assert_eq!((read.bytes().len(), read.body()), (first.len(), body.as_bytes()));
        }
    }
}
