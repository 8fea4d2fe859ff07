//! The edges that are attached to this replica, each with one bounded queue of frames on their way to it.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use redial_core::EdgeId;
use redial_core::gateway::{EdgeGateway, NotAttached};
use redial_core::link::{Downlink, Order};
use rustc_hash::FxHashMap;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Why a link ended from this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The same edge attached again; the newer link counts.
    Replaced,
    /// The coordinator is stopping.
    Stopping,
}

/// The coordinator's end of one edge's link.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) edge: EdgeId,
    pub(crate) version: Arc<str>,
    pub(crate) downlinks: mpsc::Sender<Downlink>,
    pub(crate) closed: Arc<OnceLock<Closed>>,
    /// Cancelled when the link is over.
    pub(crate) over: CancellationToken,
}

impl Attachment {
    pub(crate) fn close(&self, why: Closed) {
        let _ = self.closed.set(why);
        self.over.cancel();
    }

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.closed, &other.closed)
    }
}

/// Every attached edge. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    edges: Arc<RwLock<FxHashMap<EdgeId, Attachment>>>,
}

impl Hub {
    /// The newest attachment of an edge counts; an older one is closed.
    pub(crate) fn insert(&self, attachment: Attachment) {
        let older = self.edges.write().unwrap_or_else(PoisonError::into_inner).insert(attachment.edge.clone(), attachment);
        if let Some(older) = older {
            tracing::info!(edge = older.edge.as_str(), "edge attached again, the older link ends");
            older.close(Closed::Replaced);
        }
    }

    /// Forgets this attachment, but not a newer one of the same edge.
    pub(crate) fn remove(&self, attachment: &Attachment) {
        let mut edges = self.edges.write().unwrap_or_else(PoisonError::into_inner);
        if edges.get(&attachment.edge).is_some_and(|known| known.is_same(attachment)) {
            edges.remove(&attachment.edge);
        }
    }

    pub(crate) fn close_all(&self) {
        for (_, attachment) in self.edges.write().unwrap_or_else(PoisonError::into_inner).drain() {
            attachment.close(Closed::Stopping);
        }
    }

    /// Names and software versions of the attached edges, by name.
    #[must_use]
    pub fn attached(&self) -> Vec<(EdgeId, Arc<str>)> {
        let edges = self.edges.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = edges.values().map(|a| (a.edge.clone(), a.version.clone())).collect();
        names.sort();
        names
    }

    /// Frames that wait for an edge to read them.
    #[must_use]
    pub fn queued(&self) -> usize {
        let edges = self.edges.read().unwrap_or_else(PoisonError::into_inner);
        edges.values().map(|a| a.downlinks.max_capacity() - a.downlinks.capacity()).sum()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.edges.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl EdgeGateway for Hub {
    fn order(&self, edge: &EdgeId, order: Order) -> Result<(), NotAttached> {
        let edges = self.edges.read().unwrap_or_else(PoisonError::into_inner);
        let attachment = edges.get(edge).ok_or(NotAttached)?;
        attachment.downlinks.try_send(Downlink { orders: vec![order], ..Downlink::default() }).map_err(|_| NotAttached)
    }

    fn is_attached(&self, edge: &EdgeId) -> bool {
        self.edges.read().unwrap_or_else(PoisonError::into_inner).contains_key(edge)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redial_core::link::RecallOrder;
    use redial_core::{Aor, Fence, Pair};

    use super::*;

    fn attachment(queue: usize) -> (Attachment, mpsc::Receiver<Downlink>) {
        let (downlinks, received) = mpsc::channel(queue);
        let attachment =
            Attachment { edge: EdgeId::new("e1"), version: "1".into(), downlinks, closed: Arc::default(), over: CancellationToken::new() };
        (attachment, received)
    }

    fn order() -> Order {
        let pair = Pair { callee: Aor::new("b@x"), caller: Aor::new("a@x") };
        Order::Recall(RecallOrder {
            pair,
            fence: Fence(1),
            rung: 1,
            targets: vec![],
            timeout: Duration::ZERO,
            credentials: None,
            trace: None,
        })
    }

    #[test]
    fn an_order_reaches_the_edge_it_is_for() {
        let hub = Hub::default();
        let (a, mut received) = attachment(1);
        hub.insert(a);
        assert_eq!(hub.order(&EdgeId::new("e2"), order()), Err(NotAttached));
        assert_eq!(hub.order(&EdgeId::new("e1"), order()), Ok(()));
        assert_eq!(received.try_recv().unwrap().orders, vec![order()]);
    }

    #[test]
    fn a_full_queue_refuses_orders() {
        let hub = Hub::default();
        let (a, _received) = attachment(1);
        hub.insert(a);
        assert_eq!(hub.order(&EdgeId::new("e1"), order()), Ok(()));
        assert_eq!(hub.order(&EdgeId::new("e1"), order()), Err(NotAttached));
    }

    #[test]
    fn a_newer_attachment_replaces_the_older_and_survives_its_end() {
        let hub = Hub::default();
        let (older, _r1) = attachment(1);
        let (newer, mut received) = attachment(1);
        hub.insert(older.clone());
        hub.insert(newer);
        assert_eq!(older.closed.get(), Some(&Closed::Replaced));
        assert!(older.over.is_cancelled());
        hub.remove(&older);
        assert_eq!(hub.order(&EdgeId::new("e1"), order()), Ok(()));
        assert!(received.try_recv().is_ok());
    }
}
