//! What becomes of the telemetry itself: whether the collector takes it, and how much is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use opentelemetry_sdk::error::OTelSdkResult;

/// Items of one signal that wait for an export; more are dropped. A span or log record is about 1 kB.
pub(super) const QUEUE: usize = 4096;

const UNKNOWN: u8 = 0;
const THERE: u8 = 1;
const AWAY: u8 = 2;

/// The collector as the exporters of all signals see it.
#[derive(Debug)]
pub(super) struct Collector {
    endpoint: String,
    state: AtomicU8,
}

/// The books of one signal.
#[derive(Debug)]
pub(super) struct Signal {
    name: &'static str,
    collector: Arc<Collector>,
    waiting: AtomicUsize,
    overflown: AtomicU64,
    lost: AtomicU64,
    exports: AtomicU64,
    failures: AtomicU64,
}

impl Collector {
    pub(super) fn new(endpoint: &str) -> Arc<Self> {
        Arc::new(Self { endpoint: endpoint.to_owned(), state: AtomicU8::new(UNKNOWN) })
    }

    /// One line when it goes away and one when it is back, whichever signal sees it first.
    fn note(&self, result: &OTelSdkResult) {
        match result {
            Ok(()) => {
                if self.state.swap(THERE, Relaxed) == AWAY {
                    tracing::info!(endpoint = self.endpoint, "the telemetry collector is back");
                }
            }
            Err(error) => {
                if self.state.swap(AWAY, Relaxed) != AWAY {
                    tracing::warn!(endpoint = self.endpoint, %error, "the telemetry collector is away: what it does not take is dropped");
                }
            }
        }
    }
}

impl Signal {
    pub(super) fn new(name: &'static str, collector: &Arc<Collector>) -> Arc<Self> {
        Arc::new(Self {
            name,
            collector: collector.clone(),
            waiting: AtomicUsize::new(0),
            overflown: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            exports: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// Room for one more item in the queue of the batch processor, which is as long as this count may get; else it is counted as dropped.
    pub(super) fn takes_one(&self) -> bool {
        if self.waiting.fetch_add(1, Relaxed) < QUEUE {
            return true;
        }
        self.waiting.fetch_sub(1, Relaxed);
        self.overflown.fetch_add(1, Relaxed);
        false
    }

    /// So many items have left the queue.
    pub(super) fn left(&self, items: usize) {
        self.waiting.fetch_sub(items, Relaxed);
    }

    /// An export of so many items is over. What failed is not sent again: the batch after it says more about now.
    pub(super) fn exported(&self, items: usize, result: &OTelSdkResult) {
        self.exports.fetch_add(1, Relaxed);
        if result.is_err() {
            self.failures.fetch_add(1, Relaxed);
            self.lost.fetch_add(items as u64, Relaxed);
        }
        self.collector.note(result);
    }
}

/// Makes the books visible; they exist only where a collector is named.
pub(super) fn register(meter: &Meter, collector: &Arc<Collector>, signals: [Arc<Signal>; 3]) {
    type Read = fn(&Signal) -> [(u64, Option<&'static str>); 2];
    let counter = |name: &'static str, description: &'static str, label: &'static str, read: Read| {
        let signals = signals.clone();
        let counter = meter.u64_observable_counter(name).with_description(description);
        let counter = counter.with_callback(move |observer| {
            for signal in &signals {
                for (value, word) in read(signal) {
                    let labels = [Some(KeyValue::new("signal", signal.name)), word.map(|word| KeyValue::new(label, word))];
                    observer.observe(value, &labels.into_iter().flatten().collect::<Vec<_>>());
                }
            }
        });
        counter.build();
    };
    counter("redial_telemetry_exports", "exports to the collector, by signal and result", "result", |s| {
        let failed = s.failures.load(Relaxed);
        [(s.exports.load(Relaxed).saturating_sub(failed), Some("ok")), (failed, Some("failed"))]
    });
    counter(
        "redial_telemetry_dropped",
        "spans, log records and metric readings that no collector got, by signal and reason",
        "reason",
        |s| [(s.overflown.load(Relaxed), Some("queue_full")), (s.lost.load(Relaxed), Some("export_failed"))],
    );
    let collector = collector.clone();
    let there = meter.u64_observable_gauge("redial_telemetry_collector_up").with_description("1 while the collector takes what it is sent");
    there.with_callback(move |observer| observer.observe(u64::from(collector.state.load(Relaxed) != AWAY), &[])).build();
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::error::OTelSdkError;

    use super::*;

    #[test]
    fn the_queue_is_bounded_and_what_does_not_fit_is_counted() {
        let signal = Signal::new("spans", &Collector::new("http://collector"));
        assert!((0..QUEUE).all(|_| signal.takes_one()));
        assert!(!signal.takes_one());
        signal.left(512);
        assert!(signal.takes_one());
        signal.exported(512, &Err(OTelSdkError::InternalFailure("away".into())));
        assert_eq!((signal.overflown.load(Relaxed), signal.lost.load(Relaxed), signal.waiting.load(Relaxed)), (1, 512, QUEUE - 511));
        assert_eq!(signal.collector.state.load(Relaxed), AWAY);
        signal.exported(1, &Ok(()));
        assert_eq!(signal.collector.state.load(Relaxed), THERE);
    }
}
