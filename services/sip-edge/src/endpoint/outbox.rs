//! What an endpoint wants done. The worker carries it out after each batch and clears it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use redial_core::Flow;
use redial_core::link::Request;
use redial_core::trace::Span;
use sip_core::routing::EdgeTag;

use super::config::Transport;
use crate::peers::wire::{self, Kind, Phone};

/// The other side of a datagram: which of our listeners, and its address. A stream's listener and address
/// name a connection. Text form (`redial_core::Flow`): `udp|tcp|tls/<listener>/<address>`; the edge is stored beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The edge that the datagram came to or leaves by.
    pub edge: EdgeTag,
    /// Index into the configured listeners.
    pub listener: u8,
    pub addr: SocketAddr,
}

impl Peer {
    /// The text that is stored with a binding and handed back to this edge.
    #[must_use]
    pub fn flow(&self, transport: Transport) -> Flow {
        let mut flow = String::with_capacity(32);
        // Writing to a String cannot fail.
        let _ = write!(flow, "{}/{}/{}", transport.word(), self.listener, self.addr);
        Flow::new(flow)
    }

    /// Reads what [`Self::flow`] wrote. None: not one of ours.
    #[must_use]
    pub fn from_flow(flow: &Flow) -> Option<(Transport, Self)> {
        let (transport, rest) = flow.as_str().split_once('/')?;
        let (listener, addr) = rest.split_once('/')?;
        let peer = Self { edge: EdgeTag::HERE, listener: listener.parse().ok()?, addr: addr.parse().ok()? };
        Some((Transport::from_word(transport)?, peer))
    }

    fn phone(&self) -> Phone {
        Phone { listener: self.listener, addr: self.addr }
    }
}

/// One datagram to send: `bytes` is a range of [`Outbox::buffer`].
#[derive(Clone, Debug)]
pub struct Transmit {
    pub to: Peer,
    pub bytes: std::ops::Range<usize>,
}

/// One datagram for another edge: `bytes` is a range of [`Outbox::buffer`] that [`wire::begin`] began and nobody has signed yet.
#[derive(Clone, Debug)]
pub struct Passed {
    pub edge: EdgeTag,
    pub kind: Kind,
    /// The phone that it came from or is for.
    pub phone: Phone,
    pub bytes: std::ops::Range<usize>,
}

#[derive(Debug, Default)]
pub struct Outbox {
    /// Bytes of all transmits of this batch, one after the other: one buffer, reused.
    pub buffer: Vec<u8>,
    pub transmits: Vec<Transmit>,
    pub passed: Vec<Passed>,
    /// Events for the coordinator; ids are unique per worker (top 8 bits: the worker).
    pub requests: Vec<Request>,
    /// Datagrams that belong to another worker's transaction (the Via branch says whose): worker, peer, bytes.
    pub handover: Vec<(u8, Peer, Vec<u8>)>,
    /// What was done for traced watches.
    pub spans: Vec<Span>,
}

impl Outbox {
    /// Queues a copy of `bytes`.
    pub fn send(&mut self, to: Peer, bytes: &[u8]) {
        self.send_with(to, |buffer| buffer.extend_from_slice(bytes));
    }

    /// Queues what `write` appends to the buffer.
    pub fn send_with(&mut self, to: Peer, write: impl FnOnce(&mut Vec<u8>)) {
        if !to.edge.is_here() {
            return self.wrap(Kind::Send, to.edge, to.phone(), write);
        }
        let start = self.buffer.len();
        write(&mut self.buffer);
        self.transmits.push(Transmit { to, bytes: start..self.buffer.len() });
    }

    /// Queues what came `from` a phone for the edge that it belongs to.
    pub fn pass(&mut self, kind: Kind, edge: EdgeTag, from: Peer, bytes: &[u8]) {
        self.wrap(kind, edge, from.phone(), |buffer| buffer.extend_from_slice(bytes));
    }

    fn wrap(&mut self, kind: Kind, edge: EdgeTag, phone: Phone, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        wire::begin(&mut self.buffer, kind, phone);
        write(&mut self.buffer);
        self.passed.push(Passed { edge, kind, phone, bytes: start..self.buffer.len() });
    }

    pub fn clear(&mut self) {
        self.buffer.clear();
        self.transmits.clear();
        self.passed.clear();
        self.requests.clear();
        self.handover.clear();
        self.spans.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_reads_back_as_the_same_peer() {
        for addr in ["192.0.2.7:5060", "[2001:db8::7]:40000"] {
            let peer = Peer { edge: EdgeTag::HERE, listener: 3, addr: addr.parse().unwrap() };
            for transport in Transport::ALL {
                assert_eq!(Peer::from_flow(&peer.flow(transport)), Some((transport, peer)));
            }
        }
        for bad in ["", "udp/0", "udp/x/192.0.2.7:5060", "sctp/0/192.0.2.7:5060", "udp/0/example.com:5060"] {
            assert_eq!(Peer::from_flow(&Flow::new(bad)), None, "{bad}");
        }
    }
}
