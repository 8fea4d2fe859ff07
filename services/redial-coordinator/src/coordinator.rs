//! One replica: the engine, the edges attached to it, and the tasks that keep it going. A library: the binary and `redial standalone`
//! give it a store, policies and a meter.

mod sweeping;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use opentelemetry::metrics::Meter;
use redial_core::link::{Downlink, Request};
use redial_core::store::StoreError;
use redial_core::{EdgeId, Pair, PolicySet, UnixMillis, WatchStore};
use redial_runtime::clock;
use redial_runtime::discovery::Found;
use redial_runtime::telemetry::Spans;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::credentials::CredentialSet;
use crate::engine::Engine;
use crate::hub::{Attachment, Closed, Hub};
use crate::lane;
use crate::metrics::Metrics;
use crate::timers::{Timers, Wake};

/// Wake-ups that are kept; what does not fit is found by the sweep.
const TIMERS: usize = 100_000;

/// Wake-ups that are worked on at a time.
const AWAKE: usize = 64;

/// Shards whose idle watches are looked at with every sweep: all of them once in 64 sweeps, which is five minutes.
const AUDITED: u16 = 16;

/// Clocks may differ by this much: half of what a lease outlives its recall by, as two machines may be off in opposite directions.
const CLOCK_SKEW: Duration = Duration::from_secs(1);

/// How a replica is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Name of this replica, for the operator.
    pub replica: String,
    /// Kind of store, for the operator: `redis` or `memory`.
    pub store_kind: &'static str,
    /// Time between two sweeps of the due index. Default 5 s.
    pub sweep_interval: Duration,
    /// What policies mean by the names of `credentials`. Default: no entry.
    pub credentials: watch::Receiver<Arc<CredentialSet>>,
    /// All replicas, this one included under its name: they share the sweep. None: this one does all of it.
    pub peers: Option<Found>,
    /// Where the spans of traced watches go; nothing is traced when they go nowhere. Default nowhere.
    pub spans: Spans,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            replica: "coordinator".into(),
            store_kind: "memory",
            sweep_interval: Duration::from_secs(5),
            peers: None,
            credentials: watch::channel(Arc::default()).1,
            spans: Spans::default(),
        }
    }
}

/// What a store tells about watches that ran out. Hints only: the sweep finds the same.
#[derive(Debug)]
pub struct Hints {
    /// Pairs whose record was dropped just now.
    pub expired: mpsc::Receiver<Pair>,
    /// Whether notifications arrive at present.
    pub on: watch::Receiver<bool>,
    /// Hints that did not fit the channel.
    pub dropped: Arc<AtomicU64>,
}

/// Hints that may wait: what runs out within a moment on a large installation. More are dropped and left to the sweep.
pub const HINTS: usize = 16_384;

/// An edge's end of its link.
#[derive(Debug)]
pub struct LocalLink {
    /// Batches of requests. Waits when the coordinator is busy.
    pub requests: mpsc::Sender<Vec<Request>>,
    /// Replies, orders and policies; the policies come first. Ends when the coordinator closes the link.
    pub downlinks: mpsc::Receiver<Downlink>,
    closed: Arc<OnceLock<Closed>>,
}

impl LocalLink {
    /// Why `downlinks` ended.
    #[must_use]
    pub fn closed(&self) -> Option<Closed> {
        self.closed.get().copied()
    }
}

/// One running replica. Cloning shares it.
#[derive(Debug)]
pub struct Coordinator<S> {
    inner: Arc<Inner<S>>,
}

impl<S> Clone for Coordinator<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

