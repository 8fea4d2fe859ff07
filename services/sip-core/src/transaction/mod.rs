//! The four transaction machines of RFC 3261 section 17, with RFC 6026 (Accepted state) and RFC 4320 (non-INVITE).
//!
//! A machine owns no socket, no clock and no bytes: its user keeps the one message that may have to be sent again. Every call takes `now`;
//! what it wants done comes back in `Actions`, to be carried out in order; `next_timer` says when it wants to be called again.

mod invite_client;
mod invite_server;
pub mod key;
mod non_invite_client;
mod non_invite_server;
pub mod timers;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tables;

pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub use key::TransactionKey;
pub use non_invite_client::NonInviteClient;
pub use non_invite_server::NonInviteServer;
pub use timers::Timers;

use smallvec::SmallVec;

/// As many as fit beside the heap pointer: one call never asks for more than three.
pub type Actions = SmallVec<[Action; 8]>;

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
