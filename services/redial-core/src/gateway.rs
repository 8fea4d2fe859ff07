//! How the coordinator reaches the edges.

use crate::EdgeId;
use crate::link::Order;

/// Delivers orders to attached edges. Never blocks: an order that cannot be queued now is refused and the watch's lease brings it back.
pub trait EdgeGateway: Send + Sync + 'static {
    /// # Errors
    /// [`NotAttached`] when no stream to that edge is open here or its queue is full.
    fn order(&self, edge: &EdgeId, order: Order) -> Result<(), NotAttached>;

    /// Whether a stream to that edge is open here. A replica that cannot reach a caller's edge leaves the recall to one that can.
    fn is_attached(&self, edge: &EdgeId) -> bool;
}

/// The edge has no stream to this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("edge is not attached to this coordinator")]
pub struct NotAttached;
