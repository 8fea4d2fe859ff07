//! One UDP socket of one worker. All workers bind the same address with SO_REUSEPORT; the kernel spreads the sources over them.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::mmsg::{self, BATCH, Received};
use crate::counters::SocketCounts;

/// Asked of the kernel for each direction: about 6000 SIP messages, so that a burst outlasts one slow turn of the loop.
const BUFFER: usize = 4 << 20;

/// Datagrams that wait for a full socket, per socket. More than this means the network is slower than we are; SIP retransmits.
const BACKLOG: usize = 1024;

/// Binds `address` once per worker and returns the sockets, all on the same port even when `address` says port 0.
///
/// # Errors
/// When the address is in use, by anybody at all, or cannot be bound.
pub fn bind_shared(address: SocketAddr, workers: usize) -> io::Result<Vec<StdSocket>> {
    if address.port() != 0 {
        // SO_REUSEPORT would let a second process of the same user take half of the traffic without a word.
        drop(StdSocket::bind(address)?);
    }
    let first = bind(address)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(bind(address)?);
    }
    Ok(sockets)
}

fn bind(address: SocketAddr) -> io::Result<StdSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(true)?;
    socket.set_recv_buffer_size(BUFFER)?;
    socket.set_send_buffer_size(BUFFER)?;
    socket.bind(&address.into())?;
    // Linux reports twice what it grants for data (socket(7)).
    let (receive, send) = (socket.recv_buffer_size()? / 2, socket.send_buffer_size()? / 2);
    if receive < BUFFER || send < BUFFER {
        tracing::info!(%address, wanted = BUFFER, receive, send, "kernel grants smaller socket buffers; raise net.core.rmem_max and wmem_max");
    }
    Ok(socket.into())
}

/// A bound socket in a worker's runtime, with a bounded backlog for when the kernel takes no more.
#[derive(Debug)]
pub struct UdpListener {
    socket: UdpSocket,
    backlog: VecDeque<(SocketAddr, Box<[u8]>)>,
}

impl UdpListener {
    /// # Errors
    /// When the socket cannot be registered. Must be called inside the worker's runtime.
    pub fn new(socket: StdSocket) -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::from_std(socket)?, backlog: VecDeque::new() })
    }

    /// Ready when a receive is worth trying.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is reported by the receive itself.
        self.socket.poll_recv_ready(cx).map(drop)
    }

    /// Ready when datagrams wait and the socket takes some again.
    pub fn poll_backlog(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.backlog.is_empty() { Poll::Pending } else { self.socket.poll_send_ready(cx).map(drop) }
    }

    /// Receives one batch into `into`. An empty batch means that nothing is there.
    pub fn receive(&self, into: &mut Received, counts: &SocketCounts) {
        let outcome = self.socket.try_io(Interest::READABLE, || {
            let count = into.receive(self.socket.as_fd())?;
            // A short batch emptied the socket: clear the readiness without asking the kernel a second time. A datagram that comes now
            // makes a new edge.
            if count < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match outcome {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => counts.receive_errors.add(1),
            _ => counts.received.add(into.count() as u64),
        }
    }

    /// Sends in order. What the kernel does not take now waits in the backlog; beyond that it is dropped and counted.
    pub fn send<'a>(&mut self, datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])> + Clone, counts: &SocketCounts) {
        let mut rest = datagrams;
        if self.backlog.is_empty() {
            loop {
                match self.try_send(rest.clone()) {
                    Ok(0) => return,
                    Ok(taken) => {
                        counts.sent.add(taken as u64);
                        rest.nth(taken - 1);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => skip(&mut rest, counts),
                }
            }
        }
        for (to, bytes) in rest {
            if self.backlog.len() < BACKLOG {
                self.backlog.push_back((to, bytes.into()));
            } else {
                counts.dropped.add(1);
            }
        }
    }

    /// Sends from the backlog as much as the kernel takes.
    pub fn flush(&mut self, counts: &SocketCounts) {
        while !self.backlog.is_empty() {
            let waiting = self.backlog.iter().map(|(to, bytes)| (*to, &**bytes));
            match self.try_send(waiting) {
                Ok(taken) => {
                    counts.sent.add(taken as u64);
                    self.backlog.drain(..taken);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    counts.send_errors.add(1);
                    self.backlog.pop_front();
                }
            }
        }
    }

    /// Nothing waits to be sent.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.backlog.is_empty()
    }

    fn try_send<'a>(&self, datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])>) -> io::Result<usize> {
        match self.socket.try_io(Interest::WRITABLE, || mmsg::send(self.socket.as_fd(), datagrams)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(io::ErrorKind::WouldBlock.into()),
            other => other,
        }
    }
}

