//! The decisions of RFC 3261 section 16 as functions over a message. No state, no I/O.

pub mod best;
pub mod branch;
pub mod flow_token;
pub mod loops;
pub mod path_token;
pub mod preconditions;
pub mod share;
pub mod targets;

pub use best::{best_response, code_upstream};
pub use branch::{Branch, EdgeTag};
pub use flow_token::{FlowEnd, FlowToken, WatchedCall, tag_hash};
pub use loops::{is_loop, loop_hash};
pub use path_token::PathToken;
pub use preconditions::{max_forwards, unsupported};
pub use share::Share;
pub use targets::target_groups;
