//! A store as its client sees it: how long every operation takes, how many fail, how many are under way.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use redial_core::link::Register;
use redial_core::store::{ArmOutcome, Due, LastContacts, Lesson, Lookup, LookupOp, RegisterOutcome, Step, StepOutcome, StoreError, Turn};
use redial_core::{Aor, Binding, Fence, Pair, Shard, UnixMillis, Watch, WatchStore};
use redial_runtime::clock;

/// Upper bounds in seconds: from a pipeline on the same machine to an operation that is given up.
const BOUNDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0];

const KINDS: [&str; 22] = [
    "register",
    "lookup",
    "bindings",
    "arm",
    "load",
    "step",
    "end",
    "postpone",
    "hasten",
    "release_turn",
    "queue",
    "parked",
    "due",
    "list",
    "remember",
    "remembered",
    "claim_probe",
    "learned",
    "learn",
    "lessons",
    "clock",
    "ping",
];

/// Measures the store in it. An operation is one pipeline, however many requests it serves.
#[derive(Debug)]
pub struct Timed<S> {
    store: S,
    seconds: Histogram<f64>,
    errors: Counter<u64>,
    open: Arc<AtomicU64>,
}

impl<S> Timed<S> {
    #[must_use]
    pub fn new(store: S, meter: &Meter) -> Self {
        let seconds = meter.f64_histogram("redial.store.operation.duration").with_unit("s");
        let seconds = seconds.with_description("Store operations as the coordinator sees them, by kind").with_boundaries(BOUNDS.to_vec());
        let errors = meter.u64_counter("redial.store.operation.errors").with_description("Store operations that failed, by kind");
        let open = Arc::<AtomicU64>::default();
        let read = open.clone();
        let gauge = meter.u64_observable_gauge("redial.store.operations_open").with_description("Store operations without an answer yet");
        gauge.with_callback(move |observer| observer.observe(read.load(Relaxed), &[])).build();
        let errors = errors.build();
        // A series that is there before its first error can be watched for it.
        for kind in KINDS {
            errors.add(0, &[KeyValue::new("operation", kind)]);
        }
        Self { store, seconds: seconds.build(), errors, open }
    }

    async fn measure<T>(&self, kind: &'static str, operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let began = clock::instant();
        self.open.fetch_add(1, Relaxed);
        let open = Open(&self.open);
        let result = operation.await;
        drop(open);
        let label = [KeyValue::new("operation", kind)];
        self.seconds.record(clock::instant().saturating_duration_since(began).as_secs_f64(), &label);
        if result.is_err() {
            self.errors.add(1, &label);
        }
        result
    }
}

/// Counts down also when the one who asked has stopped waiting.
struct Open<'a>(&'a AtomicU64);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl<S: WatchStore> WatchStore for Timed<S> {
    async fn register(&self, now: UnixMillis, ops: &[Register]) -> Result<Vec<RegisterOutcome>, StoreError> {
        self.measure("register", self.store.register(now, ops)).await
    }

    async fn lookup(&self, now: UnixMillis, ops: &[LookupOp]) -> Result<Vec<Lookup>, StoreError> {
        self.measure("lookup", self.store.lookup(now, ops)).await
    }

    async fn bindings(&self, now: UnixMillis, aors: &[Aor]) -> Result<Vec<Vec<Binding>>, StoreError> {
        self.measure("bindings", self.store.bindings(now, aors)).await
    }

    async fn arm(&self, now: UnixMillis, watches: &[Watch]) -> Result<Vec<ArmOutcome>, StoreError> {
        self.measure("arm", self.store.arm(now, watches)).await
    }

    async fn load(&self, pairs: &[Pair]) -> Result<Vec<Option<Watch>>, StoreError> {
        self.measure("load", self.store.load(pairs)).await
    }

    async fn step(&self, now: UnixMillis, step: &Step) -> Result<StepOutcome, StoreError> {
        self.measure("step", self.store.step(now, step)).await
    }

    async fn end(&self, now: UnixMillis, pair: &Pair, expect: Option<Fence>, turn: Turn) -> Result<bool, StoreError> {
        self.measure("end", self.store.end(now, pair, expect, turn)).await
    }

    async fn postpone(&self, pair: &Pair, expect: Fence, due: UnixMillis) -> Result<bool, StoreError> {
        self.measure("postpone", self.store.postpone(pair, expect, due)).await
    }

    async fn hasten(&self, pairs: &[Pair], at: UnixMillis) -> Result<(), StoreError> {
        self.measure("hasten", self.store.hasten(pairs, at)).await
    }

    async fn release_turn(&self, pair: &Pair) -> Result<(), StoreError> {
        self.measure("release_turn", self.store.release_turn(pair)).await
    }

    async fn queue(&self, callee: &Aor, limit: usize) -> Result<Vec<Aor>, StoreError> {
        self.measure("queue", self.store.queue(callee, limit)).await
    }

    async fn parked(&self, caller: &Aor) -> Result<Vec<Pair>, StoreError> {
        self.measure("parked", self.store.parked(caller)).await
    }

    async fn due(&self, shards: &[Shard], now: UnixMillis, limit: usize) -> Result<Due, StoreError> {
        self.measure("due", self.store.due(shards, now, limit)).await
    }

    async fn list(&self, shard: Shard, limit: usize) -> Result<Vec<Watch>, StoreError> {
        self.measure("list", self.store.list(shard, limit)).await
    }

    async fn remember(&self, now: UnixMillis, contacts: &[LastContacts]) -> Result<(), StoreError> {
        self.measure("remember", self.store.remember(now, contacts)).await
    }

    async fn remembered(&self, now: UnixMillis, aor: &Aor) -> Result<Vec<Binding>, StoreError> {
        self.measure("remembered", self.store.remembered(now, aor)).await
    }

    async fn claim_probe(&self, now: UnixMillis, aor: &Aor, until: UnixMillis) -> Result<bool, StoreError> {
        self.measure("claim_probe", self.store.claim_probe(now, aor, until)).await
    }

    async fn learned(&self, now: UnixMillis, agent: &str) -> Result<Option<u8>, StoreError> {
        self.measure("learned", self.store.learned(now, agent)).await
    }

    async fn learn(&self, now: UnixMillis, lesson: &Lesson) -> Result<(), StoreError> {
        self.measure("learn", self.store.learn(now, lesson)).await
    }

    async fn lessons(&self, now: UnixMillis) -> Result<Vec<Lesson>, StoreError> {
        self.measure("lessons", self.store.lessons(now)).await
    }

    async fn clock(&self) -> Result<Option<UnixMillis>, StoreError> {
        self.measure("clock", self.store.clock()).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.measure("ping", self.store.ping()).await
    }
}
