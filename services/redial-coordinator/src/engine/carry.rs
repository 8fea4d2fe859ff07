//! Carries out what the machine decides.

use redial_core::link::{Credentials, Order, RecallOrder, StopOrder, Target};
use redial_core::machine::{self, Decision, Input};
use redial_core::store::{Step, StepOutcome, StoreError, Turn};
use redial_core::watch::State;
use redial_core::{Binding, EdgeGateway, EdgeId, EndReason, Fence, Pair, Policy, UnixMillis, Watch, WatchStore};

use super::{Engine, story};
use crate::metrics::{RecallStep, Unsure};
use crate::timers::Wake;
use redial_runtime::clock::Now;

/// Local reminders are kept only for what happens within this many milliseconds; the sweep finds the rest.
const HORIZON: u64 = 300_000;

/// How often a change that lost against another is tried on the newer record.
const TRIES: usize = 4;

/// What became of a decision.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There is no such watch (any more).
    Gone,
    Unchanged(Watch),
    Stepped(Watch),
    Ended(EndReason),
    /// Somebody else changed the watch first.
    Stale,
    /// Another caller has the callee's turn.
    TurnTaken {
        until: UnixMillis,
    },
    /// Only another replica can reach the caller's edge.
    Elsewhere,
}

impl<S: WatchStore, G: EdgeGateway> Engine<S, G> {
    /// Feeds `input` to the watch as it is now, again when somebody else was quicker. `known` saves the first load.
    pub(super) async fn apply(&self, now: UnixMillis, pair: &Pair, known: Option<Watch>, input: Input) -> Result<Outcome, StoreError> {
        let policies = self.policies();
        let policy = policies.for_callee(&pair.callee);
        let mut known = known;
        for _ in 0..TRIES {
            let watch = match known.take() {
                Some(watch) => watch,
                None => match self.load(pair).await? {
                    Some(watch) => watch,
                    None => return Ok(Outcome::Gone),
                },
            };
            let decision = machine::on(now, policy, &watch, &input);
            match self.carry_out(now, policy, &watch, decision, None).await? {
                Outcome::Stale => {}
                outcome => {
                    if overtakes(&watch, &input, &outcome) {
                        self.stop_recall(now, &watch).await;
                    }
                    return Ok(outcome);
                }
            }
        }
        Ok(Outcome::Stale)
    }

    /// `caller` are the caller's bindings where they are known already.
    pub(super) async fn carry_out(
        &self,
        now: UnixMillis,
        policy: &Policy,
        watch: &Watch,
        decision: Decision,
        caller: Option<&[Binding]>,
    ) -> Result<Outcome, StoreError> {
        match decision {
            Decision::Nothing => Ok(Outcome::Unchanged(watch.clone())),
            Decision::Wait { due, recheck } => {
                if !self.store.postpone(&watch.pair, watch.fence, due).await? {
                    return Ok(Outcome::Stale);
                }
                self.remind(now, due, &watch.pair);
                self.recheck(now, recheck, &watch.pair).await?;
                Ok(Outcome::Unchanged(watch.clone()))
            }
            Decision::Step { mut step, order, recheck } => {
                let began = self.began();
                if order.is_some() {
                    story::recalled(&mut step.next);
                }
                let outcome = self.step(now, watch, step).await?;
                let Outcome::Stepped(next) = &outcome else { return Ok(outcome) };
                if let Some(rung) = order
                    && !self.order(now, policy, next, rung, caller, began).await?
                {
                    return self.give_back(now, policy, next).await;
                }
                self.recheck(now, recheck, &next.pair).await?;
                Ok(outcome)
            }
            Decision::End { reason, turn } => self.end(now, watch, reason, turn).await,
        }
    }

