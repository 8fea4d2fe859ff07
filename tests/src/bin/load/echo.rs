//! The floor: a process that sends every datagram back as it came, in batches as the edge reads and writes them.

use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use redial_tests::process::{Process as Child, Scratch};
use redial_tests::wait::now;
use redial_tests::{ports, until};

use crate::cpu::{Clock, Process};

/// Datagrams in one system call.
const BATCH: usize = 64;
/// Bytes of a typical REGISTER.
const SIZE: usize = 450;

/// The echo process: `load echo ADDRESS`.
pub fn serve() -> Result<()> {
    let address = std::env::args().nth(2).context("echo needs an address")?;
    let socket = UdpSocket::bind(address)?;
    let mut buffers = vec![[0u8; 2048]; BATCH];
    // SAFETY: these are plain C structures for which all zeroes is a valid value.
    let mut names: [libc::sockaddr_storage; BATCH] = unsafe { zeroed() };
    let mut slices: [libc::iovec; BATCH] = unsafe { zeroed() };
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
    loop {
        for i in 0..BATCH {
            slices[i] = libc::iovec { iov_base: buffers[i].as_mut_ptr().cast(), iov_len: buffers[i].len() };
            let header = &mut messages[i].msg_hdr;
            header.msg_name = (&raw mut names[i]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = &raw mut slices[i];
            header.msg_iovlen = 1;
        }
        // SAFETY: every header points to a buffer, a name and a slice that live as long as this function and are not otherwise borrowed.
        let received =
            unsafe { libc::recvmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), BATCH as u32, libc::MSG_WAITFORONE, std::ptr::null_mut()) };
        let Ok(count) = usize::try_from(received) else { bail!(std::io::Error::last_os_error()) };
        for i in 0..count {
            slices[i].iov_len = messages[i].msg_len as usize;
        }
        // SAFETY: as above; the first `count` headers were filled by the kernel.
        if unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count as u32, 0) } < 0 {
            bail!(std::io::Error::last_os_error());
        }
    }
}

/// Drives the echo at `rate` datagrams per second and prints what one costs it.
pub fn measure(rate: u32, length: Duration) -> Result<()> {
    let scratch = Scratch::new("echo")?;
    let address = ports::free()?;
    let own = std::env::current_exe()?;
    let mut child = Child::spawn(&own, ["echo", &address.to_string()], Path::new("/"), scratch.path().join("log"))?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(address)?;
    let mut buffer = [0; 2048];
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    until("the echo", Duration::from_secs(5), || {
        child.ensure_alive()?;
        Ok((socket.send(b"?").is_ok() && socket.recv(&mut buffer).is_ok()).then_some(()))
    })?;

    let clock = Clock::start(&[Process { name: "raw UDP echo", pid: child.id() }])?;
    let (begun, total) = (now(), u64::from(rate) * length.as_secs());
    let (mut sent, mut echoed) = (0, 0);
    socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    while echoed < total && now() - begun < length * 2 {
        let due = ((now() - begun).as_secs_f64() * f64::from(rate)) as u64;
        while sent < due.min(total) {
            socket.send(&[b'x'; SIZE])?;
            sent += 1;
        }
        while socket.recv(&mut buffer).is_ok() {
            echoed += 1;
        }
    }
    ensure!(echoed >= total, "the echo lost {} of {total}", total - echoed);
    clock.stop("raw UDP echo, the floor", echoed)
}
