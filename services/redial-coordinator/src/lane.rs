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
        requests.retain(|r| waited < r.timeout);
        self.metrics.dropped(Dropped::StaleRequest, all - requests.len());
        if requests.is_empty() {
            return;
        }
        let replies = self.engine.handle(clock::unix(), requests).await;
        self.metrics.batch(clock::instant().saturating_duration_since(at));
        self.reply(replies);
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
    running.join_all().await;
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