    async fn step(&self, now: UnixMillis, watch: &Watch, step: Step) -> Result<Outcome, StoreError> {
        let pair = &watch.pair;
        match self.store.step(now, &step).await? {
            StepOutcome::Applied => {
                self.remind(now, step.due, pair);
                if step.next.parked {
                    // Write first, look second: the caller may have registered since its last recall was ordered.
                    self.schedule(now, Wake::Look(pair.clone()));
                }
                if step.turn == Turn::Release && watch.state != State::Armed {
                    self.schedule(now, Wake::Serve(pair.callee.clone()));
                }
                Ok(Outcome::Stepped(step.next))
            }
            StepOutcome::Stale => Ok(Outcome::Stale),
            StepOutcome::TurnTaken { until } => {
                self.store.postpone(pair, watch.fence, until.min(watch.deadline)).await?;
                self.remind(now, until, pair);
                Ok(Outcome::TurnTaken { until })
            }
        }
    }

    async fn end(&self, now: UnixMillis, watch: &Watch, reason: EndReason, turn: Turn) -> Result<Outcome, StoreError> {
        let pair = &watch.pair;
        let began = self.began();
        if !self.end_in_store(now, pair, Some(watch.fence), turn).await? {
            return Ok(Outcome::Stale);
        }
        self.count_end(pair, reason);
        self.balance(now, watch, reason);
        self.tell_end(began, watch, reason);
        if reason == EndReason::Connected {
            self.learn(now, watch).await;
        }
        match turn {
            Turn::Take { until } | Turn::Keep { until } => self.after_turn(&pair.callee, until).await?,
            Turn::Release if watch.state != State::Armed => self.schedule(now, Wake::Serve(pair.callee.clone())),
            Turn::Release | Turn::Leave => {}
        }
        Ok(Outcome::Ended(reason))
    }

    /// Whether this ended the watch. When the store does not say, the end may be missing in the books, and they tell.
    pub(super) async fn end_in_store(&self, now: UnixMillis, pair: &Pair, expect: Option<Fence>, turn: Turn) -> Result<bool, StoreError> {
        let ended = self.store.end(now, pair, expect, turn).await;
        if ended.is_err() {
            self.metrics.unsure(Unsure::Ended, 1);
        }
        ended
    }

    /// Once per watch, after the store said that it was this replica which ended it (P2).
    pub(super) fn count_end(&self, pair: &Pair, reason: EndReason) {
        self.metrics.ended(reason);
        self.watches.ended(pair.callee.shard());
        tracing::info!(callee = pair.callee.as_str(), caller = pair.caller.as_str(), reason = reason.as_str(), "watch ended");
    }

    /// Orders the recall that the record `watch` was just claimed for. False when no edge could take it.
    async fn order(
        &self,
        now: UnixMillis,
        policy: &Policy,
        watch: &Watch,
        rung: u8,
        caller: Option<&[Binding]>,
        began: Option<Now>,
    ) -> Result<bool, StoreError> {
        let found;
        let bindings = match caller {
            Some(known) => known,
            None => {
                found = self.store.bindings(now, std::slice::from_ref(&watch.pair.caller)).await?;
                found.first().map_or(&[][..], Vec::as_slice)
            }
        };
        let sent = self.contacts(watch, bindings).is_some_and(|(edge, targets)| {
            // Nothing of a recall is sent after the deadline (P4).
            let timeout = machine::recall_time(policy, rung).min(watch.deadline.since(now));
            let order = RecallOrder {
                pair: watch.pair.clone(),
                fence: watch.fence,
                rung,
                targets,
                timeout,
                credentials: self.credentials_of(policy),
                trace: watch.trace.map(|trace| trace.current()),
            };
            self.gateway.order(&edge, Order::Recall(order)).is_ok()
        });
        let back = self.returns.take(now, &watch.pair.callee).filter(|_| sent);
        if let Some(back) = back {
            self.metrics.recall_delay(now.since(back));
        }
        self.tell_recall(began, watch, rung, back, sent);
        self.metrics.recall(rung, if sent { RecallStep::Ordered } else { RecallStep::Undelivered });
        tracing::info!(callee = watch.pair.callee.as_str(), caller = watch.pair.caller.as_str(), rung, sent, "recall");
        Ok(sent)
    }

