//! The callee is there: whose turn is it?

use redial_core::binding::fingerprint;
use redial_core::machine::{self, Input, Situation};
use redial_core::policy::Fanout;
use redial_core::store::StoreError;
use redial_core::watch::State;
use redial_core::{Aor, Binding, EdgeGateway, Pair, Policy, UnixMillis, Watch, WatchStore};

use super::Engine;
use super::carry::Outcome;
use super::register::pairs;
use crate::timers::Wake;

/// Callers of one queue that are passed over in one go (gone, unreachable); after that many, others get a chance first.
const ROUNDS: usize = 64;

/// How much of a queue is looked at whatever the policy's cap is by now.
const QUEUE: usize = 1024;

impl<S: WatchStore, G: EdgeGateway> Engine<S, G> {
    /// Recalls whoever is next. `due` is the watch that made somebody look, if any: it must not stay due when it is not its turn.
    pub(super) async fn serve(&self, now: UnixMillis, callee: &Aor, due: Option<&Watch>) -> Result<(), StoreError> {
        let policies = self.policies();
        let policy = policies.for_callee(callee);
        let mut queue = self.waiting(now, callee, policy).await?;
        if let Some(watch) = due.filter(|due| queue.iter().all(|w| w.pair != due.pair)) {
            // Its place in the queue was lost; the record decides.
            queue.push(watch.clone());
        }
        if queue.is_empty() {
            return Ok(());
        }
        if !self.online(now, callee).await? {
            // Nobody's turn; the due one, if any, waits for its deadline.
            if let Some(watch) = due {
                self.look_at(now, policy, watch, Situation::default(), &[]).await?;
            }
            return Ok(());
        }
        for _ in 0..ROUNDS {
            let picked: Vec<Watch> = machine::pick(now, policy, &queue).into_iter().cloned().collect();
            if picked.is_empty() {
                return self.leave(now, policy, &queue, due, None).await;
            }
            let callers: Vec<Aor> = picked.iter().map(|w| w.pair.caller.clone()).collect();
            let bindings = self.store.bindings(now, &callers).await?;
            for (watch, caller) in picked.iter().zip(&bindings) {
                let situation = Situation { callee_online: true, caller_online: !caller.is_empty(), ..Situation::default() };
                match self.look_at(now, policy, watch, situation, caller).await? {
                    // A change to or by somebody in progress is seen by `pick`; everybody else is done for now.
                    Outcome::Stepped(next) => replace(&mut queue, next),
                    Outcome::TurnTaken { until } => return self.leave(now, policy, &queue, due, Some(until)).await,
                    _ => queue.retain(|w| w.pair != watch.pair),
                }
            }
        }
        self.schedule(now, Wake::Serve(callee.clone()));
        Ok(())
    }

    /// Nobody (else) can be recalled now. With fifo, the next in the queue becomes due when the present turn is over at the latest, so that
    /// the queue moves even if the replica that serves it does not live to see the end of that turn.
    async fn leave(
        &self,
        now: UnixMillis,
        policy: &Policy,
        queue: &[Watch],
        due: Option<&Watch>,
        busy_until: Option<UnixMillis>,
    ) -> Result<(), StoreError> {
        let in_progress = queue.iter().filter_map(|w| machine::in_progress_until(&w.state)).filter(|until| now < *until).max();
        let (Fanout::Fifo, Some(until)) = (policy.fanout, in_progress.max(busy_until)) else { return Ok(()) };
        let waits = |w: &&Watch| machine::in_progress_until(&w.state).is_none() && !w.parked;
        if let Some(next) = queue.iter().find(waits) {
            self.store.hasten(std::slice::from_ref(&next.pair), until).await?;
        }
        if let Some(watch) = due.filter(|w| queue.iter().any(|q| q.pair == w.pair && q.fence == w.fence)) {
            self.store.postpone(&watch.pair, watch.fence, until.min(watch.deadline)).await?;
            self.remind(now, until, &watch.pair);
        }
        Ok(())
    }

    /// The callee's queue as records, in order. Entries without a record have run out and are cleaned up on the way.
    async fn waiting(&self, now: UnixMillis, callee: &Aor, policy: &Policy) -> Result<Vec<Watch>, StoreError> {
        // A cap that was lowered does not hide those who were here before.
        let callers = self.store.queue(callee, (policy.max_per_callee as usize).max(QUEUE)).await?;
        if callers.is_empty() {
            return Ok(Vec::new());
        }
        let pairs: Vec<Pair> = pairs(callee, callers);
        let mut waiting = Vec::with_capacity(pairs.len());
        for (pair, record) in pairs.iter().zip(self.store.load(&pairs).await?) {
            match record {
                Some(watch) => waiting.push(watch),
                None => self.gone(now, pair).await?,
            }
        }
        Ok(waiting)
    }

    /// One look at one watch. A recall that only another replica can deliver is left to it: the watch stays due, every replica sweeps.
    pub(super) async fn look_at(
        &self,
        now: UnixMillis,
        policy: &Policy,
        watch: &Watch,
        mut situation: Situation,
        caller: &[Binding],
    ) -> Result<Outcome, StoreError> {
        if watch.state == State::Armed && watch.attempts == 0 && policy.ladder.len() > 1 && situation.callee_online {
            situation.learned = self.learned(now, watch, caller).await?;
        }
        let mut decision = machine::on(now, policy, watch, &Input::Look(situation));
        if !situation.callee_online && watch.state == State::Armed && !watch.parked && now < watch.deadline {
            self.probe(now, policy, &watch.pair.callee).await?;
        }
        let orders = match &mut decision {
            machine::Decision::Step { step, order: Some(_), .. } => {
                step.next.caller_seen = fingerprint(caller);
                true
            }
            _ => false,
        };
        if orders && self.contacts(watch, caller).is_none() {
            self.store.postpone(&watch.pair, watch.fence, now).await?;
            return Ok(Outcome::Elsewhere);
        }
        self.carry_out(now, policy, watch, decision, Some(caller)).await
    }
}

fn replace(queue: &mut [Watch], next: Watch) {
    if let Some(old) = queue.iter_mut().find(|w| w.pair == next.pair) {
        *old = next;
    }
}
