//! How edges know that another is there.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use redial_runtime::clock;
use redial_runtime::discovery::Members;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Peers;
use super::wire::{self, Kind, Phone};

/// Often enough that the third copy of an INVITE (1.5 s, RFC 3261 section 17.1.1.2) or the fourth is not given to an edge that died before the first.
const INTERVAL: Duration = Duration::from_millis(500);

/// What an edge says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Of the addresses that its phones send to: edges with the same share transactions.
    pub address: u64,
    /// It takes no new transactions.
    pub draining: bool,
    /// It is the last one.
    pub leaving: bool,
}

impl Beat {
    fn write(self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(&self.address.to_be_bytes());
        buffer.push(u8::from(self.draining) | u8::from(self.leaving) << 1);
    }

    /// None: not a beat. What a later version adds is left unread.
    #[must_use]
    pub fn read(content: &[u8]) -> Option<Self> {
        let (address, rest) = content.split_first_chunk::<8>()?;
        let flags = rest.first()?;
        Some(Self { address: u64::from_be_bytes(*address), draining: flags & 1 != 0, leaving: flags & 2 != 0 })
    }
}

/// Tells the others that we are there and watches them and the list of them, until `stop`. Beats leave by `socket`, which is not read here.
pub(crate) async fn keep_beating(peers: Arc<Peers>, secret: [u8; 32], mut members: Members, socket: UdpSocket, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut changes, mut changed) = (true, true);
    loop {
        if std::mem::take(&mut changed) {
            let list = Arc::clone(&members.borrow_and_update());
            peers.enlist(clock::instant(), &secret, &list);
        }
        peers.review(clock::instant());
        peers.beat(&socket, false);
        tokio::select! {
            _ = ticks.tick() => {}
            () = peers.nudge.notified() => {}
            outcome = members.changed(), if changes => {
                // A list that never changes has nobody who could change it.
                changes = outcome.is_ok();
                changed = changes;
            }
            () = stop.cancelled() => break,
        }
    }
    peers.beat(&socket, true);
}

impl Peers {
    /// One to every member. A beat that the kernel does not take is as good as one that gets lost.
    fn beat(&self, socket: &UdpSocket, leaving: bool) {
        let nobody = Phone { listener: 0, addr: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)) };
        let mut datagram = Vec::with_capacity(wire::HEADER + 16);
        wire::begin(&mut datagram, Kind::Beat, nobody);
        self.says(leaving).write(&mut datagram);
        self.key.seal(self.own, &mut datagram);
        for member in &self.view.load().members {
            let _ = socket.send_to(&datagram, member.addr);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn written_and_read_it_is_the_same(address: u64, draining: bool, leaving: bool) {
            let beat = Beat { address, draining, leaving };
            let mut bytes = Vec::new();
            beat.write(&mut bytes);
            prop_assert_eq!(Beat::read(&bytes), Some(beat));
            prop_assert_eq!(Beat::read(&bytes[..8]), None);
        }
    }
}
