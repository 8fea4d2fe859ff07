//! One log line now and then instead of one per failed request.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use redial_core::UnixMillis;
use redial_core::store::StoreError;

/// Milliseconds between two lines about the same outage.
const QUIET: u64 = 10_000;

/// Whether the store fails at present.
#[derive(Debug, Default)]
pub(super) struct Outage {
    failing: AtomicBool,
    said_at: AtomicU64,
    unsaid: AtomicU64,
}

impl Outage {
    pub(super) fn seen(&self, now: UnixMillis, error: &StoreError) {
        self.failing.store(true, Relaxed);
        let said = self.said_at.load(Relaxed);
        let due = now.0.saturating_sub(said) >= QUIET;
        if due && self.said_at.compare_exchange(said, now.0, Relaxed, Relaxed).is_ok() {
            tracing::warn!(%error, unsaid = self.unsaid.swap(0, Relaxed), "store operation failed");
        } else {
            self.unsaid.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn over(&self) {
        if self.failing.load(Relaxed) && self.failing.swap(false, Relaxed) {
            self.said_at.store(0, Relaxed);
            tracing::info!(unsaid = self.unsaid.swap(0, Relaxed), "store answers again");
        }
    }
}
