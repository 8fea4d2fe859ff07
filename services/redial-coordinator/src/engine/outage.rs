//! One log line now and then instead of one per failed request.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use redial_core::UnixMillis;
use redial_core::store::StoreError;

/// Milliseconds between two lines about the same outage, and without a failure until it counts as over: a store that refuses writes
/// still answers reads in between.
const QUIET: u64 = 10_000;

/// Whether the store fails at present.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failing: AtomicBool,
    failed_at: AtomicU64,
    said_at: AtomicU64,
    unsaid: AtomicU64,
}

impl Outage {
    /// True when it was said.
    pub(super) fn seen(&self, now: UnixMillis, error: &StoreError) -> bool {
        self.failing.store(true, Relaxed);
        self.failed_at.store(now.0, Relaxed);
        let said = self.said_at.load(Relaxed);
        let due = now.0.saturating_sub(said) >= QUIET && self.said_at.compare_exchange(said, now.0, Relaxed, Relaxed).is_ok();
        if due {
            tracing::warn!(%error, unsaid = self.unsaid.swap(0, Relaxed), "store operation failed");
        } else {
            self.unsaid.fetch_add(1, Relaxed);
        }
        due
    }

    /// True when it was said.
    pub(super) fn over(&self, now: UnixMillis) -> bool {
        let quiet = || now.0.saturating_sub(self.failed_at.load(Relaxed)) >= QUIET;
        let over = self.failing.load(Relaxed) && quiet() && self.failing.swap(false, Relaxed);
        if over {
            tracing::info!(unsaid = self.unsaid.swap(0, Relaxed), "store answers again");
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_refuses_every_other_operation_is_mentioned_now_and_then() {
        let outage = Outage::default();
        let error = StoreError::Unavailable("OOM command not allowed".into());
        let lines: usize = (0..60_000)
            .map(|ms| {
                let now = UnixMillis(1_000_000 + ms);
                usize::from(outage.seen(now, &error)) + usize::from(outage.over(now))
            })
            .sum();
        assert_eq!(lines, 6);
        assert!(!outage.over(UnixMillis(1_060_000)));
        assert!(outage.over(UnixMillis(1_070_000)), "nothing has failed for a while");
        assert!(!outage.over(UnixMillis(1_070_001)));
    }
}
