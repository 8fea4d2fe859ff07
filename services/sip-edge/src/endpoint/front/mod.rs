//! In front of existing SIP servers, which stay registrar and proxy: everything passes through, and we learn from their answers.
//!
//! Every request comes from one of two sides. From a phone it goes to the server upstream that its AoR picks ([`upward`]), and its REGISTER tells the
//! server to reach the phone by us ([`register`]). From a server it carries the token that we gave there, which says where the phone is, and whoever has
//! it needs to know nothing else. What the answers say is told to the coordinator ([`answer`]); [`check`] asks the servers whether they are there.

mod answer;
mod check;
mod register;
mod upward;

pub(crate) use register::WayBack;
use upward::Told;
pub(crate) use upward::Upward;

use redial_core::Aor;
use redial_core::link::{Event, Route, RouteStage, Target};
use sip_core::message::Header;
use sip_core::routing::PathToken;
use sip_core::transaction::TransactionKey;
use sip_core::uri::Uri;
use sip_core::{Message, Method};

use super::core::Core;
use super::pending::Continuation;
use super::relay::TopRoutes;
use super::{EndpointConfig, Now, Outbox, Peer, identity, reply};
use crate::upstream::{Front, Order};

impl Core {
    #[expect(clippy::too_many_arguments, reason = "a request and what has been read of it")]
    pub(super) fn on_front_request(
        &mut self,
        now: Now,
        from: Peer,
        key: TransactionKey,
        uri: &Uri<'_>,
        request: Message<'_>,
        routes: TopRoutes,
        out: &mut Outbox,
    ) {
        let config = std::sync::Arc::clone(&self.config);
        let Some(front) = &config.front else { return };
        let in_dialog = request.to_tag().is_some();
        let asks_us = uri.user.is_empty() && !routes.foreign && identity::is_listener(&config, uri);
        if asks_us && !in_dialog && request.method() != Method::Register {
            return self.on_own_request(now, from, key, request, out);
        }
        if let Err(refusal) = self.may_forward(request) {
            return self.respond_statelessly(from, request, refusal.spec(), out);
        }
        if in_dialog && routes.is_of_a_call() {
            return self.on_in_dialog(now, from, key, request, routes, out);
        }
        if let Some(token) = routes.path.as_ref().cloned().or_else(|| own_contact(&config, uri)) {
            return self.on_terminating(now, from, key, request, &token, out);
        }
        if routes.forged {
            return self.respond_statelessly(from, request, reply::plain(403), out);
        }
        if front.upstreams.at(from.addr).is_some() {
            // A server that sends to an AoR of its own expects it to be ours: it would go round in a circle.
            return self.respond_statelessly(from, request, reply::plain(if in_dialog { 481 } else { 404 }), out);
        }
        match order(&config, front, uri, request, &routes) {
            Ok(servers) if servers.is_empty() => self.respond_statelessly(from, request, reply::unavailable("No Server Found"), out),
            Ok(servers) => self.on_originating(now, from, key, uri, request, servers, out),
            Err(code) => self.respond_statelessly(from, request, reply::plain(code), out),
        }
    }

    /// It is for a phone that a server reaches by us and by nobody else: refused, it would be lost, while a phone tries again.
    pub(super) fn is_terminating(&self, request: Message<'_>) -> bool {
        let own = || Uri::parse(request.request_uri()).and_then(|uri| own_contact(&self.config, &uri));
        self.config.front.is_some() && (TopRoutes::read(&self.config, request).path.is_some() || own().is_some())
    }

    /// From a server, or from whoever has its token.
    fn on_terminating(&mut self, now: Now, from: Peer, key: TransactionKey, request: Message<'_>, token: &PathToken, out: &mut Outbox) {
        let Some(peer) = self.peer_at(token.flow) else {
            return self.respond_statelessly(from, request, reply::plain(480), out);
        };
        let server = self.open_server(now, key, from, request);
        let uri = token.contact.clone().unwrap_or_else(|| String::from_utf8_lossy(request.request_uri()).into_owned());
        let target = Target { uri, q: 1000, path: Vec::new(), edge: self.config.edge_of(peer), flow: self.config.flow_of(peer) };
        self.fork(now, server, now.instant, vec![target], Vec::new(), out);
    }

