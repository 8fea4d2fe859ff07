//! New requests for an AoR of ours: who asks, where is the callee, and is the caller remembered?

use std::time::{Duration, Instant};

use redial_core::link::{CallReport, CallResult, Event, Locate, Offline, Reply, RequestedPeriod, Route, RouteStage, Routed, Target};
use redial_core::trace::{Span, SpanKind};
use redial_core::{Aor, Pair, TraceContext, period};
use sip_core::message::{Header, ResponseSpec};
use sip_core::transaction::TransactionKey;
use sip_core::{Message, Method};

use super::auth::{self, Auth};
use super::core::Core;
use super::pending::Continuation;
use super::table::Id;
use super::{Now, Outbox, Peer, identity, reply};
use crate::metrics::Outcome;

impl Core {
    pub(super) fn on_request_for(
        &mut self,
        now: Now,
        from: Peer,
        key: TransactionKey,
        callee: Aor,
        request: Message<'_>,
        out: &mut Outbox,
    ) {
        let Some((caller, authenticated)) = self.sender(now, from, request, out) else { return };
        if let Some(refusal) = not_for_a_phone(request.method(), caller.as_ref() == Some(&callee)) {
            return self.respond_statelessly(from, request, refusal, out);
        }
        if self.config.users.as_ref().is_some_and(|users| !users.load().contains(&callee)) {
            return self.respond_statelessly(from, request, reply::plain(404), out);
        }
        let server = self.open_server(now, key, from, request);
        if request.method() != Method::Invite {
            return self.locate(now, server, callee, out);
        }
        let period = self.requested_period(&callee, request);
        let (edge, flow) = (self.config.edge_of(from), self.config.flow_of(from));
        let route = Route { callee, caller, authenticated, flow, edge, period, stage: RouteStage::Lookup };
        self.ask(now, Event::Route(route.clone()), Continuation::Route { server, route: Box::new(route), since: now.instant }, out);
    }

    /// Who sends this request, and whether he has proved it. None: he must first, and has been told so.
    pub(super) fn sender(&self, now: Now, from: Peer, request: Message<'_>, out: &mut Outbox) -> Option<(Option<Aor>, bool)> {
        match auth::authenticate(&self.config, now, from, request, auth::Kind::Proxy) {
            // Who he has proved to be, whatever From shows: a call may be anonymous (RFC 3323). Nobody speaks in another user's name (P7).
            Auth::Proved(user) => return Some((Some(user), true)),
            Auth::Open => return Some((request.from().and_then(|from| identity::aor(&self.config, &from.uri)), false)),
            Auth::Challenge(headers) => {
                let spec = ResponseSpec { headers: &headers, ..reply::plain(auth::Kind::Proxy.code()) };
                self.respond_statelessly(from, request, spec, out);
            }
            Auth::Forbidden => self.respond_statelessly(from, request, reply::plain(403), out),
        }
        None
    }

    pub(super) fn locate(&mut self, now: Now, server: Id, aor: Aor, out: &mut Outbox) {
        self.ask(now, Event::Locate(Locate { aor: aor.clone() }), Continuation::Locate { server, aor }, out);
    }

    pub(super) fn requested_period(&self, callee: &Aor, request: Message<'_>) -> RequestedPeriod {
        let policies = self.config.policies.load();
        let policy = policies.for_callee(callee);
        let header = request.fields_named(&policy.period_header).next();
        period::requested(policy, header, request.first(Header::Expires))
    }

    pub(super) fn on_routed(&mut self, now: Now, server: Id, since: Instant, route: Route, reply: Reply, out: &mut Outbox) {
        let open = self.is_open(server);
        match reply {
            Reply::Routed(routed) if !open => self.too_late(route, routed, out),
            _ if !open => {}
            Reply::Routed(Routed::Online { targets, report }) => {
                self.config.known.learn_routed(&self.config, now.unix, &route.callee, &targets);
                self.config.metrics.routed(Outcome::Online);
                self.fork(now, server, since, targets, report, out);
            }
            Reply::Routed(Routed::Offline(offline)) => {
                self.config.known.learn(&self.config, &route.callee, Vec::new());
                self.offline(now, server, since, &route, &offline, out);
            }
            // The store is away, or answers nonsense: what this worker knows must do (P6), and nobody is told that he is remembered (P1).
            Reply::Failed(_) | Reply::Registered(_) | Reply::Located(_) | Reply::Noted => {
                self.route_from_memory(now, server, &route.callee, out);
            }
        }
    }

    /// The request waits for its answer: nobody cancelled it.
    pub(super) fn is_open(&self, server: Id) -> bool {
        self.servers.get(server).is_some_and(|s| s.request.is_some())
    }

