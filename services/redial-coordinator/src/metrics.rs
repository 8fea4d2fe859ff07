//! What the coordinator counts. Counters are plain atomics, read by OpenTelemetry when somebody asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use redial_core::EndReason;
use redial_core::link::NotWatched;
use redial_core::signals::Balance;

/// Rungs of the recall ladder that are told apart; higher ones count as the last.
const RUNGS: usize = 4;

/// Upper bounds in seconds of the batch latency histogram: from an in-memory batch to a store that is about to time out.
const LATENCY_BOUNDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];

/// Upper bounds in seconds of how long a pair waited for each other: from somebody who comes back at once to the longest period.
const WAITED_BOUNDS: [f64; 11] = [5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0, 86_400.0];

/// Upper bounds in seconds from REGISTER to recall: around `settle`, up to what is found by a sweep or waits for edges.
const DELAY_BOUNDS: [f64; 9] = [0.1, 0.5, 1.0, 1.5, 2.0, 5.0, 10.0, 30.0, 120.0];

/// What became of a recall, one step at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecallStep {
    /// The order went to an edge.
    Ordered,
    /// The edge's link could not take the order; the lease brings it back.
    Undelivered,
    /// 2xx to the REFER.
    Accepted,
    Refused,
    Unreachable,
    /// Asked, and no answer.
    Silent,
    /// A NOTIFY reported the new call's outcome.
    Notified,
    /// Rung 3: it rang and nobody answered.
    Unanswered,
    /// Rung 3: busy or declined.
    Declined,
}

impl RecallStep {
    const ALL: [Self; 9] = [
        Self::Ordered,
        Self::Undelivered,
        Self::Accepted,
        Self::Refused,
        Self::Unreachable,
        Self::Silent,
        Self::Notified,
        Self::Unanswered,
        Self::Declined,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Undelivered => "undelivered",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::Notified => "notified",
            Self::Unanswered => "unanswered",
            Self::Declined => "declined",
        }
    }
}

/// How far a probe came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeStep {
    /// The order went to an edge.
    Ordered,
    /// It was answered, and the callee has a binding again.
    Reinstated,
}

impl ProbeStep {
    const ALL: [Self; 2] = [Self::Ordered, Self::Reinstated];

    fn as_str(self) -> &'static str {
        match self {
            Self::Ordered => "ordered",
            Self::Reinstated => "reinstated",
        }
    }
}

/// Kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Register,
    Route,
    Locate,
    Report,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Register, Self::Route, Self::Locate, Self::Report];

    fn as_str(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Route => "route",
            Self::Locate => "locate",
            Self::Report => "report",
        }
    }
}

/// What was given up because a bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Replies to an edge that reads too slowly.
    Reply,
    /// Requests that were too old when their turn came.
    StaleRequest,
    /// Reports that found their queue full.
    Report,
    /// Items of a frame that were not understood.
    Unreadable,
    /// Wake-ups that found the table full.
    Timer,
}

impl Dropped {
    const ALL: [Self; 5] = [Self::Reply, Self::StaleRequest, Self::Report, Self::Unreadable, Self::Timer];

    fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::StaleRequest => "stale_request",
            Self::Report => "report",
            Self::Unreadable => "unreadable",
            Self::Timer => "timer",
        }
    }
}

/// What the store was asked to do and did not say whether it did: the difference in the books after an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsure {
    Armed,
    Ended,
}

impl Unsure {
    const ALL: [Self; 2] = [Self::Armed, Self::Ended];

    fn as_str(self) -> &'static str {
        match self {
            Self::Armed => "armed",
            Self::Ended => "ended",
        }
    }
}

/// All instruments of one coordinator.
#[derive(Debug)]
pub struct Metrics {
    counts: Arc<Counts>,
    batch_seconds: Histogram<f64>,
    reconnect_seconds: Histogram<f64>,
    recall_delay_seconds: Histogram<f64>,
}

#[derive(Debug, Default)]
struct Counts {
    armed: AtomicU64,
    ended: [AtomicU64; EndReason::ALL.len()],
    refused: [AtomicU64; NotWatched::ALL.len()],
    recalls: [[AtomicU64; RecallStep::ALL.len()]; RUNGS],
    probes: [AtomicU64; ProbeStep::ALL.len()],
    requests: [AtomicU64; Kind::ALL.len()],
    failed: [AtomicU64; Kind::ALL.len()],
    dropped: [AtomicU64; Dropped::ALL.len()],
    unsure: [AtomicU64; Unsure::ALL.len()],
    stale_reports: AtomicU64,
    store_errors: AtomicU64,
    sweeps: AtomicU64,
    signals_saved: AtomicU64,
    signals_spent: AtomicU64,
}

