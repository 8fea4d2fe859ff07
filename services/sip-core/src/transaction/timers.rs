//! Timer values (RFC 3261 table 4).

use std::time::{Duration, Instant};

/// Timer D is "at least 32 seconds" over an unreliable transport, whatever T1 is (RFC 3261 section 17.1.1.2).
const TIMER_D_MIN: Duration = Duration::from_secs(32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    pub t1: Duration,
    pub t2: Duration,
    pub t4: Duration,
    /// The transport retransmits by itself (TCP, TLS, WebSocket).
    pub reliable: bool,
}

impl Timers {
    pub const UDP: Self = Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5), reliable: false };
    pub const RELIABLE: Self = Self { reliable: true, ..Self::UDP };

    /// 64*T1, the length of timers B, F, H, L and M (and of J over an unreliable transport).
    #[must_use]
    pub fn give_up(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// How long a sender of retransmissions needs until its interval is T2: the moment from which RFC 4320 section 4.1 allows and wants a 100
    /// to a non-INVITE request over an unreliable transport. 3.5 s with the default values.
    #[must_use]
    pub fn until_t2(&self) -> Duration {
        let (mut sum, mut interval) = (Duration::ZERO, self.t1);
        while interval < self.t2 && !interval.is_zero() {
            sum += interval;
            interval *= 2;
        }
        sum
    }

    /// How long a client absorbs retransmissions of a final response to its INVITE.
    pub(super) fn d(&self) -> Duration {
        if self.reliable { Duration::ZERO } else { self.give_up().max(TIMER_D_MIN) }
    }

    pub(super) fn i_or_k(&self) -> Duration {
        if self.reliable { Duration::ZERO } else { self.t4 }
    }

    pub(super) fn j(&self) -> Duration {
        if self.reliable { Duration::ZERO } else { self.give_up() }
    }

    /// Timer A, E or G at its start; None over a reliable transport.
    pub(super) fn retransmit(&self, now: Instant) -> Option<Retransmit> {
        (!self.reliable).then(|| Retransmit { at: now + self.t1, interval: self.t1 })
    }
}

/// Timer A, E or G while it runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retransmit {
    pub(super) at: Instant,
    interval: Duration,
}

impl Retransmit {
    /// True when it was due; then it runs again with twice the interval, at most `cap`. Calls that come late get one retransmission, never a burst.
    pub(super) fn fire(&mut self, now: Instant, cap: Duration) -> bool {
        let due = self.at <= now;
        if due {
            self.interval = self.interval.saturating_mul(2).min(cap);
            self.at = now + self.interval;
        }
        due
    }

    /// The interval after the one that runs now is `interval` (timer E in Proceeding).
    pub(super) fn next_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }
}

/// The earlier of a machine's two timers.
pub(super) fn earlier(retransmit: Option<Retransmit>, end: Option<Instant>) -> Option<Instant> {
    match (retransmit, end) {
        (Some(r), Some(end)) => Some(r.at.min(end)),
        (Some(r), None) => Some(r.at),
        (None, end) => end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timer_e_reaches_t2_after_three_and_a_half_seconds_by_default() {
        assert_eq!(Timers::UDP.until_t2(), Duration::from_millis(3_500));
        assert_eq!(Timers { t1: Duration::ZERO, ..Timers::UDP }.until_t2(), Duration::ZERO);
    }

    #[test]
    fn timer_d_is_never_shorter_than_32_seconds() {
        assert_eq!(Timers { t1: Duration::from_millis(10), ..Timers::UDP }.d(), TIMER_D_MIN);
        assert_eq!(Timers { t1: Duration::from_secs(1), ..Timers::UDP }.d(), Duration::from_secs(64));
        assert_eq!(Timers::RELIABLE.d(), Duration::ZERO);
    }
}
