//! A worker's ends of the link: where requests go in, and where replies and orders come out.

use std::sync::Arc;

use redial_core::link::{Order, Reply, Request};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::counters::Counters;

/// Hands requests to the link; refuses when too many are open.
#[derive(Clone, Debug)]
pub struct LinkPort {
    requests: Sender<Vec<Request>>,
    max_open: usize,
    counters: Arc<Counters>,
}

/// What comes back to one worker.
#[derive(Debug)]
pub struct WorkerInbox {
    /// Every submitted request appears here once.
    pub replies: Receiver<Vec<(u64, Reply)>>,
    pub orders: Receiver<Order>,
}

/// The queue holds as many batches as there can be open requests, so it fills only when those are too many.
pub(super) fn port(max_open: usize, counters: Arc<Counters>) -> (LinkPort, Receiver<Vec<Request>>) {
    let (requests, submitted) = channel(max_open.max(1));
    (LinkPort { requests, max_open, counters }, submitted)
}

impl LinkPort {
    /// Hands over all requests, or none: refused ones stay in `requests` and are the caller's to fail.
    pub fn submit(&self, requests: &mut Vec<Request>) {
        let count = requests.len();
        if count == 0 {
            return;
        }
        let open = &self.counters.requests_open;
        // Workers may overshoot together by a batch each; the reply queues leave room for that.
        if open.value() as usize + count > self.max_open {
            self.counters.requests_overloaded.add(count as u64);
            return;
        }
        let Ok(permit) = self.requests.try_reserve() else {
            self.counters.requests_overloaded.add(count as u64);
            return;
        };
        open.add(count as u64);
        let next = Vec::with_capacity(count);
        permit.send(std::mem::replace(requests, next));
    }

    /// The worker has taken in this many replies.
    pub fn taken(&self, replies: usize) {
        self.counters.requests_open.sub(replies as u64);
    }
}
