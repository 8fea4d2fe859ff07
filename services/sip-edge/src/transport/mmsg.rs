//! Batched datagram system calls: recvmmsg(2) and sendmmsg(2). After the parser they are nearly all of the cost of a message,
//! so a batch shares one. The only unsafe code of this crate.

use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::{fmt, io, mem, ptr};

use socket2::SockAddr;

/// Datagrams per system call.
pub const BATCH: usize = 64;

/// The largest UDP payload there can be, so nothing is ever truncated.
const DATAGRAM: usize = 65_535;

/// A batch of received datagrams. The buffers are allocated once and reused; untouched pages cost nothing.
pub struct Received {
    bytes: Box<[u8]>,
    addresses: Box<[libc::sockaddr_storage; BATCH]>,
    lengths: [u32; BATCH],
    address_lengths: [u32; BATCH],
    count: usize,
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Default for Received {
    fn default() -> Self {
        // SAFETY: sockaddr_storage is plain integers; all zero is a valid value (family AF_UNSPEC).
        let addresses = Box::new(unsafe { mem::zeroed::<[libc::sockaddr_storage; BATCH]>() });
        Self { bytes: vec![0; BATCH * DATAGRAM].into(), addresses, lengths: [0; BATCH], address_lengths: [0; BATCH], count: 0 }
    }
}

impl Received {
    /// Datagrams of the last [`receive`](Self::receive).
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        (0..self.count).filter_map(|i| {
            let start = i * DATAGRAM;
            Some((self.source(i)?, &self.bytes[start..start + self.lengths[i] as usize]))
        })
    }

    /// How many the last call received; fewer than [`BATCH`] means that the socket was empty.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    fn source(&self, i: usize) -> Option<SocketAddr> {
        let storage = self.addresses[i];
        // SAFETY: the kernel wrote `address_lengths[i]` bytes of a socket address into this storage, and SockAddr's storage is the
        // platform's sockaddr_storage (socket2 documents the layout); as_socket checks family and length itself.
        unsafe {
            let mut copy = socket2::SockAddrStorage::zeroed();
            *copy.view_as::<libc::sockaddr_storage>() = storage;
            SockAddr::new(copy, self.address_lengths[i]).as_socket()
        }
    }

    /// Receives what is there, at most [`BATCH`], without blocking.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; otherwise what recvmmsg(2) says.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.count = 0;
        let mut parts: [MaybeUninit<libc::iovec>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
        let mut headers: [MaybeUninit<libc::mmsghdr>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
        for (i, buffer) in self.bytes.chunks_exact_mut(DATAGRAM).enumerate() {
            let part = parts[i].write(libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: DATAGRAM });
            headers[i].write(header(ptr::from_mut(&mut self.addresses[i]), size_of::<libc::sockaddr_storage>(), part));
        }
        // SAFETY: every header was initialised above and points to one iovec, one buffer of DATAGRAM bytes and one sockaddr_storage, all of
        // which outlive the call and are not otherwise used during it; vlen is the number of headers.
        let received = unsafe {
            libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), BATCH as libc::c_uint, libc::MSG_DONTWAIT, ptr::null_mut())
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (i, slot) in headers.iter().enumerate().take(received) {
            // SAFETY: initialised above; the kernel updated the lengths of the first `received` headers.
            let message = unsafe { slot.assume_init_ref() };
            self.lengths[i] = message.msg_len.min(DATAGRAM as u32);
            self.address_lengths[i] = message.msg_hdr.msg_namelen;
        }
        self.count = received;
        Ok(received)
    }
}

/// Sends up to [`BATCH`] datagrams without blocking and returns how many the kernel took, at least one.
///
/// # Errors
/// The first datagram was not taken: `WouldBlock`, or what is wrong with it. Those behind it were not tried.
pub(super) fn send<'a>(socket: BorrowedFd<'_>, datagrams: impl Iterator<Item = (SocketAddr, &'a [u8])>) -> io::Result<usize> {
    let mut addresses: [MaybeUninit<SockAddr>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
    let mut parts: [MaybeUninit<libc::iovec>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
    let mut headers: [MaybeUninit<libc::mmsghdr>; BATCH] = [const { MaybeUninit::uninit() }; BATCH];
    let mut count = 0;
    for (i, (to, bytes)) in datagrams.take(BATCH).enumerate() {
        // SockAddr owns no memory, so leaving it undropped in its slot leaks nothing.
        let address = addresses[i].write(SockAddr::from(to));
        let part = parts[i].write(libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() });
        headers[i].write(header(address.as_ptr().cast_mut().cast(), address.len() as usize, part));
        count += 1;
    }
    if count == 0 {
        return Ok(0);
    }
    // SAFETY: the first `count` headers were initialised above; each points to an iovec, a byte slice and an address that outlive the call,
    // and sendmmsg(2) only reads through them; vlen is `count`.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr().cast(), count, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn header(address: *mut libc::sockaddr_storage, address_length: usize, part: *mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: mmsghdr is integers and pointers; all zero is valid, and it has padding that only zeroing initialises.
    let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
    message.msg_hdr.msg_name = address.cast();
    message.msg_hdr.msg_namelen = address_length as libc::socklen_t;
    message.msg_hdr.msg_iov = part;
    message.msg_hdr.msg_iovlen = 1;
    message
}
