//! How a server is named in the settings.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::endpoint::DEFAULT_PORT;

/// `DOMAIN=SERVER`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamSpec {
    /// Lower case.
    pub domain: String,
    pub server: UpstreamName,
}

/// An address, or a name to be looked up as RFC 3263 section 4.2 says for UDP: without a port by SRV, else by A and AAAA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamName {
    Addr(SocketAddr),
    Host { name: String, port: Option<u16> },
}

impl UpstreamName {
    pub(super) fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Addr(addr) => Some(*addr),
            Self::Host { .. } => None,
        }
    }
}

impl fmt::Display for UpstreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Host { name, port: Some(port) } => write!(f, "{name}:{port}"),
            Self::Host { name, port: None } => f.write_str(name),
        }
    }
}

impl FromStr for UpstreamSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no upstream such as example.com=10.0.0.5:5060 or example.com=sip.example.net");
        let (domain, server) = text.split_once('=').filter(|(domain, _)| is_host(domain)).ok_or_else(wrong)?;
        Ok(Self { domain: domain.trim_end_matches('.').to_ascii_lowercase(), server: server.parse().map_err(|()| wrong())? })
    }
}

impl FromStr for UpstreamName {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return if addr.port() == 0 { Err(()) } else { Ok(Self::Addr(addr)) };
        }
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Self::Addr(SocketAddr::new(ip, DEFAULT_PORT)));
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(port.parse::<u16>().ok().filter(|port| *port != 0).ok_or(())?)),
            None => (text, None),
        };
        if is_host(name) { Ok(Self::Host { name: name.trim_end_matches('.').to_ascii_lowercase(), port }) } else { Err(()) }
    }
}

fn is_host(name: &str) -> bool {
    !name.trim_end_matches('.').is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names() {
        let read = |text: &str| text.parse::<UpstreamSpec>().map(|spec| format!("{} {}", spec.domain, spec.server));
        assert_eq!(read("Example.com=192.0.2.5").unwrap(), "example.com 192.0.2.5:5060");
        assert_eq!(read("example.com=[2001:db8::5]").unwrap(), "example.com [2001:db8::5]:5060");
        assert_eq!(read("example.com=[2001:db8::5]:5070").unwrap(), "example.com [2001:db8::5]:5070");
        assert_eq!(read("example.com=SIP.example.net.").unwrap(), "example.com sip.example.net");
        assert_eq!(read("example.com=kamailio:5080").unwrap(), "example.com kamailio:5080");
        for wrong in
            ["", "example.com", "=192.0.2.5", "example.com=", "example.com=192.0.2.5:0", "example.com=x:y", "a b=c", "example.com=h:70000"]
        {
            assert!(read(wrong).unwrap_err().contains("is no upstream such as"), "{wrong}");
        }
    }
}