    pub(super) fn on_located(&mut self, now: Now, server: Id, aor: &Aor, reply: Reply, out: &mut Outbox) {
        if let Reply::Located(targets) = &reply {
            self.config.known.learn_routed(&self.config, now.unix, aor, targets);
        }
        if !self.is_open(server) || self.relay_to_contact(now, server, out) {
            return;
        }
        match reply {
            Reply::Located(targets) if targets.is_empty() => {
                self.config.metrics.routed(Outcome::Offline);
                self.respond(now, server, reply::plain(480), out);
            }
            Reply::Located(targets) => {
                self.config.metrics.routed(Outcome::Online);
                self.fork(now, server, now.instant, targets, Vec::new(), out);
            }
            Reply::Failed(_) | Reply::Registered(_) | Reply::Routed(_) | Reply::Noted => self.route_from_memory(now, server, aor, out),
        }
    }

    fn route_from_memory(&mut self, now: Now, server: Id, callee: &Aor, out: &mut Outbox) {
        let targets: Vec<Target> = self.config.known.targets(now.unix, callee);
        if targets.is_empty() {
            self.config.metrics.routed(Outcome::Refused);
            self.respond(now, server, reply::plain(480), out);
        } else {
            self.config.metrics.routed(Outcome::FromMemory);
            self.fork(now, server, now.instant, targets, Vec::new(), out);
        }
    }

    /// 480; with a grant, the words of RFC 6910 section 7.1 and the granted seconds say that the caller is remembered.
    fn offline(&mut self, now: Now, server: Id, since: Instant, route: &Route, offline: &Offline, out: &mut Outbox) {
        let headers = self.grant(now, since, 480, route, offline, out);
        self.respond(now, server, ResponseSpec { headers: &headers, ..reply::plain(480) }, out);
    }

    /// The header lines that tell the caller, in a final answer with this code, that he is remembered; none when he is not.
    pub(super) fn grant(&self, now: Now, since: Instant, code: u16, route: &Route, offline: &Offline, out: &mut Outbox) -> String {
        match offline {
            Offline::Granted { period, trace } => {
                out.spans.extend(trace.and_then(|trace| armed(now, since, code, route, trace, *period)));
                self.config.metrics.routed(Outcome::OfflineWatched);
                self.config.metrics.watch_granted();
                let (policies, seconds, callee) = (self.config.policies.load(), period.as_secs(), &route.callee);
                let name = &policies.for_callee(callee).period_header;
                format!("Call-Info: <sip:{callee}>;purpose=call-completion;m=NL\r\nExpires: {seconds}\r\n{name}: {seconds}\r\n")
            }
            Offline::NotWatched(why) => {
                self.config.metrics.routed(Outcome::Offline);
                self.config.metrics.watch_refused(*why);
                String::new()
            }
        }
    }

    /// The caller gave up while the coordinator was asked: watches of the pair hear of it, and one that was armed meanwhile is taken back,
    /// because the caller was never told.
    pub(super) fn too_late(&mut self, route: Route, routed: Routed, out: &mut Outbox) {
        match routed {
            Routed::Online { report, .. } => {
                for watch in report {
                    let report = CallReport { pair: watch.pair, fence: watch.fence, result: CallResult::Cancelled };
                    self.tell(Event::CallReport(report), None, out);
                }
            }
            Routed::Offline(Offline::Granted { .. }) => {
                self.tell(Event::Route(Route { period: RequestedPeriod::OptOut, ..route }), None, out);
            }
            Routed::Offline(Offline::NotWatched(_)) => {}
        }
    }
}

/// The INVITE that armed a traced watch: the root of its trace.
fn armed(now: Now, since: Instant, code: u16, route: &Route, trace: TraceContext, period: Duration) -> Option<Span> {
    let pair = Pair { callee: route.callee.clone(), caller: route.caller.clone()? };
    let span = Span::new("INVITE", SpanKind::Server, trace, None, &pair).at(now.unix_at(since), now.since(since));
    Some(
        span.number("sip.response.status_code", code)
            .number("redial.period_s", period.as_secs())
            .word("redial.edge", route.edge.as_str().to_owned()),
    )
}

/// What a phone asks of the server under its AoR, and the server does not do: forwarded it would come back to the phone itself.
fn not_for_a_phone(method: Method<'_>, to_itself: bool) -> Option<ResponseSpec<'static>> {
    match method {
        Method::Publish => Some(ResponseSpec { headers: super::local::ALLOW, ..reply::plain(405) }),
        // Messages waiting, registrations, watchers (RFC 6665 section 4.2.1.1).
        Method::Subscribe if to_itself => Some(ResponseSpec { headers: "Allow-Events: refer\r\n", ..reply::plain(489) }),
        _ => None,
    }
}
