//! Which part handles a received message.

use std::mem;

use sip_core::message::{Header, ParseError, ResponseSpec, validate_request, validate_response};
use sip_core::routing::{Branch, is_loop, loop_hash, max_forwards, unsupported};
use sip_core::transaction::TransactionKey;
use sip_core::uri::{Scheme, Uri};
use sip_core::{Index, Message, Method};

use super::recall::owner_of_tag;
use super::relay::TopRoutes;
use super::transactions::ClientOwner;
use super::transactions::client::Heard;
use super::{Endpoint, Now, Outbox, Peer, identity, reply};
use crate::metrics::DropReason;

/// RFC 5626 section 4.4.1: the ping of a keep-alive and its pong.
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

impl Endpoint {
    pub(super) fn receive(&mut self, now: Now, from: Peer, bytes: &[u8], out: &mut Outbox) {
        let mut index = mem::take(&mut self.index);
        match Message::parse(bytes, &mut index) {
            Ok(message) if message.is_request() => self.on_request(now, from, message, out),
            Ok(message) => self.on_response(now, from, message, out),
            Err(ParseError::KeepAlive) if bytes == PING => out.send(from, PONG),
            Err(ParseError::KeepAlive) => {}
            Err(_) if bytes.is_empty() => {}
            Err(ParseError::TooLarge) => self.core.config.metrics.dropped(DropReason::TooLarge),
            Err(_) => self.core.config.metrics.dropped(DropReason::NotSip),
        }
        self.index = index;
    }

    pub(super) fn flow_failed(&mut self, now: Now, to: Peer, bytes: &[u8], out: &mut Outbox) {
        let mut index = Index::default();
        let Ok(request) = Message::parse(bytes, &mut index) else { return };
        if !request.is_request() || request.method() == Method::Ack {
            return;
        }
        let mut answer = Vec::new();
        reply::plain(430).write(request, &mut answer);
        self.receive(now, to, &answer, out);
    }

    /// A response belongs to the client transaction that its branch names, of this worker or another, of this edge or another, or to nobody.
    fn on_response(&mut self, now: Now, from: Peer, response: Message<'_>, out: &mut Outbox) {
        let metrics = &self.core.config.metrics;
        if validate_response(response).is_err() {
            return metrics.dropped(DropReason::InvalidResponse);
        }
        let text = response.top_via().and_then(|via| via.branch());
        let branch = match text.and_then(|text| Some((Branch::parse(text)?, text))) {
            Some((branch, _)) if branch.edge == self.core.edge_tag => branch,
            strange => return self.on_strange_response(from, strange, response, out),
        };
        if branch.worker != self.core.worker {
            self.core.hand_over(branch.worker, from, response, out);
            return;
        }
        metrics.response_in(response.method(), response.status().unwrap_or_default());
        let id = super::table::Id::from_u64(branch.serial);
        match self.core.client_response(now, id, response, out) {
            Ok(Some(owner)) => self.heard(now, id, owner, Heard::Response(response), out),
            Ok(None) => {}
            Err(_) => self.core.config.metrics.dropped(DropReason::NoTransaction),
        }
    }

    pub(super) fn heard(&mut self, now: Now, client: super::table::Id, owner: ClientOwner, heard: Heard<'_>, out: &mut Outbox) {
        match owner {
            ClientOwner::Branch { server } => self.core.branch_heard(now, server, client, heard, out),
            ClientOwner::Probe => self.core.probe_heard(client, heard, out),
            ClientOwner::Check => self.core.check_heard(client, heard),
            ClientOwner::Recall(recall) => self.recall_heard(now, recall, heard, out),
        }
    }

    fn on_request(&mut self, now: Now, from: Peer, request: Message<'_>, out: &mut Outbox) {
        let metrics = &self.core.config.metrics;
        let method = request.method();
        let known = validate_request(request).map(|()| TransactionKey::server(request));
        // What another worker or edge handles is counted there.
        if let Ok(Some(key)) = known
            && self.belongs_elsewhere(from, key, request, out)
        {
            return;
        }
        metrics.request_in(method);
        let key = match known {
            Ok(Some(key)) => key,
            Ok(None) => return metrics.dropped(DropReason::Unanswerable),
            Err(_) if method == Method::Ack => return metrics.dropped(DropReason::StrayAck),
            Err(_) if request.top_via().is_none() => return metrics.dropped(DropReason::Unanswerable),
            Err(reject) => {
                let spec = ResponseSpec { reason: reject.reason, ..reply::plain(reject.code) };
                return self.core.respond_statelessly(from, request, spec, out);
            }
        };
        match (method, self.core.find_server(key)) {
            // For a 2xx of ours to a re-INVITE: there is nothing left to be repeated.
            (Method::Ack, _) if request.to_tag().is_some_and(|tag| owner_of_tag(tag).is_some()) => {}
            (Method::Ack, Some(id)) => {
                if self.core.server_ack(now, id, out) {
                    self.core.on_ack(from, request, out);
                }
            }
            (Method::Ack, None) => self.core.on_ack(from, request, out),
            (_, Some(id)) => {
                metrics.retransmission_in();
                self.core.server_retransmission(now, id, out);
            }
            (_, None) => {
                // Costs a load and a branch while nobody listens.
                tracing::debug!(method = method.as_str(), call_id = request.call_id(), from = %from.addr, "request");
                match method {
                    Method::Cancel => self.core.on_cancel(now, from, request, out),
                    _ => self.on_new_request(now, from, key, request, out),
                }
            }
        }
    }

