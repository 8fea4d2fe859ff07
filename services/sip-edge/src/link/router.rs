//! From the link task to the workers: a reply goes to the worker in the top 8 bits of its id, an order to the worker of its pair.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use redial_core::Aor;
use redial_core::link::{Order, Reply};
use rustc_hash::FxHasher;
use tokio::sync::mpsc::{Sender, channel};

use super::port::WorkerInbox;
use crate::counters::Counters;

/// Orders that wait for one worker.
const ORDERS: usize = 1024;

#[derive(Debug)]
pub(super) struct Router {
    workers: Vec<Way>,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Way {
    replies: Sender<Vec<(u64, Reply)>>,
    orders: Sender<Order>,
    /// Replies of this turn.
    gathered: Vec<(u64, Reply)>,
}

/// Reply queues hold as many batches as there can be open requests, so a reply always finds room.
pub(super) fn router(workers: usize, max_open: usize, counters: Arc<Counters>) -> (Router, Vec<WorkerInbox>) {
    let make = |_| {
        let (replies, replies_out) = channel(max_open.saturating_mul(2).max(1));
        let (orders, orders_out) = channel(ORDERS);
        (Way { replies, orders, gathered: Vec::new() }, WorkerInbox { replies: replies_out, orders: orders_out })
    };
    let (workers, inboxes) = (0..workers).map(make).unzip();
    (Router { workers, counters }, inboxes)
}

impl Router {
    /// Gathers one reply; [`flush`](Self::flush) sends what was gathered.
    pub(super) fn reply(&mut self, id: u64, reply: Reply) {
        match self.workers.get_mut((id >> 56) as usize) {
            Some(way) => way.gathered.push((id, reply)),
            None => self.counters.replies_late.add(1),
        }
    }

    pub(super) fn flush(&mut self) {
        for way in self.workers.iter_mut().filter(|way| !way.gathered.is_empty()) {
            let replies = std::mem::take(&mut way.gathered);
            let count = replies.len() as u64;
            // Full cannot be; closed means that the worker has ended.
            if way.replies.try_send(replies).is_err() {
                self.counters.requests_open.sub(count);
            }
        }
    }

    pub(super) fn order(&self, order: Order) {
        let worker = worker_of(order.key(), self.workers.len());
        if self.workers.get(worker).is_none_or(|way| way.orders.try_send(order).is_err()) {
            self.counters.orders_dropped.add(1);
        }
    }
}

/// Orders of one pair, or about one callee, always meet the same worker, which remembers the recall under way.
fn worker_of(key: (&Aor, Option<&Aor>), workers: usize) -> usize {
    let mut hasher = FxHasher::default();
    key.hash(&mut hasher);
    (hasher.finish() % workers.max(1) as u64) as usize
}
