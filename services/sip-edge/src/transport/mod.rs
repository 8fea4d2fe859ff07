//! Sockets. What a transport hands on is a message and its [`crate::endpoint::Peer`].
//!
//! [`udp`] is each worker's own. [`accept`] takes connections, [`stream`] reads and writes one of them, by TCP or by [`tls`], and [`connections`] is how
//! workers find it; [`descriptors`] are what they cost.

pub(crate) mod accept;
pub(crate) mod connections;
pub(crate) mod descriptors;
mod mmsg;
pub(crate) mod port;
pub(crate) mod stream;
pub mod tls;
pub mod udp;

pub use mmsg::{BATCH, Received};
pub use udp::{UdpListener, bind_shared};
