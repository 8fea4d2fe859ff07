//! How many watches there are, for the cap on all of them and for the operator.
//!
//! Each shard as it was last counted, by whichever sweep of this replica that was, plus what was armed and ended here since. So a replica
//! that sweeps its own share at every interval, and those of others at every fourth, knows the whole without asking for more.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use redial_core::Shard;
use redial_core::ids::SHARDS;

#[derive(Debug)]
pub(super) struct Census {
    shards: Box<[AtomicU64]>,
    /// Their sum, because an INVITE asks for it.
    total: AtomicU64,
}

impl Default for Census {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(), total: AtomicU64::new(0) }
    }
}

impl Census {
    pub(super) fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    pub(super) fn counted(&self, shard: Shard, watches: u64) {
        if let Some(count) = self.shards.get(usize::from(shard.0)) {
            let before = count.swap(watches, Relaxed);
            // Wraps around and back.
            self.total.fetch_add(watches.wrapping_sub(before), Relaxed);
        }
    }

    pub(super) fn armed(&self, shard: Shard) {
        if let Some(count) = self.shards.get(usize::from(shard.0)) {
            count.fetch_add(1, Relaxed);
            self.total.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn ended(&self, shard: Shard) {
        let count = self.shards.get(usize::from(shard.0));
        if count.is_some_and(|count| count.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok()) {
            self.total.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_counts_as_last_seen_plus_what_happened_here() {
        let census = Census::default();
        census.counted(Shard(1), 10);
        census.counted(Shard(2), 5);
        census.armed(Shard(2));
        assert_eq!(census.total(), 16);
        census.counted(Shard(1), 3);
        assert_eq!(census.total(), 9);
        census.ended(Shard(1));
        // Armed elsewhere and not counted yet.
        census.ended(Shard(3));
        assert_eq!(census.total(), 8);
        census.counted(Shard(1), 0);
        census.counted(Shard(2), 0);
        assert_eq!(census.total(), 0);
    }
}
