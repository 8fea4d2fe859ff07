//! The call-flow ladder: who sent what to whom, and when.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sip_core::MessageBuf;

use crate::output::print;

/// Direction of a message, seen from the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrow {
    ToServer,
    FromServer,
}

/// One message on the wire.
#[derive(Clone, Debug)]
pub struct Line {
    pub at: Duration,
    pub phone: &'static str,
    pub arrow: Arrow,
    /// `INVITE`, `480 Temporarily Unavailable`...
    pub title: String,
    /// Method of the CSeq: which exchange it belongs to.
    pub method: String,
}

/// Collects the messages of both phones.
#[derive(Debug)]
pub struct Ladder {
    start: Instant,
    left: &'static str,
    lines: Mutex<Vec<Line>>,
}

/// Width of one lane between two columns.
const LANE: usize = 34;

impl Ladder {
    #[allow(clippy::disallowed_methods, reason = "the demo's stopwatch")]
    pub fn new(left: &'static str) -> Self {
        Self { start: Instant::now(), left, lines: Mutex::default() }
    }

    /// Adds one message and prints it at once, so that the story unfolds as it happens.
    pub fn note(&self, phone: &'static str, arrow: Arrow, bytes: &[u8]) {
        let Ok(message) = MessageBuf::parse(bytes.to_vec()) else { return };
        let first = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first).into_owned();
        let title = match first.strip_prefix("SIP/2.0 ") {
            Some(status) => status.to_owned(),
            None => first.split(' ').next().unwrap_or_default().to_owned(),
        };
        let line = Line { at: self.start.elapsed(), phone, arrow, title, method: message.view().method().as_str().to_owned() };
        print(&format!("{}\n", Drawn { line: &line, left: line.phone == self.left }));
        if let Ok(mut lines) = self.lines.lock() {
            lines.push(line);
        }
    }

    /// Everything so far, in order.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().map(|lines| lines.clone()).unwrap_or_default()
    }
}

/// The head line of the ladder.
pub fn head(left: &str, middle: &str, right: &str) -> String {
    format!("{:>11}{left:<half$}{middle:^LANE$}{right:>half$}", "", half = LANE / 2 + 2)
}

/// One line between the left column and the middle, or between the middle and the right one.
struct Drawn<'a> {
    line: &'a Line,
    left: bool,
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = LANE - 2;
        let to_right = (self.line.arrow == Arrow::ToServer) == self.left;
        let title: String = self.line.title.chars().take(width - 3).collect();
        let dashes = "-".repeat(width - 3 - title.chars().count());
        let shaft = if to_right { format!("-{title}-{dashes}>") } else { format!("<{dashes}-{title}-") };
        let (left, right) = if self.left { (shaft.as_str(), "") } else { ("", shaft.as_str()) };
        write!(f, "{:>8.3}s  |{left:^LANE$}|{right:^LANE$}|", self.line.at.as_secs_f64())
    }
}
