//! Sockets. UDP here; what a transport hands on is a datagram and its [`crate::endpoint::Peer`].

mod mmsg;
pub mod udp;

pub use mmsg::{BATCH, Received};
pub use udp::{UdpListener, bind_shared};