#[derive(Debug)]
struct Inner<S> {
    engine: Arc<Engine<S, Hub>>,
    hub: Hub,
    metrics: Arc<Metrics>,
    timers: Arc<Timers>,
    policies: watch::Receiver<Arc<PolicySet>>,
    setup: Setup,
    started: Instant,
    notifications: watch::Receiver<bool>,
    unheard: Arc<AtomicU64>,
    /// Milliseconds between this machine's clock and the store's.
    clock_skew: AtomicU64,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl<S: WatchStore> Coordinator<S> {
    /// Starts the replica's tasks on the current runtime. They end with `stop` or [`Self::stop`].
    #[must_use]
    pub fn start(
        store: Arc<S>,
        policies: watch::Receiver<Arc<PolicySet>>,
        hints: Option<Hints>,
        setup: Setup,
        meter: &Meter,
        stop: CancellationToken,
    ) -> Self {
        let hub = Hub::default();
        let metrics = Arc::new(Metrics::new(meter));
        let timers = Arc::new(Timers::new(TIMERS));
        let engine = Engine::new(store, hub.clone(), policies.clone(), timers.clone(), metrics.clone());
        let engine = Arc::new(engine.with_credentials(setup.credentials.clone()).with_spans(setup.spans.clone()));
        let (expired, notifications, unheard) = match hints {
            Some(hints) => (Some(hints.expired), hints.on, hints.dropped),
            None => (None, watch::channel(false).1, Arc::default()),
        };
        let tasks = TaskTracker::new();
        let inner = Inner {
            engine,
            hub,
            metrics,
            timers,
            policies,
            setup,
            started: clock::instant(),
            notifications,
            unheard,
            clock_skew: AtomicU64::new(0),
            stop,
            tasks,
        };
        let coordinator = Self { inner: Arc::new(inner) };
        coordinator.gauges(meter);
        coordinator.spawn(|c| async move { c.keep_time().await });
        coordinator.spawn(|c| async move { c.keep_sweeping().await });
        if let Some(expired) = expired {
            coordinator.spawn(|c| async move { c.take_hints(expired).await });
        }
        coordinator
    }

    /// Opens a link for `edge`. A link that this edge had before ends.
    #[must_use]
    pub fn attach(&self, edge: EdgeId, version: &str) -> LocalLink {
        let (requests, asked) = mpsc::channel(lane::WAITING);
        let (downlinks, answered) = mpsc::channel(lane::DOWNLINKS);
        let closed = Arc::<OnceLock<Closed>>::default();
        let over = self.inner.stop.child_token();
        let attachment = Attachment { edge, version: version.into(), downlinks, closed: closed.clone(), over };
        let mut policies = self.inner.policies.clone();
        let first = Downlink { policies: Some(policies.borrow_and_update().clone()), ..Downlink::default() };
        // An empty queue of more than one frame takes it.
        let _ = attachment.downlinks.try_send(first);
        if self.inner.stop.is_cancelled() {
            attachment.close(Closed::Stopping);
        } else {
            self.inner.hub.insert(attachment.clone());
        }
        let inner = self.inner.clone();
        self.inner.tasks.spawn(async move {
            tracing::info!(edge = attachment.edge.as_str(), "edge attached");
            lane::run(inner.engine.clone(), inner.metrics.clone(), attachment.clone(), asked, policies).await;
            inner.hub.remove(&attachment);
            tracing::info!(edge = attachment.edge.as_str(), "edge detached");
        });
        LocalLink { requests, downlinks: answered, closed }
    }

    #[must_use]
    pub fn engine(&self) -> &Engine<S, Hub> {
        &self.inner.engine
    }

    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.inner.setup
    }

    #[must_use]
    pub fn uptime(&self) -> Duration {
        clock::instant().saturating_duration_since(self.inner.started)
    }

    /// Whether expired-key notifications arrive at present.
    #[must_use]
    pub fn notifications(&self) -> bool {
        *self.inner.notifications.borrow()
    }

    /// One round trip to the store.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.inner.engine.store().ping().await
    }

    /// Closes every link, finishes what is in progress, leaves to the others what is not, and ends.
    pub async fn stop(&self) {
        self.inner.stop.cancel();
        self.inner.hub.close_all();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.hand_over().await;
    }

    fn spawn<F: Future<Output = ()> + Send + 'static>(&self, task: impl FnOnce(Self) -> F) {
        let stop = self.inner.stop.clone();
        let work = task(self.clone());
        self.inner.tasks.spawn(async move {
            stop.run_until_cancelled(work).await;
        });
    }

    async fn keep_time(&self) {
        let awake = Arc::new(Semaphore::new(AWAKE));
        let timers = &self.inner.timers;
        loop {
            // Never closed. First the permit: what was taken out while waiting for one would be forgotten by a stop.
            let Ok(mut permit) = awake.clone().acquire_owned().await else { return };
            while let Some(wake) = timers.pop(clock::unix()) {
                let engine = self.inner.engine.clone();
                self.inner.tasks.spawn(async move {
                    engine.wake(clock::unix(), wake).await;
                    drop(permit);
                });
                permit = match awake.clone().acquire_owned().await {
                    Ok(permit) => permit,
                    Err(_) => return,
                };
            }
            drop(permit);
            let next = timers.next();
            tokio::select! {
                () = timers.sooner() => {}
                () = until(next) => {}
            }
        }
    }

    async fn take_hints(&self, mut expired: mpsc::Receiver<Pair>) {
        while let Some(pair) = expired.recv().await {
            self.inner.timers.schedule(clock::unix(), Wake::Look(pair));
        }
    }

    fn gauges(&self, meter: &Meter) {
        let gauge = |name: &'static str, description: &'static str, read: fn(&Inner<S>) -> u64| {
            let inner = Arc::downgrade(&self.inner);
            meter
                .u64_observable_gauge(name)
                .with_description(description)
                .with_callback(move |observer| {
                    if let Some(inner) = inner.upgrade() {
                        observer.observe(read(&inner), &[]);
                    }
                })
                .build();
        };
        gauge("redial.watches", "Watches of all replicas, each shard as it was last counted", |c| c.engine.watches());
        gauge("redial.coordinator.edges", "Edges attached to this replica", |c| c.hub.len() as u64);
        gauge("redial.coordinator.timers", "Wake-ups this replica has in mind", |c| c.timers.len() as u64);
        gauge("redial.coordinator.downlinks", "Frames waiting for edges to read them", |c| c.hub.queued() as u64);
        gauge("redial.store.hints_dropped", "Expired-key notifications that found their queue full", |c| c.unheard.load(Ordering::Relaxed));
        gauge("redial.store.clock_skew", "Milliseconds between this machine's clock and the store's", |c| {
            c.clock_skew.load(Ordering::Relaxed)
        });
        gauge("redial.store.notifications", "1 while expired-key notifications arrive", |c| u64::from(*c.notifications.borrow()));
    }
}

async fn until(at: Option<UnixMillis>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(clock::unix())).await,
        None => std::future::pending().await,
    }
}
