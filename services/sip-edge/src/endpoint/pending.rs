//! Questions to the coordinator that are not answered yet.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use redial_core::Aor;
use redial_core::link::{CallResult, Register, Route};
use rustc_hash::FxHashMap;

use super::proxy::Fork;
use super::table::Id;
use crate::upstream::Order;

/// What to do when the answer is there.
#[derive(Debug)]
pub(crate) enum Continuation {
    Register {
        server: Id,
        aor: Aor,
    },
    /// `since`: when the INVITE came.
    Route {
        server: Id,
        route: Box<Route>,
        since: Instant,
    },
    Locate {
        server: Id,
        aor: Aor,
    },
    /// A call that goes on to servers upstream, `order`.
    Upward {
        server: Id,
        route: Box<Route>,
        order: Order,
        since: Instant,
    },
    /// It rings at one of them.
    Ringing {
        server: Id,
    },
    /// A final answer of theirs waits to be passed on.
    Held {
        server: Id,
        fork: Box<Fork>,
    },
    /// It has been passed on: what became of the call.
    Settled {
        result: CallResult,
        since: Instant,
    },
    /// Nobody waits any more.
    Told,
    /// A server's 2xx to a REGISTER.
    Learned {
        server: Id,
        register: Box<Register>,
        code: u16,
        bytes: Vec<u8>,
    },
}

/// Ids of requests are unique per worker; their top 8 bits name it. All wait equally long, so the oldest is always the next to be given up.
/// Bounded by the server transactions: each asks one question at a time.
#[derive(Debug)]
pub(crate) struct Pending {
    waiting: FxHashMap<u64, Continuation>,
    order: VecDeque<(Instant, u64)>,
    timeout: Duration,
    next: u64,
}

const ID_BITS: u32 = 56;

impl Pending {
    pub(crate) fn new(worker: u8, timeout: Duration) -> Self {
        Self { waiting: FxHashMap::default(), order: VecDeque::new(), timeout, next: u64::from(worker) << ID_BITS }
    }

    /// An id for a request whose answer nobody waits for.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        let id = self.next;
        let worker = id >> ID_BITS << ID_BITS;
        self.next = worker | (id.wrapping_add(1) & ((1 << ID_BITS) - 1));
        id
    }

    pub(crate) fn insert(&mut self, now: Instant, continuation: Continuation) -> u64 {
        let id = self.fresh_id();
        self.waiting.insert(id, continuation);
        self.order.push_back((now + self.timeout, id));
        id
    }

    /// None: given up, or never asked.
    pub(crate) fn take(&mut self, id: u64) -> Option<Continuation> {
        let found = self.waiting.remove(&id);
        while self.order.front().is_some_and(|(_, id)| !self.waiting.contains_key(id)) {
            self.order.pop_front();
        }
        found
    }

    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.order.front().map(|(at, _)| *at)
    }

    /// The oldest question that has waited too long.
    pub(crate) fn overdue(&self, now: Instant) -> Option<u64> {
        self.order.front().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
