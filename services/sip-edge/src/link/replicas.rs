//! The coordinators that there are at present.

use redial_core::{Aor, rendezvous};
use redial_proto::v1::EdgeFrame;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use super::batch::Outgoing;
use redial_core::link::Request;

/// One replica for as long as it is listed. Never used again, so what is heard late of one that has gone is not taken for another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ReplicaId(pub(super) u64);

/// Where an attached replica takes requests.
#[derive(Debug)]
pub(super) enum Outlet {
    Grpc(Sender<EdgeFrame>),
    Local(Sender<Vec<Request>>),
}

#[derive(Debug)]
pub(super) struct Replica {
    pub id: ReplicaId,
    name: String,
    /// None while detached.
    pub outlet: Option<Outlet>,
    pub outgoing: Outgoing,
    /// No longer listed: it gets nothing new as soon as there is another, and answers what it has.
    pub leaving: bool,
    drained: CancellationToken,
}

impl AsRef<str> for Replica {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

/// A handful, in the order in which they came; so a search is as quick as a table.
#[derive(Debug, Default)]
pub(super) struct Replicas(Vec<Replica>);

impl Replicas {
    /// `drained` is cancelled when a replica that is leaving has nothing left to answer.
    pub(super) fn join(&mut self, id: ReplicaId, name: String, drained: CancellationToken) {
        self.0.push(Replica { id, name, outlet: None, outgoing: Outgoing::default(), leaving: false, drained });
    }

    pub(super) fn remove(&mut self, id: ReplicaId) {
        self.0.retain(|replica| replica.id != id);
    }

    pub(super) fn find(&mut self, id: ReplicaId) -> Option<&mut Replica> {
        self.0.iter_mut().find(|replica| replica.id == id)
    }

    /// Whom requests about this AoR go to: by rendezvous hash among those attached. One that is leaving is better than none.
    pub(super) fn pick(&mut self, key: &Aor) -> Option<&mut Replica> {
        let replicas = &self.0;
        let attached = |i: usize| replicas[i].outlet.is_some();
        let at =
            rendezvous::pick(key, replicas, |i| attached(i) && !replicas[i].leaving).or_else(|| rendezvous::pick(key, replicas, attached));
        self.0.get_mut(at?)
    }

    pub(super) fn attached(&self) -> impl Iterator<Item = &Replica> {
        self.0.iter().filter(|replica| replica.outlet.is_some())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Replica> {
        self.0.iter_mut()
    }

    /// Requests that have not left for a replica which is leaving, while there is another to take them. One that has nothing left to
    /// answer is let go.
    pub(super) fn retire(&mut self) -> Vec<Request> {
        let mut moved = Vec::new();
        if self.0.iter().all(|replica| !replica.leaving) || self.attached().all(|replica| replica.leaving) {
            return moved;
        }
        for replica in self.0.iter_mut().filter(|replica| replica.leaving) {
            moved.extend(replica.outgoing.take_waiting());
            if replica.outgoing.is_idle() {
                replica.drained.cancel();
            }
        }
        moved
    }
}
