//! One attached edge's requests on their way through the engine.
//!
//! Several batches are in progress at a time, but never two that touch the same AoR: what an edge says about one AoR takes effect in
//! the order in which it was said. Reports have a lane of their own, so that no REGISTER waits behind a recall (P5).

use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use redial_core::link::{Downlink, Event, Reply, Request};
use redial_core::{Aor, EdgeGateway, Pair, PolicySet, WatchStore};
use redial_runtime::clock;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};

use crate::engine::Engine;
use crate::hub::Attachment;
use crate::metrics::{Dropped, Metrics};

/// Batches of one edge in progress at a time: enough to keep the store's pipeline busy, few enough to bound what a crash loses.
const IN_PROGRESS: usize = 8;

/// Batches that wait for their turn before the sender has to; the edge's own queue is behind that.
pub(crate) const WAITING: usize = 64;

/// Frames on their way to a slow edge. A frame holds the replies of one batch.
pub(crate) const DOWNLINKS: usize = 1024;

/// A batch and when it came.
#[derive(Debug)]
struct Arrived {
    at: Instant,
    requests: Vec<Request>,
}

/// Runs until the edge is gone or its attachment is over.
pub(crate) async fn run<S: WatchStore, G: EdgeGateway>(
    engine: Arc<Engine<S, G>>,
    metrics: Arc<Metrics>,
    attachment: Attachment,
    mut requests: mpsc::Receiver<Vec<Request>>,
    mut policies: watch::Receiver<Arc<PolicySet>>,
) {
    let (reports, reported) = mpsc::channel(WAITING);
    let lane = Lane { engine, metrics, downlinks: attachment.downlinks.clone() };
    let reporting = tokio::spawn(in_order(lane.clone(), reported, pair_of));
    let (events, arrived) = mpsc::channel(1);
    let handling = tokio::spawn(in_order(lane.clone(), arrived, aors_of));
    let mut news = true;
    loop {
        tokio::select! {
            () = attachment.over.cancelled() => break,
            batch = requests.recv() => {
                let Some(batch) = batch else { break };
                let at = clock::instant();
                let (said, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(|r| is_report(&r.event));
                if !said.is_empty() && let Err(refused) = reports.try_send(Arrived { at, requests: said }) {
                    lane.metrics.dropped(Dropped::Report, refused.into_inner().requests.len());
                }
                if !rest.is_empty() && events.send(Arrived { at, requests: rest }).await.is_err() {
                    break;
                }
            }
            changed = policies.changed(), if news => match changed {
                Ok(()) => {
                    let set = policies.borrow_and_update().clone();
                    let frame = Downlink { policies: Some(set), ..Downlink::default() };
                    tokio::select! {
                        sent = attachment.downlinks.send(frame) => if sent.is_err() { break },
                        () = attachment.over.cancelled() => break,
                    }
                }
                Err(_) => news = false,
            },
        }
    }
    drop((reports, events));
    // What is in progress still changes the store, and its replies still reach an edge that reads.
    let _ = tokio::join!(reporting, handling);
}

struct Lane<S, G> {
    engine: Arc<Engine<S, G>>,
    metrics: Arc<Metrics>,
    downlinks: mpsc::Sender<Downlink>,
}

impl<S, G> Clone for Lane<S, G> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), metrics: self.metrics.clone(), downlinks: self.downlinks.clone() }
    }
}

impl<S: WatchStore, G: EdgeGateway> Lane<S, G> {
    async fn handle(self, batch: Arrived) {
        let Arrived { at, mut requests } = batch;
        let waited = clock::instant().saturating_duration_since(at);
        let all = requests.len();
        // Nobody waits for the answer to a report, and what it reports is as true as before.
        requests.retain(|r| waited < r.timeout || is_report(&r.event));
        self.metrics.dropped(Dropped::StaleRequest, all - requests.len());
        if requests.is_empty() {
            return;
        }
        let send = |replies| {
            self.metrics.batch(clock::instant().saturating_duration_since(at));
            self.reply(replies);
        };
        self.engine.handle_then(clock::unix(), requests, send).await;
    }

    fn reply(&self, replies: Vec<(u64, Reply)>) {
        let frame = Downlink { replies, ..Downlink::default() };
        if let Err(mpsc::error::TrySendError::Full(frame)) = self.downlinks.try_send(frame) {
            self.metrics.dropped(Dropped::Reply, frame.replies.len());
        }
    }
}

