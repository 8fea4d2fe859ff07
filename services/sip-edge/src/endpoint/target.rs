//! Where a request is sent to.

use std::net::{IpAddr, SocketAddr};

use redial_core::EdgeId;
use redial_core::link::Target;
use sip_core::message::NameAddr;
use sip_core::routing::EdgeTag;
use sip_core::uri::{Scheme, Uri};

use super::config::Transport;
use super::identity::default_port;
use super::{EndpointConfig, Peer};

/// The way to a target: the flow that its REGISTER came by, also when that is another edge's that is there. Where it is not, the address in its
/// Path, or that edge's view of the phone's address: the best guess through a NAT, and right without one.
/// None: it cannot be reached from here. Host names are not looked up: a phone that registers one came by a flow.
///
/// A connection is the only way to its phone: where it ended, or its edge is gone, the phone cannot be reached until it registers again.
///
/// A Contact with the flow's own host says on which port the phone listens, and is believed: there is no NAT, and a phone may send from
/// another port than it listens on.
pub(crate) fn resolve(config: &EndpointConfig, target: &Target) -> Option<Peer> {
    let contact = Uri::parse(target.uri.as_bytes()).and_then(|uri| addr_of(&uri));
    let flow = Peer::from_flow(&target.flow);
    if let Some((transport, flow)) = flow.filter(|(transport, _)| transport.is_stream()) {
        let edge = way_by(config, &target.edge).filter(|_| config.listener(flow).is_some_and(|l| l.transport == transport))?;
        return Some(Peer { edge, ..flow });
    }
    let flow = flow.map(|(_, flow)| {
        let own = contact.filter(|c| target.path.is_empty() && c.ip() == flow.addr.ip().to_canonical() && c.port() != 0);
        Peer { addr: SocketAddr::new(flow.addr.ip(), own.map_or(flow.addr.port(), |c| c.port())), ..flow }
    });
    let known = flow.filter(|f| config.listener(*f).is_some_and(|l| l.transport == Transport::Udp));
    if let (Some(flow), Some(edge)) = (known, way_by(config, &target.edge)) {
        return sendable(flow.addr).then_some(Peer { edge, ..flow });
    }
    let addr = match target.path.first() {
        Some(path) => addr_of(&NameAddr::parse(path.as_bytes())?.uri)?,
        None => flow.map(|f| f.addr).or(contact)?,
    };
    by_any_listener(config, addr)
}

/// None: the edge is unknown. One that is silent may be back when something is sent again.
fn way_by(config: &EndpointConfig, edge: &EdgeId) -> Option<EdgeTag> {
    if *edge == config.edge { Some(EdgeTag::HERE) } else { config.peers.as_ref()?.tag_of(edge) }
}

/// Host and port of a SIP URI whose host is an address.
pub(crate) fn addr_of(uri: &Uri<'_>) -> Option<SocketAddr> {
    matches!(uri.scheme, Scheme::Sip | Scheme::Sips).then_some(())?;
    Some(SocketAddr::new(uri.host_addr()?.to_canonical(), uri.port.unwrap_or_else(|| default_port(uri))))
}

/// The first UDP listener of the address's family.
pub(crate) fn by_any_listener(config: &EndpointConfig, addr: SocketAddr) -> Option<Peer> {
    let listener = config.listeners.iter().position(|l| l.transport == Transport::Udp && l.bound.is_ipv4() == addr.is_ipv4())?;
    sendable(addr).then_some(Peer { edge: EdgeTag::HERE, listener: u8::try_from(listener).ok()?, addr })
}

/// Nobody's contact is everybody (RFC 4475 section 3.3.10), and nobody listens on port 0.
fn sendable(addr: SocketAddr) -> bool {
    let to_many = match addr.ip() {
        IpAddr::V4(ip) => ip.is_broadcast() || ip.is_multicast() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_multicast() || ip.is_unspecified(),
    };
    !to_many && addr.port() != 0
}

