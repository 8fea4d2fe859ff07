//! The sweep, the audit, and what is handed over at the end.

use std::sync::atomic::Ordering;

use futures_util::{StreamExt as _, stream};
use redial_core::ids::SHARDS;
use redial_core::link::Order;
use redial_core::{Shard, WatchStore};
use redial_runtime::clock;
use tokio_util::task::AbortOnDropHandle;

use super::{AUDITED, AWAKE, CLOCK_SKEW, Coordinator, Duration};
use crate::share::Share;
use crate::timers::Wake;

impl<S: WatchStore> Coordinator<S> {
    pub(super) async fn keep_sweeping(&self) {
        let mut ticks = tokio::time::interval(self.inner.setup.sweep_interval.max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut share = Share::new(&self.inner.setup.replica, self.inner.setup.peers.clone());
        let mut next_audit = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                taken_over = share.taken_over() => {
                    self.sweep(taken_over).await;
                    continue;
                }
            }
            self.sweep(share.next()).await;
            let audited = (0..AUDITED).map(|n| (next_audit + n) % SHARDS).filter(|shard| share.owns(*shard)).map(Shard);
            if self.inner.engine.audit(clock::unix(), audited).await.is_ok() {
                next_audit = (next_audit + AUDITED) % SHARDS;
            }
            self.compare_clocks().await;
        }
    }

    async fn sweep(&self, shards: Vec<Shard>) {
        let engine = self.inner.engine.clone();
        // A task of its own: should it panic, the next sweep still comes.
        let sweep = tokio::spawn(async move { engine.sweep_by(clock::unix, &shards).await });
        match AbortOnDropHandle::new(sweep).await {
            // Failures are counted and logged by the engine; the next sweep tries again.
            Ok(Ok(_) | Err(_)) => {}
            Err(error) => tracing::error!(%error, "a sweep did not end"),
        }
    }

    /// Replicas compare leases and deadlines by their own clocks; that of the store tells when one of them is off.
    async fn compare_clocks(&self) {
        let before = clock::unix();
        let Ok(Some(theirs)) = self.inner.engine.store().clock().await else { return };
        let after = clock::unix();
        // Theirs was read at some time between the two: only what lies outside is certainly wrong.
        let skew = theirs.since(after).max(before.since(theirs));
        let skew_ms = u64::try_from(skew.as_millis()).unwrap_or(u64::MAX);
        let known = self.inner.clock_skew.swap(skew_ms, Ordering::Relaxed);
        let tolerated = u64::try_from(CLOCK_SKEW.as_millis()).unwrap_or(u64::MAX);
        if skew_ms > tolerated && known <= tolerated {
            tracing::error!(skew_ms, "this machine's clock and that of the store differ: recalls may be repeated or late by as much");
        }
    }

    /// Does now what only this replica knows of, so that any other finds it in the store. Everything else has its due entry there.
    pub(super) async fn hand_over(&self) {
        let known_here = |wake: &Wake| matches!(wake, Wake::CalleeBack(_) | Wake::CallerBack(_) | Wake::Answered(..) | Wake::Connected(..));
        let wakes: Vec<Wake> = self.inner.timers.take_all().into_iter().filter(known_here).collect();
        if !wakes.is_empty() {
            tracing::info!(count = wakes.len(), "handing over what the store does not know yet");
        }
        stream::iter(wakes).for_each_concurrent(AWAKE, |wake| self.inner.engine.wake(clock::unix(), wake)).await;
    }

    /// Orders that were given to an edge's link and never left: their claims are given back, so that nobody waits for a lease.
    pub(crate) fn give_back(&self, orders: Vec<Order>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let inner = self.inner.clone();
        self.inner.tasks.spawn_on(
            async move {
                let recalls = orders.into_iter().filter_map(|order| match order {
                    Order::Recall(order) => Some(order),
                    // Nothing waits for them: what rings stops by itself, who was not asked is asked at the next interval.
                    Order::Stop(_) | Order::Probe(_) => None,
                });
                for order in recalls {
                    inner.engine.undelivered(clock::unix(), &order).await;
                }
            },
            &runtime,
        );
    }

    /// Waits for what was given back after [`Self::stop`].
    pub(crate) async fn settled(&self) {
        self.inner.tasks.wait().await;
    }
}
