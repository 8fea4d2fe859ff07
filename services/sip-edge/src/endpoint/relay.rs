//! Requests inside dialogs that we are only on the way of: where the token in our Route says, and nowhere else. We are no open relay.

use std::net::SocketAddr;

use redial_core::link::{CallReport, CallResult, Event};
use redial_core::{Aor, Fence, Pair};
use sip_core::message::NameAddr;
use sip_core::routing::{Branch, FlowToken, PathToken, loop_hash, max_forwards};
use sip_core::transaction::TransactionKey;
use sip_core::uri::Uri;
use sip_core::{Message, Method};

use super::core::{Core, via};
use super::proxy::{Hop, forward};
use super::table::Id;
use super::target::addr_of;
use super::{EndpointConfig, Now, Outbox, Peer, identity, reply};
use crate::metrics::DropReason;

/// The Route values above the first one that is not ours.
#[derive(Clone, Debug)]
pub(crate) struct TopRoutes {
    /// How many are ours: they are taken off before the request goes on (RFC 3261 section 16.4).
    pub(crate) own: usize,
    /// What the last of them says whose signature is right: where a call comes by us twice in a row, it is the far side's.
    token: Option<FlowToken>,
    /// The Path of a phone: a registrar's way to it.
    pub(crate) path: Option<PathToken>,
    /// One of them has a user that is no token of ours. Without a user it is how a phone writes its outbound proxy.
    pub(crate) forged: bool,
    /// Somebody else's Route follows.
    pub(crate) foreign: bool,
    /// Its address, if it has one.
    pub(crate) next: Option<SocketAddr>,
}

impl TopRoutes {
    pub(crate) fn read(config: &EndpointConfig, request: Message<'_>) -> Self {
        let mut top = Self { own: 0, token: None, path: None, forged: false, foreign: false, next: None };
        for route in request.routes() {
            match route {
                Some(NameAddr { uri, .. }) if identity::is_ours(config, &uri) => {
                    top.own += 1;
                    if !uri.user.is_empty() {
                        top.read_token(config, std::str::from_utf8(uri.user).unwrap_or_default());
                    }
                }
                // A phone whose outbound proxy was set by a name that we were not told sends its requests here with it on top.
                Some(NameAddr { uri, .. }) if top.own == 0 && uri.host_addr().is_none() => top.own = 1,
                route => {
                    top.foreign = true;
                    top.next = route.and_then(|route| addr_of(&route.uri));
                    break;
                }
            }
        }
        top
    }

    fn read_token(&mut self, config: &EndpointConfig, user: &str) {
        match FlowToken::decode(&config.secret, user) {
            Some(token) => {
                let watch = self.token.take().and_then(|nearer| nearer.watch);
                self.token = Some(FlowToken { watch: token.watch.clone().or(watch), ..token });
            }
            None if config.front.is_some() && self.path.is_none() => {
                self.path = PathToken::decode(&config.secret, user);
                self.forged |= self.path.is_none();
            }
            None => self.forged = true,
        }
    }

    /// A call that came by us goes on by what our own Route says.
    pub(crate) fn is_of_a_call(&self) -> bool {
        self.token.is_some()
    }
}

impl Core {
    pub(super) fn on_in_dialog(
        &mut self,
        now: Now,
        from: Peer,
        key: TransactionKey,
        request: Message<'_>,
        top: TopRoutes,
        out: &mut Outbox,
    ) {
        if let Some(token) = top.token {
            let Some(to) = token.other_side(request).and_then(|end| self.peer_at(end)) else {
                return self.respond_statelessly(from, request, reply::plain(403), out);
            };
            let server = self.open_server(now, key, from, request);
            self.relay(now, server, to, out);
            return self.call_ended(request, &token, out);
        }
        if top.foreign || top.forged {
            return self.respond_statelessly(from, request, reply::plain(403), out);
        }
        let uri = Uri::parse(request.request_uri());
        let contact = uri.as_ref().and_then(addr_of).and_then(|contact| self.config.known.flow_of(contact));
        // Another edge may know the contact: it is asked for by the AoR in To.
        let aor = [uri, request.to().map(|to| to.uri)].into_iter().flatten().find_map(|uri| identity::aor(&self.config, &uri));
        if contact.is_none() && aor.is_none() {
            return self.respond_statelessly(from, request, reply::plain(481), out);
        }
        // Nothing shows that there is such a dialog: a made-up To tag must not get by where the call itself would be asked for credentials. But
        // hanging up works for the simplest phone.
        if request.method() != Method::Bye && self.sender(now, from, request, out).is_none() {
            return;
        }
        let server = self.open_server(now, key, from, request);
        match (contact, aor) {
            (Some(to), _) => self.relay(now, server, to, out),
            (None, Some(aor)) => self.locate(now, server, aor, out),
            (None, None) => {}
        }
    }

