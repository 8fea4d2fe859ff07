//! Session descriptions of a call that carries no media (RFC 4566, RFC 3264): what a server says that calls a phone only to transfer it.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::IpAddr;

/// RFC 863. Nobody listens: a phone that sends anything before it is transferred talks to the wall.
const DISCARD: u16 = 9;
/// Longer descriptions are not answered; a datagram is no longer.
const MAX_LINES: usize = 512;

/// Our side of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Where the phone believes its media to go.
    pub addr: IpAddr,
    /// Session id, and the version that grows with every description (RFC 4566 section 5.2).
    pub id: u64,
    pub version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    fn of_line(line: &str) -> Option<Self> {
        match line {
            "a=sendrecv" => Some(Self::SendRecv),
            "a=sendonly" => Some(Self::SendOnly),
            "a=recvonly" => Some(Self::RecvOnly),
            "a=inactive" => Some(Self::Inactive),
            _ => None,
        }
    }

    /// Our answer (RFC 3264 section 6.1): we only listen, unless the phone does.
    fn answer(self) -> &'static str {
        match self {
            Self::SendRecv | Self::SendOnly => "recvonly",
            Self::RecvOnly => "sendonly",
            Self::Inactive => "inactive",
        }
    }
}

impl Silence {
    /// G.711 and G.722, `recvonly`: phones that answer `inactive` with 202 to the transfer and then do nothing, or that hold the call first, take
    /// this as a call that they may leave.
    #[must_use]
    pub fn offer(&self) -> Vec<u8> {
        let mut out = self.head();
        let _ = write!(
            out,
            "m=audio {DISCARD} RTP/AVP 0 8 9\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\na=recvonly\r\n"
        );
        out.into_bytes()
    }

    /// The answer to an offer: its first plain RTP audio stream with all its formats, every other stream rejected. None: no description.
    #[must_use]
    pub fn answer(&self, offer: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(offer).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim_end).take(MAX_LINES + 1).collect();
        if lines.len() > MAX_LINES || lines.first() != Some(&"v=0") {
            return None;
        }
        let starts: Vec<usize> = lines.iter().enumerate().filter(|(_, line)| line.starts_with("m=")).map(|(at, _)| at).collect();
        let session = lines.get(..*starts.first()?)?;
        let session = session.iter().find_map(|line| Direction::of_line(line)).unwrap_or(Direction::SendRecv);
        let mut out = self.head();
        let mut taken = false;
        for (n, &start) in starts.iter().enumerate() {
            let section = lines.get(start..starts.get(n + 1).copied().unwrap_or(lines.len()))?;
            let (media, attributes) = section.split_first()?;
            let mut words = media.strip_prefix("m=")?.splitn(4, ' ');
            let (kind, port, proto, formats) = (words.next()?, words.next()?, words.next()?, words.next()?);
            if taken || kind != "audio" || port == "0" || proto != "RTP/AVP" {
                let _ = write!(out, "m={kind} 0 {proto} {formats}\r\n");
                continue;
            }
            taken = true;
            let _ = write!(out, "m=audio {DISCARD} {proto} {formats}\r\n");
            for line in attributes.iter().filter(|line| line.starts_with("a=rtpmap:") || line.starts_with("a=fmtp:")) {
                let _ = write!(out, "{line}\r\n");
            }
            let direction = attributes.iter().find_map(|line| Direction::of_line(line)).unwrap_or(session);
            let _ = write!(out, "a={}\r\n", direction.answer());
        }
        Some(out.into_bytes())
    }

    fn head(&self) -> String {
        let family = if self.addr.is_ipv4() { "IP4" } else { "IP6" };
        let (addr, id, version) = (self.addr, self.id, self.version);
        format!("v=0\r\no=redial {id} {version} IN {family} {addr}\r\ns=-\r\nc=IN {family} {addr}\r\nt=0 0\r\n")
    }
}
