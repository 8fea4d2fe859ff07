//! What the shell counts: datagrams, queues, and the requests to coordinators. Plain atomics, exported by [`crate::export`].

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happens on the sockets of one kind.
#[derive(Debug, Default)]
pub struct SocketCounts {
    pub received: Count,
    pub sent: Count,
    pub receive_errors: Count,
    /// The kernel refused the datagram for good: no route, too long.
    pub send_errors: Count,
    /// The socket's backlog was full.
    pub dropped: Count,
}

/// Datagrams from and for other edges, by [`crate::peers::wire::Kind`].
#[derive(Debug, Default)]
pub struct PeerCounts {
    pub socket: SocketCounts,
    pub passed: [Count; 3],
    pub received: [Count; 3],
    /// Signed with another secret, or by nobody.
    pub forged: Count,
    pub malformed: Count,
    /// For a listener that this edge does not have: edges behind one address need the same listeners.
    pub no_listener: Count,
    /// The edge went away between the decision and the sending.
    pub gone: Count,
}

/// Why a connection was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Full,
    AddressFull,
}

impl Refused {
    pub const ALL: [Self; 2] = [Self::Full, Self::AddressFull];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::AddressFull => "address_full",
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    ByPhone,
    Idle,
    /// A message, or the first one, was not completed in time.
    Stalled,
    /// What was sent was not taken.
    Slow,
    /// Where the next message begins cannot be known.
    Unframed,
    Handshake,
    Failed,
    /// This edge ends, or the phone uses another connection.
    Drained,
}

impl Closed {
    pub const ALL: [Self; 8] =
        [Self::ByPhone, Self::Idle, Self::Stalled, Self::Slow, Self::Unframed, Self::Handshake, Self::Failed, Self::Drained];

    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::ByPhone => "by_phone",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Slow => "slow",
            Self::Unframed => "unframed",
            Self::Handshake => "handshake",
            Self::Failed => "failed",
            Self::Drained => "drained",
        }
    }
}

/// Connections of phones, by [`crate::endpoint::config::Transport`] where there is a choice.
#[derive(Debug, Default)]
pub struct StreamCounts {
    pub open: [Level; 3],
    pub accepted: [Count; 3],
    pub refused: [Count; Refused::ALL.len()],
    pub closed: [Count; Closed::ALL.len()],
    /// No file descriptor is left, or the like.
    pub accept_errors: Count,
    pub handshakes_failed: Count,
    /// Messages for a connection that is not there.
    pub unreachable: Count,
    /// A connection's queue was full; it is closed.
    pub dropped: Count,
    /// Seconds since 1970; 0 without TLS.
    pub certificate_expires: Level,
    /// Changed files that were of no use.
    pub certificate_errors: Count,
}

/// One per process, shared by all workers and the link.
#[derive(Debug, Default)]
pub struct Counters {
    pub sip: SocketCounts,
    pub peers: PeerCounts,
    pub streams: StreamCounts,
    /// Another worker's queue was full, or there is no such worker.
    pub handovers_dropped: Count,
    /// A worker's order queue was full; the watch's lease brings the order back.
    pub orders_dropped: Count,
    pub requests_sent: Count,
    pub frames_sent: Count,
    /// Sent again after a lost stream.
    pub requests_resent: Count,
    /// Refused because too many were open.
    pub requests_overloaded: Count,
    /// Failed because no coordinator was attached.
    pub requests_unattached: Count,
    pub requests_timed_out: Count,
    /// Replies to requests that were given up or never made.
    pub replies_late: Count,
    /// Replies and orders that could not be understood.
    pub downlink_errors: Count,
    pub streams_lost: Count,
    /// Requests handed to the link whose reply has not reached the worker.
    pub requests_open: Level,
    pub coordinators_attached: Level,
}
