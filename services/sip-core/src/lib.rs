//! Pure SIP: bytes in, bytes out. No tokio, no sockets, no clock: `now` is an argument.
//!
//! - [`message`]: a lossless header index over the received bytes, typed views, splicing edits, validation, composing
//! - [`uri`]: SIP, SIPS and tel URIs, comparison, canonical AoRs
//! - [`routing`]: the decisions of a proxy (RFC 3261 section 16) as functions
//! - [`transaction`]: the four machines of RFC 3261 section 17 with RFC 6026 and RFC 4320
//! - [`framing`]: messages out of a stream of bytes
//! - [`dialog`]: dialogs and REFER subscriptions as far as recalls need them
//! - [`digest`]: RFC 7616 and RFC 8760
//! - [`sdp`]: what a call without media says of itself
//! - [`sipfrag`]: RFC 3420 status lines

pub mod dialog;
pub mod digest;
pub mod framing;
mod keyed;
pub mod message;
pub mod routing;
pub mod sdp;
pub mod sipfrag;
pub mod transaction;
pub mod uri;

pub use message::{Header, Index, Message, MessageBuf, Method};
pub use rsip::StatusCode;
