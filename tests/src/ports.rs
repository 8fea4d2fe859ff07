//! Free ports on addresses of this machine.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{LazyLock, Mutex};

use anyhow::{Context as _, Result};

static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// [`free_at`] of IPv4.
/// # Errors
/// When no port is left.
pub fn free() -> Result<SocketAddr> {
    free_at(Ipv4Addr::LOCALHOST.into())
}

/// An address whose port is free for UDP and TCP and is never handed out twice by this process. Taken from below the kernel's
/// ephemeral range, so that no outgoing connection gets it in between; the start depends on the process, so that test binaries do not meet.
/// # Errors
/// When no port is left.
pub fn free_at(ip: IpAddr) -> Result<SocketAddr> {
    free_row(ip, 1)
}

/// The first of `count` addresses with consecutive ports that are all as [`free_at`] promises: for programs that take the ports after the one
/// that they are told as well.
/// # Errors
/// When no such ports are left.
pub fn free_row(ip: IpAddr, count: u16) -> Result<SocketAddr> {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 22_000;
    let start = (std::process::id().wrapping_mul(997) % u32::from(COUNT)) as u16;
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let is_free = |port: &u16| {
        let addr = SocketAddr::from((ip, *port));
        UdpSocket::bind(addr).is_ok() && TcpListener::bind(addr).is_ok()
    };
    let first = (0..COUNT)
        .map(|step| FIRST + (start + step) % COUNT)
        .find(|first| (*first..first + count).all(|port| !taken.contains(&port) && is_free(&port)))
        .context("no free port")?;
    taken.extend(first..first + count);
    Ok(SocketAddr::from((ip, first)))
}

/// The address of this machine that faces `server`.
/// # Errors
/// When there is no way there.
pub fn facing(server: SocketAddr) -> Result<IpAddr> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = UdpSocket::bind((any, 0))?;
    probe.connect(server).with_context(|| format!("no way to {server}"))?;
    Ok(probe.local_addr()?.ip())
}
