//! A coordinator in the same process.

use redial_core::link::{Downlink, Request};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio_util::sync::CancellationToken;

use super::replicas::{Outlet, ReplicaId};
use super::task::Heard;

/// Our ends of the two channels to a coordinator in this process; whoever builds both halves connects them.
#[derive(Debug)]
pub struct LocalLink {
    pub requests: Sender<Vec<Request>>,
    pub downlinks: Receiver<Downlink>,
}

/// Attached until the coordinator drops its end.
pub(super) async fn carry(id: ReplicaId, name: String, mut link: LocalLink, events: Sender<Heard>) {
    if events.send(Heard::Joined { id, name, drained: CancellationToken::new() }).await.is_err() {
        return;
    }
    let mut event = Heard::Attached(id, Outlet::Local(link.requests));
    while events.send(event).await.is_ok() {
        event = match link.downlinks.recv().await {
            Some(downlink) => Heard::Downlink(downlink),
            None => break,
        };
    }
    // Err: the link task has ended.
    let _ = events.send(Heard::Lost(id)).await;
}