    /// The recall that `watch` was claimed for is not wanted any more. As good as can be: a phone that is not told rings until its time is over.
    async fn stop_recall(&self, now: UnixMillis, watch: &Watch) {
        let found = self.store.bindings(now, std::slice::from_ref(&watch.pair.caller)).await;
        self.note(now, &found);
        let bindings = found.ok().and_then(|mut found| found.pop()).unwrap_or_default();
        if let Some((edge, _)) = self.contacts(watch, &bindings) {
            let stop = StopOrder { pair: watch.pair.clone(), fence: watch.fence };
            let _ = self.gateway.order(&edge, Order::Stop(stop));
        }
    }

    /// Who we are for the caller's phone, as the policy says.
    fn credentials_of(&self, policy: &Policy) -> Option<Credentials> {
        let name = policy.credentials.as_deref()?;
        let found = self.credentials.borrow().get(name).cloned();
        if found.is_none() {
            tracing::warn!(name, "a policy names credentials that the credentials file does not have");
        }
        found
    }

    /// Undoes the claim of an order that went nowhere. Should this fail too, the lease runs out and whoever looks then claims again.
    async fn give_back(&self, now: UnixMillis, policy: &Policy, claimed: &Watch) -> Result<Outcome, StoreError> {
        match machine::on(now, policy, claimed, &Input::Undelivered { fence: claimed.fence }) {
            Decision::Step { step, .. } => self.step(now, claimed, step).await,
            _ => Ok(Outcome::Unchanged(claimed.clone())),
        }
    }

    /// An order that an edge's link took never left for it: the claim is given back, if it is still the one.
    pub async fn undelivered(&self, now: UnixMillis, order: &RecallOrder) {
        self.metrics.recall(order.rung, RecallStep::Undelivered);
        let done = self.apply(now, &order.pair, None, Input::Undelivered { fence: order.fence }).await;
        self.note(now, &done);
    }

    /// The edge to recall the caller through, and the caller's contacts there, best first: the phone that armed the watch, then by
    /// preference, then the newest. None when no edge of the caller's is attached here.
    pub(super) fn contacts(&self, watch: &Watch, bindings: &[Binding]) -> Option<(EdgeId, Vec<Target>)> {
        let ranked = self.ranked(watch, bindings);
        let edge = ranked.first()?.edge.clone();
        let targets = ranked.into_iter().filter(|b| b.edge == edge).map(Target::from).collect();
        Some((edge, targets))
    }

    pub(super) fn ranked<'b>(&self, watch: &Watch, bindings: &'b [Binding]) -> Vec<&'b Binding> {
        let mut ranked: Vec<&Binding> = bindings.iter().filter(|b| self.gateway.is_attached(&b.edge)).collect();
        ranked.sort_by_key(|b| std::cmp::Reverse((b.flow == watch.caller_flow, b.q, b.expires_at)));
        ranked
    }

    /// A callee that registered between the look that found it offline and the write is seen now (the machine says when to ask).
    async fn recheck(&self, now: UnixMillis, needed: bool, pair: &Pair) -> Result<(), StoreError> {
        if needed && self.online(now, &pair.callee).await? {
            self.schedule(now, Wake::CalleeBack(pair.callee.clone()));
        }
        Ok(())
    }

    pub(super) fn remind(&self, now: UnixMillis, due: UnixMillis, pair: &Pair) {
        if due.0.saturating_sub(now.0) <= HORIZON {
            self.schedule(due, Wake::Look(pair.clone()));
        }
    }
}

/// Something else than the recall's own outcome has changed a watch while a phone may be ringing for it.
fn overtakes(watch: &Watch, input: &Input, outcome: &Outcome) -> bool {
    matches!(watch.state, State::Claimed { .. })
        && matches!(outcome, Outcome::Stepped(_) | Outcome::Ended(_))
        && matches!(input, Input::CallSeen | Input::CalleeOffline { .. } | Input::Call { .. } | Input::Cancel)
}
