//! Local wake-ups: what this replica knows it must do, and when.
//!
//! They make things punctual, not correct: every wake-up that matters is also in the store's due index, which every replica sweeps, so a
//! lost wake-up costs at most one sweep interval. That is why the table may be bounded and may forget what does not fit.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redial_core::{Aor, BindingId, Fence, Pair, UnixMillis};
use rustc_hash::FxHashMap;
use tokio::sync::Notify;

/// Something to do at a certain time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wake {
    /// This AoR registered while others wait for it.
    CalleeBack(Aor),
    /// This AoR registered and is the caller of watches that were parked.
    CallerBack(Aor),
    /// Recall whoever is next in the queue of this AoR.
    Serve(Aor),
    /// A probed contact of this callee has answered.
    Answered(Aor, BindingId),
    /// Look whether something of this watch has run out.
    Look(Pair),
    /// The call of the watch with this fence was answered, and the store could not be told.
    Connected(Pair, Fence),
}

/// A bounded set of wake-ups, each at its earliest time.
#[derive(Debug)]
pub struct Timers {
    table: Mutex<Table>,
    sooner: Notify,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Table {
    at: FxHashMap<Wake, UnixMillis>,
    /// May hold entries that were moved to an earlier time since; `at` decides.
    queue: BinaryHeap<Reverse<(UnixMillis, Wake)>>,
}

impl Timers {
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { table: Mutex::default(), sooner: Notify::new(), capacity }
    }

    /// Wakes at `at` at the latest. False when the table is full and the wake-up was forgotten.
    pub fn schedule(&self, at: UnixMillis, wake: Wake) -> bool {
        let mut table = self.lock();
        let len = table.at.len();
        match table.at.entry(wake.clone()) {
            Entry::Occupied(known) if *known.get() <= at => return true,
            Entry::Occupied(mut known) => _ = known.insert(at),
            Entry::Vacant(_) if len >= self.capacity => return false,
            Entry::Vacant(free) => _ = free.insert(at),
        }
        if table.queue.len() >= 2 * self.capacity {
            table.tidy();
        }
        let first = table.queue.peek().is_none_or(|Reverse((next, _))| at < *next);
        table.queue.push(Reverse((at, wake)));
        drop(table);
        if first {
            self.sooner.notify_one();
        }
        true
    }

    /// Takes the earliest wake-up whose time has come.
    pub fn pop(&self, now: UnixMillis) -> Option<Wake> {
        let mut table = self.lock();
        table.drop_moved();
        if table.queue.peek().is_none_or(|Reverse((at, _))| *at > now) {
            return None;
        }
        let Reverse((_, wake)) = table.queue.pop()?;
        table.at.remove(&wake);
        Some(wake)
    }

    /// Takes every wake-up, whenever it is due.
    pub fn take_all(&self) -> Vec<Wake> {
        let mut table = self.lock();
        table.queue.clear();
        table.at.drain().map(|(wake, _)| wake).collect()
    }

    /// When the earliest is due.
    #[must_use]
    pub fn next(&self) -> Option<UnixMillis> {
        let mut table = self.lock();
        table.drop_moved();
        table.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// Ends when [`Self::next`] may have become earlier.
    pub async fn sooner(&self) {
        self.sooner.notified().await;
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().at.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Drops every entry that was moved: wherever it stands in the queue, where it waits for its old time.
    fn tidy(&mut self) {
        let at = &self.at;
        self.queue.retain(|Reverse((time, wake))| at.get(wake) == Some(time));
    }

    fn drop_moved(&mut self) {
        while let Some(Reverse((at, wake))) = self.queue.peek() {
            if self.at.get(wake) == Some(at) {
                return;
            }
            self.queue.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn serve(name: &str) -> Wake {
        Wake::Serve(Aor::new(name))
    }

    #[test]
    fn wakes_come_in_order_of_time_and_not_before_it() {
        let timers = Timers::new(8);
        timers.schedule(UnixMillis(20), serve("b"));
        timers.schedule(UnixMillis(10), serve("a"));
        assert_eq!(timers.next(), Some(UnixMillis(10)));
        assert_eq!(timers.pop(UnixMillis(9)), None);
        assert_eq!(timers.pop(UnixMillis(30)), Some(serve("a")));
        assert_eq!(timers.pop(UnixMillis(30)), Some(serve("b")));
        assert_eq!(timers.pop(UnixMillis(30)), None);
        timers.schedule(UnixMillis(99), serve("c"));
        assert_eq!(timers.take_all(), [serve("c")]);
        assert!(timers.is_empty() && timers.next().is_none());
    }

    #[test]
    fn the_same_wake_up_is_kept_once_at_its_earliest_time() {
        let timers = Timers::new(8);
        for at in [20, 10, 30] {
            assert!(timers.schedule(UnixMillis(at), serve("a")));
        }
        assert_eq!(timers.len(), 1);
        assert_eq!(timers.pop(UnixMillis(10)), Some(serve("a")));
        assert_eq!((timers.pop(UnixMillis(99)), timers.next()), (None, None));
    }

    #[test]
    fn a_full_table_refuses_new_ones_but_still_moves_old_ones() {
        let timers = Timers::new(1);
        assert!(timers.schedule(UnixMillis(20), serve("a")));
        assert!(!timers.schedule(UnixMillis(10), serve("b")));
        assert!(timers.schedule(UnixMillis(5), serve("a")));
        assert_eq!(timers.next(), Some(UnixMillis(5)));
    }

    #[test]
    fn wake_ups_that_are_moved_all_the_time_do_not_pile_up() {
        let timers = Timers::new(8);
        for at in (1..1000).rev() {
            assert!(timers.schedule(UnixMillis(at), serve("a")));
        }
        assert!(timers.lock().queue.len() <= 2 * 8, "{}", timers.lock().queue.len());
        assert_eq!((timers.len(), timers.pop(UnixMillis(1)), timers.next()), (1, Some(serve("a")), None));
    }

    #[tokio::test]
    async fn an_earlier_wake_up_is_announced() {
        let timers = Timers::new(8);
        timers.schedule(UnixMillis(20), serve("a"));
        timers.sooner().await;
        timers.schedule(UnixMillis(10), serve("b"));
        tokio::time::timeout(Duration::from_secs(5), timers.sooner()).await.expect("announced");
    }
}
