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

/// One per process, shared by all workers and the link.
#[derive(Debug, Default)]
pub struct Counters {
    pub sip: SocketCounts,
    pub peers: PeerCounts,
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
