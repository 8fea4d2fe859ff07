//! Via: RFC 3261 section 20.42.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use super::Params;
use super::params::before_params;
use crate::message::grammar::{ascii, decimal, is_lws, is_token, is_token_byte, offset_in, trim, trim_start};
use crate::uri::{host_addr, split_host_port};

/// RFC 3261 section 20.42, with received and rport (RFC 3581).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`... as spelled.
    pub transport: &'a str,
    /// Host as spelled, brackets of an IPv6 reference included.
    pub host: &'a str,
    pub port: Option<u16>,
    pub params: Params<'a>,
    /// The whole value's bytes.
    pub raw: &'a [u8],
}

impl<'a> Via<'a> {
    /// Parameters are not checked here: a response to a request with bad ones has to find its way.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let value = trim(value);
        let (head, params) = before_params(value);
        let (name, rest) = token(head)?;
        let (version, rest) = token(slash(rest)?)?;
        let (transport, rest) = token(slash(rest)?)?;
        if !is_token(name) || !is_token(version) || !rest.first().is_some_and(|&b| is_lws(b)) {
            return None;
        }
        let (host, port) = split_sent_by(trim(rest))?;
        Some(Self { transport: ascii(transport)?, host, port, params, raw: value })
    }
    /// None: absent (RFC 2543) or empty.
    pub fn branch(&self) -> Option<&'a str> {
        self.params.text("branch")
    }
    /// Same sent-by in the sense of a transaction key: host by case-insensitive comparison, an absent port is the transport's default.
    pub fn sent_by_is(&self, other: &Via<'_>) -> bool {
        self.port_or_default() == other.port_or_default() && self.host.eq_ignore_ascii_case(other.host)
    }
    /// The port of sent-by, 5061 for TLS and 5060 for everything else when it is left out (RFC 3261 section 18.2.2).
    #[must_use]
    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(if self.transport.get(..3).is_some_and(|t| t.eq_ignore_ascii_case("TLS")) { 5061 } else { 5060 })
    }
    /// The address in `received`, with brackets or without (RFC 5118 section 4.5).
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        self.params.text("received").and_then(host_addr)
    }
    /// None: absent. Some(None): asked for (or not a port).
    #[must_use]
    pub fn rport(&self) -> Option<Option<u16>> {
        self.params.value("rport").map(|port| decimal(port).and_then(|n| u16::try_from(n).ok()))
    }
    /// Sent-by host as an address.
    #[must_use]
    pub fn host_addr(&self) -> Option<IpAddr> {
        host_addr(self.host)
    }

    /// Writes this value with `received` and `rport` as RFC 3261 section 18.2.1 and RFC 3581 section 4 tell for a request from `source`:
    /// `rport` is filled where it was asked for, `received` is added when the host differs or `rport` was asked for. What the sender put
    /// there itself is replaced. `out` is memory: errors of writing are not reported.
    pub fn write_from(&self, source: SocketAddr, out: &mut impl Write) {
        let ip = source.ip().to_canonical();
        let asked = self.rport().is_some();
        let differs = self.host_addr().map(|host| host.to_canonical()) != Some(ip);
        let claimed = self.params.has("received");
        if !asked && !differs && !claimed {
            let _ = out.write_all(self.raw);
            return;
        }
        let mut copied = 0;
        for piece in self.params.pieces() {
            let at = offset_in(self.raw, piece);
            let is = |name: &str| {
                piece.get(..name.len()).is_some_and(|p| p.eq_ignore_ascii_case(name.as_bytes()))
                    && piece.get(name.len()).is_none_or(|&b| !is_token_byte(b))
            };
            if is("rport") {
                let _ = out.write_all(&self.raw[copied..at]);
                let _ = write!(out, "rport={}", source.port());
            } else if is("received") {
                let semicolon = memchr::memrchr(b';', &self.raw[..at]).unwrap_or(at);
                let _ = out.write_all(self.raw.get(copied..semicolon).unwrap_or_default());
            } else {
                continue;
            }
            copied = at + piece.len();
        }
        let _ = out.write_all(&self.raw[copied..]);
        if asked || differs {
            let _ = write!(out, ";received={ip}");
        }
    }
}

fn token(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let bytes = trim_start(bytes);
    let end = bytes.iter().position(|&b| !is_token_byte(b)).unwrap_or(bytes.len());
    (end > 0).then(|| bytes.split_at(end))
}

fn slash(bytes: &[u8]) -> Option<&[u8]> {
    trim_start(bytes).strip_prefix(b"/")
}

