//! A bad network between a phone and the service.

use std::collections::HashSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;

use crate::ports;

/// A UDP relay that loses the first copy of every distinct datagram in either direction, so that nothing arrives unless somebody
/// retransmits it. Provisional responses pass: nobody is obliged to repeat those (RFC 3261 section 17.2.1).
#[derive(Debug)]
pub struct Relay {
    /// The phone's side: the phone sends here.
    pub inner: SocketAddr,
    /// The service's side: where the service sees the phone.
    pub outer: SocketAddr,
    lost: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// # Errors
    /// When no port is free.
    pub fn between(phone: SocketAddr, service: SocketAddr) -> Result<Self> {
        let (inner, outer) = (ports::free()?, ports::free()?);
        let (inner_socket, outer_socket) = (UdpSocket::bind(inner)?, UdpSocket::bind(outer)?);
        let (lost, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let up = spawn(inner_socket.try_clone()?, outer_socket.try_clone()?, service, &lost, &stop)?;
        let down = spawn(outer_socket, inner_socket, phone, &lost, &stop)?;
        Ok(Self { inner, outer, lost, stop, threads: vec![up, down] })
    }

    /// Datagrams lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn spawn(from: UdpSocket, via: UdpSocket, to: SocketAddr, lost: &Arc<AtomicU64>, stop: &Arc<AtomicBool>) -> Result<JoinHandle<()>> {
    from.set_read_timeout(Some(Duration::from_millis(100)))?;
    let (lost, stop) = (Arc::clone(lost), Arc::clone(stop));
    Ok(std::thread::spawn(move || {
        let mut seen = HashSet::new();
        let mut buffer = vec![0; 65_536];
        while !stop.load(Ordering::Relaxed) {
            let Ok((len, _)) = from.recv_from(&mut buffer) else { continue };
            let datagram = &buffer[..len];
            if seen.insert(datagram.to_vec()) && !datagram.starts_with(b"SIP/2.0 1") {
                lost.fetch_add(1, Ordering::Relaxed);
            } else {
                let _ = via.send_to(datagram, to);
            }
        }
    }))
}
