//! One shard of the embedded store: the same tables as the Redis keys of a shard.

use std::collections::{BTreeSet, HashMap};

use redial_core::link::{BindingChange, ContactChange, Register};
use redial_core::store::{Step, StepOutcome, Turn};
use redial_core::{Aor, Binding, Fence, Pair, UnixMillis, Watch};

use crate::store::registration;

#[derive(Debug, Default)]
pub(super) struct Shard {
    pub bind: HashMap<Aor, Vec<Binding>>,
    pub watches: HashMap<Pair, Entry>,
    pub due: BTreeSet<(UnixMillis, Pair)>,
    /// Callers by arrival.
    pub wait: HashMap<Aor, Vec<Aor>>,
    pub turns: HashMap<Aor, Holder>,
    /// Callees of the parked watches of a caller.
    pub parked: HashMap<Aor, Vec<Aor>>,
    /// Callees that a caller watches, with the deadlines.
    pub mine: HashMap<Aor, Vec<(Aor, UnixMillis)>>,
    pub purged_at: UnixMillis,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub watch: Watch,
    pub due: UnixMillis,
}

#[derive(Debug)]
pub(super) struct Holder {
    pub caller: Aor,
    pub until: UnixMillis,
}

/// What arming found, but for the count that is in the caller's shard.
pub(super) struct Armed {
    pub stored: bool,
    pub expired_before: bool,
    pub callee_bindings: Vec<Binding>,
    pub callee_watches: u32,
}

impl Shard {
    /// The live bindings afterwards and whether the REGISTER was in order. `room`: another AoR may be taken in.
    pub fn register(&mut self, now: UnixMillis, op: &Register, room: bool) -> (Vec<Binding>, bool) {
        let stored = self.bind.get(&op.aor).map_or(&[][..], Vec::as_slice);
        let Some(registration) = registration::apply(now, op, stored) else { return (self.live(now, &op.aor), false) };
        if matches!(&op.change, BindingChange::Fetch) {
            return (registration.live, true);
        }
        let puts = matches!(&op.change, BindingChange::Each(changes) if changes.iter().any(|c| matches!(c, ContactChange::Put(_))));
        if stored.is_empty() && puts && !room {
            return (Vec::new(), false);
        }
        if registration.live.is_empty() {
            self.bind.remove(&op.aor);
        } else {
            self.bind.insert(op.aor.clone(), registration.live.clone());
        }
        (registration.live, true)
    }

    /// Live bindings, best first.
    pub fn live(&self, now: UnixMillis, aor: &Aor) -> Vec<Binding> {
        self.bind.get(aor).map(|list| list.iter().filter(|b| b.expires_at > now).cloned().collect()).unwrap_or_default()
    }

    pub fn arm(&mut self, now: UnixMillis, watch: &Watch) -> Armed {
        let pair = &watch.pair;
        let expired_before = self.watches.get(pair).is_some_and(|e| e.watch.deadline <= now);
        if expired_before {
            self.remove(pair);
        }
        let stored = !self.watches.contains_key(pair);
        if stored {
            self.due.insert((watch.deadline, pair.clone()));
            self.watches.insert(pair.clone(), Entry { watch: watch.clone(), due: watch.deadline });
            self.wait.entry(pair.callee.clone()).or_default().push(pair.caller.clone());
        }
        let callee_watches = self.wait.get(&pair.callee).map_or(0, Vec::len);
        Armed {
            stored,
            expired_before,
            callee_bindings: self.live(now, &pair.callee),
            callee_watches: u32::try_from(callee_watches).unwrap_or(u32::MAX),
        }
    }

    pub fn step(&mut self, now: UnixMillis, step: &Step) -> StepOutcome {
        let pair = &step.next.pair;
        let Some(entry) = self.watches.get(pair).filter(|e| e.watch.fence == step.expect && e.watch.deadline > now) else {
            return StepOutcome::Stale;
        };
        let was = entry.due;
        let holder = self.turns.get(&pair.callee).filter(|t| t.until > now);
        let free = holder.is_none_or(|t| t.caller == pair.caller);
        match step.turn {
            Turn::Take { .. } if !free => return StepOutcome::TurnTaken { until: holder.map_or(now, |t| t.until) },
            Turn::Take { until } | Turn::Keep { until } if free => self.set_turn(pair, until),
            Turn::Release => self.release_turn(pair),
            Turn::Leave | Turn::Take { .. } | Turn::Keep { .. } => {}
        }
        self.due.remove(&(was, pair.clone()));
        self.due.insert((step.due, pair.clone()));
        self.watches.insert(pair.clone(), Entry { watch: step.next.clone(), due: step.due });
        StepOutcome::Applied
    }

