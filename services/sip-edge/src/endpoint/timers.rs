//! One heap of timers for everything that a worker waits for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::table::Id;

/// Whose timer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Server(Id),
    Client(Id),
}

/// Timers are never removed: an owner whose time changed or who is gone is asked in vain, which costs less than keeping the heap exact.
/// An owner has at most one entry that matters; [`Armed`] remembers which, so the heap grows by one entry per owner and change to an earlier time.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Owner)>>,
}

/// When an owner's earliest entry is due.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Armed(Option<Instant>);

impl Timers {
    /// Makes sure that `owner` is called at `at` at the latest.
    pub(crate) fn arm(&mut self, armed: &mut Armed, owner: Owner, at: Option<Instant>) {
        let Some(at) = at else { return };
        if armed.0.is_none_or(|earlier| at < earlier) {
            armed.0 = Some(at);
            self.heap.push(Reverse((at, owner)));
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next owner whose time has come, with that time.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, Owner)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

impl Armed {
    /// Notes that the entry of `at` was taken off the heap.
    pub(crate) fn fired(&mut self, at: Instant) {
        if self.0 == Some(at) {
            self.0 = None;
        }
    }
}
