//! The embedded store: everything in this process, for `redial standalone` and for tests. What it holds is lost with the process.

mod shard;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redial_core::ids::SHARDS;
use redial_core::link::Register;
use redial_core::store::{
    ArmOutcome, Due, LastContacts, Lesson, Lookup, LookupOp, RegisterOutcome, Step, StepOutcome, StoreError, Turn, keep_lessons,
};
use redial_core::{Aor, Binding, Fence, Pair, Shard as ShardId, UnixMillis, Watch, WatchStore};

use shard::Shard;

/// AoRs that may be registered at the same time; about 1 kB each. A REGISTER of one more is answered 500.
const MAX_AORS: usize = 1_000_000;

/// How often a sweep drops bindings that expired by themselves. They are invisible from their expiry on; this only frees their memory.
const PURGE_EVERY: Duration = Duration::from_secs(60);

/// A store in memory. Watches are bounded by the policy's caps, AoRs by a fixed number.
#[derive(Debug)]
pub struct MemoryStore {
    shards: Box<[Mutex<Shard>]>,
    aors: AtomicUsize,
    max_aors: usize,
    lessons: Mutex<Vec<Lesson>>,
    remembered: Mutex<HashMap<Aor, Remembered>>,
}

/// Contacts that outlive their registration, and until when they have been probed.
#[derive(Debug)]
struct Remembered {
    last: LastContacts,
    claimed_until: UnixMillis,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_max_aors(MAX_AORS)
    }
}

impl MemoryStore {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A store that takes in at most `max_aors` registered AoRs.
    #[must_use]
    pub fn with_max_aors(max_aors: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, aors: AtomicUsize::new(0), max_aors, lessons: Mutex::default(), remembered: Mutex::default() }
    }

    /// How many entries of any kind belong to watches; 0 when every watch has ended and no turn is held (P2).
    #[must_use]
    pub fn traces(&self, now: UnixMillis) -> usize {
        self.shards.iter().map(|s| locked(s).traces(now)).sum()
    }

    /// No two shards are ever locked at once, so the order of locking does not matter.
    fn shard(&self, id: ShardId) -> MutexGuard<'_, Shard> {
        locked(&self.shards[usize::from(id.0) % self.shards.len()])
    }

    fn of(&self, aor: &Aor) -> MutexGuard<'_, Shard> {
        self.shard(aor.shard())
    }

    fn register_one(&self, now: UnixMillis, op: &Register) -> RegisterOutcome {
        let mut shard = self.of(&op.aor);
        let before = shard.bind.len();
        // May be overshot by one per shard when several are filled at the same instant.
        let room = self.aors.load(Ordering::Relaxed) < self.max_aors;
        let (bindings, in_order) = shard.register(now, op, room);
        match shard.bind.len().checked_sub(before) {
            Some(added) => self.aors.fetch_add(added, Ordering::Relaxed),
            None => self.aors.fetch_sub(before - shard.bind.len(), Ordering::Relaxed),
        };
        RegisterOutcome {
            bindings,
            out_of_order: !in_order,
            waited_for: shard.wait.contains_key(&op.aor),
            parked: shard.parked.contains_key(&op.aor),
        }
    }

    fn lookup_one(&self, now: UnixMillis, op: &LookupOp) -> Lookup {
        let mut lookup = Lookup { callee_bindings: self.of(&op.callee).live(now, &op.callee), ..Lookup::default() };
        if let Some(caller) = &op.caller {
            let pair = Pair { callee: op.callee.clone(), caller: caller.clone() };
            let reverse = Pair { callee: caller.clone(), caller: op.callee.clone() };
            lookup.caller_bindings = self.of(caller).live(now, caller);
            let live = |w: &Watch| w.deadline > now;
            lookup.watch = self.watch(&pair).filter(live);
            lookup.reverse = self.watch(&reverse).filter(live);
        }
        lookup
    }

    fn watch(&self, pair: &Pair) -> Option<Watch> {
        self.of(&pair.callee).watches.get(pair).map(|e| e.watch.clone())
    }

    fn arm_one(&self, now: UnixMillis, watch: &Watch) -> ArmOutcome {
        let pair = &watch.pair;
        let armed = self.of(&pair.callee).arm(now, watch);
        let mut callers = self.of(&pair.caller);
        let caller_watches = if armed.stored {
            callers.unpark(pair);
            callers.note_mine(now, pair, watch.deadline)
        } else {
            callers.mine.get(&pair.caller).map_or(0, |m| u32::try_from(m.len()).unwrap_or(u32::MAX))
        };
        drop(callers);
        self.forget_if_ended(pair);
        ArmOutcome {
            stored: armed.stored,
            expired_before: armed.expired_before,
            callee_bindings: armed.callee_bindings,
            callee_watches: armed.callee_watches,
            caller_watches,
        }
    }

    fn step_one(&self, now: UnixMillis, step: &Step) -> StepOutcome {
        let pair = &step.next.pair;
        let outcome = self.of(&pair.callee).step(now, step);
        if outcome != StepOutcome::Applied {
            return outcome;
        }
        let mut callers = self.of(&pair.caller);
        callers.note_mine(now, pair, step.next.deadline);
        if step.next.parked {
            callers.park(pair);
            // Write first, look second: the caller may have registered before it could see that it is parked.
            let caller_back = !callers.live(now, &pair.caller).is_empty();
            drop(callers);
            if caller_back {
                self.of(&pair.callee).reschedule(pair, now, |e| e.due > now);
            }
        } else {
            callers.unpark(pair);
            drop(callers);
        }
        self.forget_if_ended(pair);
        outcome
    }

    /// Who ended the watch between a change of it and the note in the caller's shard has cleaned up before the note was made.
    fn forget_if_ended(&self, pair: &Pair) {
        if !self.of(&pair.callee).watches.contains_key(pair) {
            let mut callers = self.of(&pair.caller);
            callers.unpark(pair);
            callers.forget_mine(pair);
        }
    }
}

