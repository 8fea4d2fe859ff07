//! A coordinator in the same process.

use redial_core::link::{Downlink, Request};
use tokio::sync::mpsc::{Receiver, Sender};

use super::task::{Heard, Outlet};

/// Our ends of the two channels to a coordinator in this process; whoever builds both halves connects them.
#[derive(Debug)]
pub struct LocalLink {
    pub requests: Sender<Vec<Request>>,
    pub downlinks: Receiver<Downlink>,
}

/// Attached until the coordinator drops its end.
pub(super) async fn carry(replica: usize, mut link: LocalLink, events: Sender<Heard>) {
    let mut event = Heard::Attached(replica, Outlet::Local(link.requests));
    while events.send(event).await.is_ok() {
        event = match link.downlinks.recv().await {
            Some(downlink) => Heard::Downlink(downlink),
            None => break,
        };
    }
    // Err: the link task has ended.
    let _ = events.send(Heard::Lost(replica)).await;
}
