//! A request on its way to servers upstream: one after the other until one answers.

use std::sync::Arc;
use std::time::Instant;

use redial_core::link::{Event, Reply, Route, RouteStage, Routed, WatchRef};
use redial_core::{Fence, Pair};
use sip_core::{Message, Method};

use super::WayBack;
use crate::endpoint::core::Core;
use crate::endpoint::proxy::{Answer, Fork};
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
    /// The one that was asked last has failed: it is silent or says 503, and has judged nothing.
    failed: bool,
    /// Another one is to be asked.
    retry: bool,
    /// A phone was reached: no other server has the callee.
    pub(super) rang: bool,
    /// What one has said after which another is asked nevertheless.
    said: Option<(Answer, Arc<Upstream>)>,
    pub(super) what: What,
    /// A server that is there says something at once: to an INVITE 100, to a REGISTER its answer. To anything else it may be passing on a phone's
    /// silence.
    prompt: bool,
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
    fn new(mut order: Order, what: What, prompt: bool) -> Self {
        order.reverse();
        Self { left: order, server: None, failed: false, retry: true, rang: false, said: None, what, prompt }
    }

    pub(super) fn register(order: Order) -> Self {
        Self::new(order, What::Register, true)
    }

    pub(super) fn call(order: Order, route: Route, told: Told) -> Self {
        Self::new(order, What::Call { route: Box::new(route), told }, true)
    }

    pub(super) fn other(order: Order, method: Method<'_>) -> Self {
        Self::new(order, What::Other, method == Method::Invite)
    }

    /// A final answer, or none. What a server does to itself is no answer: another one may give it.
    pub(crate) fn heard(&mut self, code: u16, timeout: bool) {
        let fault = match code {
            _ if timeout && !self.prompt => None,
            _ if timeout => Some(Fault::Timeout),
            503 => Some(Fault::Unavailable),
            _ => None,
        };
        (self.failed, self.retry) = (fault.is_some(), fault.is_some());
        if let (Some(server), Some(fault)) = (&self.server, fault) {
            server.failed(fault);
        }
        if let (Some(server), 401 | 407, What::Call { .. }) = (&self.server, code, &self.what) {
            server.has_challenged();
        }
    }

    /// The call's event for the coordinator.
    pub(super) fn event(&self, stage: RouteStage) -> Option<Event> {
        let What::Call { route, .. } = &self.what else { return None };
        let authenticated = self.proves(route);
        Some(Event::Route(Route { stage, authenticated, ..(**route).clone() }))
    }

    /// The pair of a call that the coordinator has not heard of as it goes on, because its caller is not known to this edge. It may be the call
    /// that a recall has made: its BYE is told with a fence that no watch has, which frees the callee's turn and does nothing else. Only of a caller who
    /// will have proven himself if the server lets the call pass (P7).
    pub(crate) fn unheard(&self) -> Option<WatchRef> {
        match &self.what {
            What::Call { route, told: Told::No | Told::Asked } if self.proves(route) => {
                let pair = Pair { callee: route.callee.clone(), caller: route.caller.clone()? };
                Some(WatchRef { pair, fence: Fence(0), trace: None })
            }
            _ => None,
        }
    }

    /// Credentials that a server lets pass which asks for them are right.
    fn proves(&self, route: &Route) -> bool {
        route.authenticated && !self.failed && self.server.as_ref().is_some_and(|server| server.challenges())
    }

    /// The next server is to be asked although this one has given this answer, which is put aside. False: none is left that is there.
    pub(super) fn go_on(&mut self, best: &mut Option<Answer>) -> bool {
        self.left.retain(|server| server.is_up());
        self.retry = !self.left.is_empty();
        if self.retry {
            self.said = best.take().zip(self.server.clone());
        }
        self.retry
    }

    /// One that was asked beside the caller's own, which has said that the callee is away, says so as well, or fails, or asks for credentials in place
    /// of those that the first has let pass.
    pub(super) fn says_nothing_new(&self, offline: bool, challenge: bool) -> bool {
        let shown = matches!(&self.what, What::Call { route, .. } if route.authenticated);
        self.said.is_some() && !self.rang && (offline || self.failed || (challenge && shown))
    }

    /// What was said first counts, and whoever said it; it may be the callee's own word.
    pub(super) fn back_to_first(&mut self, best: &mut Option<Answer>) {
        if let Some((answer, server)) = self.said.take() {
            (*best, self.server, self.failed) = (Some(answer), Some(server), false);
        }
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
        (upward.server, upward.failed) = (Some(server), false);
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
        let in_line = |upward: &Upward| !upward.left.is_empty() && upward.prompt;
        if let (Some(client), true) = (fork.open.last(), fork.upward.as_deref().is_some_and(in_line)) {
            self.expect_answer(*client, now.instant + timeout);
        }
    }
}
