//! The stateful proxy of RFC 3261 section 16: one received request, its branches, one answer.

mod cancel;
mod fork;
mod forward;
mod response;

pub(crate) use fork::{Answer, Fork, State};
pub(crate) use forward::{Hop, Sides, forward};
pub(crate) use response::{with_challenges, without_our_via};
