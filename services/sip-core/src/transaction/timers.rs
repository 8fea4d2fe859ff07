//! Timer values (RFC 3261 table 4).

use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct Timers {
    pub t1: Duration,
    pub t2: Duration,
    pub t4: Duration,
    /// The transport retransmits by itself (TCP, TLS, WebSocket).
    pub reliable: bool,
}

impl Timers {
    pub const UDP: Self = Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5), reliable: false };
}