/// The first datagram cannot be sent (no route, too long, an ICMP error of an earlier one): the sender's transaction will time out.
fn skip<'a>(rest: &mut impl Iterator<Item = (SocketAddr, &'a [u8])>, counts: &SocketCounts) {
    counts.send_errors.add(1);
    rest.next();
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    async fn receive(listener: &UdpListener, want: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let counts = SocketCounts::default();
        let mut batch = Received::default();
        let mut all = Vec::new();
        let collected = async {
            while all.len() < want {
                poll_fn(|cx| listener.poll_readable(cx)).await;
                listener.receive(&mut batch, &counts);
                all.extend(batch.datagrams().map(|(from, bytes)| (from, bytes.to_vec())));
            }
        };
        tokio::time::timeout(Duration::from_secs(5), collected).await.expect("datagrams within 5 s");
        all
    }

    async fn echo(address: &str) {
        let counts = SocketCounts::default();
        let mut sockets = bind_shared(address.parse().unwrap(), 1).unwrap();
        let server_addr = sockets[0].local_addr().unwrap();
        let mut server = UdpListener::new(sockets.remove(0)).unwrap();
        let mut client = UdpListener::new(bind(address.parse().unwrap()).unwrap()).unwrap();

        let payloads: Vec<Vec<u8>> = (0..150usize).map(|i| vec![i as u8; i * 7 % 1400]).collect();
        client.send(payloads.iter().map(|p| (server_addr, p.as_slice())), &counts);
        poll_fn(|cx| client.socket.poll_send_ready(cx)).await.unwrap();
        client.flush(&counts);
        let got = receive(&server, payloads.len()).await;
        assert_eq!(got.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>(), payloads, "in order, nothing lost");
        assert!(got.iter().all(|(from, _)| *from == client.socket.local_addr().unwrap()));

        poll_fn(|cx| server.socket.poll_send_ready(cx)).await.unwrap();
        server.send(got.iter().map(|(from, bytes)| (*from, bytes.as_slice())), &counts);
        let back = receive(&client, payloads.len()).await;
        assert_eq!(back.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), payloads);
        assert_eq!(counts.sent.value(), 300);
    }

    #[tokio::test]
    async fn batches_echo_over_ipv4() {
        echo("127.0.0.1:0").await;
    }

    #[tokio::test]
    async fn batches_echo_over_ipv6() {
        echo("[::1]:0").await;
    }

    #[tokio::test]
    async fn a_datagram_that_cannot_be_sent_does_not_hold_up_the_rest() {
        let counts = SocketCounts::default();
        let mut sender = UdpListener::new(bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        let target = UdpListener::new(bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        let to = target.socket.local_addr().unwrap();
        let too_long = vec![0u8; 65_530];
        poll_fn(|cx| sender.socket.poll_send_ready(cx)).await.unwrap();
        sender.send([(to, &b"one"[..]), (to, &too_long), (to, b"two")].into_iter(), &counts);
        let got = receive(&target, 2).await;
        assert_eq!(got.iter().map(|(_, bytes)| bytes.as_slice()).collect::<Vec<_>>(), [b"one", b"two"]);
        assert_eq!((counts.send_errors.value(), counts.sent.value()), (1, 2));
    }

    #[tokio::test]
    async fn a_full_backlog_drops_and_counts() {
        let counts = SocketCounts::default();
        let mut sender = UdpListener::new(bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        let to = sender.socket.local_addr().unwrap();
        sender.backlog.push_back((to, Box::from(*b"first")));
        sender.send((0..BACKLOG + 9).map(|_| (to, &b"x"[..])), &counts);
        assert_eq!((sender.backlog.len(), counts.dropped.value()), (BACKLOG, 10));
        poll_fn(|cx| sender.poll_backlog(cx)).await;
        sender.flush(&counts);
        assert!(sender.is_flushed());
    }

    #[test]
    fn workers_share_a_port_and_strangers_do_not() {
        let sockets = bind_shared("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let address = sockets[0].local_addr().unwrap();
        assert!(sockets.iter().all(|s| s.local_addr().unwrap() == address));
        assert_eq!(bind_shared(address, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