/// `host [ COLON port ]`, where COLON may have white space around it.
fn split_sent_by(sent_by: &[u8]) -> Option<(&str, Option<u16>)> {
    if !sent_by.iter().any(|&b| is_lws(b)) {
        return split_host_port(sent_by);
    }
    let colon = memchr::memrchr(b':', sent_by)?;
    let (host, none) = split_host_port(trim(&sent_by[..colon]))?;
    let port = decimal(trim(&sent_by[colon + 1..])).and_then(|n| u16::try_from(n).ok())?;
    none.is_none().then_some((host, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(value: &str, source: &str) -> String {
        let mut out = Vec::new();
        Via::parse(value.as_bytes()).unwrap().write_from(source.parse().unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn white_space_and_folds_are_allowed_where_the_grammar_has_them() {
        let via = Via::parse(b"SIP  /   2.0\r\n /UDP\r\n    first.example.com : 5070 ;\r\n  branch  =   z9hG4bK9  ; x").unwrap();
        assert_eq!((via.transport, via.host, via.port, via.branch()), ("UDP", "first.example.com", Some(5070), Some("z9hG4bK9")));
        let v6 = Via::parse(b"SIP/2.0/TLS [2001:db8::9:1]:6050;received=[2001:db8::2];rport").unwrap();
        assert_eq!((v6.host, v6.port, v6.rport()), ("[2001:db8::9:1]", Some(6050), Some(None)));
        assert_eq!(v6.received(), "2001:db8::2".parse().ok());
        assert_eq!(Via::parse(b"SIP/2.0/UNKNOWN h").map(|v| (v.transport, v.branch(), v.port)), Some(("UNKNOWN", None, None)));
    }

    #[test]
    fn what_is_no_via_is_none() {
        for bad in [
            &b""[..],
            b"garbage",
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDP ",
            b"SIP/2.0 h",
            b"SIP/2.0/UDP h i",
            b"SIP/2.0/UDP h:99999",
            b"SIP/2.0/UDP h:",
            b"SIP/2.0/UDP [::1",
            b"/2.0/UDP h",
        ] {
            assert_eq!(Via::parse(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn sent_by_compares_with_default_ports() {
        let same = |a: &str, b: &str| Via::parse(a.as_bytes()).unwrap().sent_by_is(&Via::parse(b.as_bytes()).unwrap());
        assert!(same("SIP/2.0/UDP Host", "SIP/2.0/UDP host:5060"));
        assert!(same("SIP/2.0/TLS host", "SIP/2.0/TLS host:5061"));
        assert!(!same("SIP/2.0/UDP host", "SIP/2.0/UDP host:5061"));
    }

    #[test]
    fn source_is_noted_where_the_rfcs_ask_for_it() {
        assert_eq!(stamped("SIP/2.0/UDP 192.0.2.1;branch=b", "192.0.2.1:5060"), "SIP/2.0/UDP 192.0.2.1;branch=b");
        assert_eq!(stamped("SIP/2.0/UDP 192.0.2.1;branch=b", "192.0.2.2:5060"), "SIP/2.0/UDP 192.0.2.1;branch=b;received=192.0.2.2");
        assert_eq!(stamped("SIP/2.0/UDP h;rport;branch=b", "192.0.2.2:9"), "SIP/2.0/UDP h;rport=9;branch=b;received=192.0.2.2");
        assert_eq!(
            stamped("SIP/2.0/UDP 192.0.2.2;rport ; branch=b", "192.0.2.2:9"),
            "SIP/2.0/UDP 192.0.2.2;rport=9 ; branch=b;received=192.0.2.2"
        );
        assert_eq!(stamped("SIP/2.0/UDP [2001:db8::1];rport", "[2001:db8::1]:9"), "SIP/2.0/UDP [2001:db8::1];rport=9;received=2001:db8::1");
        assert_eq!(stamped("SIP/2.0/UDP 192.0.2.1", "[::ffff:192.0.2.1]:5060"), "SIP/2.0/UDP 192.0.2.1");
    }

    #[test]
    fn a_source_that_the_sender_claims_is_replaced() {
        assert_eq!(
            stamped("SIP/2.0/UDP h;received=198.51.100.1;rport=1;branch=b", "192.0.2.2:9"),
            "SIP/2.0/UDP h;rport=9;branch=b;received=192.0.2.2"
        );
        assert_eq!(stamped("SIP/2.0/UDP 192.0.2.1;received=198.51.100.1", "192.0.2.1:9"), "SIP/2.0/UDP 192.0.2.1");
        assert_eq!(stamped("SIP/2.0/UDP 192.0.2.1;rports=1;receivedx", "192.0.2.1:9"), "SIP/2.0/UDP 192.0.2.1;rports=1;receivedx");
    }
}
