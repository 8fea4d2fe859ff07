//! REGISTER: bind, answer, and only then look after those who wait.

use redial_core::link::{Register, Registered, Reply};
use redial_core::policy::Fanout;
use redial_core::store::{RegisterOutcome, StoreError};
use redial_core::{Aor, EdgeGateway, Pair, UnixMillis, WatchStore};

use super::Engine;
use super::wave::Lot;
use crate::metrics::Kind;
use crate::timers::Wake;

/// How many of a fifo queue are made due when the callee comes back. One would do; a few more keep the queue moving when the first
/// ones end before their time and the replica that serves it crashes.
const HEADS: usize = 4;

impl<S: WatchStore, G: EdgeGateway> Engine<S, G> {
    /// `back` gets what is to be done after the replies.
    pub(super) async fn register(&self, now: UnixMillis, lot: Lot<Register>, back: &mut Vec<Wake>) -> Vec<(u64, Reply)> {
        if lot.is_empty() {
            return Vec::new();
        }
        self.metrics.requests(Kind::Register, lot.ids.len());
        let result = self.store.register(now, &lot.events).await;
        self.note(now, &result);
        let Ok(outcomes) = result else { return self.failed(Kind::Register, lot.ids) };
        let policies = self.policies();
        let mut last = Vec::new();
        let mut replies = Vec::with_capacity(lot.ids.len());
        for ((id, register), outcome) in lot.ids.into_iter().zip(lot.events).zip(outcomes) {
            if outcome.out_of_order {
                replies.push((id, Reply::Registered(Registered::OutOfOrder)));
                continue;
            }
            last.extend(Self::last_contacts(&policies, now, &register, &outcome.bindings));
            back.extend(set_off(&register.aor, &outcome));
            replies.push((id, Reply::Registered(Registered::Bindings(outcome.bindings))));
        }
        if !last.is_empty() {
            // The registration stands without: a phone that is not remembered is not probed.
            let kept = self.store.remember(now, &last).await;
            self.note(now, &kept);
        }
        replies
    }

    pub(super) async fn locate(&self, now: UnixMillis, lot: Lot<Aor>) -> Vec<(u64, Reply)> {
        if lot.is_empty() {
            return Vec::new();
        }
        self.metrics.requests(Kind::Locate, lot.ids.len());
        let result = self.store.bindings(now, &lot.events).await;
        self.note(now, &result);
        let Ok(found) = result else { return self.failed(Kind::Locate, lot.ids) };
        lot.ids.into_iter().zip(found).map(|(id, bindings)| (id, Reply::Located(super::route::targets(&bindings)))).collect()
    }

    /// The callee is there: the first of the queue become due when it has settled, for every replica to see, and this one serves them then.
    pub(super) async fn callee_back(&self, now: UnixMillis, callee: &Aor) -> Result<(), StoreError> {
        let policies = self.policies();
        let policy = policies.for_callee(callee);
        let limit = match policy.fanout {
            Fanout::Fifo => HEADS,
            Fanout::All => policy.max_per_callee as usize,
        };
        let callers = self.store.queue(callee, limit).await?;
        if callers.is_empty() {
            return Ok(());
        }
        self.returns.note(now, callee);
        let at = now.after(policy.settle);
        self.store.hasten(&pairs(callee, callers), at).await?;
        self.schedule(at, Wake::Serve(callee.clone()));
        Ok(())
    }

    /// The turn is somebody's until `until`; whoever is next then becomes due then.
    pub(super) async fn after_turn(&self, callee: &Aor, until: UnixMillis) -> Result<(), StoreError> {
        let callers = self.store.queue(callee, HEADS).await?;
        if callers.is_empty() {
            return Ok(());
        }
        self.store.hasten(&pairs(callee, callers), until).await?;
        self.schedule(until, Wake::Serve(callee.clone()));
        Ok(())
    }
}

/// Whom a registration concerns besides the phone.
pub(super) fn set_off(aor: &Aor, outcome: &RegisterOutcome) -> impl Iterator<Item = Wake> {
    let live = !outcome.bindings.is_empty();
    let waited_for = (live && outcome.waited_for).then(|| Wake::CalleeBack(aor.clone()));
    let parked = (live && outcome.parked).then(|| Wake::CallerBack(aor.clone()));
    waited_for.into_iter().chain(parked)
}

pub(super) fn pairs(callee: &Aor, callers: Vec<Aor>) -> Vec<Pair> {
    callers.into_iter().map(|caller| Pair { callee: callee.clone(), caller }).collect()
}
