//! The socket that one worker shares with the other edges. All workers bind the same address with SO_REUSEPORT; what came to the wrong one is handed over.

use std::io;
use std::net::UdpSocket as StdSocket;
use std::sync::Arc;
use std::task::{Context, Poll};

use sip_core::routing::EdgeTag;

use super::wire::{HEADER, Kind, Unreadable};
use super::{Beat, Peers};
use crate::counters::PeerCounts;
use crate::endpoint::{Endpoint, Now, Outbox, Peer, Transmit};
use crate::transport::{BATCH, Received, UdpListener};

/// Bits of [`PeerPort::poll_ready`].
pub(crate) const READABLE: u8 = 1;
pub(crate) const WRITABLE: u8 = 2;

/// What a port is made of, before its worker's thread starts.
#[derive(Debug)]
pub(crate) struct PeerParts {
    pub(crate) peers: Arc<Peers>,
    pub(crate) socket: StdSocket,
    /// How many listeners there are.
    pub(crate) listeners: usize,
}

#[derive(Debug)]
pub(crate) struct PeerPort {
    peers: Arc<Peers>,
    socket: UdpListener,
    listeners: usize,
}

impl PeerPort {
    /// # Errors
    /// When the socket cannot be registered. Must be called inside the worker's runtime.
    pub(crate) fn new(parts: PeerParts) -> io::Result<Self> {
        Ok(Self { peers: parts.peers, socket: UdpListener::new(parts.socket)?, listeners: parts.listeners })
    }

    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> u8 {
        let bit = |poll: Poll<()>, bit| if poll.is_ready() { bit } else { 0 };
        bit(self.socket.poll_readable(cx), READABLE) | bit(self.socket.poll_backlog(cx), WRITABLE)
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.socket.is_flushed()
    }

    /// Takes in one batch. True: there may be more.
    pub(crate) fn receive(&self, now: Now, batch: &mut Received, counts: &PeerCounts, endpoint: &mut Endpoint, out: &mut Outbox) -> bool {
        self.socket.receive(batch, &counts.socket);
        for (_, datagram) in batch.datagrams() {
            let opened = match self.peers.key.open(datagram) {
                // A list may name this edge under another address.
                Ok(opened) if opened.sender == self.peers.own => continue,
                Ok(opened) => opened,
                Err(Unreadable::Malformed) => {
                    counts.malformed.add(1);
                    continue;
                }
                Err(Unreadable::Forged) => {
                    counts.forged.add(1);
                    continue;
                }
            };
            if opened.kind == Kind::Beat {
                match Beat::read(opened.content) {
                    Some(beat) => self.peers.heard(now.instant, opened.sender, beat),
                    None => counts.malformed.add(1),
                }
                continue;
            }
            counts.received[opened.kind as usize - 1].add(1);
            let phone = opened.phone;
            if usize::from(phone.listener) >= self.listeners {
                counts.no_listener.add(1);
            } else if opened.kind == Kind::Send {
                out.send(Peer { edge: EdgeTag::HERE, listener: phone.listener, addr: phone.addr }, opened.content);
            } else {
                let from = Peer { edge: opened.sender, listener: phone.listener, addr: phone.addr };
                endpoint.on_datagram(now, from, opened.content, out);
            }
        }
        batch.count() == BATCH
    }

    /// Signs and sends what is for other edges. What was to leave by an edge that is gone leaves from here: better from the wrong address than never.
    pub(crate) fn send(&mut self, writable: bool, out: &mut Outbox, counts: &PeerCounts) {
        if writable {
            self.socket.flush(&counts.socket);
        }
        if out.passed.is_empty() {
            return;
        }
        let Outbox { buffer, transmits, passed, .. } = out;
        let mut to = Vec::with_capacity(passed.len());
        for passed in passed.iter() {
            let Some(addr) = self.peers.addr(passed.edge) else {
                if passed.kind == Kind::Send {
                    let peer = Peer { edge: EdgeTag::HERE, listener: passed.phone.listener, addr: passed.phone.addr };
                    transmits.push(Transmit { to: peer, bytes: passed.bytes.start + HEADER..passed.bytes.end });
                } else {
                    counts.gone.add(1);
                }
                continue;
            };
            if let Some(datagram) = buffer.get_mut(passed.bytes.clone()) {
                self.peers.key.seal(self.peers.own, datagram);
                counts.passed[passed.kind as usize - 1].add(1);
                to.push((addr, passed.bytes.clone()));
            }
        }
        let buffer = &*buffer;
        self.socket.send(to.iter().filter_map(|(addr, bytes)| Some((*addr, buffer.get(bytes.clone())?))), &counts.socket);
    }
}