    /// The AoR in To was looked up, because the Request-URI is a contact that was not known: the request goes there and to no other contact.
    /// False: the Request-URI is an AoR.
    pub(super) fn relay_to_contact(&mut self, now: Now, server: Id, out: &mut Outbox) -> bool {
        let request = self.servers.get(server).and_then(|s| s.request.as_ref());
        let uri = request.and_then(|request| Uri::parse(request.view().request_uri()));
        let Some(uri) = uri.filter(|uri| identity::aor(&self.config, uri).is_none()) else { return false };
        match addr_of(&uri).and_then(|contact| self.config.known.flow_of(contact)) {
            Some(to) => self.relay(now, server, to, out),
            None => drop(self.respond(now, server, reply::plain(481), out)),
        }
        true
    }

    /// An ACK for a 2xx goes on without any state (RFC 3261 section 16.11); one for an answer of ours ends here.
    pub(super) fn on_ack(&mut self, from: Peer, ack: Message<'_>, out: &mut Outbox) {
        let own = ack.to_tag().is_none_or(identity::is_own_tag);
        let (Some((to, uri)), Ok(max_forwards)) = (self.ack_target(ack).filter(|_| !own), max_forwards(ack)) else {
            return self.config.metrics.dropped(DropReason::StrayAck);
        };
        let Some(listener) = self.config.listener(to) else { return };
        // Not the number of a client transaction of ours: nothing answers an ACK, and no later request may have its branch.
        let hash = loop_hash(ack, self.loop_seed);
        let branch = Branch { serial: self.stateless_serial(ack), ..self.branch(hash) };
        let via = via(listener, branch.text().as_str());
        let hop =
            Hop { via: &via, max_forwards, uri: uri.as_deref(), path: &[], record_route: &[], strip_credentials: false, register: None };
        let bytes = forward(&self.config, ack, from, hop);
        out.send(to, &bytes);
        self.config.metrics.request_out(Method::Ack);
    }

    fn ack_target(&self, ack: Message<'_>) -> Option<(Peer, Option<String>)> {
        let top = TopRoutes::read(&self.config, ack);
        if let Some(token) = top.token {
            return Some((self.peer_at(token.other_side(ack)?)?, None));
        }
        if top.foreign || top.forged {
            return None;
        }
        let uri = Uri::parse(ack.request_uri())?;
        let contact = addr_of(&uri).and_then(|contact| self.config.known.flow_of(contact));
        contact.map(|to| (to, None)).or_else(|| {
            let aor = identity::aor(&self.config, &uri)?;
            let target = self.config.known.only_target(&aor)?;
            Some((super::target::resolve(&self.config, &target)?, super::target::request_uri(&target.uri).map(str::to_owned)))
        })
    }

    /// BYE of a call that a recall made: the callee's next caller may have a turn.
    fn call_ended(&mut self, request: Message<'_>, token: &FlowToken, out: &mut Outbox) {
        if let Some(watch) = token.watch.as_ref().filter(|_| request.method() == Method::Bye) {
            let pair = Pair { callee: Aor::new(watch.callee.as_str()), caller: Aor::new(watch.caller.as_str()) };
            let report = CallReport { pair, fence: Fence(watch.fence), result: CallResult::Ended };
            self.tell(Event::CallReport(report), None, out);
        }
    }
}
