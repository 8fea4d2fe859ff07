//! Requests that have no reply yet.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redial_core::link::Request;
use rustc_hash::FxHashMap;

use super::replicas::ReplicaId;

/// Deadlines are kept in slots of this length: a timeout may be late by one.
const SLOT: Duration = Duration::from_millis(16);

/// One request under way.
#[derive(Debug)]
pub(super) struct Entry {
    /// The replica it was given to; None while no replica is attached.
    pub replica: Option<ReplicaId>,
    /// Number of the frame it left in; None while it waits.
    pub frame: Option<u64>,
    pub submitted: Instant,
    /// What was asked, for the latency histogram.
    pub asked: &'static str,
    pub deadline: Instant,
    /// Order of submission: requests about one AoR are sent again in it.
    pub order: u64,
    /// To send again after a lost stream.
    pub copy: Option<Request>,
}

/// All of them, with a timeout wheel. Bounded by what the port admits.
#[derive(Debug)]
pub(super) struct Pending {
    entries: FxHashMap<u64, Entry>,
    /// Slot number -> ids. Stale ids are skipped when their slot comes.
    wheel: BTreeMap<u64, Vec<u64>>,
    epoch: Instant,
    next_order: u64,
}

impl Pending {
    pub(super) fn new(epoch: Instant) -> Self {
        Self { entries: FxHashMap::default(), wheel: BTreeMap::new(), epoch, next_order: 0 }
    }

    pub(super) fn insert(&mut self, now: Instant, id: u64, (asked, timeout): (&'static str, Duration), replica: Option<ReplicaId>) {
        let deadline = now + timeout;
        let order = self.next_order;
        self.next_order += 1;
        self.wheel.entry(self.slot(deadline)).or_default().push(id);
        self.entries.insert(id, Entry { replica, frame: None, submitted: now, asked, deadline, order, copy: None });
    }

    pub(super) fn find(&mut self, id: u64) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    pub(super) fn contains(&self, id: u64) -> bool {
        self.entries.contains_key(&id)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Entry> {
        self.entries.remove(&id)
    }

    pub(super) fn ids_of(&self, replica: ReplicaId) -> Vec<u64> {
        let mut ids: Vec<(u64, u64)> =
            self.entries.iter().filter(|(_, e)| e.replica == Some(replica)).map(|(id, e)| (e.order, *id)).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// When [`expire`](Self::expire) has something to look at.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        // The end of the slot, so that everything in it has passed.
        self.wheel.keys().next().map(|slot| self.epoch + SLOT.saturating_mul(u32::try_from(*slot + 1).unwrap_or(u32::MAX)))
    }

    /// Takes out what is past its deadline.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(u64, Entry)> {
        let mut expired = Vec::new();
        while self.next_deadline().is_some_and(|at| at <= now) {
            let Some((_, ids)) = self.wheel.pop_first() else { break };
            for id in ids {
                // An id may be in use again with a later deadline.
                if self.entries.get(&id).is_some_and(|entry| entry.deadline <= now)
                    && let Some(entry) = self.entries.remove(&id)
                {
                    expired.push((id, entry));
                }
            }
        }
        expired
    }

    fn slot(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis() / SLOT.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everything_expires_once_never_early_and_at_most_a_slot_late(timeouts in proptest::collection::vec(0u64..500, 1..80)) {
            let epoch = redial_runtime::clock::instant();
            let mut pending = Pending::new(epoch);
            for (id, timeout) in timeouts.iter().enumerate() {
                pending.insert(epoch, id as u64, ("test", Duration::from_millis(*timeout)), Some(ReplicaId(0)));
            }
            let mut seen = 0;
            while let Some(at) = pending.next_deadline() {
                for (id, entry) in pending.expire(at) {
                    seen += 1;
                    prop_assert_eq!(entry.deadline, epoch + Duration::from_millis(timeouts[id as usize]));
                    prop_assert!(entry.deadline <= at && at <= entry.deadline + SLOT);
                }
            }
            prop_assert_eq!(seen, timeouts.len());
        }
    }

    #[test]
    fn an_answered_request_does_not_expire_and_its_id_may_come_again() {
        let now = redial_runtime::clock::instant();
        let mut pending = Pending::new(now);
        pending.insert(now, 7, ("test", Duration::from_millis(10)), Some(ReplicaId(0)));
        assert!(pending.remove(7).is_some() && pending.remove(7).is_none());
        pending.insert(now, 7, ("test", Duration::from_millis(100)), Some(ReplicaId(0)));
        assert!(pending.expire(now + Duration::from_millis(50)).is_empty());
        assert_eq!(pending.expire(now + Duration::from_millis(200)).len(), 1);
    }
}
