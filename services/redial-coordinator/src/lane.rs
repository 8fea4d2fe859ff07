//! One attached edge's requests on their way through the engine.
//!
//! One batch is in progress at a time, so what an edge says about an AoR takes effect in the order in which it was said. What arrives
//! meanwhile becomes the next batch: the busier the store, the larger the batches and the cheaper each request. Reports have a lane of
//! their own, so that no REGISTER waits behind a recall (P5).

use std::sync::Arc;
use std::time::Instant;

use redial_core::link::{Downlink, Reply, Request};
use redial_core::{EdgeGateway, PolicySet, WatchStore};
use redial_runtime::clock;
use tokio::sync::{mpsc, watch};

use crate::engine::Engine;
use crate::hub::Attachment;
use crate::metrics::{Dropped, Metrics};

/// Requests from which on a batch takes in no more: its replies stay well below the 4 MiB that a gRPC frame may have.
const FULL: usize = 256;

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
    let lane = Lane { engine, metrics, downlinks: attachment.downlinks.clone() };
    let (reports, reported) = mpsc::channel(WAITING);
    let reporting = tokio::spawn(lane.clone().in_order(reported));
    let (events, arrived) = mpsc::channel(WAITING);
    let handling = tokio::spawn(lane.clone().in_order(arrived));
    let mut news = true;
    loop {
        tokio::select! {
            () = attachment.over.cancelled() => break,
            batch = requests.recv() => {
                let Some(batch) = batch else { break };
                let at = clock::instant();
                let (said, rest) = apart(batch);
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
    /// Handles one batch after the other, each with all that waits by then.
    async fn in_order(self, mut batches: mpsc::Receiver<Arrived>) {
        while let Some(first) = batches.recv().await {
            let mut requests = Vec::with_capacity(first.requests.len());
            let at = first.at;
            self.take_in(first, &mut requests);
            while requests.len() < FULL
                && let Ok(next) = batches.try_recv()
            {
                self.take_in(next, &mut requests);
            }
            // A task of its own, so that a batch that panics takes nothing along.
            if let Err(error) = tokio::spawn(self.clone().handle(at, requests)).await {
                tracing::error!(%error, "a batch was not handled to its end");
            }
        }
    }

    async fn handle(self, at: Instant, requests: Vec<Request>) {
        if requests.is_empty() {
            return;
        }
        let send = |replies| {
            self.metrics.batch(clock::instant().saturating_duration_since(at));
            self.reply(replies);
        };
        self.engine.handle_then(clock::unix(), requests, send).await;
    }

    /// Leaves out what the edge has forgotten by now, but no report: nobody waits for its answer, and what it reports is as true as before.
    fn take_in(&self, batch: Arrived, requests: &mut Vec<Request>) {
        let waited = clock::instant().saturating_duration_since(batch.at);
        let (known, all) = (requests.len(), batch.requests.len());
        requests.extend(batch.requests.into_iter().filter(|r| waited < r.timeout || is_report(r)));
        self.metrics.dropped(Dropped::StaleRequest, known + all - requests.len());
    }

    fn reply(&self, replies: Vec<(u64, Reply)>) {
        let frame = Downlink { replies, ..Downlink::default() };
        if let Err(mpsc::error::TrySendError::Full(frame)) = self.downlinks.try_send(frame) {
            self.metrics.dropped(Dropped::Reply, frame.replies.len());
        }
    }
}

/// The reports of a batch, and the rest.
fn apart(batch: Vec<Request>) -> (Vec<Request>, Vec<Request>) {
    if batch.iter().any(is_report) { batch.into_iter().partition(is_report) } else { (Vec::new(), batch) }
}

fn is_report(request: &Request) -> bool {
    request.event.is_report()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redial_core::link::{CallReport, CallResult, Event, Locate};
    use redial_core::{Aor, Fence, Pair};
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
        let requests =
            [Event::Locate(Locate { aor }), report].into_iter().zip(1..).map(|(event, id)| Request { id, timeout, event, trace: None });
        let at = clock::instant().checked_sub(timeout * 2).expect("the machine has been up for two seconds");
        let (sender, batches) = mpsc::channel(1);
        sender.try_send(Arrived { at, requests: requests.collect() }).expect("there is room");
        drop(sender);
        lane.in_order(batches).await;
        assert_eq!(answered.recv().await.map(|frame| frame.replies), Some(vec![(2, Reply::Noted)]));
        assert_eq!(metrics.dropped_count(Dropped::StaleRequest), 1);
        coordinator.stop().await;
    }
}
