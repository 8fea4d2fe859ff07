//! The four transaction machines of RFC 3261 section 17, with RFC 6026 (Accepted state) and RFC 4320 (non-INVITE).
//!
//! A machine owns no socket, no clock and no bytes but the one message it may have to send again. Every call takes `now`;
//! what it wants done comes back in `Actions`; `next_timer` says when it wants to be called again.

pub mod client;
pub mod server;
pub mod timers;

pub use client::{InviteClient, NonInviteClient};
pub use server::{InviteServer, NonInviteServer};
pub use timers::Timers;

use smallvec::SmallVec;

pub type Actions = SmallVec<[Action; 2]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the stored message (again): the request of a client, the last response of a server.
    Transmit,
    /// Send the ACK that the user gave for this final response (client INVITE, non-2xx), now and for each retransmission of the response.
    TransmitAck,
    /// Give the message that was just fed in to the transaction user.
    Deliver,
    /// Timer B, F or H fired: tell the user 408 (client) or that no ACK came (server).
    Timeout,
    /// The machine is done; forget it.
    Terminate,
}