/// Handles batches side by side as long as they share no key.
async fn in_order<S, G, K>(lane: Lane<S, G>, mut batches: mpsc::Receiver<Arrived>, keys_of: fn(&Request, &mut Vec<K>))
where
    S: WatchStore,
    G: EdgeGateway,
    K: Eq + Hash,
{
    let mut busy = Busy::default();
    let mut running = JoinSet::new();
    while let Some(batch) = batches.recv().await {
        let mut keys = Vec::with_capacity(batch.requests.len());
        batch.requests.iter().for_each(|request| keys_of(request, &mut keys));
        while let Some(ended) = running.try_join_next_with_id() {
            busy.release(ended);
        }
        while running.len() >= IN_PROGRESS || busy.holds_any(&keys) {
            match running.join_next_with_id().await {
                Some(ended) => busy.release(ended),
                None => break,
            }
        }
        let id = running.spawn(lane.clone().handle(batch)).id();
        busy.hold(id, keys);
    }
    while let Some(ended) = running.join_next_with_id().await {
        busy.release(ended);
    }
}

/// Keys of the batches in progress.
struct Busy<K> {
    keys: FxHashSet<Arc<K>>,
    of: FxHashMap<Id, Vec<Arc<K>>>,
}

impl<K> Default for Busy<K> {
    fn default() -> Self {
        Self { keys: FxHashSet::default(), of: FxHashMap::default() }
    }
}

impl<K: Eq + Hash> Busy<K> {
    fn holds_any(&self, keys: &[K]) -> bool {
        !self.keys.is_empty() && keys.iter().any(|key| self.keys.contains(key))
    }

    fn hold(&mut self, id: Id, keys: Vec<K>) {
        let keys: Vec<Arc<K>> = keys.into_iter().map(Arc::new).collect();
        self.keys.extend(keys.iter().cloned());
        self.of.insert(id, keys);
    }

    fn release(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "a batch was not handled to its end");
                error.id()
            }
        };
        for key in self.of.remove(&id).unwrap_or_default() {
            self.keys.remove(&key);
        }
    }
}

fn is_report(event: &Event) -> bool {
    matches!(event, Event::RecallReport(_) | Event::CallReport(_))
}

fn aors_of(request: &Request, keys: &mut Vec<Aor>) {
    keys.push(request.event.key().clone());
    if let Event::Route(route) = &request.event {
        keys.extend(route.caller.clone());
    }
}

fn pair_of(request: &Request, keys: &mut Vec<Pair>) {
    match &request.event {
        Event::RecallReport(report) => keys.push(report.pair.clone()),
        Event::CallReport(report) => keys.push(report.pair.clone()),
        Event::Register(_) | Event::Route(_) | Event::Locate(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redial_core::Fence;
    use redial_core::link::{CallReport, CallResult, Locate};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::store::MemoryStore;
    use crate::{Coordinator, Setup};

    #[tokio::test]
    async fn a_report_is_taken_in_however_late_it_is() {
        let meter = opentelemetry::global::meter("test");
        let policies = watch::channel(Arc::default()).1;
        let stop = CancellationToken::new();
        let coordinator = Coordinator::start(Arc::new(MemoryStore::new()), policies.clone(), None, Setup::default(), &meter, stop);
        let timers = Arc::new(crate::timers::Timers::new(8));
        let metrics = Arc::new(Metrics::new(&meter));
        let engine = Engine::new(Arc::new(MemoryStore::new()), coordinator.hub().clone(), policies, timers, metrics.clone());
        let (downlinks, mut answered) = mpsc::channel(8);
        let lane = Lane { engine: Arc::new(engine), metrics: metrics.clone(), downlinks };
        let aor = Aor::new("bob@example.com");
        let pair = Pair { callee: aor.clone(), caller: Aor::new("alice@example.com") };
        let timeout = Duration::from_secs(1);
        let report = Event::CallReport(CallReport { pair, fence: Fence(1), result: CallResult::Established });
        let requests = [Event::Locate(Locate { aor }), report].into_iter().zip(1..).map(|(event, id)| Request { id, timeout, event });
        let at = clock::instant().checked_sub(timeout * 2).expect("the machine has been up for two seconds");
        lane.handle(Arrived { at, requests: requests.collect() }).await;
        assert_eq!(answered.recv().await.map(|frame| frame.replies), Some(vec![(2, Reply::Noted)]));
        assert_eq!(metrics.dropped_count(Dropped::StaleRequest), 1);
        coordinator.stop().await;
    }
}