impl WatchStore for MemoryStore {
    async fn register(&self, now: UnixMillis, ops: &[Register]) -> Result<Vec<RegisterOutcome>, StoreError> {
        Ok(ops.iter().map(|op| self.register_one(now, op)).collect())
    }

    async fn lookup(&self, now: UnixMillis, ops: &[LookupOp]) -> Result<Vec<Lookup>, StoreError> {
        Ok(ops.iter().map(|op| self.lookup_one(now, op)).collect())
    }

    async fn bindings(&self, now: UnixMillis, aors: &[Aor]) -> Result<Vec<Vec<Binding>>, StoreError> {
        Ok(aors.iter().map(|aor| self.of(aor).live(now, aor)).collect())
    }

    async fn arm(&self, now: UnixMillis, watches: &[Watch]) -> Result<Vec<ArmOutcome>, StoreError> {
        Ok(watches.iter().map(|watch| self.arm_one(now, watch)).collect())
    }

    async fn load(&self, pairs: &[Pair]) -> Result<Vec<Option<Watch>>, StoreError> {
        Ok(pairs.iter().map(|pair| self.watch(pair)).collect())
    }

    async fn step(&self, now: UnixMillis, step: &Step) -> Result<StepOutcome, StoreError> {
        Ok(self.step_one(now, step))
    }

    async fn end(&self, now: UnixMillis, pair: &Pair, expect: Option<Fence>, turn: Turn) -> Result<bool, StoreError> {
        let ended = self.of(&pair.callee).end(now, pair, expect, turn);
        if ended {
            let mut callers = self.of(&pair.caller);
            callers.unpark(pair);
            callers.forget_mine(pair);
        }
        Ok(ended)
    }

    async fn postpone(&self, pair: &Pair, expect: Fence, due: UnixMillis) -> Result<bool, StoreError> {
        Ok(self.of(&pair.callee).reschedule(pair, due, |e| e.watch.fence == expect))
    }