impl Metrics {
    /// Instruments on `meter`.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        let counts = Arc::<Counts>::default();
        observe(meter, "redial.watches.armed", "Watches stored", &counts, |c, see| see(&c.armed, &[]));
        observe(meter, "redial.watches.ended", "Watches ended, by reason", &counts, |c, see| {
            for (reason, n) in EndReason::ALL.iter().zip(&c.ended) {
                see(n, &[KeyValue::new("reason", reason.as_str())]);
            }
        });
        observe(meter, "redial.watches.unsure", "Watches that may have been stored or ended: the store did not say", &counts, |c, see| {
            for (what, n) in Unsure::ALL.iter().zip(&c.unsure) {
                see(n, &[KeyValue::new("what", what.as_str())]);
            }
        });
        observe(meter, "redial.watches.refused", "INVITEs to offline callees that armed no watch, by reason", &counts, |c, see| {
            for (reason, n) in NotWatched::ALL.iter().zip(&c.refused) {
                see(n, &[KeyValue::new("reason", reason.as_str())]);
            }
        });
        observe(meter, "redial.recalls", "Recalls, by rung of the ladder and what became of them", &counts, |c, see| {
            for (rung, steps) in (1..).zip(&c.recalls) {
                for (step, n) in RecallStep::ALL.iter().zip(steps) {
                    see(n, &[KeyValue::new("rung", i64::from(rung)), KeyValue::new("result", step.as_str())]);
                }
            }
        });
        observe(
            meter,
            "redial.probes",
            "OPTIONS to watched callees whose registration ran out, and what came of them",
            &counts,
            |c, see| {
                for (step, n) in ProbeStep::ALL.iter().zip(&c.probes) {
                    see(n, &[KeyValue::new("result", step.as_str())]);
                }
            },
        );
        observe(meter, "redial.coordinator.requests", "Requests from edges, by kind", &counts, |c, see| {
            for (kind, n) in Kind::ALL.iter().zip(&c.requests) {
                see(n, &[KeyValue::new("kind", kind.as_str())]);
            }
        });
        observe(meter, "redial.coordinator.failures", "Requests answered with a failure, by kind", &counts, |c, see| {
            for (kind, n) in Kind::ALL.iter().zip(&c.failed) {
                see(n, &[KeyValue::new("kind", kind.as_str())]);
            }
        });
        observe(meter, "redial.coordinator.dropped", "What was given up because a bound was reached", &counts, |c, see| {
            for (what, n) in Dropped::ALL.iter().zip(&c.dropped) {
                see(n, &[KeyValue::new("what", what.as_str())]);
            }
        });
        observe(meter, "redial.coordinator.stale_reports", "Reports about an older state of a watch", &counts, |c, see| {
            see(&c.stale_reports, &[]);
        });
        observe(meter, "redial.store.errors", "Store operations that failed", &counts, |c, see| see(&c.store_errors, &[]));
        observe(meter, "redial.coordinator.sweeps", "Sweeps of the due index", &counts, |c, see| see(&c.sweeps, &[]));
        let batch_seconds = meter
            .f64_histogram("redial.coordinator.batch.duration")
            .with_unit("s")
            .with_description("From a batch of requests to its replies")
            .with_boundaries(LATENCY_BOUNDS.to_vec())
            .build();
        let saved = "SIP messages that presence with an hourly refresh would have spent on the ended watches, minus what they cost";
        observe(meter, "redial.signals.saved", saved, &counts, |c, see| see(&c.signals_saved, &[]));
        let spent = "SIP messages that the recalls of the ended watches cost at most";
        observe(meter, "redial.signals.spent", spent, &counts, |c, see| see(&c.signals_spent, &[]));
        let seconds = |name, description, bounds: &[f64]| {
            meter.f64_histogram(name).with_unit("s").with_description(description).with_boundaries(bounds.to_vec()).build()
        };
        let reconnect_seconds =
            seconds("redial.reconnect.duration", "From the call that was missed to the call that was answered", &WAITED_BOUNDS);
        let recall_delay_seconds =
            seconds("redial.recall.delay", "From the callee's REGISTER to the order of the first recall", &DELAY_BOUNDS);
        Self { counts, batch_seconds, reconnect_seconds, recall_delay_seconds }
    }

    pub(crate) fn armed(&self) {
        self.counts.armed.fetch_add(1, Relaxed);
    }

    pub(crate) fn ended(&self, reason: EndReason) {
        add(&EndReason::ALL, &self.counts.ended, &reason, 1);
    }

    pub(crate) fn unsure(&self, what: Unsure, n: usize) {
        add(&Unsure::ALL, &self.counts.unsure, &what, n as u64);
    }

    pub(crate) fn refused(&self, why: NotWatched) {
        add(&NotWatched::ALL, &self.counts.refused, &why, 1);
    }

    pub(crate) fn recall(&self, rung: u8, step: RecallStep) {
        let rung = usize::from(rung).clamp(1, RUNGS) - 1;
        add(&RecallStep::ALL, &self.counts.recalls[rung], &step, 1);
    }

    pub(crate) fn probe(&self, step: ProbeStep) {
        add(&ProbeStep::ALL, &self.counts.probes, &step, 1);
    }

    pub(crate) fn requests(&self, kind: Kind, n: usize) {
        add(&Kind::ALL, &self.counts.requests, &kind, n as u64);
    }

    pub(crate) fn failed(&self, kind: Kind, n: usize) {
        add(&Kind::ALL, &self.counts.failed, &kind, n as u64);
    }

    pub(crate) fn dropped(&self, what: Dropped, n: usize) {
        add(&Dropped::ALL, &self.counts.dropped, &what, n as u64);
    }

    pub(crate) fn stale_report(&self) {
        self.counts.stale_reports.fetch_add(1, Relaxed);
    }

    pub(crate) fn store_error(&self) {
        self.counts.store_errors.fetch_add(1, Relaxed);
    }

    pub(crate) fn swept(&self) {
        self.counts.sweeps.fetch_add(1, Relaxed);
    }

    pub(crate) fn batch(&self, took: Duration) {
        self.batch_seconds.record(took.as_secs_f64(), &[]);
    }

    pub(crate) fn reconnected(&self, waited: Duration) {
        self.reconnect_seconds.record(waited.as_secs_f64(), &[]);
    }

    pub(crate) fn recall_delay(&self, took: Duration) {
        self.recall_delay_seconds.record(took.as_secs_f64(), &[]);
    }

    pub(crate) fn signals(&self, balance: Balance) {
        self.counts.signals_saved.fetch_add(balance.saved(), Relaxed);
        self.counts.signals_spent.fetch_add(balance.spent, Relaxed);
    }

    /// Watches stored since the start.
    #[must_use]
    pub fn armed_count(&self) -> u64 {
        self.counts.armed.load(Relaxed)
    }

    /// Watches ended for this reason since the start.
    #[must_use]
    pub fn ended_count(&self, reason: EndReason) -> u64 {
        load(&EndReason::ALL, &self.counts.ended, &reason)
    }

    /// Watches that may or may not have been stored or ended since the start.
    #[must_use]
    pub fn unsure_count(&self, what: Unsure) -> u64 {
        load(&Unsure::ALL, &self.counts.unsure, &what)
    }

    /// Watches refused for this reason since the start.
    #[must_use]
    pub fn refused_count(&self, why: NotWatched) -> u64 {
        load(&NotWatched::ALL, &self.counts.refused, &why)
    }

    /// What was dropped since the start.
    #[must_use]
    pub fn dropped_count(&self, what: Dropped) -> u64 {
        load(&Dropped::ALL, &self.counts.dropped, &what)
    }

    /// Store operations that failed since the start.
    #[must_use]
    pub fn store_error_count(&self) -> u64 {
        self.counts.store_errors.load(Relaxed)
    }
}

fn observe<F>(meter: &Meter, name: &'static str, description: &'static str, counts: &Arc<Counts>, read: F)
where
    F: Fn(&Counts, &mut dyn FnMut(&AtomicU64, &[KeyValue])) + Send + Sync + 'static,
{
    let counts = counts.clone();
    meter
        .u64_observable_counter(name)
        .with_description(description)
        .with_callback(move |observer| read(&counts, &mut |n, labels| observer.observe(n.load(Relaxed), labels)))
        .build();
}

fn add<T: PartialEq>(all: &[T], counts: &[AtomicU64], which: &T, n: u64) {
    if let Some(i) = all.iter().position(|one| one == which) {
        counts[i].fetch_add(n, Relaxed);
    }
}

fn load<T: PartialEq>(all: &[T], counts: &[AtomicU64], which: &T) -> u64 {
    all.iter().position(|one| one == which).map_or(0, |i| counts[i].load(Relaxed))
}
