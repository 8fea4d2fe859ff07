//! Something ran out, or somebody came back: looks at single watches.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::{StreamExt, stream};
use redial_core::binding::fingerprint;
use redial_core::ids::SHARDS;
use redial_core::machine::{Input, Situation};
use redial_core::store::{StoreError, Turn};
use redial_core::watch::State;
use redial_core::{Aor, EdgeGateway, EndReason, Fence, Pair, Shard, UnixMillis, Watch, WatchStore};

use super::Engine;
use super::carry::Outcome;
use crate::timers::Wake;

/// Watches that one sweep looks at side by side.
const SIDE_BY_SIDE: usize = 32;

/// Due watches that one sweep takes from one shard; the next sweep takes the rest.
const PER_SHARD: usize = 1000;

/// Looks that fail before a sweep leaves the rest to the next one: a store that hangs costs a second each.
const GIVE_UP: usize = SIDE_BY_SIDE;

/// Shards whose due index is read in one pipeline.
const CHUNK: usize = 128;

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Watches that somebody had to look at.
    pub due: usize,
}

impl<S: WatchStore, G: EdgeGateway> Engine<S, G> {
    /// Looks at everything that is due, in every shard. This alone keeps every promise; everything else only makes it quicker.
    ///
    /// # Errors
    /// When the store fails. What was not looked at is still due.
    pub async fn sweep(&self, now: UnixMillis) -> Result<Swept, StoreError> {
        let shards: Vec<Shard> = (0..SHARDS).map(Shard).collect();
        self.sweep_by(|| now, &shards).await
    }

