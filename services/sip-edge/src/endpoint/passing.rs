//! What belongs to another edge (see [`crate::peers`]) or to another worker of this one.

use redial_core::EdgeId;
use sip_core::Message;
use sip_core::message::Method;
use sip_core::routing::{Branch, EdgeTag, FlowEnd};
use sip_core::transaction::TransactionKey;
use sip_core::uri::Uri;

use super::core::Core;
use super::proxy::without_our_via;
use super::recall::owner_of_tag;
use super::{Endpoint, EndpointConfig, Outbox, Peer};
use crate::metrics::{DropReason, Origin};
use crate::peers::wire::Kind;

impl Endpoint {
    /// The request, whose key is `key`, is another worker's or edge's, and on its way there.
    pub(super) fn belongs_elsewhere(&self, from: Peer, key: TransactionKey, request: Message<'_>, out: &mut Outbox) -> bool {
        let core = &self.core;
        if let Some((edge, worker)) = request.to_tag().and_then(owner_of_tag) {
            // A NOTIFY for a recall that another worker or edge has made.
            if edge == core.edge_tag {
                return worker != core.worker && core.hand_over(worker, from, request, out);
            }
            return core.may_pass(from, edge) && core.pass(Kind::Request, edge, from, request, out);
        }
        let Some(peers) = &core.config.peers else { return false };
        if core.knows(key, request) {
            return false;
        }
        if !from.edge.is_here() {
            return peers.worker(request).is_some_and(|worker| worker != core.worker && core.hand_over(worker, from, request, out));
        }
        if core.is_for_anybody(request) && !core.draining {
            return false;
        }
        match peers.owner(request) {
            None => false,
            Some(owner) if owner.edge != core.edge_tag => core.pass(Kind::Request, owner.edge, from, request, out),
            Some(owner) => owner.worker != core.worker && core.hand_over(owner.worker, from, request, out),
        }
    }

    /// A response with the branch of another edge: that edge's, or on its way upstream if that edge is gone.
    pub(super) fn on_strange_response(&self, from: Peer, branch: Option<(Branch, &str)>, response: Message<'_>, out: &mut Outbox) {
        let core = &self.core;
        let nobodys = || core.config.metrics.dropped(DropReason::NoTransaction);
        let Some((branch, text)) = branch else { return nobodys() };
        if core.may_pass(from, branch.edge) {
            core.pass(Kind::Response, branch.edge, from, response, out);
            return;
        }
        // What is between us and the next hop ends here: 100, and the answer to a CANCEL (RFC 3261 sections 16.7 step 5 and 16.10).
        let code = response.status().unwrap_or_default();
        let goes_on = core.config.peers.is_some() && code > 100 && response.method() != Method::Cancel;
        let back = Branch::way_back(&core.config.secret, text).filter(|_| goes_on);
        let Some((to, bytes)) = back.and_then(|end| Some((core.peer_at(end)?, without_our_via(response)?))) else { return nobodys() };
        core.config.metrics.response_in(response.method(), code);
        core.config.metrics.response_out(Origin::Forwarded, response.method(), code);
        out.send(to, &bytes);
    }
}

impl Core {
    /// Always true, for the caller to return.
    pub(super) fn hand_over(&self, worker: u8, from: Peer, message: Message<'_>, out: &mut Outbox) -> bool {
        self.config.metrics.handed_over();
        out.handover.push((worker, from, message.bytes().to_vec()));
        true
    }

    /// Always true, for the caller to return.
    fn pass(&self, kind: Kind, edge: EdgeTag, from: Peer, message: Message<'_>, out: &mut Outbox) -> bool {
        out.pass(kind, edge, from, message.bytes());
        true
    }

    /// The other edge is there, and the datagram has not been passed before.
    fn may_pass(&self, from: Peer, edge: EdgeTag) -> bool {
        from.edge.is_here() && self.config.peers.as_ref().is_some_and(|peers| peers.is_live(edge))
    }

    /// The request's transaction is one of this worker's, or it cancels one.
    fn knows(&self, key: TransactionKey, request: Message<'_>) -> bool {
        let cancelled = || TransactionKey::server_for_cancel(request).and_then(|key| self.find_server(key));
        self.find_server(key).is_some() || (request.method() == Method::Cancel && cancelled().is_some())
    }

    /// To answer it twice, here and there, does no harm: REGISTER, which the store tells from a later one, and what asks for the server itself.
    fn is_for_anybody(&self, request: Message<'_>) -> bool {
        match request.method() {
            // A front's is forwarded, and its server must not see it twice.
            Method::Register => self.config.front.is_none(),
            Method::Options => Uri::parse(request.request_uri()).is_some_and(|uri| self.is_for_us(&uri, request)),
            _ => false,
        }
    }

    /// The way to an end that a token names. None: by a listener that we do not have.
    pub(super) fn peer_at(&self, end: FlowEnd) -> Option<Peer> {
        let edge = if end.edge == self.edge_tag || self.config.peers.is_none() { EdgeTag::HERE } else { end.edge };
        (usize::from(end.listener) < self.config.listeners.len()).then_some(Peer { edge, listener: end.listener, addr: end.addr })
    }
}

impl EndpointConfig {
    /// As a token names it, to be read by any edge. Without peers nobody but us reads it.
    pub(super) fn end_of(&self, peer: Peer) -> FlowEnd {
        let edge = match &self.peers {
            Some(peers) if peer.edge.is_here() => peers.own,
            _ => peer.edge,
        };
        FlowEnd { edge, listener: peer.listener, addr: peer.addr }
    }

    /// The edge that this phone is reached by: what the coordinator is told.
    pub(super) fn edge_of(&self, peer: Peer) -> EdgeId {
        let other = self.peers.as_ref().filter(|_| !peer.edge.is_here()).and_then(|peers| peers.name_of(peer.edge));
        other.unwrap_or_else(|| self.edge.clone())
    }
}
