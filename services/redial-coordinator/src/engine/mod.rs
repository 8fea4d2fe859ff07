//! Requests in, replies and orders out. The engine owns no watch: it loads, asks [`machine::on`], and writes with the store's
//! compare-and-set, so that any number of replicas may work on the same watches.
//!
//! Hot requests (REGISTER, INVITE) of a batch share one store pipeline per kind. Whatever a REGISTER sets off is put into [`Timers`] and
//! done after the reply (P5).

mod carry;
mod census;
mod learn;
mod look;
mod outage;
mod probe;
mod register;
mod report;
mod returns;
mod route;
mod serve;
mod story;
mod wave;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join4;
use redial_core::link::{CallResult, Failure, Reply, Request};
use redial_core::store::{StoreError, Turn};
use redial_core::{Aor, EdgeGateway, EndReason, Pair, PolicySet, UnixMillis, WatchStore, machine};
use redial_runtime::telemetry::Spans;
use tokio::sync::watch;

use crate::credentials::CredentialSet;
use crate::metrics::{Kind, Metrics};
use crate::timers::{Timers, Wake};
use census::Census;
use outage::Outage;
use returns::Returns;

pub use look::Swept;

/// Wait before something is tried again that the store refused and that no due entry stands for.
const AGAIN: Duration = Duration::from_secs(2);

/// Decides and acts for one replica.
#[derive(Debug)]
pub struct Engine<S, G> {
    store: Arc<S>,
    gateway: G,
    policies: watch::Receiver<Arc<PolicySet>>,
    timers: Arc<Timers>,
    metrics: Arc<Metrics>,
    outage: Outage,
    watches: Census,
    credentials: watch::Receiver<Arc<CredentialSet>>,
    returns: Returns,
    spans: Spans,
}

impl<S: WatchStore, G: EdgeGateway> Engine<S, G> {
    #[must_use]
    pub fn new(store: Arc<S>, gateway: G, policies: watch::Receiver<Arc<PolicySet>>, timers: Arc<Timers>, metrics: Arc<Metrics>) -> Self {
        Self {
            store,
            gateway,
            policies,
            timers,
            metrics,
            outage: Outage::default(),
            watches: Census::default(),
            credentials: watch::channel(Arc::default()).1,
            returns: Returns::default(),
            spans: Spans::default(),
        }
    }

    /// What policies mean by the names of `credentials`; without this, nothing.
    #[must_use]
    pub fn with_credentials(self, credentials: watch::Receiver<Arc<CredentialSet>>) -> Self {
        Self { credentials, ..self }
    }

    /// Traces watches, as their policies say.
    #[must_use]
    pub fn with_spans(self, spans: Spans) -> Self {
        Self { spans, ..self }
    }

    #[must_use]
    pub fn store(&self) -> &Arc<S> {
        &self.store
    }

    #[must_use]
    pub fn policies(&self) -> Arc<PolicySet> {
        self.policies.borrow().clone()
    }

    /// Watches of all replicas, as far as this one knows.
    #[must_use]
    pub fn watches(&self) -> u64 {
        self.watches.total()
    }

    /// Handles a batch; every request gets exactly one reply. Requests that touch the same AoR take effect in their order. The replies are
    /// handed to `send` before anything is set off that a REGISTER brings about (P5).
    pub async fn handle_then(&self, now: UnixMillis, batch: Vec<Request>, send: impl FnOnce(Vec<(u64, Reply)>)) {
        let mut replies = Vec::with_capacity(batch.len());
        let mut back = Vec::new();
        for wave in wave::split(batch) {
            let (registered, routed, located, noted) = join4(
                self.register(now, wave.registers, &mut back),
                self.route(now, wave.routes),
                self.locate(now, wave.locates),
                self.report(now, wave.reports),
            )
            .await;
            replies.extend(registered);
            replies.extend(routed);
            replies.extend(located);
            replies.extend(noted);
            self.metrics.requests(Kind::Report, wave.probes.ids.len());
            for (id, report) in wave.probes.ids.into_iter().zip(wave.probes.events) {
                replies.push((id, Reply::Noted));
                back.push(Wake::Answered(report.aor, report.binding));
            }
        }
        send(replies);
        for wake in back {
            self.schedule(now, wake);
        }
    }

    /// Does what a wake-up asks for. What fails because of the store is either still in the due index, so that the sweep comes back to
    /// it, or is known to this replica alone and is tried again.
    pub async fn wake(&self, now: UnixMillis, wake: Wake) {
        let done = match &wake {
            Wake::CalleeBack(callee) => self.callee_back(now, callee).await,
            Wake::CallerBack(caller) => self.caller_back(now, caller).await,
            Wake::Answered(callee, binding) => self.answered(now, callee, binding).await,
            Wake::Serve(callee) => self.serve(now, callee, None).await,
            Wake::Look(pair) => self.look(now, pair).await,
            Wake::Connected(pair, fence) => {
                let answered = machine::Input::Call { fence: *fence, result: CallResult::Established };
                self.apply(now, pair, None, answered).await.map(drop)
            }
        };
        self.note(now, &done);
        if done.is_err() && matches!(wake, Wake::CalleeBack(_) | Wake::CallerBack(_) | Wake::Connected(..) | Wake::Answered(..)) {
            self.schedule(now.after(AGAIN), wake);
        }
    }

    /// Ends the watch as cancelled. False when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cancel(&self, now: UnixMillis, pair: &Pair) -> Result<bool, StoreError> {
        match self.apply(now, pair, None, machine::Input::Cancel).await? {
            carry::Outcome::Ended(reason) => Ok(reason == EndReason::Cancelled),
            // Nothing, or a record that cannot be read: whatever it is, it goes.
            carry::Outcome::Gone => {
                let ended = self.end_in_store(now, pair, None, Turn::Release).await?;
                if ended {
                    self.count_end(pair, EndReason::Cancelled);
                }
                Ok(ended)
            }
            _ => Err(StoreError::Unavailable("the watch changes too quickly, try again".into())),
        }
    }

    async fn load(&self, pair: &Pair) -> Result<Option<redial_core::Watch>, StoreError> {
        Ok(self.store.load(std::slice::from_ref(pair)).await?.pop().flatten())
    }

    async fn online(&self, now: UnixMillis, aor: &Aor) -> Result<bool, StoreError> {
        Ok(self.store.bindings(now, std::slice::from_ref(aor)).await?.first().is_some_and(|found| !found.is_empty()))
    }

    fn schedule(&self, at: UnixMillis, wake: Wake) {
        if !self.timers.schedule(at, wake) {
            self.metrics.dropped(crate::metrics::Dropped::Timer, 1);
        }
    }

    /// Keeps the books on whether the store answers.
    fn note<T>(&self, now: UnixMillis, result: &Result<T, StoreError>) {
        match result {
            Ok(_) => _ = self.outage.over(now),
            Err(error) => {
                self.metrics.store_error();
                _ = self.outage.seen(now, error);
            }
        }
    }

    /// One failure for each request.
    fn failed(&self, kind: Kind, ids: impl IntoIterator<Item = u64>) -> Vec<(u64, Reply)> {
        let replies: Vec<_> = ids.into_iter().map(|id| (id, Reply::Failed(Failure::StoreUnavailable))).collect();
        self.metrics.failed(kind, replies.len());
        replies
    }
}