    /// The same for some shards, by a clock that goes on: a sweep that finds much, or a slow store, takes its time, and a lease or a deadline that is
    /// compared with the time of its start would be wrong at its end (P3, P4).
    ///
    /// # Errors
    /// As [`Self::sweep`].
    pub async fn sweep_by(&self, clock: impl Fn() -> UnixMillis + Sync, shards: &[Shard]) -> Result<Swept, StoreError> {
        let clock = &clock;
        let mut swept = Swept::default();
        let mut failed = None;
        for chunk in shards.chunks(CHUNK) {
            let found = self.store.due(chunk, clock(), PER_SHARD).await;
            self.note(clock(), &found);
            let found = match found {
                Ok(found) => found,
                // One bad key must not hide the shards behind it; a store that is away fails for all of them.
                Err(error) if failed.is_none() => {
                    failed = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            swept.due += found.pairs.len();
            for (shard, watches) in chunk.iter().zip(&found.watches) {
                self.watches.counted(*shard, *watches);
            }
            let failures = AtomicUsize::new(0);
            stream::iter(found.pairs)
                .for_each_concurrent(SIDE_BY_SIDE, |pair| {
                    let failures = &failures;
                    async move {
                        if failures.load(Relaxed) < GIVE_UP {
                            let now = clock();
                            let done = self.look(now, &pair).await;
                            self.note(now, &done);
                            failures.fetch_add(usize::from(done.is_err()), Relaxed);
                        }
                    }
                })
                .await;
            if failures.into_inner() >= GIVE_UP {
                return Err(StoreError::Unavailable("given up for now, the next sweep tries again".into()));
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.metrics.swept();
        Ok(swept)
    }

    /// Looks for what was overlooked: an idle watch whose callee is there, or a parked one whose caller has registered since. There is
    /// none unless a replica crashed between the 200 to a REGISTER and what follows it, or its table of wake-ups was full.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn audit(&self, now: UnixMillis, shards: impl IntoIterator<Item = Shard>) -> Result<(), StoreError> {
        for shard in shards {
            let listed = self.store.list(shard, PER_SHARD).await;
            self.note(now, &listed);
            let idle = |w: &Watch| w.state == State::Armed && now < w.deadline && (w.parked || w.not_before <= now);
            let mut watches: Vec<Watch> = listed?.into_iter().filter(idle).collect();
            // Callers of one callee need one look.
            watches.sort_by(|a, b| (a.parked, &a.pair).cmp(&(b.parked, &b.pair)));
            watches.dedup_by(|a, b| !a.parked && !b.parked && a.pair.callee == b.pair.callee);
            if watches.is_empty() {
                continue;
            }
            let awaited = |w: &Watch| if w.parked { w.pair.caller.clone() } else { w.pair.callee.clone() };
            let aors: Vec<Aor> = watches.iter().map(awaited).collect();
            let found = self.store.bindings(now, &aors).await;
            self.note(now, &found);
            for (watch, bindings) in watches.into_iter().zip(found?).filter(|(_, bindings)| !bindings.is_empty()) {
                if !watch.parked {
                    self.schedule(now, Wake::CalleeBack(watch.pair.callee));
                } else if fingerprint(&bindings) != watch.caller_seen {
                    self.schedule(now, Wake::Look(watch.pair));
                }
            }
        }
        Ok(())
    }

    /// Looks at one watch that is due, or may be.
    pub(super) async fn look(&self, now: UnixMillis, pair: &Pair) -> Result<(), StoreError> {
        let Some(watch) = self.load(pair).await? else { return self.gone(now, pair).await };
        let its_turn_may_be = watch.state == State::Armed && !watch.parked && watch.not_before <= now && now < watch.deadline;
        if its_turn_may_be {
            return self.serve(now, &pair.callee, Some(&watch)).await;
        }
        if watch.parked { self.look_parked(now, &watch, false).await } else { self.look_alone(now, &watch, false).await.map(drop) }
    }

    /// The record's time ran out and the store dropped it; what is left of it goes too.
    pub(super) async fn gone(&self, now: UnixMillis, pair: &Pair) -> Result<(), StoreError> {
        if self.end_in_store(now, pair, Some(Fence::GONE), Turn::Release).await? {
            self.count_end(pair, EndReason::Expired);
            self.balance_of_unknown(pair);
            self.schedule(now, Wake::Serve(pair.callee.clone()));
        }
        Ok(())
    }

    /// The caller of parked watches registered. A watch that has to wait for its turn is put back into the queue.
    pub(super) async fn caller_back(&self, now: UnixMillis, caller: &Aor) -> Result<(), StoreError> {
        let pairs = self.store.parked(caller).await?;
        let records = if pairs.is_empty() { Vec::new() } else { self.store.load(&pairs).await? };
        for watch in records.into_iter().flatten().filter(|w| w.parked) {
            self.look_parked(now, &watch, true).await?;
        }
        Ok(())
    }

    async fn look_parked(&self, now: UnixMillis, watch: &Watch, caller_returned: bool) -> Result<(), StoreError> {
        if let Outcome::TurnTaken { until } = self.look_alone(now, watch, caller_returned).await? {
            // As if the callee were offline: no recall now, but no longer parked.
            let unpark = Situation { callee_online: false, caller_online: true, caller_returned: true, learned: None };
            self.apply(now, &watch.pair, None, Input::Look(unpark)).await?;
            self.store.hasten(std::slice::from_ref(&watch.pair), until).await?;
        }
        Ok(())
    }

    /// Looks at a watch without regard to its neighbours in the queue; the callee's turn still guards a recall.
    async fn look_alone(&self, now: UnixMillis, watch: &Watch, caller_returned: bool) -> Result<Outcome, StoreError> {
        let policies = self.policies();
        let policy = policies.for_callee(&watch.pair.callee);
        let aors = [watch.pair.callee.clone(), watch.pair.caller.clone()];
        let mut bindings = self.store.bindings(now, &aors).await?;
        let caller = bindings.pop().unwrap_or_default();
        let callee = bindings.pop().unwrap_or_default();
        // A REGISTER that came while the recall was under way found nothing parked; it is seen by what it left.
        let returned_unseen = watch.parked && !caller.is_empty() && fingerprint(&caller) != watch.caller_seen;
        let caller_returned = caller_returned || returned_unseen;
        let situation = Situation { callee_online: !callee.is_empty(), caller_online: !caller.is_empty(), caller_returned, learned: None };
        self.look_at(now, policy, watch, situation, &caller).await
    }
}
