//! The call-flow ladder: who sent what to whom, and when.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redial_runtime::clock;
use sip_core::MessageBuf;

use crate::output::print;

/// Direction of a message, seen from the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrow {
    ToServer,
    FromServer,
}

/// Who is at the other end: on which side of the server it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    Left,
    Right,
    /// A server behind ours, beyond the right column.
    Far,
}

/// One message on the wire.
#[derive(Clone, Debug)]
pub struct Line {
    pub at: Duration,
    pub lane: Lane,
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
    width: usize,
    far: bool,
    lines: Mutex<Vec<Line>>,
}

/// Characters between two columns: of three, and of four.
const WIDTH: usize = 34;
const NARROW: usize = 28;

impl Ladder {
    /// Prints the heads of the three columns.
    pub fn new(left: &str, middle: &str, right: &str) -> Self {
        Self::of(WIDTH, left, middle, right, None)
    }

    /// With one for the server behind ours.
    pub fn with_far(left: &str, middle: &str, right: &str, far: &str) -> Self {
        Self::of(NARROW, left, middle, right, Some(far))
    }

    fn of(width: usize, left: &str, middle: &str, right: &str, far: Option<&str>) -> Self {
        let beyond = far.map(|far| format!("{far:>width$}")).unwrap_or_default();
        print(&format!("{:>11}{left:<half$}{middle:^width$}{right:>half$}{beyond}\n", "", half = width / 2 + 2));
        Self { start: clock::instant(), width, far: far.is_some(), lines: Mutex::default() }
    }

    /// Adds one message and prints it at once, so that the story unfolds as it happens.
    pub fn note(&self, lane: Lane, arrow: Arrow, bytes: &[u8]) {
        let Ok(message) = MessageBuf::parse(bytes.to_vec()) else { return };
        let first = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let first = String::from_utf8_lossy(first).into_owned();
        let title = match first.strip_prefix("SIP/2.0 ") {
            Some(status) => status.to_owned(),
            None => first.split(' ').next().unwrap_or_default().to_owned(),
        };
        let line = Line { at: self.start.elapsed(), lane, arrow, title, method: message.view().method().as_str().to_owned() };
        print(&format!("{}\n", Drawn { line: &line, width: self.width, far: self.far }));
        if let Ok(mut lines) = self.lines.lock() {
            lines.push(line);
        }
    }

    /// Everything so far, in order.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().map(|lines| lines.clone()).unwrap_or_default()
    }
}

/// One line between the middle column and another.
struct Drawn<'a> {
    line: &'a Line,
    width: usize,
    far: bool,
}

impl fmt::Display for Drawn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, width: column, far } = *self;
        let span = if line.lane == Lane::Far { 2 * column + 1 } else { column };
        let width = span - 2;
        let on_the_left = line.lane == Lane::Left;
        let to_right = (line.arrow == Arrow::ToServer) == on_the_left;
        let title: String = line.title.chars().take(width - 3).collect();
        let dashes = "-".repeat(width - 3 - title.chars().count());
        let shaft = if to_right { format!("-{title}-{dashes}>") } else { format!("<{dashes}-{title}-") };
        let (left, right) = if on_the_left { (shaft.as_str(), "") } else { ("", shaft.as_str()) };
        write!(f, "{:>8.3}s  |{left:^column$}|{right:^span$}|", line.at.as_secs_f64())?;
        if far && line.lane != Lane::Far { write!(f, "{:column$}|", "") } else { Ok(()) }
    }
}
