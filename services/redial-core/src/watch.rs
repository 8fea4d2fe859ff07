//! The stored pair and where it stands.

use crate::{Fence, Flow, Pair, UnixMillis, WatchTrace};

/// A watch: `pair.caller` wants `pair.callee`, until `deadline`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub pair: Pair,
    pub fence: Fence,
    pub state: State,
    /// When the pair was first stored; its place in the callee's queue.
    pub armed_at: UnixMillis,
    /// No recall at or after this time (P4).
    pub deadline: UnixMillis,
    /// No recall before this time: settling or backing off.
    pub not_before: UnixMillis,
    /// Recalls made so far that did not connect the pair.
    pub attempts: u32,
    /// The caller could not be reached; look again when the caller registers.
    pub parked: bool,
    /// Flow of the INVITE that armed it: the phone to recall first when the caller has several.
    pub caller_flow: Flow,
    /// [`crate::binding::fingerprint`] of the caller's bindings when its last recall was ordered; 0 when none was. A parked watch whose
    /// caller has others by now has overlooked a REGISTER.
    pub caller_seen: u64,
    /// The caller has heard that the callee is away while a call of the two was under way: what is reported late of calls with earlier fences is past.
    pub past: Fence,
    /// Only a watch that is traced has one; [`TraceContext::sample`](crate::TraceContext::sample) decides when it is armed.
    pub trace: Option<WatchTrace>,
}

/// Where a watch stands. An ended watch has no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waiting for the callee.
    Armed,
    /// One replica has ordered the recall on this rung of the ladder and waits for the edge's word, at most until `lease_until`.
    Claimed { rung: u8, lease_until: UnixMillis },
    /// The caller's phone took the recall; its INVITE is awaited until `until`.
    Recalling { rung: u8, until: UnixMillis },
    /// The caller's INVITE was routed to the callee; its final answer is awaited until `until`.
    Calling { rung: u8, until: UnixMillis },
}

/// Why a watch ended. Each watch ends exactly once (P2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// A call between the pair was answered.
    Connected,
    /// The caller's phone accepted the recall and the policy says that is the end (`endOn = "referSent"`).
    Recalled,
    /// The period ran out.
    Expired,
    /// The caller opted out, gave the new call up, or an operator cancelled it.
    Cancelled,
    /// Every attempt was used up, or the callee declined.
    Failed,
    /// The caller was told by message that the callee is back; calling is up to them.
    Notified,
}

impl EndReason {
    pub const ALL: [Self; 6] = [Self::Connected, Self::Recalled, Self::Expired, Self::Cancelled, Self::Failed, Self::Notified];

    /// The word used in metrics, logs and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Recalled => "recalled",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Notified => "notified",
        }
    }
}