/// A contact as Request-URI: without headers, which would become headers of the request (RFC 3261 section 19.1.5).
pub(crate) fn request_uri(contact: &str) -> Option<&str> {
    let uri = Uri::parse(contact.as_bytes()).filter(|u| matches!(u.scheme, Scheme::Sip | Scheme::Sips))?;
    if uri.headers.is_empty() { Some(contact) } else { contact.get(..contact.len().checked_sub(uri.headers.len() + 1)?) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::testing;
    use redial_core::Flow;

    fn target(uri: &str, edge: &str, flow: &str, path: &[&str]) -> Target {
        let path = path.iter().map(|p| (*p).to_owned()).collect();
        Target { uri: uri.to_owned(), q: 1000, path, edge: EdgeId::new(edge), flow: Flow::new(flow) }
    }

    fn resolved(target: &Target) -> Option<(u8, String)> {
        resolve(&testing::config(), target).map(|p| (p.listener, p.addr.to_string()))
    }

    #[test]
    fn a_flow_of_this_edge_comes_first() {
        let at = |t: &Target| resolved(t).map(|(l, a)| format!("{l} {a}"));
        assert_eq!(at(&target("sip:b@10.0.0.1", "edge", "udp/0/198.51.100.7:4000", &[])).as_deref(), Some("0 198.51.100.7:4000"));
        assert_eq!(at(&target("sip:b@198.51.100.7:5070", "edge", "udp/0/198.51.100.7:4000", &[])).as_deref(), Some("0 198.51.100.7:5070"));
        assert_eq!(at(&target("sip:b@10.0.0.1", "edge", "udp/9/198.51.100.7:4000", &[])).as_deref(), Some("0 198.51.100.7:4000"));
        assert_eq!(at(&target("sip:b@[2001:db8::7]:5080", "edge", "", &[])).as_deref(), Some("1 [2001:db8::7]:5080"));
        assert_eq!(at(&target("sip:b@phone", "other", "", &["<sip:192.0.2.99;lr>"])).as_deref(), Some("0 192.0.2.99:5060"));
        assert_eq!(at(&target("sip:b@phone.example.net", "edge", "", &[])), None);
    }

    #[test]
    fn a_phone_of_another_edge_is_reached_at_the_address_that_edge_saw() {
        let at = |uri: &str, flow: &str| resolved(&target(uri, "other", flow, &[])).map(|(l, a)| format!("{l} {a}"));
        assert_eq!(at("sip:b@10.0.0.1", "udp/3/198.51.100.7:4000").as_deref(), Some("0 198.51.100.7:4000"), "behind a NAT");
        assert_eq!(at("sip:b@198.51.100.7:5070", "udp/0/198.51.100.7:4000").as_deref(), Some("0 198.51.100.7:5070"));
        assert_eq!(at("sip:b@phone.example.net", "udp/0/[2001:db8::7]:4000").as_deref(), Some("1 [2001:db8::7]:4000"));
        assert_eq!(at("sip:b@198.51.100.7:5070", "").as_deref(), Some("0 198.51.100.7:5070"));
    }

    #[test]
    fn nothing_is_sent_to_everybody() {
        for uri in ["sip:b@255.255.255.255", "sip:b@224.0.0.1", "sip:b@0.0.0.0", "sip:b@[ff02::1]", "sip:b@192.0.2.7:0"] {
            assert_eq!(resolved(&target(uri, "edge", "", &[])), None, "{uri}");
        }
    }

    #[test]
    fn headers_of_a_contact_are_left_out_of_the_request_uri() {
        assert_eq!(request_uri("sip:a@192.0.2.1;ob"), Some("sip:a@192.0.2.1;ob"));
        assert_eq!(request_uri("sip:user@example.com?Route=%3Csip:sip.example.com%3E"), Some("sip:user@example.com"));
        for bad in ["tel:+1234", "", "sip:a@b\r\nEvil: x"] {
            assert_eq!(request_uri(bad), None, "{bad}");
        }
    }
}
