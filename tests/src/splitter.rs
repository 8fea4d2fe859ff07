//! A load balancer at its worst: one address for several edges, and every datagram to another of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use crate::ports;

/// Gives each datagram of a phone to an edge that chance picks, from an address that stands for that phone at that edge; some requests go to two edges, as
/// if they had been sent again. What the edge sends to that address, and no other edge, comes to the phone from the public address. So an edge sees no
/// phone's own address, two edges see the same phone at different ones, and neither can send to what the other sees: as with a balancer that translates
/// addresses on the node where a datagram came in.
#[derive(Debug)]
pub struct Splitter {
    /// What phones send to, and what the edges advertise.
    pub public: SocketAddr,
    seed: u64,
    counts: Arc<[AtomicU64; 2]>,
    /// Bit per edge that gets nothing.
    retired: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

struct Balancer {
    public: UdpSocket,
    edges: Vec<SocketAddr>,
    chance: u64,
    /// By phone and edge.
    upstream: HashMap<(SocketAddr, usize), UdpSocket>,
    counts: Arc<[AtomicU64; 2]>,
    retired: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

/// How long a thread may not notice that it is to end.
const PAUSE: Duration = Duration::from_millis(100);
/// One request in so many reaches a second edge, too.
const TWICE: u64 = 8;

impl Splitter {
    /// An address before there are edges, because they must be told of it.
    /// # Errors
    /// When no port is free.
    pub fn bind() -> Result<(SocketAddr, UdpSocket)> {
        // No phone and no edge has this host.
        let public = ports::free_at(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3)))?;
        Ok((public, UdpSocket::bind(public)?))
    }

    /// `seed` decides everything that is left to chance.
    /// # Errors
    /// When the socket cannot be used.
    pub fn start(public: UdpSocket, edges: Vec<SocketAddr>, seed: u64) -> Result<Self> {
        public.set_read_timeout(Some(PAUSE))?;
        let (counts, stop, threads) = (Arc::default(), Arc::<AtomicBool>::default(), Arc::default());
        let retired = Arc::<AtomicU64>::default();
        let address = public.local_addr()?;
        let mut balancer = Balancer {
            public,
            edges,
            chance: seed | 1,
            upstream: HashMap::new(),
            counts: Arc::clone(&counts),
            retired: Arc::clone(&retired),
            stop: Arc::clone(&stop),
            threads: Arc::clone(&threads),
        };
        let main = std::thread::spawn(move || {
            balancer.run();
            let threads = std::mem::take(&mut *balancer.threads.lock().unwrap_or_else(PoisonError::into_inner));
            threads.into_iter().for_each(|thread| drop(thread.join()));
        });
        Ok(Self { public: address, seed, counts, retired, stop, threads: vec![main] })
    }

    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The balancer has noticed that this edge is gone.
    pub fn retire(&self, edge: usize) {
        self.retired.fetch_or(1 << edge, Ordering::Relaxed);
    }

    /// It is back.
    pub fn restore(&self, edge: usize) {
        self.retired.fetch_and(!(1 << edge), Ordering::Relaxed);
    }

    /// Datagrams of phones that were given to edges, and those of them that were copies.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.counts[0].load(Ordering::Relaxed), self.counts[1].load(Ordering::Relaxed))
    }
}

impl Drop for Splitter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

impl Balancer {
    fn run(&mut self) {
        let mut buffer = vec![0; 65_536];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((len, phone)) = self.public.recv_from(&mut buffer) else { continue };
            let datagram = &buffer[..len];
            let edge = self.draw(self.edges.len() as u64) as usize;
            self.give(phone, edge, datagram);
            // A REGISTER that is late would undo what the phone has said since: its phone would not have sent it again.
            let is_request = !datagram.starts_with(b"SIP/2.0") && !datagram.starts_with(b"REGISTER");
            if is_request && self.draw(TWICE) == 0 {
                self.counts[1].fetch_add(1, Ordering::Relaxed);
                self.give(phone, (edge + 1) % self.edges.len(), datagram);
            }
        }
    }

    fn give(&mut self, phone: SocketAddr, edge: usize, datagram: &[u8]) {
        let retired = self.retired.load(Ordering::Relaxed);
        let Some(edge) = (edge..).map(|edge| edge % self.edges.len()).take(self.edges.len()).find(|edge| retired >> edge & 1 == 0) else {
            return;
        };
        self.counts[0].fetch_add(1, Ordering::Relaxed);
        if !self.upstream.contains_key(&(phone, edge))
            && let Ok(socket) = self.connect(phone, edge)
        {
            self.upstream.insert((phone, edge), socket);
        }
        if let Some(socket) = self.upstream.get(&(phone, edge)) {
            let _ = socket.send(datagram);
        }
    }

    /// Connected, so that no other edge can send to it.
    fn connect(&self, phone: SocketAddr, edge: usize) -> Result<UdpSocket> {
        let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 10 + u8::try_from(edge)?), 0))?;
        socket.connect(self.edges[edge])?;
        socket.set_read_timeout(Some(PAUSE))?;
        let (from, public, stop) = (socket.try_clone()?, self.public.try_clone()?, Arc::clone(&self.stop));
        let thread = std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !stop.load(Ordering::Relaxed) {
                if let Ok(len) = from.recv(&mut buffer) {
                    let _ = public.send_to(&buffer[..len], phone);
                }
            }
        });
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(socket)
    }

    /// Below `bound`, by xorshift: the same for the same seed.
    fn draw(&mut self, bound: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 33) % bound
    }
}
