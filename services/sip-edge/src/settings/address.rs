//! Addresses as an operator writes them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::endpoint::config::Transport;

/// `udp:ADDRESS:PORT`, or `tcp:` or `tls:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddr {
    pub transport: Transport,
    pub addr: SocketAddr,
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.word(), self.addr)
    }
}

impl FromStr for ListenAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((word, address)) = text.split_once(':') else {
            return Err(format!("`{text}` is no listener such as udp:192.0.2.1:5060"));
        };
        let transport = Transport::from_word(word).ok_or_else(|| format!("`{word}` is not served; udp, tcp and tls are"))?;
        address
            .parse()
            .map(|addr| Self { transport, addr })
            .map_err(|_| format!("`{address}` is no IP address and port such as 192.0.2.1:5060 or [2001:db8::1]:5060"))
    }
}

/// An address that phones reach; without a port, the listener's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advertised {
    Host(IpAddr),
    Full(SocketAddr),
}

impl Advertised {
    /// The address for a listener on `bound`.
    #[must_use]
    pub fn with_port_of(self, bound: SocketAddr) -> SocketAddr {
        match self {
            Self::Host(ip) => SocketAddr::new(ip, bound.port()),
            Self::Full(addr) => addr,
        }
    }

    #[must_use]
    pub fn ip(self) -> IpAddr {
        match self {
            Self::Host(ip) => ip,
            Self::Full(addr) => addr.ip(),
        }
    }
}

impl FromStr for Advertised {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Ok(ip) = bracketed.unwrap_or(text).parse() {
            return Ok(Self::Host(ip));
        }
        text.parse().map(Self::Full).map_err(|_| format!("`{text}` is no IP address, with or without port"))
    }
}