    /// From a phone. A caller whom we know may be the one whom a recall has made call: the coordinator hears of the call before it goes on, so that
    /// nobody asks him again, and its BYE can be seen. Of anybody else's it hears when the server has let him in.
    #[expect(clippy::too_many_arguments, reason = "a request and what has been read of it")]
    fn on_originating(
        &mut self,
        now: Now,
        from: Peer,
        key: TransactionKey,
        uri: &Uri<'_>,
        request: Message<'_>,
        order: Order,
        out: &mut Outbox,
    ) {
        let begins_call = request.method() == Method::Invite && request.to_tag().is_none();
        let callee = identity::aor(&self.config, uri).filter(|_| begins_call);
        let server = self.open_server(now, key, from, request);
        let since = now.instant;
        let Some(callee) = callee else {
            let upward =
                if request.method() == Method::Register { Upward::register(order) } else { Upward::other(order, request.method()) };
            return self.go_upward(now, server, upward, Vec::new(), since, out);
        };
        let caller = request.from().and_then(|from| identity::aor(&self.config, &from.uri));
        let period = self.requested_period(&callee, request);
        let (edge, flow) = (self.config.edge_of(from), self.config.flow_of(from));
        let shows_credentials = caller.as_ref().is_some_and(|caller| has_credentials(request, caller));
        let known = caller.as_ref().is_some_and(|caller| self.config.known.targets(now.unix, caller).iter().any(|t| t.flow == flow));
        let route = Route { callee, caller, authenticated: shows_credentials, flow, edge, period, stage: RouteStage::Ringing };
        if known {
            // The flow is the proof: what the credentials are worth, the server has not said.
            let event = Event::Route(Route { authenticated: false, ..route.clone() });
            return self.ask(now, event, Continuation::Upward { server, route: Box::new(route), order, since }, out);
        }
        self.go_upward(now, server, Upward::call(order, route, Told::No), Vec::new(), since, out);
    }
}

/// The Request-URI is the Contact that we gave a registrar in place of the phone's.
fn own_contact(config: &EndpointConfig, uri: &Uri<'_>) -> Option<PathToken> {
    let user = std::str::from_utf8(uri.user).ok().filter(|user| !user.is_empty())?;
    identity::is_listener(config, uri).then(|| PathToken::decode(&config.secret, user))?
}

/// The servers for a request of a phone, best first; or why it goes nowhere.
fn order(config: &EndpointConfig, front: &Front, uri: &Uri<'_>, request: Message<'_>, routes: &TopRoutes) -> Result<Order, u16> {
    // A Service-Route of theirs (RFC 3608) names one of them; what is a name there, only they know. Anybody else's address uses us as a relay.
    if let Some(next) = routes.next {
        return front.upstreams.at(next).map(|server| Order::from_iter([server])).ok_or(403);
    }
    let sender = || request.from().and_then(|from| identity::aor(config, &from.uri));
    let of = |aor: Option<Aor>| aor.map(|aor| front.upstreams.order(&aor));
    let order = match request.method() {
        Method::Register => of(request.to().and_then(|to| identity::aor(config, &to.uri))),
        // Where the request is for the domain, or for somebody else's, the sender's server decides.
        _ => of(identity::aor(config, uri).or_else(sender)),
    };
    order.ok_or(404)
}

/// The sender shows credentials of the AoR: its user, with or without the domain. Whether they are right is for the server to say.
fn has_credentials(request: Message<'_>, aor: &Aor) -> bool {
    let values = request.fields(Header::ProxyAuthorization).chain(request.fields(Header::Authorization));
    values.filter_map(sip_core::digest::username_of).any(|name| *name == *aor.as_str() || *name == *aor.user())
}