    async fn hasten(&self, pairs: &[Pair], at: UnixMillis) -> Result<(), StoreError> {
        for pair in pairs {
            self.of(&pair.callee).reschedule(pair, at, |e| e.due > at);
        }
        Ok(())
    }

    async fn release_turn(&self, pair: &Pair) -> Result<(), StoreError> {
        self.of(&pair.callee).release_turn(pair);
        Ok(())
    }

    async fn queue(&self, callee: &Aor, limit: usize) -> Result<Vec<Aor>, StoreError> {
        Ok(self.of(callee).wait.get(callee).map(|q| q.iter().take(limit).cloned().collect()).unwrap_or_default())
    }

    async fn parked(&self, caller: &Aor) -> Result<Vec<Pair>, StoreError> {
        let shard = self.of(caller);
        let callees = shard.parked.get(caller).map_or(&[][..], Vec::as_slice);
        Ok(callees.iter().map(|callee| Pair { callee: callee.clone(), caller: caller.clone() }).collect())
    }

    async fn due(&self, shards: &[ShardId], now: UnixMillis, limit: usize) -> Result<Due, StoreError> {
        let mut due = Due::default();
        for &id in shards {
            let mut shard = self.shard(id);
            due.watches.push(shard.watches.len() as u64);
            due.pairs.extend(shard.due.iter().take_while(|(at, _)| *at <= now).take(limit).map(|(_, pair)| pair.clone()));
            if now.since(shard.purged_at) >= PURGE_EVERY {
                self.aors.fetch_sub(shard.purge(now), Ordering::Relaxed);
            }
        }
        Ok(due)
    }

    async fn list(&self, shard: ShardId, limit: usize) -> Result<Vec<Watch>, StoreError> {
        let shard = self.shard(shard);
        Ok(shard.due.iter().filter_map(|(_, pair)| shard.watches.get(pair)).take(limit).map(|e| e.watch.clone()).collect())
    }

    async fn remember(&self, now: UnixMillis, contacts: &[LastContacts]) -> Result<(), StoreError> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        for last in contacts {
            remembered.remove(&last.aor);
            if remembered.len() >= self.max_aors {
                remembered.retain(|_, known| known.last.until > now);
            }
            if !last.contacts.is_empty() && remembered.len() < self.max_aors {
                remembered.insert(last.aor.clone(), Remembered { last: last.clone(), claimed_until: now });
            }
        }
        Ok(())
    }

    async fn remembered(&self, now: UnixMillis, aor: &Aor) -> Result<Vec<Binding>, StoreError> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(remembered.get(aor).filter(|known| known.last.until > now).map(|known| known.last.contacts.clone()).unwrap_or_default())
    }

    async fn claim_probe(&self, now: UnixMillis, aor: &Aor, until: UnixMillis) -> Result<bool, StoreError> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = remembered.get_mut(aor).filter(|known| known.last.until > now && known.claimed_until <= now) else {
            return Ok(false);
        };
        known.claimed_until = until;
        Ok(true)
    }

    async fn learned(&self, now: UnixMillis, agent: &str) -> Result<Option<u8>, StoreError> {
        let lessons = self.lessons.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(lessons.iter().find(|lesson| lesson.agent == agent && lesson.until > now).map(|lesson| lesson.rung))
    }

    async fn learn(&self, now: UnixMillis, lesson: &Lesson) -> Result<(), StoreError> {
        let mut lessons = self.lessons.lock().unwrap_or_else(PoisonError::into_inner);
        lessons.retain(|known| known.agent != lesson.agent);
        lessons.push(lesson.clone());
        *lessons = keep_lessons(now, std::mem::take(&mut *lessons));
        Ok(())
    }

    async fn lessons(&self, now: UnixMillis) -> Result<Vec<Lesson>, StoreError> {
        Ok(keep_lessons(now, self.lessons.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A panic while a shard was locked leaves it usable: every change is a few inserts and removals.
fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
