//! A latency histogram of atomics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counts durations into fixed buckets. Reading it while it is written may be off by what is in flight, never more.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; Self::BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    /// Upper bounds in microseconds, inclusive: from an in-process store to a coordinator that is about to be given up.
    pub const BOUNDS: [u64; 12] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000];

    pub fn record(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = Self::BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_micros.fetch_add(micros, Relaxed);
    }

    /// Upper bound in seconds (infinite for the last) and how many were at or below it, as Prometheus wants it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut total = 0;
        self.buckets.iter().enumerate().map(move |(i, count)| {
            total += count.load(Relaxed);
            (Self::BOUNDS.get(i).map_or(f64::INFINITY, |micros| *micros as f64 / 1e6), total)
        })
    }

    /// Sum of all durations in seconds.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum_micros.load(Relaxed) as f64 / 1e6
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|count| count.load(Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_counts_cumulative() {
        let histogram = Histogram::default();
        for micros in [50, 51, 6_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let buckets: Vec<_> = histogram.cumulative().collect();
        assert_eq!(buckets[0].1, 1);
        assert_eq!(buckets[1].1, 2);
        assert_eq!(buckets[11].1, 2);
        assert_eq!(buckets[12], (f64::INFINITY, 3));
        assert_eq!(histogram.count(), 3);
    }
}
