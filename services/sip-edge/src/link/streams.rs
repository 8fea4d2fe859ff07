//! A stream to every coordinator that is listed, for as long as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redial_core::EdgeId;
use redial_runtime::discovery::{Member, Members};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::replicas::ReplicaId;
use super::task::Heard;
use super::{Coordinator, grpc, local};

/// What all streams share. Dropping what [`Streams::keep`] returns ends them.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    edge: EdgeId,
    events: Sender<Heard>,
    next: Arc<AtomicU64>,
}

impl Streams {
    pub(super) fn new(edge: EdgeId, events: Sender<Heard>) -> Self {
        Self { edge, events, next: Arc::default() }
    }

    /// Never ends by itself.
    pub(super) async fn keep(self, coordinators: Vec<Coordinator>) {
        let mut streams = JoinSet::new();
        for (i, coordinator) in coordinators.into_iter().enumerate() {
            match coordinator {
                Coordinator::Url(url) => {
                    self.open(&mut streams, url.clone(), url);
                }
                Coordinator::Members(members) => {
                    streams.spawn(self.clone().follow(members));
                }
                Coordinator::Local(link) => {
                    streams.spawn(local::carry(self.id(), format!("local-{i}"), link, self.events.clone()));
                }
            }
        }
        while streams.join_next().await.is_some() {}
        std::future::pending().await
    }

    async fn follow(self, mut members: Members) {
        let mut streams = JoinSet::new();
        let mut known: Vec<(Member, CancellationToken)> = Vec::new();
        loop {
            let listed = members.borrow_and_update().clone();
            known.retain(|(member, leaving)| {
                let stays = listed.contains(member);
                if !stays {
                    leaving.cancel();
                }
                stays
            });
            for member in listed.iter() {
                if known.iter().all(|(one, _)| one != member) {
                    let leaving = self.open(&mut streams, member.name.clone(), format!("http://{}", member.addr));
                    known.push((member.clone(), leaving));
                }
            }
            tokio::select! {
                changed = members.changed() => if changed.is_err() { break },
                Some(_) = streams.join_next() => {}
            }
        }
        // Nobody looks for members any more: those known last stay.
        while streams.join_next().await.is_some() {}
    }

    /// The token tells the stream that its replica is no longer listed.
    fn open(&self, streams: &mut JoinSet<()>, name: String, url: String) -> CancellationToken {
        let leaving = CancellationToken::new();
        let replica = grpc::Replica { id: self.id(), name, url, leaving: leaving.clone() };
        streams.spawn(grpc::keep_attached(replica, self.edge.clone(), self.events.clone()));
        leaving
    }

    fn id(&self) -> ReplicaId {
        ReplicaId(self.next.fetch_add(1, Ordering::Relaxed))
    }
}
