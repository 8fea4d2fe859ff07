//! A request on its way to servers upstream: one after the other until one answers.

use std::sync::Arc;
use std::time::Instant;

use redial_core::link::{Event, Reply, Route, RouteStage, Routed, WatchRef};
use sip_core::Message;

use super::WayBack;
use crate::endpoint::core::Core;
use crate::endpoint::proxy::Fork;
use crate::endpoint::table::Id;
use crate::endpoint::{Now, Outbox, Peer};
use crate::metrics::Outcome;
use crate::upstream::{Fault, Order, Upstream};

/// What is tried, and what it is.
#[derive(Debug)]
pub(crate) struct Upward {
    /// Still to be tried, the next one last.
    left: Order,
    /// The one that was asked last.
    pub(super) server: Option<Arc<Upstream>>,
    /// The one that was asked last has failed, and another may do better.
    retry: bool,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Register,
    Call { route: Box<Route>, told: Told },
    Other,
}

/// Whether the coordinator knows of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    No,
    /// It has been told, and has not answered.
    Asked,
    /// What it answered are the fork's reports.
    Yes,
}

impl Upward {
    fn new(mut order: Order, what: What) -> Self {
        order.reverse();
        Self { left: order, server: None, retry: true, what }
    }

    pub(super) fn register(order: Order) -> Self {
        Self::new(order, What::Register)
    }

    pub(super) fn call(order: Order, route: Route, told: Told) -> Self {
        Self::new(order, What::Call { route: Box::new(route), told })
    }

    pub(super) fn other(order: Order) -> Self {
        Self::new(order, What::Other)
    }

    /// A final answer, or none. What a server does to itself is no answer: another one may give it.
    pub(crate) fn heard(&mut self, code: u16, timeout: bool) {
        let fault = match code {
            _ if timeout => Some(Fault::Timeout),
            503 => Some(Fault::Unavailable),
            _ => None,
        };
        self.retry = fault.is_some();
        if let (Some(server), Some(fault)) = (&self.server, fault) {
            server.failed(fault);
        }
        if let (Some(server), 401 | 407, What::Call { .. }) = (&self.server, code, &self.what) {
            server.has_challenged();
        }
    }

    /// The call's event for the coordinator. Credentials that a server lets pass which asks for them are right.
    pub(super) fn event(&self, stage: RouteStage) -> Option<Event> {
        let What::Call { route, .. } = &self.what else { return None };
        let authenticated = route.authenticated && self.server.as_ref().is_some_and(|server| server.challenges());
        Some(Event::Route(Route { stage, authenticated, ..(**route).clone() }))
    }

    /// The next server is to be asked although this one has answered. False: there is none.
    pub(super) fn go_on(&mut self) -> bool {
        self.retry = !self.left.is_empty();
        self.retry
    }
}

impl Fork {
    pub(crate) fn has_next_server(&self) -> bool {
        self.upward.as_ref().is_some_and(|upward| upward.retry && !upward.left.is_empty())
    }
}

impl Core {
    pub(super) fn go_upward(&mut self, now: Now, server: Id, upward: Upward, reports: Vec<WatchRef>, since: Instant, out: &mut Outbox) {
        self.config.metrics.routed(Outcome::Upstream);
        self.search(now, server, Fork::upward(upward, reports, since), out);
    }

    /// The coordinator has heard of the call, or cannot be told (P6): either way it goes on.
    #[expect(clippy::too_many_arguments, reason = "what the continuation holds")]
    pub(crate) fn on_upward(&mut self, now: Now, server: Id, since: Instant, route: Route, order: Order, reply: Reply, out: &mut Outbox) {
        let (reports, told) = match reply {
            Reply::Routed(Routed::Online { report, .. }) => (report, Told::Yes),
            _ => (Vec::new(), Told::No),
        };
        if self.is_open(server) {
            self.go_upward(now, server, Upward::call(order, route, told), reports, since, out);
        } else {
            self.too_late(route, Routed::Online { targets: Vec::new(), report: reports }, out);
        }
    }

    /// The next server of a fork that has one. None: it cannot be sent to from here.
    pub(crate) fn next_server(&mut self, fork: &mut Fork, from: Peer, request: Message<'_>) -> Option<(Peer, Option<WayBack>)> {
        let upward = fork.upward.as_mut()?;
        let server = upward.left.pop()?;
        // What the one before did not say does not count beside what this one says.
        fork.best = None;
        let to = crate::endpoint::target::by_any_listener(&self.config, server.addr);
        upward.server = Some(server);
        let Some(to) = to else {
            fork.note(503, Vec::new);
            return None;
        };
        let way_back = matches!(upward.what, What::Register).then(|| WayBack::new(&self.config, from, to, request)).flatten();
        Some((to, way_back))
    }

    /// Where another server is left, one that says nothing is not waited for to the end. The last one has the time that RFC 3261 gives it.
    pub(crate) fn limit_patience(&mut self, now: Now, fork: &Fork) {
        let Some(timeout) = self.config.front.as_ref().map(|front| front.timeout) else { return };
        if let (Some(client), true) = (fork.open.last(), fork.upward.as_ref().is_some_and(|upward| !upward.left.is_empty())) {
            self.expect_answer(*client, now.instant + timeout);
        }
    }
}
