//! The branches of one request: parallel within equal q, one group after the other (RFC 3261 section 16.6, sequential and parallel search).

use std::time::Instant;

use redial_core::link::{CallReport, CallResult, Event, Target, WatchRef};
use redial_core::trace::{Span, SpanKind};
use sip_core::Message;
use sip_core::message::{MessageBuf, ResponseSpec};
use sip_core::routing::{best_response, code_upstream, loop_hash, max_forwards, target_groups};
use smallvec::SmallVec;

use super::{Hop, Sides, forward};
use crate::endpoint::core::Core;
use crate::endpoint::front::{Upward, WayBack};
use crate::endpoint::table::Id;
use crate::endpoint::target::{request_uri, resolve};
use crate::endpoint::transactions::ClientOwner;
use crate::endpoint::{Now, Outbox, Peer, reply};

/// Most contacts that one request is sent to.
const MAX_BRANCHES: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Searching,
    /// A 6xx came: no further branch, but the open ones may still answer.
    Declined,
    /// The caller gave up.
    Cancelled,
}

/// A final response that may go upstream. Empty bytes: one of our own making.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) bytes: Vec<u8>,
}

/// Where a request of a server transaction has been sent, and what came back so far.
#[derive(Debug)]
pub(crate) struct Fork {
    /// Branches without a final response.
    pub(crate) open: SmallVec<[Id; 2]>,
    /// Groups of targets still to be tried, the next one last.
    groups: Vec<Vec<Target>>,
    pub(crate) best: Option<Answer>,
    /// Challenge lines of every 401 and 407 (section 16.7 step 7).
    pub(crate) challenges: String,
    pub(crate) reports: Vec<WatchRef>,
    /// When the request came.
    pub(crate) since: Instant,
    pub(crate) state: State,
    strip_credentials: bool,
    /// It goes to servers that we stand before.
    pub(crate) upward: Option<Box<Upward>>,
}

/// Where a branch goes.
enum Next<'a> {
    /// The Request-URI as it is: inside a dialog the route is known.
    Dialog,
    Contact(&'a Target),
    /// A server that we stand before, which knows what the Request-URI means.
    Upstream(Option<WayBack>),
}

impl Fork {
    fn new(groups: Vec<Vec<Target>>, reports: Vec<WatchRef>, since: Instant, strip_credentials: bool) -> Self {
        let (open, challenges) = (SmallVec::new(), String::new());
        Self { open, groups, best: None, challenges, reports, since, state: State::Searching, strip_credentials, upward: None }
    }

    /// A request for servers upstream.
    pub(crate) fn upward(upward: Upward, reports: Vec<WatchRef>, since: Instant) -> Box<Self> {
        Box::new(Self { upward: Some(Box::new(upward)), ..Self::new(Vec::new(), reports, since, false) })
    }

    /// A request that no server upstream has a place for goes to these phones. What the servers asked of the caller is not for them.
    pub(crate) fn past_servers(self, targets: Vec<Target>) -> Box<Self> {
        Box::new(Self::new(groups(targets), self.reports, self.since, true))
    }

    /// Nothing but what is to be reported.
    pub(crate) fn reporting(reports: Vec<WatchRef>, since: Instant) -> Self {
        Self::new(Vec::new(), reports, since, false)
    }

    /// Notes a final response; `bytes` are made only when it is the best so far.
    pub(crate) fn note(&mut self, code: u16, bytes: impl FnOnce() -> Vec<u8>) {
        let better = self.best.as_ref().is_none_or(|best| best_response(&[best.code, code]) == Some(1));
        if better {
            self.best = Some(Answer { code, bytes: bytes() });
        }
    }
}

/// The last one is tried first.
fn groups(targets: Vec<Target>) -> Vec<Vec<Target>> {
    let qs: Vec<u16> = targets.iter().take(MAX_BRANCHES).map(|t| t.q).collect();
    let mut targets: Vec<Option<Target>> = targets.into_iter().map(Some).collect();
    let of = |group: Vec<usize>| group.into_iter().filter_map(|i| targets.get_mut(i).and_then(Option::take)).collect();
    target_groups(&qs).into_iter().map(of).rev().collect()
}

impl Core {
    /// Sends the transaction's request to `targets`.
    pub(crate) fn fork(&mut self, now: Now, server: Id, since: Instant, targets: Vec<Target>, reports: Vec<WatchRef>, out: &mut Outbox) {
        let fork = Box::new(Fork::new(groups(targets), reports, since, self.config.users.is_some()));
        self.search(now, server, fork, out);
    }

    /// Sends the transaction's request to one place, its Request-URI as it is: inside a dialog the route is known.
    pub(crate) fn relay(&mut self, now: Now, server: Id, to: Peer, out: &mut Outbox) {
        let Some(entry) = self.servers.at(server) else { return };
        let (from, Some(request)) = (entry.from, entry.request.take()) else { return };
        let mut fork = Box::new(Fork::new(Vec::new(), Vec::new(), now.instant, false));
        self.open_branch(now, server, &mut fork, request.view(), from, to, &Next::Dialog, out);
        self.keep(server, request);
        self.settle(now, server, fork, out);
    }

