//! What an endpoint wants done. The worker carries it out after each batch and clears it.

use std::net::SocketAddr;

use redial_core::link::Request;

/// The other side of a datagram: which of our listeners, and its address. Text form (`redial_core::Flow`): `udp/<listener>/<address>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Index into the configured listeners.
    pub listener: u8,
    pub addr: SocketAddr,
}

/// One datagram to send: `bytes` is a range of [`Outbox::buffer`].
#[derive(Clone, Debug)]
pub struct Transmit {
    pub to: Peer,
    pub bytes: std::ops::Range<usize>,
}

#[derive(Debug, Default)]
pub struct Outbox {
    /// Bytes of all transmits of this batch, one after the other: one buffer, reused.
    pub buffer: Vec<u8>,
    pub transmits: Vec<Transmit>,
    /// Events for the coordinator; ids are unique per worker (top 8 bits: the worker).
    pub requests: Vec<Request>,
    /// Datagrams that belong to another worker's transaction (the Via branch says whose): worker, peer, bytes.
    pub handover: Vec<(u8, Peer, Vec<u8>)>,
}

impl Outbox {
    /// Queues a copy of `bytes`.
    pub fn send(&mut self, to: Peer, bytes: &[u8]) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(bytes);
        self.transmits.push(Transmit { to, bytes: start..self.buffer.len() });
    }

    /// Queues what `write` appends to the buffer.
    pub fn send_with(&mut self, to: Peer, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.buffer.len();
        write(&mut self.buffer);
        self.transmits.push(Transmit { to, bytes: start..self.buffer.len() });
    }

    pub fn clear(&mut self) {
        self.buffer.clear();
        self.transmits.clear();
        self.requests.clear();
        self.handover.clear();
    }
}
