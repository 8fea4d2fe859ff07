//! The one place that reads clocks. Everything below the shells takes `now` as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use redial_core::UnixMillis;

/// Both clocks at one moment: the monotonic one for timers, the wall clock for whatever is stored or compared between processes.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub instant: Instant,
    pub unix: UnixMillis,
}

/// Reads both clocks.
#[must_use]
pub fn now() -> Now {
    Now { instant: instant(), unix: unix() }
}

/// The monotonic clock.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the shell's one reading of the monotonic clock")]
pub fn instant() -> Instant {
    Instant::now()
}

/// The wall clock; a time before 1970 reads as 0.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the shell's one reading of the wall clock")]
pub fn unix() -> UnixMillis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