    /// Starts groups, or servers upstream, until one has an open branch, or answers.
    pub(crate) fn search(&mut self, now: Now, server: Id, mut fork: Box<Fork>, out: &mut Outbox) {
        while fork.state == State::Searching
            && fork.open.is_empty()
            && let Some(group) = fork.groups.pop()
        {
            let Some(entry) = self.servers.at(server) else { return };
            let (from, Some(request)) = (entry.from, entry.request.take()) else { return };
            for target in group {
                match resolve(&self.config, &target) {
                    Some(to) => self.open_branch(now, server, &mut fork, request.view(), from, to, &Next::Contact(&target), out),
                    None => fork.note(480, Vec::new),
                }
            }
            self.keep(server, request);
        }
        while fork.state == State::Searching && fork.open.is_empty() && fork.has_next_server() {
            let Some(entry) = self.servers.at(server) else { return };
            let (from, Some(request)) = (entry.from, entry.request.take()) else { return };
            if let Some((to, way_back)) = self.next_server(&mut fork, from, request.view()) {
                self.open_branch(now, server, &mut fork, request.view(), from, to, &Next::Upstream(way_back), out);
                self.limit_patience(now, &fork);
            }
            self.keep(server, request);
        }
        self.settle(now, server, fork, out);
    }

    /// The fork stays while a branch is open; then its best response goes upstream.
    fn settle(&mut self, now: Now, server: Id, fork: Box<Fork>, out: &mut Outbox) {
        if fork.open.is_empty() {
            self.answer(now, server, *fork, out);
        } else if let Some(entry) = self.servers.at(server) {
            entry.fork = Some(fork);
            self.arm_server(server);
        }
    }

    fn keep(&mut self, server: Id, request: MessageBuf) {
        if let Some(entry) = self.servers.at(server) {
            entry.request = Some(request);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what one branch is made of; a struct would only be taken apart here")]
    fn open_branch(
        &mut self,
        now: Now,
        server: Id,
        fork: &mut Fork,
        request: Message<'_>,
        from: Peer,
        to: Peer,
        next: &Next<'_>,
        out: &mut Outbox,
    ) {
        let back = reply::destination(&self.config, request, from);
        let Some(via) = self.via(to, Some(back), loop_hash(request, self.loop_seed)) else {
            return fork.note(480, Vec::new);
        };
        let Ok(max_forwards) = max_forwards(request) else {
            return fork.note(483, Vec::new);
        };
        let (uri, path, register) = match next {
            Next::Dialog => (None, &[][..], None),
            Next::Contact(target) => match request_uri(&target.uri) {
                Some(uri) => (Some(uri), target.path.as_slice(), None),
                None => return fork.note(480, Vec::new),
            },
            Next::Upstream(way_back) => (None, &[][..], way_back.as_ref()),
        };
        let record_route = if let Next::Dialog = next {
            None
        } else {
            let unheard = fork.upward.as_ref().and_then(|upward| upward.unheard());
            let watch = fork.reports.iter().find(|w| is_from(request, w)).or(fork.reports.first()).or(unheard.as_ref());
            Sides { caller: from, callee: to, callee_uri: uri.unwrap_or_default(), watch }.record_route(&self.config, request)
        };
        let hop = Hop {
            via: &via,
            max_forwards,
            uri,
            path,
            record_route: record_route.as_deref().unwrap_or_default(),
            strip_credentials: fork.strip_credentials,
            register,
        };
        let bytes = forward(&self.config, request, from, hop);
        let id = self.open_client(now, request.method(), to, ClientOwner::Branch { server }, bytes, out);
        fork.open.push(id);
    }

    /// Sends the final answer of a fork without open branches, and reports what became of a watched call.
    pub(super) fn answer(&mut self, now: Now, server: Id, fork: Fork, out: &mut Outbox) {
        if fork.upward.is_some() && fork.state != State::Cancelled {
            return self.answer_of_upstream(now, server, Box::new(fork), out);
        }
        self.answer_with_best(now, server, fork, out);
    }

    fn answer_with_best(&mut self, now: Now, server: Id, mut fork: Fork, out: &mut Outbox) {
        let cancelled = fork.state == State::Cancelled;
        let best = fork.best.take().unwrap_or(Answer { code: 480, bytes: Vec::new() });
        let code = if cancelled { 487 } else { best.code };
        let result = if cancelled { CallResult::Cancelled } else { CallResult::Failed(code) };
        if fork.upward.is_some() {
            self.settle_call(now, &fork, result, out);
        } else {
            self.report(now, &fork, result, out);
        }
        let upstream = code_upstream(code);
        if cancelled || upstream != best.code || best.bytes.is_empty() {
            let headers = if matches!(upstream, 401 | 407) { fork.challenges.as_str() } else { "" };
            self.respond(now, server, ResponseSpec { headers, ..reply::plain(upstream) }, out);
        } else {
            let bytes = super::response::with_challenges(best, &fork.challenges);
            self.respond_with(now, server, upstream, bytes, out);
        }
    }

    /// Tells the coordinator what became of a call between a watched pair, once.
    pub(crate) fn report(&mut self, now: Now, fork: &Fork, result: CallResult, out: &mut Outbox) {
        for watch in &fork.reports {
            let span = called(now, fork.since, watch, result);
            let report = CallReport { pair: watch.pair.clone(), fence: watch.fence, result };
            self.tell(Event::CallReport(report), span.as_ref().map(|span| span.context), out);
            out.spans.extend(span);
        }
    }
}

/// The INVITE of a traced watch, with its final answer.
fn called(now: Now, since: Instant, watch: &WatchRef, result: CallResult) -> Option<Span> {
    let parent = watch.trace?;
    let start = now.unix_at(since);
    let span =
        Span::new("INVITE", SpanKind::Server, parent.child("INVITE", start.0), Some(parent), &watch.pair).at(start, now.since(since));
    let code = match result {
        CallResult::Established | CallResult::Ended => 200,
        CallResult::Failed(code) | CallResult::Challenged(code) => code,
        CallResult::Cancelled => 487,
    };
    let failed = code >= 300;
    Some(Span { failed, ..span.number("sip.response.status_code", code) })
}

fn is_from(request: Message<'_>, watch: &WatchRef) -> bool {
    request.from().and_then(|from| from.uri.aor()).is_some_and(|from| from == watch.pair.caller.as_str())
}