    /// True when there was a watch and it is gone now.
    pub fn end(&mut self, now: UnixMillis, pair: &Pair, expect: Option<Fence>, turn: Turn) -> bool {
        let Some(entry) = self.watches.get(pair) else { return false };
        let run_out = entry.watch.deadline <= now;
        if expect.is_some_and(|fence| fence != entry.watch.fence && !run_out) {
            return false;
        }
        self.remove(pair);
        let free = self.turns.get(&pair.callee).is_none_or(|t| t.until <= now || t.caller == pair.caller);
        match turn {
            Turn::Take { until } | Turn::Keep { until } if free && self.wait.contains_key(&pair.callee) => self.set_turn(pair, until),
            Turn::Leave => {}
            Turn::Take { .. } | Turn::Keep { .. } | Turn::Release => self.release_turn(pair),
        }
        true
    }

    /// Moves the due time where `when` agrees with the record.
    pub fn reschedule(&mut self, pair: &Pair, due: UnixMillis, when: impl FnOnce(&Entry) -> bool) -> bool {
        let Some(entry) = self.watches.get_mut(pair).filter(|e| when(e)) else { return false };
        self.due.remove(&(entry.due, pair.clone()));
        entry.due = due;
        self.due.insert((due, pair.clone()));
        true
    }

    pub fn release_turn(&mut self, pair: &Pair) {
        if self.turns.get(&pair.callee).is_some_and(|t| t.caller == pair.caller) {
            self.turns.remove(&pair.callee);
        }
    }

    pub fn park(&mut self, pair: &Pair) {
        let callees = self.parked.entry(pair.caller.clone()).or_default();
        if !callees.contains(&pair.callee) {
            callees.push(pair.callee.clone());
        }
    }

    pub fn unpark(&mut self, pair: &Pair) {
        remove_from(&mut self.parked, &pair.caller, |callee| *callee == pair.callee);
    }

    /// Counts the pair among its caller's watches, or moves its deadline; returns how many are not over.
    pub fn note_mine(&mut self, now: UnixMillis, pair: &Pair, deadline: UnixMillis) -> u32 {
        let mine = self.mine.entry(pair.caller.clone()).or_default();
        mine.retain(|(callee, until)| *until > now && *callee != pair.callee);
        mine.push((pair.callee.clone(), deadline));
        u32::try_from(mine.len()).unwrap_or(u32::MAX)
    }

    pub fn forget_mine(&mut self, pair: &Pair) {
        remove_from(&mut self.mine, &pair.caller, |(callee, _)| *callee == pair.callee);
    }

    /// Drops what has expired by itself; returns how many AoRs went. Linear in the shard.
    pub fn purge(&mut self, now: UnixMillis) -> usize {
        let before = self.bind.len();
        self.bind.retain(|_, list| {
            list.retain(|b| b.expires_at > now);
            !list.is_empty()
        });
        self.turns.retain(|_, holder| holder.until > now);
        self.purged_at = now;
        before - self.bind.len()
    }

    fn set_turn(&mut self, pair: &Pair, until: UnixMillis) {
        self.turns.insert(pair.callee.clone(), Holder { caller: pair.caller.clone(), until });
    }

    fn remove(&mut self, pair: &Pair) {
        if let Some(entry) = self.watches.remove(pair) {
            self.due.remove(&(entry.due, pair.clone()));
        }
        remove_from(&mut self.wait, &pair.callee, |caller| *caller == pair.caller);
    }

    /// Entries about watches, of every table, whose time is not over.
    pub fn traces(&self, now: UnixMillis) -> usize {
        let turns = self.turns.values().filter(|t| t.until > now).count();
        self.watches.len() + self.due.len() + self.wait.len() + self.parked.len() + self.mine.len() + turns
    }
}

/// Removes what matches from the list at `key`, and the list with its last element.
fn remove_from<T>(table: &mut HashMap<Aor, Vec<T>>, key: &Aor, matches: impl Fn(&T) -> bool) {
    if let Some(list) = table.get_mut(key) {
        list.retain(|item| !matches(item));
        if list.is_empty() {
            table.remove(key);
        }
    }
}