    fn on_new_request(&mut self, now: Now, from: Peer, key: TransactionKey, request: Message<'_>, out: &mut Outbox) {
        let core = &mut self.core;
        let tag = request.to_tag();
        // What another edge gives us, it gives us for good.
        let may_wait = || tag.is_none() && from.edge.is_here() && !core.is_terminating(request);
        if !core.has_room() || (core.draining && may_wait()) {
            return core.respond_statelessly(from, request, reply::unavailable("Server Busy"), out);
        }
        if tag.is_some_and(|tag| owner_of_tag(tag).is_some()) {
            return self.on_recall_request(now, from, key, request, out);
        }
        let Some(uri) = Uri::parse(request.request_uri()) else {
            return core.respond_statelessly(from, request, reply::plain(400), out);
        };
        // sips asks for TLS on every hop, and the callee may come by any listener.
        if uri.scheme != Scheme::Sip {
            return core.respond_statelessly(from, request, reply::plain(416), out);
        }
        let routes = TopRoutes::read(&core.config, request);
        if core.config.front.is_some() {
            return core.on_front_request(now, from, key, &uri, request, routes, out);
        }
        if tag.is_none() && !routes.foreign && core.is_for_us(&uri, request) {
            return core.on_own_request(now, from, key, request, out);
        }
        if let Err(refusal) = core.may_forward(request) {
            return core.respond_statelessly(from, request, refusal.spec(), out);
        }
        match (tag, routes.foreign) {
            (Some(_), _) => core.on_in_dialog(now, from, key, request, routes, out),
            // Whoever asks us to go on to somebody else's proxy uses us as a relay.
            (None, true) => core.respond_statelessly(from, request, reply::plain(403), out),
            (None, false) => core.on_out_of_dialog(now, from, key, &uri, request, out),
        }
    }
}

/// Why a request is not forwarded.
pub(super) struct Refusal {
    code: u16,
    reason: &'static str,
    headers: String,
}

impl Refusal {
    pub(super) fn spec(&self) -> ResponseSpec<'_> {
        ResponseSpec { code: self.code, reason: self.reason, headers: &self.headers, ..ResponseSpec::default() }
    }
}

impl super::core::Core {
    /// REGISTER for a domain of ours, or anything for the server itself.
    pub(super) fn is_for_us(&self, uri: &Uri<'_>, request: Message<'_>) -> bool {
        identity::is_ours(&self.config, uri) && (uri.user.is_empty() || request.method() == Method::Register)
    }

    /// RFC 3261 section 16.3: Max-Forwards, loops, Proxy-Require.
    pub(super) fn may_forward(&self, request: Message<'_>) -> Result<(), Refusal> {
        if let Err(reject) = max_forwards(request) {
            return Err(Refusal { code: reject.code, reason: reject.reason, headers: String::new() });
        }
        if is_loop(request, &self.advertised, loop_hash(request, self.loop_seed)) {
            return Err(Refusal { code: 482, reason: "", headers: String::new() });
        }
        let unsupported = unsupported(request, Header::ProxyRequire, &[]);
        if !unsupported.is_empty() {
            return Err(Refusal { code: 420, reason: "", headers: format!("Unsupported: {}\r\n", unsupported.join(", ")) });
        }
        Ok(())
    }

    fn on_out_of_dialog(&mut self, now: Now, from: Peer, key: TransactionKey, uri: &Uri<'_>, request: Message<'_>, out: &mut Outbox) {
        match identity::aor(&self.config, uri) {
            Some(callee) => self.on_request_for(now, from, key, callee, request, out),
            // Not our domain, and we are no relay. 404 rather than 403: nothing that the sender could prove would change it.
            None => self.respond_statelessly(from, request, reply::plain(404), out),
        }
    }
}
